/* Opens one plugin in this process, looks up symbols, calls functions, and tells what it does, as `src/plugin.rs` does.
 *
 * The probe and the loader in C include this file. In the probe it stands in the host's process, so it exports nothing, has
 * no thread-local, and needs libc alone. */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "contract.h"
#include "utf8.h"

/* No field of a record is longer; longer ones are cut. */
#define FIELD_LIMIT_BYTES (64 * 1024)
/* A record has so many fields. */
#define FIELDS_LIMIT_COUNT 5
/* A string that goes on for longer is not read further. */
#define STRING_LIMIT_BYTES (64 * 1024)
/* A number of 64 bits, its sign and its end. */
#define NUMBER_LIMIT_BYTES 24
/* A few words around a number. */
#define MESSAGE_LIMIT_BYTES 80

/* The process that opens the plugin, and the descriptor on which it tells. */
static pid_t owner;
static int channel;

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

/* Looks up every symbol, those of calls too, and says whether all are there. */
static int look_up(const struct contract *contract, void *plugin) {
  int all_there = 1;
  for (size_t index = 0; index < contract->symbols_count; index++) {
    const char *symbol = contract->symbols[index], *message;
    tell_phase("symbol", symbol);
    if (!address_of(plugin, symbol, &message)) {
      tell_texts('m', symbol, message);
      all_there = 0;
    }
  }
  return all_there;
}

static void make_calls(const struct contract *contract, void *plugin) {
  for (size_t index = 0; index < contract->calls_count; index++) {
    const struct call *call = &contract->calls[index];
    tell_phase("call", call->symbol);
    struct result result = invoke(plugin, call);
    struct field fields[] = {field_of(call->symbol), field_of(call->returns), field_of(result.kind), result.value,
                             field_of(result.problem)};
    tell('r', fields, FIELDS_LIMIT_COUNT);
  }
}

/* Opens a file as the contract says; null when that was refused, which is told then. */
static void *open_file(const struct contract *contract, const char *path) {
  int flags = (contract->is_lazy ? RTLD_LAZY : RTLD_NOW) | (contract->is_global ? RTLD_GLOBAL : RTLD_LOCAL);
  void *opened = dlopen(path, flags);
  if (!opened) tell_texts('n', words_or("dlopen failed, but system did not report the error"), NULL);
  return opened;
}

static void open_plugin(const struct contract *contract) {
  for (size_t index = 0; index < contract->before_count; index++) {
    tell_phase("before", contract->before[index]);
    /* It stays: what is opened now may use it. */
    if (!open_file(contract, contract->before[index])) return;
  }
  tell_phase("open", NULL);
  void *plugin = open_file(contract, contract->plugin);
  if (!plugin) return;
  if (look_up(contract, plugin)) make_calls(contract, plugin);
  if (contract->is_kept_open) return;
  tell_phase("close", NULL);
  if (dlclose(plugin) != 0) tell_texts('c', words_or("dlclose failed, but system did not report the error"), NULL);
}

/* Opens the plugin, and tells this process's parent all that there is to tell. Handlers of the process's own would hide how
 * a plugin ends. */
static void open_one(const struct contract *contract, pid_t teller, int parent) {
  static const int restored[] = {SIGSEGV, SIGBUS, SIGPIPE};
  for (size_t index = 0; index < sizeof restored / sizeof *restored; index++) signal(restored[index], SIG_DFL);
  owner = teller;
  channel = parent;
  open_plugin(contract);
  tell('d', NULL, 0);
  tell_phase("exit", NULL);
}
