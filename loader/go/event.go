package main

import (
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// schema is the version of the events' shapes.
const schema = 1

// header is what every event begins with.
type header struct {
	Schema int    `json:"schema"`
	Event  string `json:"event"`
}

func newHeader(event string) header { return header{schema, event} }

// What becomes of a plugin.
const (
	// Opened, complete and called without a complaint.
	outcomeLoaded = "loaded"
	// The loader refused it.
	outcomeNotLoadable = "not-loadable"
	// Opened, but it lacks a symbol.
	outcomeSymbolMissing = "symbol-missing"
	// It has a symbol of another type than the contract names.
	outcomeTypeDiffers = "type-differs"
	// A call came back with something wrong.
	outcomeCallFailed = "call-failed"
	// A signal ended its process.
	outcomeCrashed = "crashed"
	// It ended its process, with whatever status.
	outcomeExited = "exited"
	// It was not done in time.
	outcomeTimedOut = "timed-out"
)

// What is going on in the process of a plugin. Go closes no plugins, so there is no phase for that.
const (
	phaseOpen   = "open"
	phaseSymbol = "symbol"
	phaseCall   = "call"
	phaseExit   = "exit"
)

// endingEvent is how a process ended; nothing for one that was killed for being late.
type endingEvent struct {
	Status     *int    `json:"status"`
	Signal     *int    `json:"signal"`
	SignalName *string `json:"signal_name"`
}

func newEndingEvent(ending *ending) endingEvent {
	switch {
	case ending == nil:
		return endingEvent{}
	case ending.signal != 0:
		number, name := int(ending.signal), signalName(ending.signal)
		return endingEvent{Signal: &number, SignalName: &name}
	default:
		return endingEvent{Status: &ending.status}
	}
}

type pluginEvent struct {
	header
	Path    string   `json:"path"`
	Outcome string   `json:"outcome"`
	Phase   *string  `json:"phase"`
	Symbol  *string  `json:"symbol"`
	Message *string  `json:"message"`
	Missing []string `json:"missing"`
	endingEvent
	Calls             []returnedEvent `json:"calls"`
	LeftoverProcesses int             `json:"leftover_processes"`
	ElapsedMs         int64           `json:"elapsed_ms"`
	Stdout            textEvent       `json:"stdout"`
	Stderr            textEvent       `json:"stderr"`
}

// returnedEvent is what a function gave back, and what is wrong with it.
type returnedEvent struct {
	Symbol   string  `json:"symbol"`
	Type     string  `json:"type"`
	Returned any     `json:"returned"`
	Lossy    bool    `json:"lossy"`
	Problem  *string `json:"problem"`
}

// openingEvent announces a plugin: whoever reads knows who was at work, should this process not come to the next line.
type openingEvent struct {
	header
	Path string `json:"path"`
}

type messageEvent struct {
	header
	Message string `json:"message"`
}

func newErrorEvent(err error) messageEvent { return messageEvent{newHeader("error"), err.Error()} }

type readyEvent struct {
	header
	Attempts  int   `json:"attempts"`
	ElapsedMs int64 `json:"elapsed_ms"`
}

type notReadyEvent struct {
	header
	Reason    string  `json:"reason"`
	Message   *string `json:"message"`
	ElapsedMs int64   `json:"elapsed_ms"`
}

// asked is a request and how long it took.
type asked struct {
	Index     int    `json:"index"`
	Method    string `json:"method"`
	URL       string `json:"url"`
	ElapsedMs int64  `json:"elapsed_ms"`
}

type responseEvent struct {
	header
	asked
	Status  int                 `json:"status"`
	Headers map[string][]string `json:"headers"`
	Body    textEvent           `json:"body"`
}

type requestFailedEvent struct {
	header
	asked
	Message string `json:"message"`
}

// What ends a command.
const (
	// It ended without being asked.
	stoppedByItself = "itself"
	// It was asked to, and did.
	stoppedBySignal = "stop-signal"
	// It was asked to, did not in time, and was killed.
	stoppedByStopTimeout = "stop-timeout"
	// Its time was over, and it was killed.
	stoppedByTimeout = "timeout"
	// The loader itself was asked to end.
	stoppedByInterrupt = "interrupt"
)

type exitEvent struct {
	header
	endingEvent
	StoppedBy         string    `json:"stopped_by"`
	LeftoverProcesses int       `json:"leftover_processes"`
	ElapsedMs         int64     `json:"elapsed_ms"`
	Stdout            textEvent `json:"stdout"`
	Stderr            textEvent `json:"stderr"`
}

// stepEvent announces a step.
type stepEvent struct {
	header
	Index int `json:"index"`
}

// clientEvent is the end of a command that asked the server; nobody knows what it has left behind until that has ended.
type clientEvent struct {
	header
	Index int `json:"index"`
	endingEvent
	StoppedBy string    `json:"stopped_by"`
	ElapsedMs int64     `json:"elapsed_ms"`
	Stdout    textEvent `json:"stdout"`
	Stderr    textEvent `json:"stderr"`
}

type clientFailedEvent struct {
	header
	Index   int    `json:"index"`
	Message string `json:"message"`
}

type interruptedEvent struct {
	header
	Signal     int    `json:"signal"`
	SignalName string `json:"signal_name"`
}

func newInterruptedEvent(signal syscall.Signal) interruptedEvent {
	return interruptedEvent{newHeader("interrupted"), int(signal), signalName(signal)}
}

type versionEvent struct {
	header
	Loader      string  `json:"loader"`
	Version     string  `json:"version"`
	Libc        *string `json:"libc"`
	LibcVersion *string `json:"libc_version"`
	Go          string  `json:"go"`
}

func newVersionEvent() versionEvent {
	name, number := cLibrary()
	return versionEvent{newHeader("version"), "go", version, optional(name), optional(number), runtime.Version()}
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func milliseconds(duration time.Duration) int64 { return duration.Milliseconds() }

// printer writes events, each at once: whoever reads them may be waiting.
type printer struct {
	out io.Writer
}

func (p *printer) print(event any) error {
	var line strings.Builder
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(event); err != nil {
		return err
	}
	_, err := io.WriteString(p.out, line.String())
	return err
}

// shownText is text of which it is known whether something was lost.
func shownText(text string) (string, bool) {
	return strings.ToValidUTF8(text, string(utf8.RuneError)), !utf8.ValidString(text)
}
