/* Asks the real loader from within a real host. Preloaded into the host, it runs when the host and all its libraries
 * are mapped and relocated, and before main: what a module would find then, it finds now. Each module is opened in a
 * child of its own, as if it were the only one; the host's main is never reached.
 *
 * It stands in the global scope behind the host, so it defines no symbol, has no thread-local and needs nothing but libc.
 *
 * LOCKSTEP_PROBE_QUESTIONS names a file of lines `id TAB now|lazy TAB local|global TAB path[:path]… [TAB symbol]…`,
 * of which the last path is the module's and the others are opened before it,
 * LOCKSTEP_PROBE_ANSWERS the one for lines `id TAB kind TAB text`, the last of which is `end TAB TAB`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A module's constructors may do what they like, but not for ever. */
#define MODULE_TIMEOUT_SECONDS 5
#define CHILD_TIMEOUT_MILLISECONDS 10000
#define FIELDS_LIMIT_COUNT 32
#define ANSWER_LIMIT_BYTES 4096
#define WORDS_LIMIT_BYTES 1024

static void put(int file, const char *text) {
  for (size_t length = strlen(text); length > 0;) {
    ssize_t written = write(file, text, length);
    if (written < 0 && errno != EINTR) _exit(111);
    if (written > 0) text += written, length -= (size_t)written;
  }
}

static void put_number(int file, int number) {
  char digits[4] = {(char)('0' + number / 100 % 10), (char)('0' + number / 10 % 10), (char)('0' + number % 10), 0};
  put(file, digits);
}

/* What the handler of signals knows. */
static int opened_report = -1;
static struct link_map *last_before;

/* Whether the loader has done its part: every new object is relocated, which the loader ends by taking away the right to
 * write where its dynamic section is. What happens from then on happens in a constructor. */
static int is_relocated(void) {
  int byte[2];
  if (!last_before->l_next || pipe(byte) != 0) return 0;
  int relocated = 1;
  for (struct link_map *map = last_before->l_next; map; map = map->l_next) {
    /* The kernel writes for us, and only tells us when it may not. */
    if (write(byte[1], map->l_ld, 1) != 1 || read(byte[0], map->l_ld, 1) == 1) relocated = 0;
  }
  return relocated;
}

/* A module may need in its constructors what the host's main would have prepared. */
static void take_signal(int number) {
  put(opened_report, is_relocated() ? "constructor\t" : number == SIGALRM ? "late\t" : "signal\t");
  put_number(opened_report, number);
  _exit(0);
}

static void take_exit(void) {
  put(opened_report, is_relocated() ? "constructor\t" : "exit\t");
  put(opened_report, "000");
  _exit(0);
}

static void take_last(void) {
  for (last_before = _r_debug.r_map; last_before->l_next; last_before = last_before->l_next) continue;
}

static void watch_opening(int report) {
  static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGALRM};
  opened_report = report;
  struct sigaction action = {.sa_handler = take_signal};
  for (size_t index = 0; index < sizeof fatal / sizeof *fatal; index++) sigaction(fatal[index], &action, NULL);
  atexit(take_exit);
  alarm(MODULE_TIMEOUT_SECONDS);
}

/* One module, in a child: says what happened, and ends without running anything else. */
static void open_module(int report, char **field, int count) {
  watch_opening(report);
  int flags = strcmp(field[1], "lazy") == 0 ? RTLD_LAZY : RTLD_NOW;
  flags |= strcmp(field[2], "global") == 0 ? RTLD_GLOBAL : RTLD_LOCAL;
  void *module = NULL;
  for (char *rest = field[3]; rest;) {
    take_last();
    module = dlopen(strsep(&rest, ":"), flags);
    if (!module) {
      const char *error = dlerror();
      put(report, "failed\t");
      put(report, error ? error : "");
      _exit(0);
    }
  }
  for (int index = 4; index < count; index++) {
    dlerror();
    dlsym(module, field[index]);
    const char *error = dlerror();
    if (error) {
      put(report, "symbol\t");
      put(report, error);
      _exit(0);
    }
  }
  put(report, "loaded\t");
  _exit(0);
}

/* One line of what is in a pipe, without waiting for more. */
static void put_words(int file, int words) {
  char text[WORDS_LIMIT_BYTES];
  ssize_t length = read(words, text, sizeof text - 1);
  if (length <= 0) return;
  text[length] = 0;
  for (ssize_t index = 0; index < length; index++)
    if (text[index] == '\n') text[index] = ' ';
  put(file, " ");
  put(file, text);
}

/* What the child said, or how it ended, and what was on its standard error then. */
static void take_answer(int answers, int report, int words, pid_t child) {
  char text[ANSWER_LIMIT_BYTES];
  size_t length = 0;
  int late = 0;
  for (;;) {
    struct pollfd wait_for = {.fd = report, .events = POLLIN};
    int ready = poll(&wait_for, 1, CHILD_TIMEOUT_MILLISECONDS);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      late = 1;
      break;
    }
    ssize_t got = read(report, text + length, sizeof text - 1 - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += (size_t)got;
  }
  text[length] = 0;
  for (size_t index = 0; index < length; index++)
    if (text[index] == '\n') text[index] = ' ';
  if (late) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (length > 0) {
    put(answers, text);
  } else if (late) {
    put(answers, "late\t");
  } else {
    int is_signal = WIFSIGNALED(status);
    put(answers, is_signal ? "signal\t" : "exit\t");
    put_number(answers, is_signal ? WTERMSIG(status) : WEXITSTATUS(status));
    put_words(answers, words);
  }
  put(answers, "\n");
}

static void answer(int answers, char *question) {
  char *field[FIELDS_LIMIT_COUNT] = {0};
  int count = 0;
  for (char *rest = question; rest && count < FIELDS_LIMIT_COUNT;) field[count++] = strsep(&rest, "\t");
  if (count < 4) _exit(112);
  put(answers, field[0]);
  put(answers, "\t");
  int report[2];
  int words[2];
  /* A module that says more than a pipe holds must not wait for a reader. */
  if (pipe2(report, O_CLOEXEC) != 0 || pipe2(words, O_CLOEXEC | O_NONBLOCK) != 0) _exit(113);
  pid_t child = fork();
  if (child < 0) _exit(114);
  if (child == 0) {
    close(answers);
    close(report[0]);
    dup2(words[1], STDERR_FILENO);
    open_module(report[1], field, count);
  }
  close(report[1]);
  close(words[1]);
  take_answer(answers, report[0], words[0], child);
  close(report[0]);
  close(words[0]);
}

__attribute__((constructor)) static void probe(void) {
  const char *asked = getenv("LOCKSTEP_PROBE_QUESTIONS");
  const char *told = getenv("LOCKSTEP_PROBE_ANSWERS");
  if (!asked || !told) return;
  int questions = open(asked, O_RDONLY | O_CLOEXEC);
  int answers = open(told, O_WRONLY | O_APPEND | O_CLOEXEC);
  struct stat status;
  if (questions < 0 || answers < 0 || fstat(questions, &status) != 0) _exit(115);
  size_t length = (size_t)status.st_size;
  /* The text stays as it is in the file, but for the ends of its fields. */
  char *text = mmap(NULL, length + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (text == MAP_FAILED) _exit(116);
  for (size_t done = 0; done < length;) {
    ssize_t got = read(questions, text + done, length - done);
    if (got <= 0) _exit(117);
    done += (size_t)got;
  }
  for (char *rest = text; rest && *rest;) answer(answers, strsep(&rest, "\n"));
  put(answers, "end\t\t\n");
  _exit(0);
}
