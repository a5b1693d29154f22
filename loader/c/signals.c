/* Signals and their names, and the clock. */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <time.h>

#include "loader.h"

static const struct {
  int number;
  const char *name;
} NAMES[] = {
    {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},       {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},
    {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},     {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"},     {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
    {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"},     {SIGTERM, "SIGTERM"}, {SIGSTKFLT, "SIGSTKFLT"},
    {SIGCHLD, "SIGCHLD"}, {SIGCONT, "SIGCONT"},     {SIGSTOP, "SIGSTOP"}, {SIGTSTP, "SIGTSTP"},
    {SIGTTIN, "SIGTTIN"}, {SIGTTOU, "SIGTTOU"},     {SIGURG, "SIGURG"},   {SIGXCPU, "SIGXCPU"},
    {SIGXFSZ, "SIGXFSZ"}, {SIGVTALRM, "SIGVTALRM"}, {SIGPROF, "SIGPROF"}, {SIGWINCH, "SIGWINCH"},
    {SIGIO, "SIGIO"},     {SIGPWR, "SIGPWR"},       {SIGSYS, "SIGSYS"},
};

/* `SIGSEGV` for 11; a real-time signal, which has no name of its own, is `SIG34`. */
char *signal_name(int number) {
  for (size_t index = 0; index < sizeof NAMES / sizeof *NAMES; index++)
    if (NAMES[index].number == number) return text_of("%s", NAMES[index].name);
  return text_of("SIG%d", number);
}

/* The number of `TERM` or `SIGTERM`, or 0. */
int signal_number(const char *name) {
  const char *bare = strncmp(name, "SIG", 3) == 0 ? name + 3 : name;
  for (size_t index = 0; index < sizeof NAMES / sizeof *NAMES; index++)
    if (strcmp(NAMES[index].name + 3, bare) == 0) return NAMES[index].number;
  return 0;
}

/* Milliseconds of a clock that only goes forward. */
int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t sooner(int64_t one, int64_t other) { return one < other ? one : other; }
