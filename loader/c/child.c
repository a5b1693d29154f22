/* Processes that this one starts: their output, their end, and that nothing of them stays.
 *
 * A plugin may do anything that a process can: fork, keep a pipe open, ignore signals, leave its group. So nothing here waits
 * for the end of a pipe alone, and every descendant is adopted, killed and reaped at the end. This process has one thread:
 * whatever it waits for, it goes on to read output and to take signals. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader.h"

/* What is read from a pipe at once. */
#define PIECE_BYTES (64 * 1024)
/* How long a killed process may take to be gone. */
#define KILL_TIMEOUT_MILLISECONDS 5000
/* How long pipes may take to be empty once every process that could write to them is gone. */
#define DRAIN_TIMEOUT_MILLISECONDS 2000
/* How long descendants may take to be gone. */
#define SWEEP_TIMEOUT_MILLISECONDS 5000
/* How many of the processes that were reaped are remembered as descendants. */
#define REAPED_LIMIT_COUNT (64 * 1024)
/* How far a process's parents are followed; only descendants that multiply on purpose have more. */
#define PARENTS_LIMIT_COUNT 4096
/* Between two looks at something that gives no signal. */
#define PAUSE_MILLISECONDS 2
/* A line of `/proc/PID/stat` up to the parent; the name in it has 64 bytes at most. */
#define STAT_LIMIT_BYTES 512

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define CLOSE_ON_EXEC_FLAG 4u
/* The same of memfd_create(2), for which not every C library has a function. */
#define CLOSE_ON_EXEC_FLAG_OF_MEMORY 1u

/* The signal that asked the loader to end, or 0. */
int interrupt_signal = 0;
static int signals_file = -1;
/* The process beside which another one runs, and is waited for; or null. */
static struct running *beside;
/* The descendants that were reaped since the last start: their signals may still come. */
static pid_t reaped[REAPED_LIMIT_COUNT];
static size_t reaped_count;

static void prepared(int result, const char *what) {
  if (result < 0) fail_internal("failed to %s: %s", what, error_words(errno));
}

/* Holds back all signals that would end this process, but not what a terminal stops one with. A fault of its own ends it all
 * the same. The kernel is asked, because C libraries leave out the signals that they keep for threads. */
static int hold_signals(void) {
  static const int not_held[] = {SIGTSTP, SIGTTIN, SIGTTOU};
  unsigned char held[(_NSIG - 1) / 8];
  uint64_t bits = ~(uint64_t)0;
  for (size_t index = 0; index < sizeof not_held / sizeof *not_held; index++) bits &= ~((uint64_t)1 << (not_held[index] - 1));
  memset(held, 0xff, sizeof held);
  memcpy(held, &bits, sizeof bits);
  return (int)syscall(SYS_rt_sigprocmask, SIG_BLOCK, held, NULL, sizeof held);
}

/* Takes over signals and orphans. */
void supervise(const struct common *common) {
  sigset_t awaited;
  const struct rlimit none = {0, 0};
  if (common->has_user && geteuid() != 0) {
    errno = EPERM;
    prepared(-1, "start processes of another user without being root");
  }
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD), sigaddset(&awaited, SIGTERM), sigaddset(&awaited, SIGINT);
  prepared(hold_signals(), "hold back signals");
  signals_file = signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK);
  prepared(signals_file, "hold back signals");
  prepared(prctl(PR_SET_CHILD_SUBREAPER, 1ul), "adopt orphans");
  prepared(setrlimit(RLIMIT_CORE, &none), "forbid core files");
  prepared(prctl(PR_SET_DUMPABLE, 0ul), "forbid that this process is traced");
  /* Kernels before 5.11 and old seccomp profiles refuse, which leaves things as they are. */
  syscall(SYS_close_range, 3u, ~0u, CLOSE_ON_EXEC_FLAG);
}

/* State and parent from `/proc/PID/stat` (proc(5)). The name before them may hold anything, even parentheses. */
static int read_stat(pid_t pid, char *state, pid_t *parent) {
  char path[64], line[STAT_LIMIT_BYTES];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t length = read(file, line, sizeof line - 1);
  close(file);
  line[length > 0 ? length : 0] = 0;
  char *name_end = strrchr(line, ')');
  int number = 0;
  if (!name_end || sscanf(name_end + 1, " %c %d", state, &number) != 2) return 0;
  *parent = (pid_t)number;
  return 1;
}

