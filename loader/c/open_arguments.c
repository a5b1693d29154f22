/* The flags of `open`. */
#define _GNU_SOURCE
#include <string.h>

#include "words.h"

/* A name without a slash would be searched for in the library path; a plugin is a file. */
char *as_path(char *plugin) { return strchr(plugin, '/') ? plugin : text_of("./%s", plugin); }

static struct call *last_call(struct contract *contract, const char *flag) {
  if (contract->calls_count == 0) fail_usage(HINT_HELP, "`%s` must follow a `--call`", flag);
  return &contract->calls[contract->calls_count - 1];
}

static void add_argument(struct contract *contract, const char *flag, uintptr_t word, int is_text) {
  struct call *call = last_call(contract, flag);
  if (call->words_count == CALL_ARGUMENTS_LIMIT_COUNT)
    fail_usage(HINT_HELP, "the call of `%s` has more than %d arguments", call->symbol, CALL_ARGUMENTS_LIMIT_COUNT);
  call->is_text[call->words_count] = is_text;
  call->words[call->words_count++] = word;
}

static void add_symbol(struct contract *contract, const char *name) {
  for (size_t index = 0; index < contract->symbols_count; index++)
    if (strcmp(contract->symbols[index], name) == 0) return;
  contract->symbols = grow(contract->symbols, contract->symbols_count, sizeof(char *));
  contract->symbols[contract->symbols_count++] = name;
}

/* An absolute path with none of these bytes. */
static char *path_value(struct words *words, const char *flag, const char *takes, const char *without) {
  char *value = value_of(words, flag);
  if (value[0] != '/' || strpbrk(value, without)) bad_value(flag, takes, value);
  return value;
}

/* Takes a flag that says how plugins are opened or what they must have; says whether it is one. */
static int take_contract(struct contract *contract, const char *flag, struct words *words) {
  static const char *const kinds[] = {"none", "string", "integer", "int32", NULL};
  if (strcmp(flag, "--keep-open") == 0) {
    contract->is_kept_open = 1;
  } else if (strcmp(flag, "--after") == 0) {
    contract->before = grow(contract->before, contract->before_count, sizeof(char *));
    contract->before[contract->before_count++] = as_path(value_of(words, flag));
  } else if (strcmp(flag, "--symbol") == 0) {
    add_symbol(contract, value_of(words, flag));
  } else if (strcmp(flag, "--call") == 0) {
    contract->calls = grow(contract->calls, contract->calls_count, sizeof(struct call));
    contract->calls[contract->calls_count++] = (struct call){.symbol = value_of(words, flag), .returns = kinds[0]};
  } else if (strcmp(flag, "--arg-string") == 0) {
    add_argument(contract, flag, (uintptr_t)value_of(words, flag), 1);
  } else if (strcmp(flag, "--arg-integer") == 0) {
    char *value = value_of(words, flag);
    int64_t number;
    if (!read_integer(value, &number)) bad_value(flag, "a whole number of 64 bits", value);
    add_argument(contract, flag, (uintptr_t)number, 0);
  } else if (strcmp(flag, "--returns") == 0) {
    int kind = choice_value(words, flag, "`string`, `integer`, `int32` or `none`", kinds);
    last_call(contract, flag)->returns = kinds[kind];
  } else {
    return 0;
  }
  return 1;
}

/* Reads the words after `open`. */
struct open_options parse_open(int count, char **given) {
  static const char *const bindings[] = {"now", "lazy", NULL}, *const scopes[] = {"local", "global", NULL};
  static const char needs_both[] = "give both or neither: the probe makes the host open the plugins";
  struct words words = {given, given + count, 0};
  struct open_options options = {0};
  struct contract *contract = &options.contract;
  int has_binding = 0, has_scope = 0, has_within = 0, has_probe = 0;
  for (char *flag; (flag = next_flag(&words));) {
    if (strcmp(flag, "--flags") == 0) {
      contract->is_lazy = choice_value(&words, flag, "`now` or `lazy`", bindings);
      once(flag, &has_binding);
    } else if (strcmp(flag, "--scope") == 0) {
      contract->is_global = choice_value(&words, flag, "`local` or `global`", scopes);
      once(flag, &has_scope);
    } else if (strcmp(flag, "--within") == 0) {
      options.within = path_value(&words, flag, "an absolute path", "");
      once(flag, &has_within);
    } else if (strcmp(flag, "--probe") == 0) {
      /* Loaders take these for the ends of a name in a list. */
      options.probe = path_value(&words, flag, "an absolute path without spaces and colons", " \t\n\v\f\r:");
      once(flag, &has_probe);
    } else if (strcmp(flag, "--scratch") == 0) {
      options.scratch = grow(options.scratch, options.scratch_count, sizeof(char *));
      options.scratch[options.scratch_count++] = value_of(&words, flag);
    } else if (!take_contract(contract, flag, &words)) {
      take_common(&options.common, flag, &words);
    }
  }
  if (has_within && !has_probe) fail_usage(needs_both, "`--within` is given without `--probe`");
  if (has_probe && !has_within) fail_usage(needs_both, "`--probe` is given without `--within`");
  for (size_t index = 0; index < contract->calls_count; index++) add_symbol(contract, contract->calls[index].symbol);
  options.plugins = words.next;
  options.plugins_count = (size_t)(words.end - words.next);
  options.flags = given;
  options.flags_count = (size_t)(words.next - given - words.is_separated);
  if (options.plugins_count == 0) fail_usage("name the plugins' files after the flags", "no plugin given");
  for (size_t index = 0; index < options.plugins_count && !words.is_separated; index++)
    if (options.plugins[index][0] == '-')
      fail_usage("put flags before the plugins, or `--` before plugins that look like flags", "`%s` stands after a plugin",
                 options.plugins[index]);
  finish_common(&options.common);
  return options;
}
