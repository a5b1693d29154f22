/* The words of a command line, and the flags that `open` and `drive` share. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

/* For each plugin, and for a command, when nothing else is said. */
#define DEFAULT_TIMEOUT_MILLISECONDS 30000
/* No wait is longer. */
#define TIMEOUT_LIMIT_MILLISECONDS 3600000
/* For each stream and body, when nothing else is said. */
#define DEFAULT_OUTPUT_LIMIT_BYTES (256 * 1024)
/* No stream or body keeps more. */
#define OUTPUT_LIMIT_LIMIT_BYTES (64 * 1024 * 1024)

/* Says why a command line is not understood, and what to do next. */
void fail_usage(const char *hint, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("error[usage]: ", stderr);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\nhint: %s\n", hint);
  va_end(arguments);
  exit(STATUS_USAGE);
}

/* The next flag; null at the first word that is not one, and at `--`, which is skipped. */
char *next_flag(struct words *words) {
  if (words->next == words->end || (*words->next)[0] != '-') return NULL;
  char *flag = *words->next++;
  words->is_separated = strcmp(flag, "--") == 0;
  return words->is_separated ? NULL : flag;
}

char *value_of(struct words *words, const char *flag) {
  if (words->next == words->end) fail_usage(HINT_HELP, "`%s` lacks its value", flag);
  return *words->next++;
}

void bad_value(const char *flag, const char *takes, const char *value) {
  fail_usage(HINT_HELP, "`%s` takes %s, not `%s`", flag, takes, value);
}

char *text_value(struct words *words, const char *flag, const char *takes) {
  char *value = value_of(words, flag);
  if (!is_utf8(value, strlen(value))) bad_value(flag, takes, value);
  return value;
}

/* Reads digits that give at most the limit; says whether they do. */
static int read_number(const char *text, uint64_t limit, uint64_t *number) {
  if (!*text) return 0;
  for (*number = 0; *text; text++) {
    uint64_t digit = (uint64_t)(*text - '0');
    if (*text < '0' || *text > '9' || *number > (limit - digit) / 10) return 0;
    *number = *number * 10 + digit;
  }
  return *number <= limit;
}

/* Reads a whole number of 64 bits with its sign. */
int read_integer(const char *text, int64_t *number) {
  int is_negative = text[0] == '-';
  uint64_t magnitude;
  if (!read_number(text + (is_negative || text[0] == '+'), (uint64_t)INT64_MAX + (uint64_t)is_negative, &magnitude)) return 0;
  *number = is_negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
  return 1;
}

int64_t number_value(struct words *words, const char *flag, uint64_t limit) {
  char *takes = text_of("a number from 1 to %llu", (unsigned long long)limit);
  char *value = value_of(words, flag);
  uint64_t number;
  if (!read_number(value, limit, &number) || number == 0) bad_value(flag, takes, value);
  free(takes);
  return (int64_t)number;
}

/* The place of the value among the choices, which end with null. */
int choice_value(struct words *words, const char *flag, const char *takes, const char *const *choices) {
  char *value = value_of(words, flag);
  for (int index = 0; choices[index]; index++)
    if (strcmp(choices[index], value) == 0) return index;
  bad_value(flag, takes, value);
}

/* Marks a flag that may stand once. */
void once(const char *flag, int *is_given) {
  if (*is_given) fail_usage(HINT_HELP, "`%s` is given twice", flag);
  *is_given = 1;
}

/* Takes a time, which is 0 until it is given. */
int64_t milliseconds(struct words *words, const char *flag, int64_t *place) {
  int64_t value = number_value(words, flag, TIMEOUT_LIMIT_MILLISECONDS);
  if (*place) fail_usage(HINT_HELP, "`%s` is given twice", flag);
  return *place = value;
}

/* So many of the next words, which are a command line of their own. */
struct words several(struct words *words, const char *flag) {
  char *value = value_of(words, flag);
  uint64_t count;
  if (!read_number(value, (uint64_t)(words->end - words->next), &count) || count == 0)
    bad_value(flag, "a number of words", value);
  struct words taken = {words->next, words->next + count, 0};
  words->next = taken.end;
  return taken;
}

/* A list with room for one more. */
void *grow(void *list, size_t count, size_t size) { return need(realloc(list, (count + 1) * size)); }

/* Reads `UID:GID`. Root is nobody to be, and the largest number means "no change" to the kernel. */
static int read_user(const char *text, uint64_t *uid, uint64_t *gid) {
  const char *colon = strchr(text, ':');
  if (!colon) return 0;
  char *first = need(strndup(text, (size_t)(colon - text)));
  int is_read = read_number(first, UINT32_MAX - 1, uid) && read_number(colon + 1, UINT32_MAX - 1, gid);
  free(first);
  return is_read && *uid > 0 && *gid > 0;
}

void take_common(struct common *common, const char *flag, struct words *words) {
  if (strcmp(flag, "--timeout-ms") == 0) {
    milliseconds(words, flag, &common->timeout_ms);
  } else if (strcmp(flag, "--output-limit-bytes") == 0) {
    int64_t limit = number_value(words, flag, OUTPUT_LIMIT_LIMIT_BYTES);
    if (common->output_limit_bytes) fail_usage(HINT_HELP, "`%s` is given twice", flag);
    common->output_limit_bytes = limit;
  } else if (strcmp(flag, "--user") == 0) {
    char *value = value_of(words, flag);
    uint64_t uid, gid;
    if (!read_user(value, &uid, &gid)) bad_value(flag, "`UID:GID`", value);
    once(flag, &common->has_user);
    common->uid = (uid_t)uid, common->gid = (gid_t)gid;
  } else if (strcmp(flag, "--env") == 0) {
    char *value = value_of(words, flag);
    if (value[0] == '=' || !strchr(value, '=')) bad_value(flag, "`NAME=VALUE`", value);
    common->environment = grow(common->environment, common->environment_count, sizeof(char *));
    common->environment[common->environment_count++] = value;
  } else {
    fail_usage(HINT_HELP, "unknown flag `%s`", flag);
  }
}

/* Fills in what was not said. */
void finish_common(struct common *common) {
  if (!common->timeout_ms) common->timeout_ms = DEFAULT_TIMEOUT_MILLISECONDS;
  if (!common->output_limit_bytes) common->output_limit_bytes = DEFAULT_OUTPUT_LIMIT_BYTES;
}
