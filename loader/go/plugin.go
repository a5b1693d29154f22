package main

import (
	"encoding/json"
	"fmt"
	"os"
	"plugin"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
)

const (
	// The descriptor on which the process of a plugin tells its parent what it does; standard output and error belong to
	// the plugin.
	channelDescriptor = 3
	// A string that is longer is not passed on.
	stringLimitBytes = 64 * 1024
	// Words that are longer are cut.
	recordTextLimitBytes = 64 * 1024
	// The status of a process that could not tell its parent anything any more.
	channelLostStatus = 117
)

// record is one thing that the process of a plugin tells its parent. Each is written at once, so whatever happens next,
// the parent knows what had been done and what was going on. One of the fields is set.
type record struct {
	// This begins, for this symbol.
	Phase  string `json:",omitempty"`
	Symbol string `json:",omitempty"`
	// The plugin could not be opened, in the loader's words.
	NotLoadable *string `json:",omitempty"`
	// A symbol is not there, in the loader's words.
	Missing *symbolRecord `json:",omitempty"`
	// A symbol has another type than the contract names, in the words of a type assertion that fails.
	Differs *symbolRecord `json:",omitempty"`
	// A function has come back.
	Returned *returnedEvent `json:",omitempty"`
	// Everything that was asked for is done.
	Done bool `json:",omitempty"`
}

type symbolRecord struct {
	Symbol  string
	Message string
}

// openOne opens the plugin as the contract says, and tells what it does.
func openOne(c *contract) error {
	syscall.CloseOnExec(channelDescriptor)
	// Without this a panic or a fault would look like an exit with status 2.
	debug.SetTraceback("crash")
	s := &session{channel: os.NewFile(channelDescriptor, "channel"), owner: os.Getpid()}
	s.run(c)
	s.tell(record{Done: true})
	s.tell(record{Phase: phaseExit})
	return nil
}

// cut leaves of a text what a record may say.
func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), recordTextLimitBytes/2)], "")
}

type session struct {
	channel *os.File
	owner   int
}

// tell ends the process when it is a copy of the loader that the plugin forked, or when the plugin has closed the channel,
// after which nothing more could be told.
func (s *session) tell(told record) {
	if os.Getpid() != s.owner {
		os.Exit(0)
	}
	if json.NewEncoder(s.channel).Encode(told) != nil {
		os.Exit(channelLostStatus)
	}
}

func (s *session) run(c *contract) {
	s.tell(record{Phase: phaseOpen})
	opened, err := plugin.Open(c.plugin)
	if err != nil {
		message := cut(err.Error())
		s.tell(record{NotLoadable: &message})
		return
	}
	symbols := map[string]plugin.Symbol{}
	isComplete := true
	for _, name := range c.distinctSymbols() {
		s.tell(record{Phase: phaseSymbol, Symbol: name})
		symbol, err := opened.Lookup(name)
		symbols[name] = symbol
		if err != nil {
			s.tell(record{Missing: &symbolRecord{name, cut(err.Error())}})
			isComplete = false
		} else if words := differs(symbol, c.types[name]); words != "" {
			s.tell(record{Differs: &symbolRecord{name, cut(words)}})
			isComplete = false
		}
	}
	if !isComplete {
		return
	}
	for _, call := range c.calls {
		s.tell(record{Phase: phaseCall, Symbol: call.symbol})
		returned := invoke(call, symbols[call.symbol])
		s.tell(record{Returned: &returned})
	}
}

// differs says what the host's type assertion would, or nothing if that succeeds or the contract names no type.
func differs(symbol plugin.Symbol, wanted string) string {
	found := reflect.TypeOf(symbol).String()
	if wanted == "" || found == wanted {
		return ""
	}
	return fmt.Sprintf("interface conversion: plugin.Symbol is %s, not %s", found, wanted)
}

