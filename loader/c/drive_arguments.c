/* The flags of `drive`. */
#define _GNU_SOURCE
#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

/* For a server to end after the stop signal, when nothing else is said. */
#define DEFAULT_STOP_TIMEOUT_MILLISECONDS 5000
/* The highest that a process can end with. */
#define STATUS_LIMIT 255

static void set_ready(struct drive_options *options, enum ready ready) {
  if (options->ready != NOT_A_SERVER)
    fail_usage("keep the one that says most about the server", "more than one `--ready-…` flag is given");
  options->ready = ready;
}

static void check_url(const char *flag, const char *value, const char *problem) {
  if (problem) fail_usage(HINT_HELP, "`%s` cannot use `%s`: %s", flag, value, problem);
}

static struct request *last_request(struct drive_options *options, const char *flag) {
  struct question *last = options->questions_count > 0 ? &options->questions[options->questions_count - 1] : NULL;
  if (!last || last->client) fail_usage(HINT_HELP, "`%s` must follow a `--request`", flag);
  return &last->request;
}

/* Takes white space from both ends. */
static char *trimmed(char *text) {
  while (*text == ' ' || *text == '\t') text++;
  for (size_t length = strlen(text); length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t');) text[--length] = 0;
  return text;
}

/* Names are tokens and values hold no control characters, so that a header cannot become two. */
static int read_header(const char *text, struct header *header) {
  const char *colon = strchr(text, ':');
  if (!colon || colon == text) return 0;
  for (const char *byte = text; byte < colon; byte++)
    if (!isalnum((unsigned char)*byte) && !strchr("!#$%&'*+-.^_`|~", *byte)) return 0;
  for (const char *byte = colon; *byte; byte++)
    if (iscntrl((unsigned char)*byte) || ((unsigned char)byte[0] == 0xc2 && (unsigned char)byte[1] < 0xa0)) return 0;
  header->name = need(strndup(text, (size_t)(colon - text)));
  header->value = trimmed(need(strdup(colon + 1)));
  return 1;
}

static void add_question(struct drive_options *options, struct question question) {
  options->questions = grow(options->questions, options->questions_count, sizeof question);
  options->questions[options->questions_count++] = question;
}

static void add_client(struct drive_options *options, struct words *words) {
  struct words own = several(words, "--client");
  struct drive_options *client = need(malloc(sizeof *client));
  *client = parse_drive((int)(own.end - own.next), own.next);
  if (client->ready != NOT_A_SERVER) fail_usage(HINT_HELP, "`--client` takes a command that ends, and is given a server");
  add_question(options, (struct question){.client = client});
}

static void add_request(struct drive_options *options, struct words *words) {
  const char *takes = "a method, such as `GET`";
  char *method = text_value(words, "--request", takes);
  if (!*method || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method)) bad_value("--request", takes, method);
  char *url = text_value(words, "--request", "UTF-8 text");
  /* Until all flags are read, the path stands for the whole URL. */
  add_question(options, (struct question){.request = {.method = method, .url = {.path = url}}});
}

/* Takes a flag that says when a server is ready, or what belongs to a request; says whether it is one. */
static int take_ready(struct drive_options *options, const char *flag, struct words *words) {
  if (strcmp(flag, "--ready-http") == 0) {
    char *value = text_value(words, flag, "UTF-8 text");
    check_url(flag, value, url_parse(value, &options->ready_url));
    set_ready(options, READY_HTTP);
  } else if (strcmp(flag, "--ready-tcp") == 0) {
    char *value = value_of(words, flag);
    int64_t port;
    if (!read_integer(value, &port) || port < 1 || port > 65535) bad_value(flag, "a port from 1 to 65535", value);
    set_ready(options, READY_TCP);
    options->ready_url = url_of_port((unsigned)port);
  } else if (strcmp(flag, "--ready-stdout") == 0) {
    options->ready_text = value_of(words, flag);
    set_ready(options, READY_STDOUT);
  } else if (strcmp(flag, "--header") == 0) {
    char *value = text_value(words, flag, "`NAME: VALUE`");
    struct header header;
    if (!read_header(value, &header)) bad_value(flag, "`NAME: VALUE`", value);
    struct request *request = last_request(options, flag);
    request->headers = grow(request->headers, request->headers_count, sizeof header);
    request->headers[request->headers_count++] = header;
  } else if (strcmp(flag, "--body") == 0) {
    char *value = value_of(words, flag);
    struct request *request = last_request(options, flag);
    if (request->body) fail_usage(HINT_HELP, "`%s` is given twice", flag);
    request->body = value;
  } else {
    return 0;
  }
  return 1;
}