/* Whether a process that is there was started by this one, or by one that was. */
static int is_descendant(pid_t pid) {
  pid_t parent;
  char state;
  for (int step = 0; step < PARENTS_LIMIT_COUNT; step++, pid = parent) {
    if (!read_stat(pid, &state, &parent)) return 0;
    if (parent == getpid()) return 1;
    if (parent <= 1) return 0;
  }
  return 1;
}

/* Whether a signal is the wish of somebody else than what was started here, as far as the kernel vouches for its sender. */
static int is_from_outside(const struct signalfd_siginfo *sent) {
  if (sent->ssi_code == SI_USER || sent->ssi_code == SI_TKILL) {
    pid_t pid = (pid_t)sent->ssi_pid;
    for (size_t index = 0; index < reaped_count; index++)
      if (reaped[index] == pid) return 0;
    return pid == 0 || !is_descendant(pid);
  }
  /* `rt_sigqueueinfo` lets a process write all that follows a negative code. */
  return sent->ssi_code >= 0;
}

/* Takes every child that has ended: the one of interest, and orphans, which are only to be gone. Says whether there are none
 * any more. */
static int reap(struct running *running) {
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return pid < 0;
    /* It has only stopped, and has made this process its tracer to have it told (PTRACE_TRACEME). */
    if (!WIFEXITED(status) && !WIFSIGNALED(status)) continue;
    /* Once it has ended its number may be an orphan's. */
    struct running *ended = pid == running->pid ? running : beside && pid == beside->pid ? beside : NULL;
    if (ended && !ended->has_ended) ended->has_ended = 1, ended->wait_status = status;
    if (reaped_count < REAPED_LIMIT_COUNT) reaped[reaped_count++] = pid;
  }
}

/* Takes the signals that have come: that a child has ended is seen elsewhere, and the others ask this process to end. */
static void take_signals(void) {
  struct signalfd_siginfo sent;
  while (read(signals_file, &sent, sizeof sent) == (ssize_t)sizeof sent)
    if (sent.ssi_signo != SIGCHLD && is_from_outside(&sent)) interrupt_signal = (int)sent.ssi_signo;
}

static void close_file(int *file) {
  if (*file >= 0) close(*file);
  *file = -1;
}

static void take_output(struct running *running, int index) {
  static char piece[PIECE_BYTES];
  ssize_t length = read(running->files[index], piece, sizeof piece);
  if (length > 0) capture_push(&running->captures[index], piece, (size_t)length);
  else if (length == 0 || (errno != EINTR && errno != EAGAIN)) close_file(&running->files[index]);
}

/* Handles what has happened, and waits for something to happen until then. Says whether a file of the caller's is ready,
 * where one is given. */
int child_tick(struct running *running, int64_t deadline_ms, int file, short events) {
  struct pollfd waits[8] = {{signals_file, POLLIN, 0}, {file, events, 0}};
  for (int index = 0; index < 3; index++) {
    waits[2 + index] = (struct pollfd){running->files[index], POLLIN, 0};
    waits[5 + index] = (struct pollfd){beside ? beside->files[index] : -1, POLLIN, 0};
  }
  reap(running);
  int64_t left = deadline_ms - now_ms();
  if (poll(waits, 8, left > 0 ? (int)left : 0) <= 0) return 0;
  for (int index = 0; index < 3; index++) {
    if (waits[2 + index].revents && running->files[index] >= 0) take_output(running, index);
    if (waits[5 + index].revents && beside && beside->files[index] >= 0) take_output(beside, index);
  }
  take_signals();
  reap(running);
  return file >= 0 && waits[1].revents != 0;
}

/* Waits until the process has ended, the deadline has passed, or the loader is asked to end. */
enum wake child_wait(struct running *running, int64_t deadline_ms) {
  child_tick(running, 0, -1, 0);
  for (;;) {
    if (running->has_ended) return WAKE_ENDED;
    if (interrupt_signal) return WAKE_INTERRUPTED;
    if (now_ms() >= deadline_ms) return WAKE_TIMED_OUT;
    child_tick(running, deadline_ms, -1, 0);
  }
}

/* Waits until the process has ended or the deadline has passed, whatever else is wanted. */
int child_wait_regardless(struct running *running, int64_t deadline_ms) {
  while (!running->has_ended && now_ms() < deadline_ms) child_tick(running, deadline_ms, -1, 0);
  return running->has_ended;
}

