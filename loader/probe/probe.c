/* Makes a process that is the host open a plugin, as `src/plugin.rs` does in a process that is the loader.
 *
 * Preloaded into the host, it takes the place of the host's main: by then the host and its libraries are mapped and bound
 * and their constructors have run, so the plugin finds what it will find, and nothing else of the host's has happened.
 *
 * It stands in the global scope between the host and its libraries. So it exports nothing but the one function that it
 * stands in for, has no thread-local, and needs libc alone: glibc since 2.28, or musl. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The variable that holds the question; `src/within.rs` writes it. */
#define QUESTION_VARIABLE "LOCKSTEP_PROBE_QUESTION="
#define PRELOAD_VARIABLE "LD_PRELOAD="
/* No field of a record is longer; longer ones are cut. */
#define FIELD_LIMIT_BYTES (64 * 1024)
/* A record has so many fields. */
#define FIELDS_LIMIT_COUNT 5
/* A string that goes on for longer is not read further. */
#define STRING_LIMIT_BYTES (64 * 1024)
/* The command line takes no more. */
#define CALL_ARGUMENTS_LIMIT_COUNT 4
/* A number of 64 bits, its sign and its end. */
#define NUMBER_LIMIT_BYTES 24
/* A few words around a number. */
#define MESSAGE_LIMIT_BYTES 80
/* The status of a process that could not tell its parent anything any more. */
#define CHANNEL_LOST_STATUS 117
/* The status of a process in which the probe itself has failed; standard error says why. */
#define INTERNAL_STATUS 70

/* The process that was asked, and the descriptor on which it tells. */
static pid_t owner;
static int channel;
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

/* -- The channel: records as in `src/channel.rs`. -- */

struct field {
  const char *bytes;
  size_t length;
};

static struct field field_of(const char *text) { return (struct field){text, text ? strlen(text) : 0}; }

/* Tells a record with one write, or ends the process: as a copy that the plugin forked, or because the plugin has closed
 * the channel, after which nothing more could be told. */
static void tell(char kind, const struct field *fields, size_t count) {
  static char record[1 + FIELDS_LIMIT_COUNT * (4 + FIELD_LIMIT_BYTES)];
  if (getpid() != owner) _exit(0);
  char *end = record;
  *end++ = kind;
  for (size_t index = 0; index < count; index++) {
    size_t length = fields[index].length;
    if (length > FIELD_LIMIT_BYTES) length = FIELD_LIMIT_BYTES;
    for (int shift = 0; shift < 32; shift += 8) *end++ = (char)(length >> shift & 0xff);
    if (length > 0) memcpy(end, fields[index].bytes, length);
    end += length;
  }
  for (const char *rest = record; rest < end;) {
    ssize_t written = write(channel, rest, (size_t)(end - rest));
    if (written > 0) rest += written;
    else if (written == 0 || errno != EINTR) _exit(CHANNEL_LOST_STATUS);
  }
}

static void tell_texts(char kind, const char *first, const char *second) {
  tell(kind, (struct field[]){field_of(first), field_of(second)}, second ? 2 : 1);
}

static void tell_phase(const char *phase, const char *symbol) {
  tell_texts('p', phase, symbol ? symbol : "");
}

/* The loader's words, or these when it has none. */
static const char *words_or(const char *otherwise) {
  const char *words = dlerror();
  return words ? words : otherwise;
}

/* -- The plugin -- */

/* A function of the plugin to call. */
struct call {
  const char *symbol;
  const char *returns;
  uintptr_t words[CALL_ARGUMENTS_LIMIT_COUNT];
  size_t words_count;
};

/* What a call came to: a kind of value, its bytes, and what is wrong with it. */
struct result {
  const char *kind;
  struct field value;
  const char *problem;
};

/* The address of a symbol; null with a message. */
static void *address_of(void *plugin, const char *symbol, const char **message) {
  dlerror();
  void *address = dlsym(plugin, symbol);
  *message = address ? NULL : words_or("the symbol is there, but its address is null");
  return address;
}

/* How long the character at the beginning is (RFC 3629, section 4), or 0 when it is none. */
static size_t character_length(const unsigned char *bytes, size_t left) {
  unsigned char first = bytes[0], low = 0x80, high = 0xbf;
  if (first < 0x80) return 1;
  size_t length = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  if (length == 0 || length > left) return 0;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  if (bytes[1] < low || bytes[1] > high) return 0;
  for (size_t index = 2; index < length; index++)
    if ((bytes[index] & 0xc0) != 0x80) return 0;
  return length;
}

static int is_utf8(const char *text, size_t length) {
  for (size_t at = 0, step; at < length; at += step) {
    step = character_length((const unsigned char *)text + at, length - at);
    if (step == 0) return 0;
  }
  return 1;
}

static struct result string_result(const char *text) {
  static char endless[MESSAGE_LIMIT_BYTES];
  if (!text) return (struct result){"", {0}, "returned a null pointer"};
  size_t length = 0;
  while (length < STRING_LIMIT_BYTES && text[length]) length++;
  if (length == STRING_LIMIT_BYTES) {
    snprintf(endless, sizeof endless, "returned a string without a NUL in its first %d bytes", STRING_LIMIT_BYTES);
    return (struct result){"", {0}, endless};
  }
  return (struct result){"s", {text, length}, is_utf8(text, length) ? NULL : "returned text that is not UTF-8"};
}

