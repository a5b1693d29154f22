/* A minimal HTTP/1.1 client for servers on the loopback address: one request a connection, with limits on everything. While it
 * waits, what the server writes is read, and the wish that the loader ends ends the exchange. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loader.h"

/* Status line and headers together, and the trailers of a chunked body. */
#define HEAD_LIMIT_BYTES (64 * 1024)
/* Header lines of one response. */
#define HEADERS_LIMIT_COUNT 256
/* `100 Continue` and the like before the response proper. */
#define INTERIM_RESPONSES_LIMIT_COUNT 8
/* The line that gives a chunk's size. */
#define CHUNK_LINE_LIMIT_BYTES 1024
/* What is read at once. */
#define PIECE_BYTES (16 * 1024)
/* Enough of a text for a message. */
#define SHOWN_LIMIT_CHARACTERS 60

/* A connection, with what was read and not looked at yet. */
struct connection {
  struct running *running;
  int file;
  int64_t deadline_ms;
  char buffer[PIECE_BYTES];
  size_t position, end;
  /* Why it is of no use any more. */
  char *failure;
};

/* Waits until the file is ready; not for longer than the deadline, and not when the loader is to end. */
static int is_ready(struct running *running, int file, short events, int64_t deadline_ms) {
  while (!interrupt_signal && now_ms() < deadline_ms)
    if (child_tick(running, deadline_ms, file, events)) return 1;
  return 0;
}

