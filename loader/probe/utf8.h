/* Characters among bytes. */
#ifndef LOCKSTEP_UTF8_H
#define LOCKSTEP_UTF8_H

#include <stddef.h>

/* How long the character at the beginning is (RFC 3629, section 4). What is none has a negative length: that of the
 * part that could have been the beginning of one, at least 1. */
static inline long utf8_measure(const char *text, size_t left) {
  const unsigned char *bytes = (const unsigned char *)text;
  unsigned char first = bytes[0], low = 0x80, high = 0xbf;
  long length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 1) return 1;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  for (long index = 1; index < length; index++, low = 0x80, high = 0xbf)
    if ((size_t)index >= left || bytes[index] < low || bytes[index] > high) return -index;
  return length > 0 ? length : -1;
}

static inline int is_utf8(const char *bytes, size_t length) {
  for (size_t at = 0; at < length;) {
    long step = utf8_measure(bytes + at, length - at);
    if (step < 0) return 0;
    at += (size_t)step;
  }
  return 1;
}

#endif
