package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// What the process of a plugin may tell, all records together.
	channelLimitBytes = 16 * 1024 * 1024
	// How long the process of a plugin may take to end after the loader was asked to.
	interruptTimeoutSeconds = 1
	// A line of what Go's runtime says when it ends a process is not longer than what is shown of it.
	wordsLimitBytes = 4096
)

// perform does what was asked; it gives the signal that ended it early, if one did.
func perform(asked *invocation, out *printer) (syscall.Signal, error) {
	switch {
	case asked.openOne != nil:
		return 0, openOne(asked.openOne)
	case asked.version:
		return 0, out.print(newVersionEvent())
	case asked.help:
		_, err := fmt.Fprint(out.out, help)
		return 0, err
	}
	s, err := newSupervisor()
	if err != nil {
		return 0, err
	}
	if asked.open != nil {
		err = openAll(s, asked.open, out)
	} else {
		err = drive(s, asked.drive, out)
	}
	if err != nil {
		return 0, err
	}
	if interrupt := s.interrupt(); interrupt != 0 {
		return interrupt, printed(out.print(newInterruptedEvent(interrupt)))
	}
	return 0, printed(out.print(newHeader("end")))
}

func printed(err error) error {
	if err != nil {
		return fmt.Errorf("failed to write to standard output: %w", rootCause(err))
	}
	return nil
}

// openAll opens one plugin after the other; what one does has no effect on the next. It stops early only when the loader
// is asked to end.
func openAll(s *supervisor, options *openOptions, out *printer) error {
	for _, plugin := range options.plugins {
		event, err := observe(s, options, plugin)
		if err != nil {
			return err
		}
		if event == nil {
			return nil
		}
		if err := printed(out.print(event)); err != nil {
			return err
		}
	}
	return nil
}

// observe gives nothing when the loader is asked to end meanwhile.
func observe(s *supervisor, options *openOptions, plugin string) (*pluginEvent, error) {
	channel, channelEnd, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("failed to make a channel: %w", err)
	}
	arguments := append([]string{"lockstep-loader", "open-one"}, options.flags...)
	arguments = append(arguments, "--", plugin)
	self := program{file: "/proc/self/exe", arguments: arguments, environment: options.environment, extra: channelEnd}
	r, err := s.start(self, options.outputLimitBytes)
	channelEnd.Close()
	if err != nil {
		channel.Close()
		return nil, err
	}
	told := startReader(channel, channelLimitBytes)

	why := s.wait(r, r.started.Add(options.timeout))
	switch why {
	case wakeInterrupted:
		s.signalGroup(r, s.interrupt())
		if !s.waitRegardless(r, interruptTimeoutSeconds*time.Second) {
			s.kill(r)
		}
	case wakeTimedOut:
		s.kill(r)
	}
	elapsed := time.Since(r.started)
	leftovers := s.sweep()
	if why == wakeInterrupted {
		return nil, nil
	}
	var how *ending
	if why == wakeEnded {
		// A process that was killed for being late has not ended in a way of its own.
		how = r.ending()
	}
	stdout, stderr := r.stdout.finish(), r.stderr.finish()
	event := judge(decodeRecords(told.finish().head), how, stderr)
	event.Path = plugin
	event.LeftoverProcesses = leftovers
	event.ElapsedMs = milliseconds(elapsed)
	event.Stdout, event.Stderr = stdout.event(), stderr.event()
	return event, nil
}

// decodeRecords stops at the first that is cut off or not one: a plugin that finds the channel can write to it.
func decodeRecords(told []byte) []record {
	var records []record
	decoder := json.NewDecoder(bytes.NewReader(told))
	decoder.UseNumber()
	for {
		var next record
		if decoder.Decode(&next) != nil {
			return records
		}
		records = append(records, next)
	}
}

// judge says what became of a plugin, from what its process told, how it ended (nothing means that it was late), and the
// last words of Go's runtime.
func judge(records []record, how *ending, stderr *capture) *pluginEvent {
	phase, symbol, done := phaseOpen, "", false
	var refusal *string
	event := &pluginEvent{header: newHeader("plugin"), Missing: []string{}, Calls: []returnedEvent{}}
	var missing []missingRecord
	for _, told := range records {
		switch {
		case told.Phase != "":
			phase, symbol = told.Phase, told.Symbol
		case told.NotLoadable != nil:
			refusal = told.NotLoadable
		case told.Missing != nil:
			missing = append(missing, *told.Missing)
			event.Missing = append(event.Missing, told.Missing.Symbol)
		case told.Returned != nil:
			event.Calls = append(event.Calls, *told.Returned)
		case told.Done:
			done = true
		}
	}
	tell := func(outcome, phase, symbol string, message *string) {
		event.Outcome, event.Phase, event.Symbol, event.Message = outcome, optional(phase), optional(symbol), message
	}
	event.endingEvent = newEndingEvent(how)
	words := ""
	if how != nil && how.signal == syscall.SIGABRT {
		var cause syscall.Signal
		if words, cause = lastWords(stderr); cause != 0 {
			event.endingEvent = newEndingEvent(&ending{signal: cause})
		}
	}
	switch {
	case how == nil:
		tell(outcomeTimedOut, phase, symbol, refusal)
	case how.signal != 0 && words != "":
		tell(outcomeCrashed, phase, symbol, &words)
	case how.signal != 0:
		// The loader's refusal says more than that the process did not survive it.
		tell(outcomeCrashed, phase, symbol, refusal)
	case how.status == channelLostStatus && !done:
		message := "the loader ended: the plugin closed the channel on which it reports"
		tell(outcomeExited, phase, symbol, &message)
	case how.status != 0 || !done:
		tell(outcomeExited, phase, symbol, refusal)
	case refusal != nil:
		tell(outcomeNotLoadable, phaseOpen, "", refusal)
	case len(missing) > 0:
		tell(outcomeSymbolMissing, phaseSymbol, missing[0].Symbol, &missing[0].Message)
	default:
		tell(outcomeLoaded, "", "", nil)
		for _, returned := range event.Calls {
			if returned.Problem != nil {
				tell(outcomeCallFailed, phaseCall, returned.Symbol, returned.Problem)
				break
			}
		}
	}
	return event
}

// lastWords finds what Go's runtime says before it ends a process, and the signal that it names there. The runtime catches
// signals itself, so the process ends with SIGABRT whatever it was.
func lastWords(stderr *capture) (string, syscall.Signal) {
	words := ""
	var cause syscall.Signal
	for _, part := range [][]byte{stderr.head, stderr.tail} {
		lines := bufio.NewScanner(bytes.NewReader(part))
		lines.Buffer(nil, channelLimitBytes)
		for lines.Scan() {
			line := lines.Text()
			name, _, isNamed := strings.Cut(strings.TrimPrefix(line, "[signal "), ": ")
			number, isSignal := parseSignal(name)
			isSignal = isSignal && isNamed && strings.HasPrefix(name, "SIG")
			if number == syscall.SIGQUIT && words != "" {
				// The runtime sends this one to its other threads, for them to say where they are.
				continue
			}
			isWords := isSignal && !strings.HasPrefix(line, "[")
			for _, beginning := range []string{"panic: ", "fatal error: ", "unexpected fault address "} {
				isWords = isWords || strings.HasPrefix(line, beginning)
			}
			// What comes later is what ended the process; a signal belongs to the words that it follows.
			if isWords {
				words, cause = line[:min(len(line), wordsLimitBytes)], 0
			}
			if isSignal && words != "" {
				cause = number
			}
		}
	}
	return words, cause
}
