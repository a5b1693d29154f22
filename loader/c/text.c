/* Bytes that grow, and characters among bytes. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader.h"

/* The least that is taken when a text grows. */
#define ROOM_BYTES 64

/* Memory that was got, or the end: there is nothing to be told without any. */
void *need(void *memory) {
  static const char words[] = "error[loader]: failed to get memory\n";
  if (memory) return memory;
  if (write(STDERR_FILENO, words, sizeof words - 1) < 0) _exit(STATUS_INTERNAL);
  _exit(STATUS_INTERNAL);
}

void text_add(struct text *text, const void *bytes, size_t length) {
  if (text->room < text->length + length + 1) {
    text->room = 2 * (text->length + length) + ROOM_BYTES;
    text->bytes = need(realloc(text->bytes, text->room));
  }
  if (length > 0) memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  text->bytes[text->length] = 0;
}

void text_put(struct text *text, const char *string) { text_add(text, string, strlen(string)); }

static void print(struct text *text, const char *format, va_list arguments) {
  char *printed = NULL;
  int length = vasprintf(&printed, format, arguments);
  if (length < 0) need(NULL);
  text_add(text, printed, (size_t)length);
  free(printed);
}

void text_print(struct text *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print(text, format, arguments);
  va_end(arguments);
}

char *text_of(const char *format, ...) {
  struct text text = {0};
  va_list arguments;
  va_start(arguments, format);
  print(&text, format, arguments);
  va_end(arguments);
  return text.bytes;
}

/* The system's words, in the form that the other loader gives them. */
char *error_words(int error) { return text_of("%s (os error %d)", strerror(error), error); }

/* The length of a character, or 0 when the bytes begin with none. */
size_t character_length(const char *bytes, size_t left) {
  long length = utf8_measure(bytes, left);
  return length > 0 ? (size_t)length : 0;
}

/* Adds bytes as a string of JSON (RFC 8259), and says whether some are no UTF-8: each such piece becomes U+FFFD. U+2028 and
 * U+2029 are escaped too: some readers of lines take them for the end of one. */
int json_bytes(struct text *out, const char *bytes, size_t length) {
  int lossy = 0;
  text_put(out, "\"");
  for (size_t at = 0; at < length;) {
    long step = utf8_measure(bytes + at, length - at);
    unsigned char byte = (unsigned char)bytes[at];
    if (step < 0) text_put(out, "\xef\xbf\xbd"), lossy = 1, step = -step;
    else if (byte == '"') text_put(out, "\\\"");
    else if (byte == '\\') text_put(out, "\\\\");
    else if (byte == '\n') text_put(out, "\\n");
    else if (byte == '\r') text_put(out, "\\r");
    else if (byte == '\t') text_put(out, "\\t");
    else if (byte == '\b') text_put(out, "\\b");
    else if (byte == '\f') text_put(out, "\\f");
    else if (byte < 0x20) text_print(out, "\\u%04x", byte);
    else if (step == 3 && memcmp(bytes + at, "\xe2\x80\xa8", 3) == 0) text_put(out, "\\u2028");
    else if (step == 3 && memcmp(bytes + at, "\xe2\x80\xa9", 3) == 0) text_put(out, "\\u2029");
    else text_add(out, bytes + at, (size_t)step);
    at += (size_t)step;
  }
  text_put(out, "\"");
  return lossy;
}

/* Adds a string, or `null`. */
void json_string(struct text *out, const char *string) {
  if (string) json_bytes(out, string, strlen(string));
  else text_put(out, "null");
}

void json_strings(struct text *out, char *const *strings, size_t count) {
  text_put(out, "[");
  for (size_t index = 0; index < count; index++) {
    if (index > 0) text_put(out, ",");
    json_string(out, strings[index]);
  }
  text_put(out, "]");
}
