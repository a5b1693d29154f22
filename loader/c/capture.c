/* Bytes that a program wrote, kept up to a limit: the first, and when there are more, the last few. */
#include <stdlib.h>
#include <string.h>

#include "loader.h"

/* How much of the end is kept when there is more than the limit: enough for the last words before a crash. */
#define TAIL_LIMIT_BYTES (8 * 1024)

struct capture capture_head(size_t limit_bytes) { return (struct capture){.head_limit_bytes = limit_bytes}; }

struct capture capture_stream(size_t limit_bytes) {
  return (struct capture){.head_limit_bytes = limit_bytes, .tail_limit_bytes = TAIL_LIMIT_BYTES};
}

void capture_push(struct capture *capture, const char *bytes, size_t length) {
  capture->bytes += length;
  size_t room = capture->head_limit_bytes - capture->head.length;
  size_t taken = length < room ? length : room;
  text_add(&capture->head, bytes, taken);
  bytes += taken, length -= taken;
  if (length > capture->tail_limit_bytes) {
    bytes += length - capture->tail_limit_bytes;
    length = capture->tail_limit_bytes;
  }
  struct text *tail = &capture->tail;
  if (tail->length + length > capture->tail_limit_bytes) {
    size_t excess = tail->length + length - capture->tail_limit_bytes;
    memmove(tail->bytes, tail->bytes + excess, tail->length - excess);
    tail->length -= excess;
  }
  text_add(tail, bytes, length);
}

int capture_is_truncated(const struct capture *capture) { return capture->bytes > capture->head.length; }

/* Whether these bytes are the beginning of a character that goes on behind them. */
static int is_partial(const char *bytes, size_t length) {
  unsigned char first = (unsigned char)bytes[0];
  size_t whole = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1;
  if (length >= whole || first > 0xf4) return 0;
  /* Any continuation that is allowed will do to see whether it can become one. */
  for (int second = 0x80; second <= 0xbf; second += 0x10) {
    char tried[4] = {bytes[0], (char)second, (char)0x80, (char)0x80};
    memcpy(tried, bytes, length);
    if (character_length(tried, whole) == whole) return 1;
  }
  return 0;
}

/* `{"text", "tail", "bytes", "truncated", "lossy"}`. A character that a cut went through is no fault of the program's, so it
 * must not be called lossy. */
void capture_json(struct text *out, const struct capture *capture) {
  const char *head = capture->head.bytes, *tail = capture->tail.bytes;
  size_t head_length = capture->head.length, tail_length = capture->tail.length;
  for (size_t length = 1; capture_is_truncated(capture) && length <= 3 && length <= head_length; length++) {
    if (!is_partial(head + head_length - length, length)) continue;
    head_length -= length;
    break;
  }
  for (int skipped = 0; skipped < 3 && tail_length > 0 && (tail[0] & 0xc0) == 0x80; skipped++) tail++, tail_length--;
  text_put(out, "{\"text\":");
  int lossy = json_bytes(out, head, head_length);
  text_put(out, ",\"tail\":");
  if (tail_length > 0) lossy |= json_bytes(out, tail, tail_length);
  else text_put(out, "null");
  text_print(out, ",\"bytes\":%llu,\"truncated\":%s,\"lossy\":%s}", (unsigned long long)capture->bytes,
             capture_is_truncated(capture) ? "true" : "false", lossy ? "true" : "false");
}

void capture_free(struct capture *capture) {
  free(capture->head.bytes);
  free(capture->tail.bytes);
  *capture = (struct capture){0};
}