static struct result integer_result(int64_t number) {
  static char digits[NUMBER_LIMIT_BYTES];
  snprintf(digits, sizeof digits, "%lld", (long long)number);
  return (struct result){"i", field_of(digits), NULL};
}

/* Calls the function at an address: that it takes these words, in registers, and returns this, is the contract. */
#define CALL_AS(TYPE, address, w, count)                                                                       \
  ((count) == 0   ? ((TYPE(*)(void))(address))()                                                               \
   : (count) == 1 ? ((TYPE(*)(uintptr_t))(address))((w)[0])                                                    \
   : (count) == 2 ? ((TYPE(*)(uintptr_t, uintptr_t))(address))((w)[0], (w)[1])                                 \
   : (count) == 3 ? ((TYPE(*)(uintptr_t, uintptr_t, uintptr_t))(address))((w)[0], (w)[1], (w)[2])              \
                  : ((TYPE(*)(uintptr_t, uintptr_t, uintptr_t, uintptr_t))(address))((w)[0], (w)[1], (w)[2], (w)[3]))

static struct result invoke(void *plugin, const struct call *call) {
  const char *message;
  void *address = address_of(plugin, call->symbol, &message);
  if (!address) return (struct result){"", {0}, message};
  const uintptr_t *words = call->words;
  if (strcmp(call->returns, "string") == 0) return string_result(CALL_AS(const char *, address, words, call->words_count));
  if (strcmp(call->returns, "integer") == 0) return integer_result(CALL_AS(int64_t, address, words, call->words_count));
  if (strcmp(call->returns, "int32") == 0) return integer_result(CALL_AS(int, address, words, call->words_count));
  CALL_AS(void, address, words, call->words_count);
  return (struct result){"", {0}, NULL};
}

/* Reads the call that begins at a place, with its arguments, and moves the place behind it. */
static struct call take_call(char **place, const struct item *first) {
  struct call call = {.symbol = first->value, .returns = "none"};
  struct item item;
  for (char *next = *place; next_item(&next, question_end, &item) == 1; *place = next) {
    if (item.kind == 'r') call.returns = item.value;
    else if ((item.kind != 't' && item.kind != 'i') || call.words_count == CALL_ARGUMENTS_LIMIT_COUNT) break;
    else if (item.kind == 't') call.words[call.words_count++] = (uintptr_t)item.value;
    else {
      /* Written by the loader, so it is a number that fits; the sign wraps round as it does in a register. */
      int is_negative = item.value[0] == '-';
      uint64_t number = 0;
      for (const char *digit = item.value + is_negative; *digit; digit++) number = number * 10 + (uint64_t)(*digit - '0');
      call.words[call.words_count++] = (uintptr_t)(is_negative ? 0 - number : number);
    }
  }
  return call;
}

/* Looks up every symbol, and says whether all are there. */
static int look_up(void *plugin) {
  int all_there = 1;
  struct item item;
  for (char *place = question; next_item(&place, question_end, &item) == 1;) {
    if (item.kind != 's') continue;
    tell_phase("symbol", item.value);
    const char *message;
    if (!address_of(plugin, item.value, &message)) {
      tell_texts('m', item.value, message);
      all_there = 0;
    }
  }
  return all_there;
}

static void make_calls(void *plugin) {
  struct item item;
  for (char *place = question; next_item(&place, question_end, &item) == 1;) {
    if (item.kind != 'c') continue;
    struct call call = take_call(&place, &item);
    tell_phase("call", call.symbol);
    struct result result = invoke(plugin, &call);
    struct field fields[] = {field_of(call.symbol), field_of(call.returns), field_of(result.kind), result.value,
                             field_of(result.problem)};
    tell('r', fields, FIELDS_LIMIT_COUNT);
  }
}

/* Opens the plugin, and tells all that there is to tell. */
static void open_plugin(void) {
  tell_phase("open", NULL);
  int flags = (value_of('l') ? RTLD_LAZY : RTLD_NOW) | (value_of('g') ? RTLD_GLOBAL : RTLD_LOCAL);
  void *plugin = dlopen(value_of('p'), flags);
  if (!plugin) {
    tell_texts('n', words_or("dlopen failed, but system did not report the error"), NULL);
    return;
  }
  if (look_up(plugin)) make_calls(plugin);
  if (value_of('k')) return;
  tell_phase("close", NULL);
  if (dlclose(plugin) != 0) tell_texts('c', words_or("dlclose failed, but system did not report the error"), NULL);
}

/* What runs in the place of the host's main. Handlers that the host's constructors have set would hide how a plugin ends. */
static int open_in_place_of_main(int argc, char **argv, char **environment) {
  (void)argc, (void)argv, (void)environment;
  static const int restored[] = {SIGSEGV, SIGBUS, SIGPIPE};
  for (size_t index = 0; index < sizeof restored / sizeof *restored; index++) signal(restored[index], SIG_DFL);
  open_plugin();
  tell('d', NULL, 0);
  tell_phase("exit", NULL);
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
  channel = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (channel < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0) fail("take the channel to the parent");
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
    owner = getpid();
    take_standard_input();
    main = open_in_place_of_main;
  }
  return real(main, argc, argv, init, fini, loader_fini, stack_end);
}
