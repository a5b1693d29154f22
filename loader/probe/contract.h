/* How plugins are opened, and what they must have. */
#ifndef LOCKSTEP_CONTRACT_H
#define LOCKSTEP_CONTRACT_H

#include <stddef.h>
#include <stdint.h>

/* A call passes its arguments in registers, which hold four words in every calling convention that matters here. */
#define CALL_ARGUMENTS_LIMIT_COUNT 4
/* The status of a process that could not tell its parent anything any more. */
#define CHANNEL_LOST_STATUS 117

/* A function of the plugin to call: numbers and addresses of strings in, `string`, `integer`, `int32` or `none` out. */
struct call {
  const char *symbol;
  const char *returns;
  uintptr_t words[CALL_ARGUMENTS_LIMIT_COUNT];
  /* Whether the word is the address of a string. */
  int is_text[CALL_ARGUMENTS_LIMIT_COUNT];
  size_t words_count;
};

struct contract {
  /* A path with a slash, so that it is not searched for. */
  const char *plugin;
  /* The paths of plugins that are opened before, in order, and stay. */
  const char **before;
  size_t before_count;
  int is_lazy, is_global, is_kept_open;
  /* Each name once, those of calls too. */
  const char **symbols;
  size_t symbols_count;
  struct call *calls;
  size_t calls_count;
};

#endif
