/* What of a plugin's records can be believed: those that are told by `open_one.c`, in the order in which it tells them.
 *
 * The plugin lives in the process that tells, so it can tell what it likes of itself. It cannot tell less than a plugin would
 * that keeps the contract, nor more, nor something else. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "words.h"

#define FIELD_LIMIT_BYTES (64 * 1024)
#define FIELDS_LIMIT_COUNT 5

struct record {
  /* 0 at the end, and -1 for what is no record. */
  int kind;
  struct {
    const char *bytes;
    size_t length;
  } fields[FIELDS_LIMIT_COUNT];
};

struct records {
  const char *next, *end;
  int is_cut;
};

/* Takes the next record, of as many fields as its kind has. */
static struct record take(struct records *records) {
  static const char kinds[] = "pnmrcd";
  static const size_t counts[] = {2, 1, 2, 5, 1, 0};
  struct record record = {.kind = records->is_cut ? -1 : 0};
  if (records->next == records->end) return record;
  const char *place = strchr(kinds, *records->next);
  if (!place || !*place) return (struct record){.kind = -1};
  record.kind = *records->next++;
  for (size_t index = 0; index < counts[place - kinds]; index++) {
    size_t left = (size_t)(records->end - records->next), length = 0;
    if (left < 4) return (struct record){.kind = -1};
    for (int byte = 3; byte >= 0; byte--) length = length << 8 | (unsigned char)records->next[byte];
    records->next += 4, left -= 4;
    if (length > FIELD_LIMIT_BYTES || length > left) return (struct record){.kind = -1};
    record.fields[index].bytes = records->next;
    record.fields[index].length = length;
    records->next += length;
  }
  return record;
}

/* Whether a field is this text, as far as fields go. */
static int field_is(const struct record *record, int index, const char *text) {
  size_t length = strlen(text);
  if (length > FIELD_LIMIT_BYTES) length = FIELD_LIMIT_BYTES;
  return record->fields[index].length == length && memcmp(record->fields[index].bytes, text, length) == 0;
}

static char *field_text(const struct record *record, int index) {
  return need(strndup(record->fields[index].bytes, record->fields[index].length));
}

/* Takes the record that a phase begins; says whether it is one. */
static int enter(struct testimony *testimony, const struct record *record, const char *phase, const char *symbol) {
  if (record->kind != 'p' || !field_is(record, 0, phase) || !field_is(record, 1, symbol ? symbol : "")) return 0;
  testimony->phase = phase, testimony->symbol = symbol;
  return 1;
}

/* Whether a call can come back like this. */
static int answers(const struct record *record, const struct call *call, struct returned *returned) {
  if (record->kind != 'r' || !field_is(record, 0, call->symbol) || !field_is(record, 1, call->returns)) return 0;
  int has_problem = record->fields[4].length > 0;
  *returned = (struct returned){.call = call};
  if (has_problem) returned->problem = field_text(record, 4);
  returned->value = field_text(record, 3);
  returned->value_length = record->fields[3].length;
  if (field_is(record, 2, "")) return has_problem || strcmp(call->returns, "none") == 0;
  returned->kind = record->fields[2].bytes[0];
  if (field_is(record, 2, "s"))
    return strcmp(call->returns, "string") == 0 && is_utf8(record->fields[3].bytes, record->fields[3].length) == !has_problem;
  int64_t number;
  if (!field_is(record, 2, "i") || strlen(returned->value) != returned->value_length || has_problem) return 0;
  if (!read_integer(returned->value, &number)) return 0;
  return strcmp(call->returns, "integer") == 0 ||
         (strcmp(call->returns, "int32") == 0 && number >= INT32_MIN && number <= INT32_MAX);
}

/* What is left to tell of a plugin that was opened; gives the record behind it. */
static struct record hear_use(struct testimony *told, struct records *records, struct record record,
                              const struct contract *contract) {
  const struct record stop = {.kind = -1};
  for (size_t index = 0; index < contract->symbols_count; index++) {
    if (!enter(told, &record, "symbol", contract->symbols[index])) return record.kind ? stop : record;
    record = take(records);
    if (record.kind != 'm' || !field_is(&record, 0, contract->symbols[index])) continue;
    if (told->missing_count == 0) told->first_missing_words = field_text(&record, 1);
    told->missing = grow(told->missing, told->missing_count, sizeof(char *));
    told->missing[told->missing_count++] = field_text(&record, 0);
    record = take(records);
  }
  for (size_t index = 0; told->missing_count == 0 && index < contract->calls_count; index++) {
    const struct call *call = &contract->calls[index];
    struct returned returned;
    if (!enter(told, &record, "call", call->symbol)) return record.kind ? stop : record;
    record = take(records);
    if (!answers(&record, call, &returned)) return record.kind ? stop : record;
    told->calls = grow(told->calls, told->calls_count, sizeof returned);
    told->calls[told->calls_count++] = returned;
    record = take(records);
  }
  if (contract->is_kept_open) return record;
  if (!enter(told, &record, "close", NULL)) return record.kind ? stop : record;
  record = take(records);
  if (record.kind != 'c') return record;
  told->not_closed = field_text(&record, 0);
  return take(records);
}

/* Hears the records of a process that opens a plugin as the contract says. */
struct testimony testimony_hear(const struct capture *channel, const struct contract *contract) {
  const char *begin = channel->head.bytes ? channel->head.bytes : "";
  struct records records = {begin, begin + channel->head.length, capture_is_truncated(channel)};
  struct testimony told = {0};
  struct record record = take(&records);
  size_t index = 0;
  for (; index < contract->before_count && enter(&told, &record, "before", contract->before[index]); index++)
    record = take(&records);
  int is_refused_before = told.phase && record.kind == 'n';
  if (is_refused_before || (index == contract->before_count && enter(&told, &record, "open", NULL))) {
    if (!is_refused_before) record = take(&records);
    if (record.kind == 'n') {
      told.refused_before = told.symbol;
      told.refusal = field_text(&record, 0);
      record = take(&records);
    } else {
      record = hear_use(&told, &records, record, contract);
    }
    if (record.kind == 'd') {
      record = take(&records);
      if (enter(&told, &record, "exit", NULL)) {
        record = take(&records);
        told.is_whole = record.kind == 0;
      }
    }
  }
  told.is_broken = record.kind != 0;
  return told;
}
