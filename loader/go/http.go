package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A minimal HTTP/1.1 client for servers on the loopback address: one request a connection, with limits on everything.
// net/http would add a hundred packages and 20 s to a build that every environment makes, and this one does exactly
// what the loader for dlopen does.

const (
	// Status line and headers together, and the trailers of a chunked body.
	headLimitBytes = 64 * 1024
	// Header lines of one response.
	headersLimitCount = 256
	// `100 Continue` and the like before the response proper.
	interimResponsesLimitCount = 8
	// The line that gives a chunk's size.
	chunkLineLimitBytes = 1024
	// What is read at once.
	httpPieceBytes = 16 * 1024
)

type httpHeader struct{ name, value string }

// httpRequest is what a server is asked.
type httpRequest struct {
	method string
	url    *loopbackURL
	// Replace those that the client would send by itself.
	headers []httpHeader
	// None for no body.
	body *string
}

func (r *httpRequest) bytes() []byte {
	headers := []httpHeader{
		{"Host", r.url.authority},
		{"User-Agent", "lockstep-loader/" + version},
		{"Accept", "*/*"},
		{"Connection", "close"},
	}
	if r.body != nil {
		headers = append(headers, httpHeader{"Content-Length", strconv.Itoa(len(*r.body))})
	} else if slices.Contains([]string{"POST", "PUT", "PATCH"}, r.method) {
		headers = append(headers, httpHeader{"Content-Length", "0"})
	}
	headers = slices.DeleteFunc(headers, func(header httpHeader) bool {
		return slices.ContainsFunc(r.headers, func(own httpHeader) bool { return strings.EqualFold(own.name, header.name) })
	})
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\n", r.method, r.url.path)
	for _, header := range append(headers, r.headers...) {
		fmt.Fprintf(&text, "%s: %s\r\n", header.name, header.value)
	}
	text.WriteString("\r\n")
	if r.body != nil {
		text.WriteString(*r.body)
	}
	return []byte(text.String())
}

// httpResponse is what a server answered.
type httpResponse struct {
	status int
	// By name in lower case; a header that is there twice has two values.
	headers map[string][]string
	// Without its transfer coding; a compressed body stays compressed.
	body *capture
}

func readFailure(format string, values ...any) error {
	return fmt.Errorf("failed to read the response: "+format, values...)
}

