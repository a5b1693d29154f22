/* What is reported: one JSON object a line on standard output, written at once: whoever reads may be waiting. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader.h"

/* The version of the events' shapes. */
#define SCHEMA 1

void event_begin(struct text *out, const char *name) { text_print(out, "{\"schema\":%d,\"event\":\"%s\"", SCHEMA, name); }

/* How a process ended; nothing is said of one that was killed for being late. */
void event_ending(struct text *out, const struct running *running, int is_known) {
  int status = running ? running->wait_status : 0;
  is_known = is_known && running && running->has_ended;
  if (is_known && WIFEXITED(status)) text_print(out, ",\"status\":%d", WEXITSTATUS(status));
  else text_put(out, ",\"status\":null");
  if (is_known && WIFSIGNALED(status)) {
    char *name = signal_name(WTERMSIG(status));
    text_print(out, ",\"signal\":%d,\"signal_name\":\"%s\"", WTERMSIG(status), name);
    free(name);
  } else {
    text_put(out, ",\"signal\":null,\"signal_name\":null");
  }
}

void event_outputs(struct text *out, int64_t elapsed_ms, const struct running *running) {
  text_print(out, ",\"elapsed_ms\":%lld,\"stdout\":", (long long)elapsed_ms);
  capture_json(out, &running->captures[0]);
  text_put(out, ",\"stderr\":");
  capture_json(out, &running->captures[1]);
}

/* Writes a line; gives the system's error, or 0. */
static int write_line(struct text *out) {
  text_put(out, "}\n");
  for (size_t written = 0; written < out->length;) {
    ssize_t length = write(STDOUT_FILENO, out->bytes + written, out->length - written);
    if (length < 0 && errno != EINTR) return errno;
    if (length > 0) written += (size_t)length;
  }
  free(out->bytes);
  *out = (struct text){0};
  return 0;
}

/* Ends the event, and tells it. */
void event_print(struct text *out) {
  int error = write_line(out);
  if (error) fail_internal("failed to write to standard output: %s", error_words(error));
}

/* An event with a message, or with none. */
void event_message(const char *name, const char *message) {
  struct text out = {0};
  event_begin(&out, name);
  if (message) {
    text_put(&out, ",\"message\":");
    json_string(&out, message);
  }
  event_print(&out);
}

/* Whoever reads events learns it there; when nobody can, standard error is all that is left. */
void fail_internal(const char *format, ...) {
  va_list arguments;
  char *message = NULL;
  va_start(arguments, format);
  if (vasprintf(&message, format, arguments) < 0) need(NULL);
  va_end(arguments);
  struct text out = {0};
  event_begin(&out, "error");
  text_put(&out, ",\"message\":");
  json_string(&out, message);
  if (write_line(&out)) fprintf(stderr, "error[loader]: %s\n", message);
  exit(STATUS_INTERNAL);
}