/* Connects; gives why that failed, or null. */
char *tcp_connect(struct running *running, const struct url *url, int64_t deadline_ms, int *file) {
  *file = socket(url->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int error = *file < 0 ? errno : 0;
  if (!error && connect(*file, (const struct sockaddr *)&url->address, url->address_length) < 0) {
    socklen_t length = sizeof error;
    error = errno;
    if (error == EINPROGRESS && !is_ready(running, *file, POLLOUT, deadline_ms)) error = -1;
    else if (error == EINPROGRESS && getsockopt(*file, SOL_SOCKET, SO_ERROR, &error, &length) < 0) error = errno;
  }
  if (!error) return NULL;
  if (*file >= 0) close(*file);
  return text_of("failed to connect to %s: %s", url->destination, error < 0 ? "connection timed out" : error_words(error));
}

/* -- The request -- */

static int has_header(const struct request *request, const char *name) {
  for (size_t index = 0; index < request->headers_count; index++)
    if (strcasecmp(request->headers[index].name, name) == 0) return 1;
  return 0;
}

static void put_header(struct text *out, const struct request *request, const char *name, const char *value) {
  if (!has_header(request, name)) text_print(out, "%s: %s\r\n", name, value);
}

static struct text request_bytes(const struct request *request) {
  struct text out = {0};
  const char *method = request->method;
  int takes_body = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
  text_print(&out, "%s %s HTTP/1.1\r\n", method, request->url.path);
  put_header(&out, request, "Host", request->url.authority);
  put_header(&out, request, "User-Agent", "lockstep-loader/" VERSION);
  put_header(&out, request, "Accept", "*/*");
  put_header(&out, request, "Connection", "close");
  if (request->body || takes_body) {
    char *length = text_of("%zu", request->body ? strlen(request->body) : 0);
    put_header(&out, request, "Content-Length", length);
    free(length);
  }
  for (size_t index = 0; index < request->headers_count; index++)
    text_print(&out, "%s: %s\r\n", request->headers[index].name, request->headers[index].value);
  text_print(&out, "\r\n%s", request->body ? request->body : "");
  return out;
}

static char *send_all(struct connection *connection, const struct text *bytes) {
  for (size_t sent = 0; sent < bytes->length;) {
    ssize_t length = send(connection->file, bytes->bytes + sent, bytes->length - sent, MSG_NOSIGNAL);
    if (length >= 0) sent += (size_t)length;
    else if (errno != EAGAIN && errno != EINTR) return text_of("failed to send the request: %s", error_words(errno));
    else if (!is_ready(connection->running, connection->file, POLLOUT, connection->deadline_ms))
      return text_of("failed to send the request: timed out");
  }
  return NULL;
}

/* -- The response -- */

static int fail(struct connection *connection, char *reason) {
  if (!connection->failure) connection->failure = text_of("failed to read the response: %s", reason);
  free(reason);
  return 0;
}

static char *shortened(const char *text) {
  size_t length = strlen(text), at = 0;
  for (int count = 0; at < length && count < SHOWN_LIMIT_CHARACTERS; count++) {
    long step = utf8_measure(text + at, length - at);
    at += (size_t)(step < 0 ? -step : step);
  }
  return text_of("%.*s%s", (int)at, text, at < length ? "…" : "");
}

static int fail_malformed(struct connection *connection, const char *text, const char *what) {
  return fail(connection, text_of("`%s` is not %s", shortened(text), what));
}

/* Sees to it that there are bytes, unless the stream has ended; says whether that went well. */
static int fill(struct connection *connection, const char *stage) {
  while (connection->position == connection->end) {
    ssize_t length = recv(connection->file, connection->buffer, sizeof connection->buffer, 0);
    if (length >= 0) {
      connection->position = 0, connection->end = (size_t)length;
      return 1;
    }
    if (errno != EAGAIN && errno != EINTR) return fail(connection, error_words(errno));
    if (!is_ready(connection->running, connection->file, POLLIN, connection->deadline_ms))
      return fail(connection, text_of("no %s in time", stage));
  }
  return 1;
}

/* Takes a line without its end, which is taken off the budget. */
static int take_line(struct connection *connection, size_t *budget, const char *stage, struct text *line) {
  size_t limit = *budget;
  line->length = 0;
  text_put(line, "");
  for (;;) {
    if (!fill(connection, stage)) return 0;
    size_t available = connection->end - connection->position;
    if (available == 0) return fail(connection, text_of("the connection was closed within the %s", stage));
    const char *start = connection->buffer + connection->position, *end = memchr(start, '\n', available);
    size_t taken = end ? (size_t)(end - start) + 1 : available;
    if (taken > *budget) return fail(connection, text_of("more than %zu bytes of %s", limit, stage));
    text_add(line, start, taken);
    connection->position += taken, *budget -= taken;
    if (!end) continue;
    line->bytes[--line->length] = 0;
    if (line->length > 0 && line->bytes[line->length - 1] == '\r') line->bytes[--line->length] = 0;
    return 1;
  }
}

static int take_status(struct connection *connection, size_t *budget, int *status) {
  struct text line = {0};
  if (!take_line(connection, budget, "status line", &line)) return 0;
  const char *text = line.bytes, *digits = text + 9;
  int is_http = strncmp(text, "HTTP/1.0 ", 9) == 0 || strncmp(text, "HTTP/1.1 ", 9) == 0;
  int is_status = is_http && strspn(digits, "0123456789") == 3 && (digits[3] == ' ' || digits[3] == 0) && digits[0] != '0';
  if (!is_status) return fail_malformed(connection, text, "a status line");
  *status = atoi(digits);
  free(line.bytes);
  return 1;
}

static int take_headers(struct connection *connection, size_t *budget, struct response *response) {
  struct text line = {0};
  for (int count = 0; count <= HEADERS_LIMIT_COUNT; count++) {
    if (!take_line(connection, budget, "headers", &line)) return 0;
    if (line.length == 0) {
      free(line.bytes);
      return 1;
    }
    char *colon = strchr(line.bytes, ':');
    /* White space before the colon or the name has been a way to smuggle headers; RFC 9112 forbids both. */
    if (!colon || colon == line.bytes || strcspn(line.bytes, " \t\v\f\r") < (size_t)(colon - line.bytes))
      return fail_malformed(connection, line.bytes, "a header");
    *colon = 0;
    char *value = colon + 1 + strspn(colon + 1, " \t\v\f\r");
    for (size_t length = strlen(value); length > 0 && isspace((unsigned char)value[length - 1]);) value[--length] = 0;
    for (char *byte = line.bytes; *byte; byte++) *byte = (char)tolower((unsigned char)*byte);
    response->headers = need(realloc(response->headers, (response->headers_count + 1) * sizeof(struct header)));
    response->headers[response->headers_count++] = (struct header){text_of("%s", line.bytes), text_of("%s", value)};
  }
  return fail(connection, text_of("more than %d lines of headers", HEADERS_LIMIT_COUNT));
}

/* Takes so many bytes, or all until the end for a negative number; no more than the body's limit and one. */
static int take_bytes(struct connection *connection, uint64_t length, int is_until_end, struct capture *body) {
  while ((is_until_end || length > 0) && !capture_is_truncated(body)) {
    if (!fill(connection, "body")) return 0;
    size_t taken = connection->end - connection->position;
    if (taken == 0 && is_until_end) return 1;
    if (taken == 0) return fail(connection, text_of("the connection was closed within the body"));
    if (!is_until_end && taken > length) taken = (size_t)length;
    capture_push(body, connection->buffer + connection->position, taken);
    connection->position += taken;
    length -= is_until_end ? 0 : taken;
  }
  return 1;
}

/* Reads a number of digits alone in this base; says whether it is one that fits. */
static int read_size(const char *text, size_t length, unsigned base, uint64_t *size) {
  static const char digits[] = "0123456789abcdef";
  if (length == 0) return 0;
  *size = 0;
  for (size_t index = 0; index < length; index++) {
    const char *digit = text[index] ? strchr(digits, tolower((unsigned char)text[index])) : NULL;
    uint64_t value = digit ? (uint64_t)(digit - digits) : base;
    if (value >= base || *size > (UINT64_MAX - value) / base) return 0;
    *size = *size * base + value;
  }
  return 1;
}

static int take_chunks(struct connection *connection, struct response *response) {
  struct text line = {0};
  while (!capture_is_truncated(&response->body)) {
    size_t budget = CHUNK_LINE_LIMIT_BYTES, rest = CHUNK_LINE_LIMIT_BYTES, trailers = HEAD_LIMIT_BYTES;
    uint64_t size;
    if (!take_line(connection, &budget, "chunk size", &line)) return 0;
    const char *digits = line.bytes + strspn(line.bytes, " \t");
    size_t length = strcspn(digits, ";");
    while (length > 0 && isspace((unsigned char)digits[length - 1])) length--;
    if (!read_size(digits, length, 16, &size)) return fail_malformed(connection, line.bytes, "the size of a chunk");
    struct response ignored = {0};
    if (size == 0) return take_headers(connection, &trailers, &ignored);
    if (!take_bytes(connection, size, 0, &response->body)) return 0;
    if (capture_is_truncated(&response->body)) break;
    if (!take_line(connection, &rest, "chunk", &line)) return 0;
    if (line.length > 0) return fail(connection, text_of("a chunk is longer than its size"));
  }
  free(line.bytes);
  return 1;
}

/* The values of a header, with commas between them; how many there are, and whether all are the same. */
static char *header_values(const struct response *response, const char *name, size_t *count, int *are_equal) {
  struct text values = {0};
  const char *first = NULL;
  *count = 0, *are_equal = 1;
  for (size_t index = 0; index < response->headers_count; index++) {
    const struct header *header = &response->headers[index];
    if (strcmp(header->name, name) != 0) continue;
    if (first && strcmp(first, header->value) != 0) *are_equal = 0;
    if (!first) first = header->value;
    text_print(&values, "%s%s", (*count)++ ? ", " : "", header->value);
  }
  /* One value stands for several of the same. */
  return *are_equal && first && *count > 1 && strcmp(name, "content-length") == 0 ? text_of("%s", first) : values.bytes;
}

/* The body ends where RFC 9112, section 6.3, says. */
static int take_body(struct connection *connection, struct response *response) {
  size_t count;
  int are_equal;
  uint64_t length;
  char *codings = header_values(response, "transfer-encoding", &count, &are_equal);
  if (codings && (count > 1 || strcasecmp(codings, "chunked") != 0))
    return fail(connection, text_of("transfer coding `%s` is not known", codings));
  if (codings) return take_chunks(connection, response);
  char *lengths = header_values(response, "content-length", &count, &are_equal);
  if (!lengths) return take_bytes(connection, 0, 1, &response->body);
  if (!are_equal) return fail(connection, text_of("there are several lengths: %s", lengths));
  if (!read_size(lengths, strlen(lengths), 10, &length)) return fail_malformed(connection, lengths, "a length");
  return take_bytes(connection, length, 0, &response->body);
}

static int take_response(struct connection *connection, const char *method, size_t body_limit_bytes, struct response *response) {
  for (int count = 0; count <= INTERIM_RESPONSES_LIMIT_COUNT; count++) {
    size_t budget = HEAD_LIMIT_BYTES;
    *response = (struct response){.body = capture_head(body_limit_bytes)};
    if (!take_status(connection, &budget, &response->status) || !take_headers(connection, &budget, response)) return 0;
    int status = response->status;
    if (status < 200 && status != 101) continue;
    int has_body = strcmp(method, "HEAD") != 0 && status != 101 && status != 204 && status != 304;
    return !has_body || take_body(connection, response);
  }
  return fail(connection, text_of("more than %d responses of interim responses", INTERIM_RESPONSES_LIMIT_COUNT));
}

/* Sends a request on a connection of its own and reads the response until the deadline; gives why that failed, or null. */
char *http_exchange(struct running *running, const struct request *request, int64_t deadline_ms, size_t body_limit_bytes,
                    struct response *response) {
  static struct connection connection;
  connection.running = running, connection.deadline_ms = deadline_ms;
  connection.position = connection.end = 0, connection.failure = NULL;
  char *failure = tcp_connect(running, &request->url, deadline_ms, &connection.file);
  if (failure) return failure;
  struct text bytes = request_bytes(request);
  /* A server may answer and close before it has read a body that it does not want: its answer counts more. */
  failure = send_all(&connection, &bytes);
  free(bytes.bytes);
  if (take_response(&connection, request->method, body_limit_bytes, response)) failure = NULL;
  else if (!failure) failure = connection.failure;
  close(connection.file);
  return failure;
}