/* Takes a flag that only means something for a server; says whether it is one. */
static int take_server(struct drive_options *options, const char *flag, struct words *words) {
  if (strcmp(flag, "--ready-timeout-ms") == 0) {
    milliseconds(words, flag, &options->ready_timeout_ms);
  } else if (strcmp(flag, "--request-timeout-ms") == 0) {
    milliseconds(words, flag, &options->request_timeout_ms);
  } else if (strcmp(flag, "--stop-timeout-ms") == 0) {
    milliseconds(words, flag, &options->stop_timeout_ms);
  } else if (strcmp(flag, "--stop-signal") == 0) {
    char *value = value_of(words, flag);
    int number = signal_number(value);
    if (number == 0) bad_value(flag, "a signal's name, such as `TERM`", value);
    if (options->stop_signal) fail_usage(HINT_HELP, "`%s` is given twice", flag);
    options->stop_signal = number;
  } else if (strcmp(flag, "--request") == 0) {
    add_request(options, words);
  } else if (strcmp(flag, "--client") == 0) {
    add_client(options, words);
  } else {
    return 0;
  }
  return 1;
}

/* Takes a flag that says how the command is started, and what is needed of it; says whether it is one. */
static int take_start(struct drive_options *options, const char *flag, struct words *words) {
  if (strcmp(flag, "--directory") == 0) {
    char *value = value_of(words, flag);
    if (value[0] != '/') bad_value(flag, "an absolute path", value);
    if (options->directory) fail_usage(HINT_HELP, "`%s` is given twice", flag);
    options->directory = value;
  } else if (strcmp(flag, "--stdin") == 0) {
    char *value = value_of(words, flag);
    if (options->input) fail_usage(HINT_HELP, "`%s` is given twice", flag);
    options->input = value;
  } else if (strcmp(flag, "--status") == 0) {
    char *value = value_of(words, flag);
    int64_t status;
    if (!read_integer(value, &status) || status < 0 || status > STATUS_LIMIT) bad_value(flag, "a number from 0 to 255", value);
    if (options->status >= 0) fail_usage(HINT_HELP, "`%s` is given twice", flag);
    options->status = (int)status;
  } else {
    return 0;
  }
  return 1;
}

/* Makes URLs of what was given: a path alone is taken on the server's own address. */
static void resolve_requests(struct drive_options *options) {
  for (size_t index = 0; index < options->questions_count; index++) {
    if (options->questions[index].client) continue;
    struct url *url = &options->questions[index].request.url;
    char *given = url->path;
    int is_path = given[0] == '/' && options->ready != READY_STDOUT;
    check_url("--request", given, is_path ? url_with_path(&options->ready_url, given, url) : url_parse(given, url));
  }
}

/* Reads the words after `drive`. */
struct drive_options parse_drive(int count, char **given) {
  struct words words = {given, given + count, 0};
  struct drive_options options = {.status = -1};
  /* The first flag that says nothing without a server, for the message. */
  const char *needs_ready = NULL;
  for (char *flag; (flag = next_flag(&words));) {
    if (take_ready(&options, flag, &words) || take_start(&options, flag, &words)) continue;
    if (!take_server(&options, flag, &words)) take_common(&options.common, flag, &words);
    else if (!needs_ready) needs_ready = flag;
  }
  if (words.next == words.end) fail_usage("name the program and its arguments after `--`", "no command to run given");
  for (size_t length = 0; words.next < words.end; length++) {
    options.command = grow(options.command, length + 1, sizeof(char *));
    options.command[length] = *words.next++;
    options.command[length + 1] = NULL;
  }
  if (options.ready == NOT_A_SERVER && needs_ready)
    fail_usage("add `--ready-http URL`, `--ready-tcp PORT` or `--ready-stdout TEXT`",
               "`%s` is for a server, and nothing says when the server is ready", needs_ready);
  finish_common(&options.common);
  resolve_requests(&options);
  if (!options.ready_timeout_ms) options.ready_timeout_ms = options.common.timeout_ms;
  if (!options.request_timeout_ms) options.request_timeout_ms = options.common.timeout_ms;
  if (!options.stop_timeout_ms) options.stop_timeout_ms = DEFAULT_STOP_TIMEOUT_MILLISECONDS;
  if (!options.stop_signal) options.stop_signal = SIGTERM;
  return options;
}

/* Reads the words after `steps`: of each step how many they are, and the words of a `drive`. */
struct steps parse_steps(int count, char **given) {
  struct words words = {given, given + count, 0};
  struct steps steps = {0};
  while (words.next < words.end) {
    struct words own = several(&words, "steps");
    steps.steps = grow(steps.steps, steps.count, sizeof(struct drive_options));
    steps.steps[steps.count++] = parse_drive((int)(own.end - own.next), own.next);
  }
  if (steps.count == 0) fail_usage("name the program and its arguments after `--`", "no command to run given");
  return steps;
}
