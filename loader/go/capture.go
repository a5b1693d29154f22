package main

import (
	"bytes"
	"unicode/utf8"
)

// tailLimitBytes is how much of the end is kept when there is more than the limit: enough for the last words before a
// crash.
const tailLimitBytes = 8 * 1024

// capture keeps the first bytes that a program wrote, up to a limit, and, when there are more, the last few.
type capture struct {
	head           []byte
	headLimitBytes int
	tail           []byte
	tailLimitBytes int
	bytes          int64
}

// captureStream is for a stream that is read to its end.
func captureStream(limitBytes int) *capture {
	return &capture{headLimitBytes: limitBytes, tailLimitBytes: tailLimitBytes}
}

// captureHead is for bytes whose end does not matter.
func captureHead(limitBytes int) *capture {
	return &capture{headLimitBytes: limitBytes}
}

func (c *capture) push(bytes []byte) {
	c.bytes += int64(len(bytes))
	room := min(c.headLimitBytes-len(c.head), len(bytes))
	c.head = append(c.head, bytes[:room]...)
	rest := bytes[room:]
	rest = rest[max(0, len(rest)-c.tailLimitBytes):]
	excess := max(0, len(c.tail)+len(rest)-c.tailLimitBytes)
	c.tail = append(c.tail[:0], c.tail[excess:]...)
	c.tail = append(c.tail, rest...)
}

func (c *capture) isTruncated() bool {
	return c.bytes > int64(len(c.head))
}

func (c *capture) clone() *capture {
	copied := *c
	copied.head = bytes.Clone(c.head)
	copied.tail = bytes.Clone(c.tail)
	return &copied
}

// textEvent is the form of a capture in events.
type textEvent struct {
	Text      string  `json:"text"`
	Tail      *string `json:"tail"`
	Bytes     int64   `json:"bytes"`
	Truncated bool    `json:"truncated"`
	Lossy     bool    `json:"lossy"`
}

func (c *capture) event() textEvent {
	head := c.head
	if c.isTruncated() {
		// A character that the cut went through is no fault of the program's, so it must not be called lossy.
		head = withoutPartialEnd(head)
	}
	tail := withoutPartialStart(c.tail)
	event := textEvent{
		Text:      string(head),
		Bytes:     c.bytes,
		Truncated: c.isTruncated(),
		Lossy:     !utf8.Valid(head) || !utf8.Valid(tail),
	}
	if len(tail) > 0 {
		text := string(tail)
		event.Tail = &text
	}
	return event
}

func withoutPartialEnd(bytes []byte) []byte {
	for length := 1; length <= min(len(bytes), utf8.UTFMax-1); length++ {
		start := len(bytes) - length
		if utf8.RuneStart(bytes[start]) {
			if !utf8.FullRune(bytes[start:]) {
				return bytes[:start]
			}
			break
		}
	}
	return bytes
}

func withoutPartialStart(bytes []byte) []byte {
	for skipped := 0; skipped < utf8.UTFMax-1 && len(bytes) > 0 && !utf8.RuneStart(bytes[0]); skipped++ {
		bytes = bytes[1:]
	}
	return bytes
}