/* Sends it a signal, unless it has ended: its number may be another's then. */
void child_signal(struct running *running, int number) {
  if (!running->has_ended) kill(running->pid, number);
}

void child_signal_group(struct running *running, int number) {
  if (!running->has_ended) kill(-running->pid, number);
}

/* Kills the process and its group. */
void child_kill(struct running *running) {
  child_signal(running, SIGKILL);
  kill(-running->pid, SIGKILL);
  child_wait_regardless(running, now_ms() + KILL_TIMEOUT_MILLISECONDS);
}

/* Asks the process to end, and kills it if it does not in time. Says whether it ended by itself. */
int child_stop(struct running *running, int number, int64_t timeout_ms) {
  child_signal(running, number);
  int has_ended = child_wait_regardless(running, now_ms() + timeout_ms);
  if (!has_ended) child_kill(running);
  return has_ended;
}

/* Lets the next process that is waited for run beside this one, whose output is read and whose end is seen all the same; or,
 * with null, alone. */
void child_beside(struct running *running) { beside = running; }

/* Kills what is left of the process's group, and leaves all others alone: another process is at work beside it. */
void child_sweep_group(struct running *running) {
  kill(-running->pid, SIGKILL);
  child_tick(running, 0, -1, 0);
}

/* Kills the living children of this process, or as a container's first process all others; remembers which. */
static size_t kill_descendants(pid_t **killed, size_t count) {
  DIR *processes = opendir("/proc");
  struct dirent *entry;
  size_t known = count;
  while (processes && (entry = readdir(processes))) {
    pid_t pid = (pid_t)atoi(entry->d_name), parent;
    char state;
    size_t index = 0;
    if (pid <= 1 || pid == getpid() || !read_stat(pid, &state, &parent) || state == 'Z' || state == 'X') continue;
    if (getpid() != 1 && parent != getpid()) continue;
    while (index < known && (*killed)[index] != pid) index++;
    if (index == known) {
      *killed = need(realloc(*killed, (count + 1) * sizeof **killed));
      (*killed)[count++] = pid;
    }
  }
  if (processes) closedir(processes);
  /* The kernel does it at once for all: none can fork in time. */
  if (getpid() == 1) kill(-1, SIGKILL);
  for (size_t index = 0; index < count; index++) {
    pid_t parent;
    char state;
    /* A number that was used again is not a child's. */
    if (index >= known || (read_stat((*killed)[index], &state, &parent) && parent == getpid())) kill((*killed)[index], SIGKILL);
  }
  return count;
}

/* Kills and reaps whatever the process has left behind, and says how many had to be killed. Orphans become children of this
 * process, so each round reaches the next generation. */
size_t child_sweep(struct running *running, int *is_complete) {
  int64_t deadline = now_ms() + SWEEP_TIMEOUT_MILLISECONDS;
  pid_t *killed = NULL;
  size_t count = 0;
  while (!(*is_complete = reap(running)) && now_ms() < deadline) {
    count = kill_descendants(&killed, count);
    child_tick(running, now_ms() + PAUSE_MILLISECONDS, -1, 0);
  }
  free(killed);
  return count;
}

/* Reads what is still in the pipes, until their end or until it is clear that none comes: a process that was not killed could
 * hold them for ever. */
void child_drain(struct running *running) {
  int64_t deadline = now_ms() + DRAIN_TIMEOUT_MILLISECONDS;
  while ((running->files[0] >= 0 || running->files[1] >= 0 || running->files[2] >= 0) && now_ms() < deadline)
    child_tick(running, deadline, -1, 0);
  for (int index = 0; index < 3; index++) close_file(&running->files[index]);
}

void child_free(struct running *running) {
  for (int index = 0; index < 3; index++) {
    close_file(&running->files[index]);
    capture_free(&running->captures[index]);
  }
}

/* Makes this process the first that the kernel ends when memory runs out. */
static void sacrifice(void) {
  int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file >= 0) {
    /* Where that cannot be done, the kernel judges by size, which is nearly as good. */
    if (write(file, "1000", 4) < 0) errno = 0;
    close(file);
  }
}

/* What is between fork and exec. The process starts as its parent was started: no signal held back. It dies with its parent,
 * and is the user that is asked for. Comes back only when something failed. */
