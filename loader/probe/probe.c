/* Makes a process that is the host open a plugin, as `src/plugin.rs` does in a process that is the loader.
 *
 * Preloaded into the host, it takes the place of the host's main: by then the host and its libraries are mapped and bound
 * and their constructors have run, so the plugin finds what it will find, and nothing else of the host's has happened.
 *
 * It stands in the global scope between the host and its libraries. So it exports nothing but the one function that it
 * stands in for, has no thread-local, and needs libc alone: glibc since 2.28, or musl. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "open_one.c"

/* The variable that holds the question; `src/within.rs` writes it. */
#define QUESTION_VARIABLE "LOCKSTEP_PROBE_QUESTION="
#define PRELOAD_VARIABLE "LD_PRELOAD="
/* The status of a process in which the probe itself has failed; standard error says why. */
#define INTERNAL_STATUS 70

/* The process that was asked, and what was its standard input. */
static pid_t asked;
static int parent;
/* The question's items, and their end. */
static char *question;
static const char *question_end;

/* Ends the process for a fault that is not the plugin's. */
static void fail(const char *what) {
  const char *parts[] = {"lockstep-probe: failed to ", what, "\n"};
  for (size_t index = 0; index < 3; index++)
    if (write(STDERR_FILENO, parts[index], strlen(parts[index])) < 0) break;
  _exit(INTERNAL_STATUS);
}

/* -- The question: items such as `s4:name,`, a letter, the number of bytes, and the bytes. -- */

struct item {
  char kind;
  /* Ends with NUL, which takes the place of the comma. */
  char *value;
};

/* Takes the next item; 0 at the end, and -1 when there is none where one must be. */
static int next_item(char **place, const char *end, struct item *item) {
  char *at = *place;
  if (at == end) return 0;
  item->kind = *at++;
  size_t length = 0, left = (size_t)(end - at);
  for (; left > 0 && *at >= '0' && *at <= '9'; at++, left--) {
    length = length * 10 + (size_t)(*at - '0');
    if (length > left) return -1;
  }
  if (left < 2 || *at != ':' || length > left - 2) return -1;
  item->value = at + 1;
  if (item->value[length] != ',' && item->value[length] != 0) return -1;
  *place = item->value + length + 1;
  return 1;
}

/* The first item of a kind, or null. */
static char *value_of(char kind) {
  struct item item;
  for (char *place = question; next_item(&place, question_end, &item) == 1;)
    if (item.kind == kind) return item.value;
  return NULL;
}

/* Copies the question from where the host may write (it may use the space for its title), and ends every value with NUL. */
static void keep_question(const char *text) {
  size_t length = strlen(text);
  question = mmap(NULL, length + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (question == MAP_FAILED) fail("keep the question");
  memcpy(question, text, length);
  question_end = question + length;
  struct item item;
  int found;
  for (char *place = question; (found = next_item(&place, question_end, &item)) != 0; place[-1] = 0)
    if (found < 0) fail("read the question");
}

/* Written by the loader, so it is a number that fits; the sign wraps round as it does in a register. */
static uintptr_t number_of(const char *text) {
  int is_negative = text[0] == '-';
  uint64_t number = 0;
  for (const char *digit = text + is_negative; *digit; digit++) number = number * 10 + (uint64_t)(*digit - '0');
  return (uintptr_t)(is_negative ? 0 - number : number);
}

/* Takes an item that belongs to the call before it. */
static void take_part(struct call *call, const struct item *item) {
  if (item->kind == 'r') {
    call->returns = item->value;
  } else if (call->words_count < CALL_ARGUMENTS_LIMIT_COUNT) {
    call->words[call->words_count++] = item->kind == 't' ? (uintptr_t)item->value : number_of(item->value);
  }
}

/* The question as a contract. There are no more plugins, symbols and calls than items. */
static struct contract asked_contract(void) {
  size_t count = 0;
  struct item item;
  for (char *place = question; next_item(&place, question_end, &item) == 1;) count++;
  struct contract contract = {.before = calloc(count + 1, sizeof(char *)),
                              .symbols = calloc(count + 1, sizeof(char *)),
                              .calls = calloc(count + 1, sizeof(struct call))};
  if (!contract.before || !contract.symbols || !contract.calls) fail("keep the contract");
  for (char *place = question; next_item(&place, question_end, &item) == 1;) {
    switch (item.kind) {
      case 'l': contract.is_lazy = 1; break;
      case 'g': contract.is_global = 1; break;
      case 'k': contract.is_kept_open = 1; break;
      case 'b': contract.before[contract.before_count++] = item.value; break;
      case 'p': contract.plugin = item.value; break;
      case 's': contract.symbols[contract.symbols_count++] = item.value; break;
      case 'c': contract.calls[contract.calls_count++] = (struct call){.symbol = item.value, .returns = "none"}; break;
      case 'r': case 't': case 'i':
        if (contract.calls_count > 0) take_part(&contract.calls[contract.calls_count - 1], &item);
        break;
    }
  }
  return contract;
}

/* What runs in the place of the host's main; a copy that the host's constructors have made has nothing to do here. */
static int open_in_place_of_main(int argc, char **argv, char **environment) {
  (void)argc, (void)argv, (void)environment;
  if (getpid() != asked) _exit(0);
  struct contract contract = asked_contract();
  open_one(&contract, asked, parent);
  return 0;
}

/* -- The host's start -- */

static int is_variable(const char *entry, const char *name) { return strncmp(entry, name, strlen(name)) == 0; }

/* Removes what the loader has added to an environment. */
static void clean(char **environment) {
  char *preload = value_of('e');
  char **kept = environment;
  for (char **entry = environment; *entry; entry++) {
    if (is_variable(*entry, QUESTION_VARIABLE)) continue;
    if (!is_variable(*entry, PRELOAD_VARIABLE)) *kept++ = *entry;
    else if (preload) *kept++ = preload;
  }
  *kept = NULL;
}

/* Takes what is standard input now as the channel, and puts `/dev/null` in its place. */
static void take_standard_input(void) {
  parent = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (parent < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0) fail("take the channel to the parent");
  close(null);
}

/* Whether this process is the host that is asked. The interpreter of a script has other arguments, and so has whatever a
 * host starts: those do what they would have done. */
static int is_asked(int argc, char **argv) {
  char **environment = argv + argc + 1;
  char **entry = environment;
  while (*entry && !is_variable(*entry, QUESTION_VARIABLE)) entry++;
  if (!*entry || argc != 1) return 0;
  keep_question(*entry + strlen(QUESTION_VARIABLE));
  const char *program = value_of('w');
  if (!program || strcmp(argv[0], program) != 0 || !value_of('p')) return 0;
  clean(environment);
  /* A library's constructor may have made another one. */
  if (environ && environ != environment) clean(environ);
  return 1;
}

typedef int main_function(int, char **, char **);
typedef int start_function(main_function *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

/* What the first instructions of every program call: runs the constructors that have not run yet, then main. */
__attribute__((visibility("default"))) int __libc_start_main(main_function *main, int argc, char **argv,
                                                             void (*init)(void), void (*fini)(void),
                                                             void (*loader_fini)(void), void *stack_end) {
  start_function *real = (start_function *)dlsym(RTLD_NEXT, "__libc_start_main");
  if (!real) fail("find the C library's start");
  if (is_asked(argc, argv)) {
    /* Now, because the host's constructors may fork, and both would come to main. */
    asked = getpid();
    take_standard_input();
    main = open_in_place_of_main;
  }
  return real(main, argc, argv, init, fini, loader_fini, stack_end);
}
