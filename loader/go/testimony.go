package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// testimony is what was told until the first record that cannot be believed: one that the loader does not tell there. The
// plugin lives in the process that tells, so it can tell what it likes of itself. It cannot tell less than a plugin would
// that keeps the contract, nor more, nor something else.
type testimony struct {
	// What was going on last, and the symbol that was at work then.
	phase, symbol string
	// The loader's words when it could not open the plugin.
	refusal *string
	// The symbols that are not there, with the loader's words.
	missing []symbolRecord
	// The symbols of another type than the contract names, with the words for it.
	differing []symbolRecord
	// What the calls gave that came back.
	calls []returnedEvent
	// Whether all that there is to tell was told, and nothing else.
	isWhole bool
	// Whether something was told that the loader does not tell there.
	isBroken bool
}

// decodeRecords reads records, at most so many, and says whether that is all. It stops at the first that is cut off or not
// one: a plugin that finds the channel can write to it.
func decodeRecords(told []byte, limitCount int) ([]record, bool) {
	var records []record
	decoder := json.NewDecoder(bytes.NewReader(told))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	for {
		var next record
		if err := decoder.Decode(&next); err != nil {
			return records, errors.Is(err, io.EOF)
		}
		if len(records) == limitCount {
			return records, false
		}
		records = append(records, next)
	}
}

// hear hears the records of a process that opens a plugin as the contract says; isReadable unless there was more that is
// no record.
func hear(records []record, isReadable bool, c *contract) testimony {
	t := testimony{phase: phaseOpen}
	rest := records
	// next takes the record that comes next if it is such a one.
	next := func(isExpected func(told record) bool) bool {
		if len(rest) == 0 || !rest[0].isSound() || !isExpected(rest[0]) {
			return false
		}
		rest = rest[1:]
		return true
	}
	enter := func(phase, symbol string) bool {
		isEntered := next(func(told record) bool { return told.Phase == phase && told.Symbol == symbol })
		if isEntered {
			t.phase, t.symbol = phase, symbol
		}
		return isEntered
	}
	t.isWhole = isReadable && t.follow(next, enter, c) && len(rest) == 0
	t.isBroken = !isReadable || len(rest) > 0
	return t
}

// follow goes the way that the loader goes, and says whether it was told to its end.
func (t *testimony) follow(next func(func(record) bool) bool, enter func(phase, symbol string) bool, c *contract) bool {
	if !enter(phaseOpen, "") {
		return false
	}
	isRefused := next(func(told record) bool {
		t.refusal = told.NotLoadable
		return told.NotLoadable != nil
	})
	if !isRefused {
		for _, name := range c.distinctSymbols() {
			if !enter(phaseSymbol, name) {
				return false
			}
			next(func(told record) bool {
				isMissing := told.Missing != nil && told.Missing.Symbol == name
				differs := c.types[name] != "" && told.Differs != nil && told.Differs.Symbol == name
				if isMissing {
					t.missing = append(t.missing, *told.Missing)
				} else if differs {
					t.differing = append(t.differing, *told.Differs)
				}
				return isMissing || differs
			})
		}
		for _, call := range c.calls {
			if len(t.missing) > 0 || len(t.differing) > 0 {
				break
			}
			isAnswered := enter(phaseCall, call.symbol) && next(func(told record) bool {
				isAnswer := told.Returned != nil && told.Returned.answers(call)
				if isAnswer {
					t.calls = append(t.calls, *told.Returned)
				}
				return isAnswer
			})
			if !isAnswered {
				return false
			}
		}
	}
	return next(func(told record) bool { return told.Done }) && enter(phaseExit, "")
}

// isSound says whether a record says one thing, in no more words than the loader uses.
func (r record) isSound() bool {
	said := 0
	for _, isSaid := range []bool{r.Phase != "", r.NotLoadable != nil, r.Missing != nil, r.Differs != nil, r.Returned != nil, r.Done} {
		if isSaid {
			said++
		}
	}
	var texts []string
	if r.NotLoadable != nil {
		texts = append(texts, *r.NotLoadable)
	}
	if r.Missing != nil {
		texts = append(texts, r.Missing.Message)
	}
	if r.Differs != nil {
		texts = append(texts, r.Differs.Message)
	}
	if r.Returned != nil && r.Returned.Problem != nil {
		texts = append(texts, *r.Returned.Problem)
	}
	isLong := func(text string) bool { return len(text) > recordTextLimitBytes }
	return said == 1 && (r.Symbol == "" || r.Phase != "") && !slices.ContainsFunc(texts, isLong)
}

// answers says whether a call of the loader can come back like this.
func (r returnedEvent) answers(c call) bool {
	if r.Symbol != c.symbol || r.Type != c.returns {
		return false
	}
	switch value := r.Returned.(type) {
	case nil:
		return !r.Lossy && (r.Problem != nil || c.returns == returnsNone)
	case string:
		// Text in which something was replaced comes with the problem that it was.
		isLong := len(value) > stringLimitBytes*len("\uFFFD")
		return c.returns == returnsString && r.Lossy == (r.Problem != nil) && !isLong
	case json.Number:
		_, err := value.Int64()
		isInteger := c.returns == returnsInteger || c.returns == returnsInt32
		return err == nil && isInteger && r.Problem == nil && !r.Lossy
	default:
		return false
	}
}
