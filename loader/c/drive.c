/* `drive`: a command that runs to its end, or a server that is awaited, asked and stopped. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader.h"

/* Between two looks whether a server is ready. */
#define READY_PAUSE_MILLISECONDS 10
/* For one such look: a server that accepts and never answers is asked anew. */
#define READY_ATTEMPT_TIMEOUT_MILLISECONDS 2000
/* Of the body of such a look. */
#define READY_BODY_LIMIT_BYTES (64 * 1024)
/* After a request that failed: a server that dies closes its connections before its end can be seen. */
#define DYING_PAUSE_MILLISECONDS 100
/* How long a command may take to end after the loader was asked to, when no other limit is given. */
#define INTERRUPT_TIMEOUT_MILLISECONDS 5000
/* From this status on a server says that it is not ready. */
#define NOT_READY_STATUS 400

static const char *run_to_end(struct running *running, int64_t deadline_ms) {
  switch (child_wait(running, deadline_ms)) {
    case WAKE_ENDED: return "itself";
    case WAKE_TIMED_OUT: child_kill(running); return "timeout";
    default: child_stop(running, interrupt_signal, INTERRUPT_TIMEOUT_MILLISECONDS); return "interrupt";
  }
}

static int is_alive(struct running *running) {
  child_tick(running, 0, -1, 0);
  return !running->has_ended;
}

static char *look_for_text(const struct running *running, const char *text) {
  const struct text *printed = &running->captures[0].head;
  if (!*text || (printed->bytes && memmem(printed->bytes, printed->length, text, strlen(text)))) return NULL;
  return text_of("`%s` was not printed", text);
}

/* One look whether the server is ready; gives why it is not, or null. */
static char *attempt(const struct drive_options *options, struct running *running, int64_t deadline_ms) {
  deadline_ms = sooner(deadline_ms, now_ms() + READY_ATTEMPT_TIMEOUT_MILLISECONDS);
  if (options->ready == READY_STDOUT) return look_for_text(running, options->ready_text);
  if (options->ready == READY_TCP) {
    int file;
    char *failure = tcp_connect(running, &options->ready_url, deadline_ms, &file);
    if (!failure) close(file);
    return failure;
  }
  struct request request = {.method = "GET", .url = options->ready_url};
  struct response response;
  char *failure = http_exchange(running, &request, deadline_ms, READY_BODY_LIMIT_BYTES, &response);
  if (failure || response.status < NOT_READY_STATUS) return failure;
  return text_of("%s answered with status %d", url_text(&request.url), response.status);
}

static void print_not_ready(const char *reason, const char *message, int64_t elapsed_ms) {
  struct text out = {0};
  event_begin(&out, "not-ready");
  text_print(&out, ",\"reason\":\"%s\",\"message\":", reason);
  json_string(&out, message);
  text_print(&out, ",\"elapsed_ms\":%lld", (long long)elapsed_ms);
  event_print(&out);
}

/* Waits and reports. Not ready is also what a loader gets that is asked to end meanwhile. */
static int await_ready(const struct drive_options *options, struct running *running, int64_t deadline_ms) {
  deadline_ms = sooner(deadline_ms, running->started_ms + options->ready_timeout_ms);
  char *message = NULL;
  const char *reason = NULL;
  for (unsigned long attempts = 1; !reason; attempts++) {
    child_tick(running, 0, -1, 0);
    char *failure = attempt(options, running, deadline_ms);
    if (interrupt_signal) return 0;
    /* An answer from somebody else on that port says nothing about a server that has ended. */
    if (!failure && is_alive(running)) {
      struct text out = {0};
      event_begin(&out, "ready");
      text_print(&out, ",\"attempts\":%lu,\"elapsed_ms\":%lld", attempts, (long long)(now_ms() - running->started_ms));
      event_print(&out);
      return 1;
    }
    if (!failure) {
      reason = "exited";
      break;
    }
    /* A look that the deadline cut short says less than the one before. */
    if (!message || now_ms() < deadline_ms) free(message), message = failure;
    else free(failure);
    enum wake wake = child_wait(running, now_ms() + READY_PAUSE_MILLISECONDS);
    if (wake == WAKE_INTERRUPTED) return 0;
    if (wake == WAKE_ENDED) reason = "exited";
    else if (now_ms() >= deadline_ms) reason = "timed-out";
  }
  print_not_ready(reason, message, now_ms() - running->started_ms);
  return 0;
}

