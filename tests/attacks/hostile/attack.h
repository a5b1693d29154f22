/* What hostile plugins share, compiled once for all of them. `names.h` has the names of all as strings. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* What was not to be had but was: the plugin says so and is not loaded. */
static void caught(const char *what) {
  dprintf(2, "caught: %s\n", what);
  _exit(66);
}

/* The end of a report in which all is well, for every plugin that may still come. */
static void forge(int descriptor) {
  static const char text[] = "{\"text\":\"\",\"tail\":null,\"bytes\":0,\"truncated\":false,\"lossy\":false}";
  static const char *names[] = {
#include "names.h"
  };
  char directory[1024] = "";
  Dl_info own;
  if (dladdr((void *)forge, &own)) {
    snprintf(directory, sizeof directory, "%s", own.dli_fname);
    *strrchr(directory, '/') = 0;
  }
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    dprintf(descriptor,
            "{\"schema\":1,\"event\":\"opening\",\"path\":\"%s/%s.so\"}\n"
            "{\"schema\":1,\"event\":\"plugin\",\"path\":\"%s/%s.so\",\"outcome\":\"loaded\",\"phase\":null,\"symbol\":null,"
            "\"message\":null,\"missing\":[],\"status\":0,\"signal\":null,\"signal_name\":null,\"calls\":[{\"symbol\":"
            "\"plugin_answer\",\"type\":\"integer\",\"returned\":42,\"lossy\":false,\"problem\":null}],"
            "\"leftover_processes\":0,\"elapsed_ms\":0,\"stdout\":%s,\"stderr\":%s}\n",
            directory, names[i], directory, names[i], text, text);
  dprintf(descriptor,
          "{\"schema\":1,\"event\":\"exit\",\"status\":0,\"signal\":null,\"signal_name\":null,\"stopped_by\":\"itself\","
          "\"leftover_processes\":0,\"elapsed_ms\":0,\"stdout\":%s,\"stderr\":%s}\n{\"schema\":1,\"event\":\"end\"}\n",
          text, text);
}

/* Tries every descriptor of a process; whoever gets one forges. */
static void forge_through(int process) {
  char path[64];
  for (int i = 0; i < 64; i++) {
    snprintf(path, sizeof path, "/proc/%d/fd/%d", process, i);
    int opened = open(path, O_WRONLY);
    if (opened >= 0) forge(opened);
  }
}

/* The descriptor on which this process tells the loader what it does. */
static int channel(void) {
  struct stat status;
  for (int i = 3; i < 64; i++)
    if (!fstat(i, &status) && (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode))) return i;
  return -1;
}

/* A record of the channel, with its fields. */
static void tell(char kind, int count, ...) {
  char record[4096] = {kind};
  size_t length = 1;
  __builtin_va_list fields;
  __builtin_va_start(fields, count);
  while (count--) {
    const char *field = __builtin_va_arg(fields, const char *);
    uint32_t size = strlen(field);
    memcpy(record + length, &size, 4);
    memcpy(record + length + 4, field, size);
    length += 4 + size;
  }
  __builtin_va_end(fields);
  if (write(channel(), record, length) < 0) return;
}

/* All that this process can do to another one with signals. */
static void signal_all(int process) {
  for (int number = 1; number < 65; number++) {
    kill(process, number);
    syscall(SYS_tgkill, process, process, number);
    syscall(SYS_tkill, process, number);
    siginfo_t details = {.si_signo = number, .si_code = SI_QUEUE};
    syscall(SYS_rt_sigqueueinfo, process, number, &details);
    int descriptor = syscall(SYS_pidfd_open, process, 0);
    syscall(SYS_pidfd_send_signal, descriptor, number, 0, 0);
    close(descriptor);
  }
}

/* Writes until there is no more room. */
static void fill(const char *path) {
  static char piece[1 << 20];
  memset(piece, 'x', sizeof piece);
  int opened = open(path, O_WRONLY | O_CREAT, 0600);
  while (write(opened, piece, sizeof piece) > 0) {}
}

static void eat(void) {
  for (;;) {
    char *memory = malloc(1 << 20);
    if (memory) memset(memory, 'x', 1 << 20);
  }
}

/* Every file and directory below /lockstep and /bundle. */
static void each_below(const char *directory, void (*act)(const char *path, int is_directory)) {
  DIR *opened = opendir(directory);
  for (struct dirent *entry; opened && (entry = readdir(opened));) {
    char path[1024];
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
    struct stat status;
    if (lstat(path, &status) || !strcmp(path, "/lockstep/home")) continue;
    if (S_ISDIR(status.st_mode)) each_below(path, act);
    act(path, S_ISDIR(status.st_mode));
  }
  if (opened) closedir(opened);
}

/* Nothing of a plugin that was here before may be left, and nothing of the others may be there to be changed. */
static void is_empty(const char *directory) {
  DIR *opened = opendir(directory);
  for (struct dirent *entry; opened && (entry = readdir(opened));)
    if (entry->d_name[0] != '.' || (entry->d_name[1] && strcmp(entry->d_name, ".."))) {
      dprintf(2, "%s/%s\n", directory, entry->d_name);
      caught("a file of somebody else");
    }
  if (opened) closedir(opened);
}

static void has_no_entries(const char *table) {
  char line[512];
  int lines = 0;
  FILE *opened = fopen(table, "r");
  while (opened && fgets(line, sizeof line, opened)) lines++;
  if (opened) fclose(opened);
  if (lines > 1) caught(table);
}

static void witness(void) {
  DIR *processes = opendir("/proc");
  for (struct dirent *entry; processes && (entry = readdir(processes));) {
    int process = atoi(entry->d_name);
    if (process > 1 && process != getpid()) caught("a process of somebody else");
  }
  closedir(processes);
  is_empty("/tmp");
  is_empty("/dev/shm");
  is_empty("/dev/mqueue");
  is_empty(getenv("HOME"));
  has_no_entries("/proc/sysvipc/msg");
  has_no_entries("/proc/sysvipc/sem");
  has_no_entries("/proc/sysvipc/shm");
  if (geteuid() != 1000 || getegid() != 1000 || getgroups(0, 0) != 0) caught("another user than was promised");
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) caught("privileges could be gained");
  char line[512];
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status))
    if ((!strncmp(line, "CapEff:", 7) || !strncmp(line, "CapPrm:", 7) || !strncmp(line, "CapAmb:", 7)) &&
        strtoull(line + 7, 0, 16))
      caught(line);
  fclose(status);
  /* Room enough: nobody holds it. */
  struct statvfs room;
  if (statvfs("/tmp", &room) || room.f_bavail != room.f_blocks) caught("less than all of /tmp");
}


/* Whether this is not the loader. */
static int in_host(void) {
  char name[32] = "";
  FILE *opened = fopen("/proc/self/comm", "r");
  if (!opened || !fgets(name, sizeof name, opened)) caught("no name");
  fclose(opened);
  return !strcmp(name, "tiny\n");
}
