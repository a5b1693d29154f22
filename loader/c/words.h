/* The words of a command line, read one after the other; what is wrong ends the program with the reason. */
#ifndef LOCKSTEP_WORDS_H
#define LOCKSTEP_WORDS_H

#include "loader.h"

struct words {
  char **next, **end;
  /* Whether `--` has ended the flags. */
  int is_separated;
};

#define HINT_HELP "`lockstep-loader help` lists commands and flags"

char *next_flag(struct words *words);
char *value_of(struct words *words, const char *flag);
char *text_value(struct words *words, const char *flag, const char *takes);
void bad_value(const char *flag, const char *takes, const char *value) __attribute__((noreturn));
int64_t number_value(struct words *words, const char *flag, uint64_t limit);
int choice_value(struct words *words, const char *flag, const char *takes, const char *const *choices);
void once(const char *flag, int *is_given);
int64_t milliseconds(struct words *words, const char *flag, int64_t *place);
int read_integer(const char *text, int64_t *number);
struct words several(struct words *words, const char *flag);
void *grow(void *list, size_t count, size_t size);
void take_common(struct common *common, const char *flag, struct words *words);
void finish_common(struct common *common);

#endif