// exchange sends a request on a connection of its own and reads the response until the deadline.
func exchange(request *httpRequest, deadline time.Time, bodyLimitBytes int) (*httpResponse, error) {
	address := request.url.address.String()
	connection, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", address)
	if err != nil {
		return nil, connectFailure(address, err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(deadline); err != nil {
		return nil, err
	}
	_, sendErr := connection.Write(request.bytes())
	// A server may answer and close before it has read a body that it does not want: its answer counts more.
	response, err := readResponse(connection, request.method, bodyLimitBytes)
	if err != nil && sendErr != nil {
		return nil, fmt.Errorf("failed to send the request: %w", rootCause(sendErr))
	}
	return response, err
}

func connectFailure(address string, err error) error {
	return fmt.Errorf("failed to connect to %s: %w", address, rootCause(err))
}

// rootCause is the kernel's own word, without the address and the operation that the message names already.
func rootCause(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// readResponse reads one response to a request with this method. The body ends where RFC 9112, section 6.3, says.
func readResponse(stream io.Reader, method string, bodyLimitBytes int) (*httpResponse, error) {
	in := &incoming{stream: stream, buffer: make([]byte, httpPieceBytes)}
	for range interimResponsesLimitCount + 1 {
		budget := headLimitBytes
		line, err := in.line(&budget, "status line")
		if err != nil {
			return nil, err
		}
		status, err := parseStatus(line)
		if err != nil {
			return nil, err
		}
		headers, err := in.headers(&budget)
		if err != nil {
			return nil, err
		}
		if status < 200 && status != 101 {
			continue
		}
		body := captureHead(bodyLimitBytes)
		if method != "HEAD" && status != 101 && status != 204 && status != 304 {
			if err := in.body(headers, body); err != nil {
				return nil, err
			}
		}
		return &httpResponse{status, headers, body}, nil
	}
	return nil, readFailure("more than %d responses of interim responses", interimResponsesLimitCount)
}

func parseStatus(line string) (int, error) {
	words := strings.SplitN(line, " ", 3)
	if len(words) >= 2 && (words[0] == "HTTP/1.0" || words[0] == "HTTP/1.1") && len(words[1]) == 3 && isDigits(words[1]) {
		if status, err := strconv.Atoi(words[1]); err == nil && status >= 100 {
			return status, nil
		}
	}
	return 0, readFailure("`%s` is not a status line", shortened(line))
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// shortened is enough of a text for a message.
func shortened(text string) string {
	const shownCharacters = 60
	text = strings.ToValidUTF8(text, "\ufffd")
	if characters := []rune(text); len(characters) > shownCharacters {
		return string(characters[:shownCharacters]) + "…"
	}
	return text
}

// incoming is the bytes of a response that are still to be read.
type incoming struct {
	stream io.Reader
	buffer []byte
	// From position on the buffer was not looked at yet, and it ends at end.
	position, end int
}

// available gives the bytes that are there; it waits for some if there are none. Nothing at the end of the stream.
func (in *incoming) available(stage string) ([]byte, error) {
	for in.position == in.end {
		length, err := in.stream.Read(in.buffer)
		in.position, in.end = 0, length
		switch {
		case length > 0:
		case errors.Is(err, io.EOF):
			return nil, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, readFailure("no %s in time", stage)
		case err != nil:
			return nil, readFailure("%w", rootCause(err))
		}
	}
	return in.buffer[in.position:in.end], nil
}

// line gives a line without its end, which is taken off the budget.
func (in *incoming) line(budget *int, stage string) (string, error) {
	limit := *budget
	var line strings.Builder
	for {
		available, err := in.available(stage)
		if err != nil {
			return "", err
		}
		if len(available) == 0 {
			return "", readFailure("the connection was closed within the %s", stage)
		}
		end := slices.Index(available, '\n')
		taken := len(available)
		if end >= 0 {
			taken = end + 1
		}
		line.Write(available[:taken])
		in.position += taken
		if *budget -= taken; *budget < 0 {
			return "", readFailure("more than %d bytes of %s", limit, stage)
		}
		if end >= 0 {
			return strings.TrimSuffix(strings.TrimSuffix(line.String(), "\n"), "\r"), nil
		}
	}
}

func (in *incoming) headers(budget *int) (map[string][]string, error) {
	headers := map[string][]string{}
	for range headersLimitCount + 1 {
		line, err := in.line(budget, "headers")
		if err != nil {
			return nil, err
		}
		if line == "" {
			return headers, nil
		}
		name, value, found := strings.Cut(line, ":")
		// White space before the colon or the name has been a way to smuggle headers; RFC 9112 forbids both.
		if !found || name == "" || strings.ContainsAny(name, " \t\v\f\r") {
			return nil, readFailure("`%s` is not a header", shortened(line))
		}
		name = strings.ToLower(name)
		headers[name] = append(headers[name], strings.TrimSpace(value))
	}
	return nil, readFailure("more than %d lines of headers", headersLimitCount)
}

func (in *incoming) body(headers map[string][]string, body *capture) error {
	if codings := headers["transfer-encoding"]; len(codings) > 0 {
		if len(codings) == 1 && strings.EqualFold(codings[0], "chunked") {
			return in.chunks(body)
		}
		return readFailure("transfer coding `%s` is not known", strings.Join(codings, ", "))
	}
	lengths := headers["content-length"]
	if len(lengths) == 0 {
		return in.rest(body)
	}
	if slices.ContainsFunc(lengths, func(other string) bool { return other != lengths[0] }) {
		return readFailure("there are several lengths: %s", strings.Join(lengths, ", "))
	}
	length, err := strconv.ParseUint(lengths[0], 10, 64)
	if err != nil || !isDigits(lengths[0]) {
		return readFailure("`%s` is not a length", shortened(lengths[0]))
	}
	return in.bytes(length, body)
}

// bytes reads exactly so many bytes, unless the body has reached its limit before.
func (in *incoming) bytes(length uint64, body *capture) error {
	for length > 0 && !body.isTruncated() {
		available, err := in.available("body")
		if err != nil {
			return err
		}
		if len(available) == 0 {
			return readFailure("the connection was closed within the body")
		}
		taken := int(min(uint64(len(available)), length))
		body.push(available[:taken])
		in.position += taken
		length -= uint64(taken)
	}
	return nil
}

func (in *incoming) rest(body *capture) error {
	for !body.isTruncated() {
		available, err := in.available("body")
		if err != nil {
			return err
		}
		if len(available) == 0 {
			break
		}
		body.push(available)
		in.position = in.end
	}
	return nil
}

func (in *incoming) chunks(body *capture) error {
	for !body.isTruncated() {
		budget := chunkLineLimitBytes
		line, err := in.line(&budget, "chunk size")
		if err != nil {
			return err
		}
		digits, _, _ := strings.Cut(line, ";")
		digits = strings.TrimSpace(digits)
		size, err := strconv.ParseUint(digits, 16, 64)
		if err != nil || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
			return readFailure("`%s` is not the size of a chunk", shortened(line))
		}
		if size == 0 {
			budget := headLimitBytes
			_, err := in.headers(&budget)
			return err
		}
		if err := in.bytes(size, body); err != nil || body.isTruncated() {
			return err
		}
		budget = chunkLineLimitBytes
		if line, err = in.line(&budget, "chunk"); err != nil {
			return err
		}
		if line != "" {
			return readFailure("a chunk is longer than its size")
		}
	}
	return nil
}