/* Header by header in the order of their names, each with all its values. */
static void print_headers(struct text *out, struct response *response) {
  size_t count = response->headers_count;
  struct header *headers = response->headers;
  text_put(out, ",\"headers\":{");
  for (const char *last = NULL, *name = NULL;; last = name) {
    name = NULL;
    for (size_t index = 0; index < count; index++)
      if ((!last || strcmp(headers[index].name, last) > 0) && (!name || strcmp(headers[index].name, name) < 0))
        name = headers[index].name;
    if (!name) break;
    if (last) text_put(out, ",");
    json_string(out, name);
    text_put(out, ":[");
    int is_first = 1;
    for (size_t index = 0; index < count; index++) {
      if (strcmp(headers[index].name, name) != 0) continue;
      if (!is_first) text_put(out, ",");
      json_string(out, headers[index].value);
      is_first = 0;
    }
    text_put(out, "]");
  }
  text_put(out, "}");
}

static void print_answer(size_t index, const struct request *request, int64_t started_ms, const char *failure,
                         struct response *response) {
  struct text out = {0};
  char *url = url_text(&request->url);
  event_begin(&out, failure ? "request-failed" : "response");
  text_print(&out, ",\"index\":%zu,\"method\":\"%s\",\"url\":", index, request->method);
  json_string(&out, url);
  text_print(&out, ",\"elapsed_ms\":%lld", (long long)(now_ms() - started_ms));
  if (failure) {
    text_put(&out, ",\"message\":");
    json_string(&out, failure);
  } else {
    text_print(&out, ",\"status\":%d", response->status);
    print_headers(&out, response);
    text_put(&out, ",\"body\":");
    capture_json(&out, &response->body);
  }
  event_print(&out);
  free(url);
}

/* Why nothing more can be asked, or null. */
static char *why_not(const struct drive_options *options, struct running *running, int64_t deadline_ms) {
  if (!is_alive(running)) return text_of("the server has ended");
  if (now_ms() >= deadline_ms) return text_of("%lld ms were over", (long long)options->common.timeout_ms);
  return NULL;
}

/* Starts a command as it is to be started; gives why it could not be, or null. */
static char *start_command(const struct drive_options *options, struct running *running) {
  struct start start = {.words = options->command, .common = &options->common, .directory = options->directory,
                        .input = options->input, .output_limit_bytes = (size_t)options->common.output_limit_bytes};
  return child_start(&start, running);
}

static void print_client_failure(size_t index, const char *failure) {
  struct text out = {0};
  event_begin(&out, "client-failed");
  text_print(&out, ",\"index\":%zu,\"message\":", index);
  json_string(&out, failure);
  event_print(&out);
}

/* Runs a command beside the server to its end, and reports. None is started beside a server that is gone, or when no time is
 * left. */
static void run_client(const struct drive_options *options, struct running *server, size_t index, int64_t deadline_ms) {
  const struct drive_options *client = options->questions[index].client;
  struct running running;
  char *why = why_not(options, server, deadline_ms);
  char *failure = why ? text_of("not started: %s", why) : start_command(client, &running);
  free(why);
  if (failure) {
    print_client_failure(index, failure);
    free(failure);
    return;
  }
  child_beside(server);
  const char *stopped_by = run_to_end(&running, sooner(deadline_ms, running.started_ms + client->common.timeout_ms));
  int64_t elapsed_ms = now_ms() - running.started_ms;
  if (!interrupt_signal) {
    child_sweep_group(&running);
    child_drain(&running);
    struct text out = {0};
    event_begin(&out, "client");
    text_print(&out, ",\"index\":%zu", index);
    event_ending(&out, &running, 1);
    text_print(&out, ",\"stopped_by\":\"%s\"", stopped_by);
    event_outputs(&out, elapsed_ms, &running);
    event_print(&out);
  }
  child_beside(NULL);
  child_free(&running);
}

