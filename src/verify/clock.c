/* Tells programs another time of day: preloaded into all that a rebuild starts.
 *
 * STOPPED is what is always told, or LATER how much is added. Files that were changed since SINCE have that time, too: they
 * were written by what runs here. There is no library below it, so that it works with whichever C library a program has. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

long syscall(long number, ...);

/* linux/stat.h: where struct statx has its four times, each with 64 bits of seconds and 32 of nanoseconds. */
#define STATX_TIMES 64
#define STATX_TIME_SIZE 16

static void tell(int64_t *seconds) {
#ifdef STOPPED
  *seconds = STOPPED;
#else
  *seconds += LATER;
#endif
}

static void tell_time(struct timespec *time) {
  int64_t seconds = time->tv_sec;
  tell(&seconds);
  time->tv_sec = seconds;
#ifdef STOPPED
  time->tv_nsec = 0;
#endif
}

static void tell_of_file(struct timespec *time) {
  if (time->tv_sec >= SINCE) tell_time(time);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int status = syscall(SYS_clock_gettime, clock, time);
  if (status == 0 && (clock == CLOCK_REALTIME || clock == 5 || clock == 11)) tell_time(time);
  return status;
}

int timespec_get(struct timespec *time, int base) {
  if (base != 1 || clock_gettime(CLOCK_REALTIME, time) != 0) return 0;
  return base;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (time) {
    ((int64_t *)time)[0] = now.tv_sec;
    ((int64_t *)time)[1] = now.tv_nsec / 1000;
  }
  if (zone) ((int *)zone)[0] = ((int *)zone)[1] = 0;
  return 0;
}

time_t time(time_t *result) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

static int told(int status, struct stat *found) {
  if (status == 0) {
    tell_of_file(&found->st_atim);
    tell_of_file(&found->st_mtim);
    tell_of_file(&found->st_ctim);
  }
  return status;
}

int fstatat(int directory, const char *restrict path, struct stat *restrict found, int flags) {
  return told(syscall(SYS_newfstatat, directory, path, found, flags), found);
}
int stat(const char *restrict path, struct stat *restrict found) { return fstatat(AT_FDCWD, path, found, 0); }
int lstat(const char *restrict path, struct stat *restrict found) {
  return fstatat(AT_FDCWD, path, found, 0x100);
}
int fstat(int file, struct stat *found) { return told(syscall(SYS_fstat, file, found), found); }
int fstatat64(int directory, const char *path, struct stat *found, int flags) {
  return fstatat(directory, path, found, flags);
}
int stat64(const char *path, struct stat *found) { return stat(path, found); }
int lstat64(const char *path, struct stat *found) { return lstat(path, found); }
int fstat64(int file, struct stat *found) { return fstat(file, found); }

int statx(int directory, const char *restrict path, int flags, unsigned mask, void *restrict found) {
  int status = syscall(SYS_statx, directory, path, flags, mask, found);
  if (status == 0) {
    for (int place = 0; place < 4; place++) {
      char *at = (char *)found + STATX_TIMES + place * STATX_TIME_SIZE;
      int64_t seconds;
      memcpy(&seconds, at, sizeof seconds);
      if (seconds < SINCE) continue;
      tell(&seconds);
      memcpy(at, &seconds, sizeof seconds);
#ifdef STOPPED
      memset(at + sizeof seconds, 0, 4);
#endif
    }
  }
  return status;
}
