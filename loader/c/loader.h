/* What the loader's files know of each other. The README of the loaders is the reference for flags and events. */
#ifndef LOCKSTEP_LOADER_H
#define LOCKSTEP_LOADER_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../probe/contract.h"
#include "../probe/utf8.h"

#define VERSION "0.1.0"
#define STATUS_USAGE 2
#define STATUS_INTERNAL 70
/* Added to the number of the signal that asked the loader to end. */
#define STATUS_SIGNAL_BASE 128

/* -- text.c: bytes that grow, always with a NUL behind them -- */
struct text {
  char *bytes;
  size_t length, room;
};
void *need(void *memory);
void text_add(struct text *text, const void *bytes, size_t length);
void text_put(struct text *text, const char *string);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *error_words(int error);
size_t character_length(const char *bytes, size_t left);


int json_bytes(struct text *out, const char *bytes, size_t length);
void json_string(struct text *out, const char *string);
void json_strings(struct text *out, char *const *strings, size_t count);

/* -- capture.c: bytes that a program wrote, kept up to a limit -- */
struct capture {
  struct text head, tail;
  size_t head_limit_bytes, tail_limit_bytes;
  uint64_t bytes;
};
struct capture capture_stream(size_t limit_bytes);
struct capture capture_head(size_t limit_bytes);
void capture_push(struct capture *capture, const char *bytes, size_t length);
int capture_is_truncated(const struct capture *capture);
void capture_json(struct text *out, const struct capture *capture);
void capture_free(struct capture *capture);

/* -- signals.c -- */
char *signal_name(int number);
int signal_number(const char *name);


int64_t now_ms(void);
int64_t sooner(int64_t one, int64_t other);

/* -- url.c -- */
struct url {
  struct sockaddr_storage address;
  socklen_t address_length;
  /* As written, for the Host header; and as connected to, for messages. */
  char *authority, *destination;
  char *path;
};
char *url_parse(const char *string, struct url *url);
char *url_with_path(const struct url *base, const char *path, struct url *url);
struct url url_of_port(unsigned port);
char *url_text(const struct url *url);

/* -- arguments -- */
struct header {
  char *name, *value;
};
struct request {
  char *method;
  struct url url;
  struct header *headers;
  size_t headers_count;
  /* Null for no body. */
  const char *body;
};
struct common {
  int64_t timeout_ms, output_limit_bytes;
  /* `NAME=VALUE`. */
  char **environment;
  size_t environment_count;
  int has_user;
  uid_t uid;
  gid_t gid;
};
struct open_options {
  struct common common;
  struct contract contract;
  char *within, *probe;
  char **scratch;
  size_t scratch_count;
  /* The words before the plugins: what the process of each plugin is given too. */
  char **flags;
  size_t flags_count;
  char **plugins;
  size_t plugins_count;
};
enum ready { NOT_A_SERVER, READY_HTTP, READY_TCP, READY_STDOUT };
struct drive_options;
/* What a server is asked: a request, or by a client, which is no server itself. */
struct question {
  struct request request;
  /* Null for a request. */
  struct drive_options *client;
};
struct drive_options {
  struct common common;
  /* Ends with null. */
  char **command;
  /* Where it starts, and what it reads; null for nothing said. */
  char *directory, *input;
  /* The status without which no later step is begun, or -1. */
  int status;
  enum ready ready;
  struct url ready_url;
  const char *ready_text;
  int64_t ready_timeout_ms, request_timeout_ms, stop_timeout_ms;
  int stop_signal;
  struct question *questions;
  size_t questions_count;
};
struct steps {
  struct drive_options *steps;
  size_t count;
};
void fail_usage(const char *hint, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
struct open_options parse_open(int count, char **words);
struct drive_options parse_drive(int count, char **words);
struct steps parse_steps(int count, char **words);

/* -- child.c: processes that this one starts, and that nothing of them stays -- */
enum wake { WAKE_ENDED, WAKE_TIMED_OUT, WAKE_INTERRUPTED };
struct running {
  pid_t pid;
  int64_t started_ms;
  int has_ended, wait_status;
  /* Standard output, standard error, and the channel or -1. */
  int files[3];
  struct capture captures[3];
};
struct start {
  char **words;
  const struct common *common;
  /* More variables, `NAME=VALUE`, null at the end; or null. */
  char **variables;
  /* Whether there is a channel in the place of standard input, and its limit. */
  int has_channel;
  /* Where it starts, and what it reads on standard input; null for nothing said. */
  const char *directory, *input;
  size_t channel_limit_bytes, output_limit_bytes;
};
extern int interrupt_signal;
void supervise(const struct common *common);
char *child_start(const struct start *start, struct running *running);
int child_tick(struct running *running, int64_t deadline_ms, int file, short events);
enum wake child_wait(struct running *running, int64_t deadline_ms);
int child_wait_regardless(struct running *running, int64_t deadline_ms);
void child_signal(struct running *running, int number);
void child_signal_group(struct running *running, int number);
int child_stop(struct running *running, int number, int64_t timeout_ms);
void child_kill(struct running *running);
void child_beside(struct running *running);
void child_sweep_group(struct running *running);
size_t child_sweep(struct running *running, int *is_complete);
void child_drain(struct running *running);
void child_free(struct running *running);

/* -- event.c -- */
void event_begin(struct text *out, const char *name);
void event_ending(struct text *out, const struct running *running, int is_known);
void event_outputs(struct text *out, int64_t elapsed_ms, const struct running *running);
void event_print(struct text *out);
void event_message(const char *name, const char *message);
void fail_internal(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* -- testimony.c: what of a plugin's records can be believed -- */
struct returned {
  const struct call *call;
  char kind;
  char *value;
  size_t value_length;
  char *problem;
};
struct testimony {
  const char *phase, *symbol;
  /* Where it was refused: the path of a plugin before, or null for the plugin itself. */
  const char *refused_before;
  char *refusal, *not_closed, *first_missing_words;
  char **missing;
  size_t missing_count;
  struct returned *calls;
  size_t calls_count;
  int is_whole, is_broken;
};
struct testimony testimony_hear(const struct capture *channel, const struct contract *contract);

/* -- http.c -- */
struct response {
  int status;
  struct header *headers;
  size_t headers_count;
  struct capture body;
};
char *http_exchange(struct running *running, const struct request *request, int64_t deadline_ms, size_t body_limit_bytes,
                    struct response *response);
char *tcp_connect(struct running *running, const struct url *url, int64_t deadline_ms, int *file);

/* -- the commands -- */
char *run_open(const struct open_options *options);
void run_open_one(struct open_options *options);
int run_drive(const struct drive_options *options);
void run_steps(const struct steps *steps);
char *scratch_remains(char *const *directories, size_t count);
char *as_path(char *plugin);
void scratch_clear(char *const *directories, size_t count);

#endif