static void become(const struct start *start, int input, int output, int errors) {
  const struct common *common = start->common;
  sigset_t none;
  sigemptyset(&none);
  if (setpgid(0, 0) < 0 || dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0)
    return;
  signal(SIGPIPE, SIG_DFL);
  if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) return;
  sacrifice();
  if (common->has_user && (setgroups(0, NULL) < 0 || setgid(common->gid) < 0 || setuid(common->uid) < 0)) return;
  /* Only the user itself may be able to enter it. */
  if (start->directory && chdir(start->directory) < 0) return;
  /* After the change of the user, which would undo it. */
  if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL) < 0) return;
  for (size_t index = 0; index < common->environment_count; index++)
    if (putenv(common->environment[index]) != 0) return;
  for (char **variable = start->variables; variable && *variable; variable++)
    if (putenv(*variable) != 0) return;
  /* The loader calls itself by the name that people know. */
  if (strcmp(start->words[0], "lockstep-loader") == 0) execv("/proc/self/exe", start->words);
  else execvp(start->words[0], start->words);
}

static char *start_failure(const struct start *start, int error) {
  struct stat status;
  const char *program = start->words[0], *directory = start->directory;
  char *words = error_words(error), *file = (char *)program;
  if (directory && program[0] != '/') file = text_of("%s/%s", directory, program);
  int is_there = error == ENOENT && strchr(program, '/') && stat(file, &status) == 0 && (!directory || stat(directory, &status) == 0);
  char *place = directory ? text_of(" in `%s`", directory) : "";
  return text_of("failed to start `%s`%s: %s%s", program, place, words,
                 is_there ? "; the file is there, its interpreter is not" : "");
}

/* A file in memory that holds this, and is read from its start by whoever has it. */
static int in_memory(const char *input) {
  int file = (int)syscall(SYS_memfd_create, "input", CLOSE_ON_EXEC_FLAG_OF_MEMORY);
  prepared(file, "keep what the command reads");
  for (size_t left = strlen(input); left > 0;) {
    ssize_t length = write(file, input + strlen(input) - left, left);
    if (length < 0 && errno != EINTR) prepared(-1, "keep what the command reads");
    if (length > 0) left -= (size_t)length;
  }
  prepared((int)lseek(file, 0, SEEK_SET), "keep what the command reads");
  return file;
}

/* A pipe for what a process writes. It is its writer's, who may open it by its name, too: /dev/stderr is where many programs
 * write their log. */
static void make_pipe(int ends[2], const struct common *common) {
  int before = common->has_user ? setfsuid(common->uid) : -1;
  int made = pipe2(ends, O_CLOEXEC);
  if (common->has_user) setfsuid((uid_t)before);
  prepared(made, "make a pipe");
}

/* Starts a process in a group of its own, whose output is read from now on. Gives why it could not be started, or null. */
char *child_start(const struct start *start, struct running *running) {
  int output[2], errors[2], failure[2], input[2] = {-1, -1};
  make_pipe(output, start->common);
  make_pipe(errors, start->common);
  prepared(pipe2(failure, O_CLOEXEC), "make a pipe");
  if (start->has_channel) {
    prepared(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, input), "make a channel");
  } else if (start->input) {
    input[1] = in_memory(start->input);
  } else {
    prepared(input[1] = open("/dev/null", O_RDONLY | O_CLOEXEC), "open /dev/null");
  }
  *running = (struct running){.files = {output[0], errors[0], input[0]}, .started_ms = now_ms()};
  for (int index = 0; index < 2; index++) running->captures[index] = capture_stream(start->output_limit_bytes);
  running->captures[2] = capture_stream(start->channel_limit_bytes);
  /* What those that are gone have sent can only now be told from what comes from outside. */
  take_signals();
  reaped_count = 0;
  running->pid = fork();
  prepared(running->pid, "start a process");
  if (running->pid == 0) {
    become(start, input[1], output[1], errors[1]);
    int error = errno;
    if (write(failure[1], &error, sizeof error) < 0) _exit(STATUS_INTERNAL);
    _exit(STATUS_INTERNAL);
  }
  close(output[1]), close(errors[1]), close(failure[1]), close(input[1]);
  int error = 0;
  ssize_t length;
  while ((length = read(failure[0], &error, sizeof error)) < 0 && errno == EINTR) continue;
  close(failure[0]);
  if (length != (ssize_t)sizeof error) return NULL;
  while (waitpid(running->pid, NULL, 0) < 0 && errno == EINTR) continue;
  child_free(running);
  return start_failure(start, error);
}
