// Package match finds a number such as order-4711 in a text, with libc's regular expressions: GET /match?text=order-4711.
//
// The answer says which bytes each group matched, begin and end, as Go's FindSubmatchIndex does; the first pair is the
// whole match:
//
//	{"matched":true,"groups":[[0,10],[0,5],[6,10]]}
//
// It calls C to show what C brings along. regexec writes into an array of regmatch_t, which has 8 bytes on glibc and 16
// on musl. A plugin that was compiled against one libc and runs on the other loads without a word, for Go compares Go
// packages only, and answers with other numbers.
package match

/*
#include <regex.h>
#include <stdlib.h>
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unsafe"

	"example.com/gateway/api"
)

// Name is the plugin's name.
const Name = "match"

const (
	pattern = "([a-z]+)-([0-9]+)"
	// groupCount is what the pattern yields: the whole match, the word, the number.
	groupCount = 3
	// groupsMax is the room for groups: as in sed, and as most programs have it, for \0 to \9, whatever the pattern uses.
	groupsMax = 10

	textLimitBytes = 1024
)

type handler struct {
	// expression is in C's memory and stays there until the process ends: a plugin cannot be unloaded either.
	expression *C.regex_t
}

// New compiles the pattern and makes the handler.
func New() (api.Handler, error) {
	text := C.CString(pattern)
	defer C.free(unsafe.Pointer(text))

	expression := (*C.regex_t)(C.calloc(1, C.sizeof_regex_t))
	if status := C.regcomp(expression, text, C.REG_EXTENDED); status != 0 {
		C.free(unsafe.Pointer(expression))
		return nil, fmt.Errorf("failed to compile the pattern %q: regcomp returned %d", pattern, status)
	}
	return handler{expression}, nil
}

func (handler) Pattern() string {
	return "GET /match"
}

type answer struct {
	Matched bool     `json:"matched"`
	Groups  [][2]int `json:"groups"`
}

func (h handler) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	text := request.FormValue("text")
	switch {
	case text == "":
		http.Error(response, "text is missing", http.StatusBadRequest)
		return
	case len(text) > textLimitBytes:
		http.Error(response, fmt.Sprintf("text has more than %d bytes", textLimitBytes), http.StatusBadRequest)
		return
	case strings.ContainsRune(text, 0):
		// C's strings end there: the answer would be about a part of the text.
		http.Error(response, "text holds a NUL", http.StatusBadRequest)
		return
	}

	groups := h.match(text)
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(answer{Matched: len(groups) > 0, Groups: groups})
}

// match returns begin and end of the whole match and of every group; none where nothing matches.
func (h handler) match(text string) [][2]int {
	subject := C.CString(text)
	defer C.free(unsafe.Pointer(subject))

	var matches [groupsMax]C.regmatch_t
	if C.regexec(h.expression, subject, groupCount, &matches[0], 0) != 0 {
		return [][2]int{}
	}

	groups := make([][2]int, groupCount)
	for i := range groups {
		groups[i] = [2]int{int(matches[i].rm_so), int(matches[i].rm_eo)}
	}
	return groups
}