/* Sends one request and reports. Nothing is sent to a server that is gone, or when no time is left. */
static void ask(const struct drive_options *options, struct running *running, size_t index, int64_t deadline_ms) {
  const struct request *request = &options->questions[index].request;
  int64_t started_ms = now_ms();
  struct response response = {0};
  char *failure, *why = why_not(options, running, deadline_ms);
  if (why) {
    failure = text_of("not sent: %s", why);
    free(why);
  } else {
    deadline_ms = sooner(deadline_ms, started_ms + options->request_timeout_ms);
    failure = http_exchange(running, request, deadline_ms, (size_t)options->common.output_limit_bytes, &response);
    if (failure) child_wait(running, now_ms() + DYING_PAUSE_MILLISECONDS);
  }
  if (!interrupt_signal) print_answer(index, request, started_ms, failure, &response);
  free(failure);
  capture_free(&response.body);
}

static const char *serve(const struct drive_options *options, struct running *running, int64_t deadline_ms, int *is_ready) {
  *is_ready = await_ready(options, running, deadline_ms);
  for (size_t index = 0; *is_ready && index < options->questions_count && !interrupt_signal; index++) {
    if (options->questions[index].client) run_client(options, running, index, deadline_ms);
    else ask(options, running, index, deadline_ms);
  }
  if (interrupt_signal) {
    child_stop(running, interrupt_signal, options->stop_timeout_ms);
    return "interrupt";
  }
  if (!is_alive(running)) return "itself";
  return child_stop(running, options->stop_signal, options->stop_timeout_ms) ? "stop-signal" : "stop-timeout";
}

/* Whether a command became ready, if it is a server, and ended by itself or when it was asked to, with the status that is
 * needed. */
static int is_as_needed(const struct drive_options *options, const struct running *running, const char *stopped_by,
                        int is_ready) {
  int is_asked = strcmp(stopped_by, "itself") == 0 || strcmp(stopped_by, "stop-signal") == 0;
  int has_status = running->has_ended && WIFEXITED(running->wait_status) && WEXITSTATUS(running->wait_status) == options->status;
  return is_ready && is_asked && (options->status < 0 || has_status);
}

/* Starts the command, drives it, and reports until it is gone. Says whether it is as the next step needs it. */
int run_drive(const struct drive_options *options) {
  struct running running;
  event_message("starting", NULL);
  char *failure = start_command(options, &running);
  if (failure) {
    event_message("not-started", failure);
    return 0;
  }
  int64_t deadline_ms = running.started_ms + options->common.timeout_ms;
  int is_ready = 1;
  const char *stopped_by = options->ready == NOT_A_SERVER ? run_to_end(&running, deadline_ms)
                                                          : serve(options, &running, deadline_ms, &is_ready);
  int64_t elapsed_ms = now_ms() - running.started_ms;
  int is_complete;
  size_t leftovers = child_sweep(&running, &is_complete);
  child_drain(&running);
  struct text out = {0};
  event_begin(&out, "exit");
  event_ending(&out, &running, 1);
  text_print(&out, ",\"stopped_by\":\"%s\"", stopped_by);
  text_print(&out, ",\"leftover_processes\":%zu", leftovers);
  event_outputs(&out, elapsed_ms, &running);
  event_print(&out);
  child_free(&running);
  return is_as_needed(options, &running, stopped_by, is_ready);
}

/* Drives one command after the other, until one is not what the next needs. */
void run_steps(const struct steps *steps) {
  int goes_on = 1;
  for (size_t index = 0; index < steps->count && goes_on && !interrupt_signal; index++) {
    struct text out = {0};
    event_begin(&out, "step");
    text_print(&out, ",\"index\":%zu", index);
    event_print(&out);
    goes_on = run_drive(&steps->steps[index]);
  }
}