// invoke calls a function, and gives what it returned, or what is wrong.
func invoke(c call, symbol plugin.Symbol) returnedEvent {
	event := returnedEvent{Symbol: c.symbol, Type: c.returns}
	problem := func(format string, values ...any) returnedEvent {
		text := cut(fmt.Sprintf(format, values...))
		event.Problem = &text
		return event
	}
	function := reflect.ValueOf(symbol)
	if function.Kind() == reflect.Pointer && function.Elem().Kind() == reflect.Func {
		// A variable that holds a function.
		function = function.Elem()
	}
	if function.Kind() != reflect.Func {
		return problem("not callable: `%s` is a variable of type %s", c.symbol, strings.TrimPrefix(function.Type().String(), "*"))
	}
	kind := function.Type()
	result, failure, callable := results(kind)
	if !callable || kind.IsVariadic() || !takesOnlyPlain(kind) {
		return problem("not callable: `%s` is %s", c.symbol, kind)
	}
	if function.IsNil() {
		return problem("not callable: `%s` is nil", c.symbol)
	}
	if c.returns != returnsNone && plainType(result) != plainReturns(c.returns) {
		return problem("`%s` is %s, which does not return %s", c.symbol, kind, plainReturns(c.returns))
	}
	if kind.NumIn() != len(c.arguments) {
		return problem("`%s` is %s, which does not take %d arguments", c.symbol, kind, len(c.arguments))
	}
	in := make([]reflect.Value, len(c.arguments))
	for i, argument := range c.arguments {
		value, ok := argument.as(kind.In(i))
		if !ok {
			return problem("`%s` is %s, which does not take what is given as argument %d", c.symbol, kind, i+1)
		}
		in[i] = value
	}
	out := function.Call(in)
	if failure >= 0 && !out[failure].IsNil() {
		return problem("%v", out[failure].Interface())
	}
	if c.returns == returnsNone {
		return event
	}
	switch value := out[0]; {
	case value.Kind() == reflect.String && value.Len() > stringLimitBytes:
		return problem("returned a string of more than %d bytes", stringLimitBytes)
	case value.Kind() == reflect.String:
		event.Returned, event.Lossy = shownText(value.String())
		if event.Lossy {
			return problem("returned text that is not UTF-8")
		}
	case value.CanInt():
		event.Returned = value.Int()
	default:
		if value.Uint() > 1<<63-1 {
			return problem("returned %d, which is no signed integer of 64 bits", value.Uint())
		}
		event.Returned = value.Uint()
	}
	return event
}

var errorType = reflect.TypeFor[error]()

// results says what kind of value a function returns, if any, and the place of its error, or -1; callable says that there
// is nothing else.
func results(kind reflect.Type) (result reflect.Type, failure int, callable bool) {
	failure = kind.NumOut() - 1
	if failure < 0 || kind.Out(failure) != errorType {
		failure = -1
	}
	switch values := kind.NumOut(); {
	case values == 0 || values == 1 && failure == 0:
		return nil, failure, true
	case values == 1 || values == 2 && failure == 1:
		return kind.Out(0), failure, plainType(kind.Out(0)) != ""
	default:
		return nil, failure, false
	}
}

func takesOnlyPlain(kind reflect.Type) bool {
	for i := range kind.NumIn() {
		if plainType(kind.In(i)) == "" {
			return false
		}
	}
	return true
}

// plainType is what the command line can say of a type; nothing for one that it cannot give or take.
func plainType(kind reflect.Type) string {
	switch {
	case kind == nil:
		return ""
	case kind.Kind() == reflect.String:
		return "a string"
	case kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Uint64:
		return "an integer"
	default:
		return ""
	}
}

func plainReturns(returns string) string {
	if returns == returnsString {
		return "a string"
	}
	return "an integer"
}

// as gives an argument as a value of this type, if it fits.
func (a argument) as(kind reflect.Type) (reflect.Value, bool) {
	value := reflect.New(kind).Elem()
	switch {
	case value.Kind() == reflect.String && !a.isInteger:
		value.SetString(a.text)
	case value.CanInt() && a.isInteger && !value.OverflowInt(a.integer):
		value.SetInt(a.integer)
	case value.CanUint() && a.isInteger && a.integer >= 0 && !value.OverflowUint(uint64(a.integer)):
		value.SetUint(uint64(a.integer))
	default:
		return value, false
	}
	return value, true
}
