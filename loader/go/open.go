package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// What the process of a plugin may tell, all records together.
	channelLimitBytes = 4 * 1024 * 1024
	// How long it may take to remove the files that a plugin has left.
	clearTimeoutSeconds = 5
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
	case asked.clear != nil:
		clearAll(asked.clear)
		return 0, nil
	case asked.version:
		return 0, out.print(newVersionEvent())
	case asked.help:
		_, err := fmt.Fprint(out.out, help)
		return 0, err
	}
	var user *user
	switch {
	case asked.open != nil:
		user = asked.open.user
	case asked.drive != nil:
		user = asked.drive.user
	case asked.steps != nil:
		// That this process may start others as somebody else is all that is to be known of it.
		for _, step := range asked.steps {
			user = cmp.Or(user, step.user)
		}
	}
	s, err := newSupervisor(user)
	if err != nil {
		return 0, err
	}
	remains := ""
	switch {
	case asked.open != nil:
		remains, err = openAll(s, asked.open, out)
	case asked.drive != nil:
		_, err = drive(s, asked.drive, out)
	case asked.steps != nil:
		err = driveSteps(s, asked.steps, out)
	}
	if err != nil {
		return 0, err
	}
	if interrupt := s.interrupt(); interrupt != 0 {
		return interrupt, printed(out.print(newInterruptedEvent(interrupt)))
	}
	if remains != "" {
		return 0, printed(out.print(messageEvent{newHeader("unclean"), remains}))
	}
	return 0, printed(out.print(newHeader("end")))
}

func printed(err error) error {
	if err != nil {
		return fmt.Errorf("failed to write to standard output: %w", rootCause(err))
	}
	return nil
}

// openAll opens one plugin after the other; what one does has no effect on the next. It stops early when the loader is
// asked to end, and when something of a plugin stays: then it says what.
func openAll(s *supervisor, options *openOptions, out *printer) (string, error) {
	for index, plugin := range options.plugins {
		if err := printed(out.print(openingEvent{newHeader("opening"), plugin})); err != nil {
			return "", err
		}
		event, isSwept, err := observe(s, options, plugin)
		if err != nil {
			return "", err
		}
		if event == nil {
			return "", nil
		}
		if err := printed(out.print(event)); err != nil {
			return "", err
		}
		if index == len(options.plugins)-1 {
			return "", nil
		}
		if !isSwept {
			return "processes", nil
		}
		if remains := clearScratch(s, options); remains != "" {
			return remains, nil
		}
	}
	return "", nil
}

// clearScratch removes what the last plugin has left in files, and says what is left then. A process of the plugin's user
// does it: this one may be a root that has no power over another's files.
func clearScratch(s *supervisor, options *openOptions) string {
	if remains(options.scratch) == "" {
		return ""
	}
	arguments := append([]string{"lockstep-loader", "clear"}, options.scratch...)
	// A process that cannot be started removes nothing, and what remains is what counts.
	if r, err := s.start(program{file: "/proc/self/exe", arguments: arguments}, 0); err == nil {
		if !s.waitRegardless(r, clearTimeoutSeconds*time.Second) {
			s.kill(r)
		}
		s.sweep()
	}
	return remains(options.scratch)
}

// observe says as well whether no process of the plugin stays. It gives nothing when the loader is asked to end meanwhile.
func observe(s *supervisor, options *openOptions, plugin string) (*pluginEvent, bool, error) {
	channel, channelEnd, err := os.Pipe()
	if err != nil {
		return nil, false, fmt.Errorf("failed to make a channel: %w", err)
	}
	arguments := append([]string{"lockstep-loader", "open-one"}, options.flags...)
	arguments = append(arguments, "--", plugin)
	self := program{file: "/proc/self/exe", arguments: arguments, environment: options.environment, extra: channelEnd}
	r, err := s.start(self, options.outputLimitBytes)
	channelEnd.Close()
	if err != nil {
		channel.Close()
		return nil, false, err
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
	leftovers, isSwept := s.sweep()
	if why == wakeInterrupted {
		return nil, false, nil
	}
	var how *ending
	if why == wakeEnded {
		// A process that was killed for being late has not ended in a way of its own.
		how = r.ending()
	}
	stdout, stderr := r.stdout.finish(), r.stderr.finish()
	all := told.finish()
	records, isReadable := decodeRecords(all.head, options.contract.recordsLimitCount())
	event := judge(hear(records, isReadable && !all.isTruncated(), options.contract), how, stderr)
	event.Path = plugin
	event.LeftoverProcesses = leftovers
	event.ElapsedMs = milliseconds(elapsed)
	event.Stdout, event.Stderr = stdout.event(), stderr.event()
	return event, isSwept, nil
}

// judge says what became of a plugin, from what its process has told, how it ended (nothing means that it was late), and the
// last words of Go's runtime.
func judge(told testimony, how *ending, stderr *capture) *pluginEvent {
	phase, symbol, refusal, missing, differing := told.phase, told.symbol, told.refusal, told.missing, told.differing
	event := &pluginEvent{header: newHeader("plugin"), Missing: []string{}, Calls: []returnedEvent{}}
	event.Calls = append(event.Calls, told.calls...)
	for _, record := range missing {
		event.Missing = append(event.Missing, record.Symbol)
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
	case how.status == 0 && told.isBroken:
		message := "its process told what the loader does not tell there"
		tell(outcomeExited, phase, symbol, &message)
	case how.status == channelLostStatus && !told.isWhole:
		message := "the loader ended: the plugin closed the channel on which it reports"
		tell(outcomeExited, phase, symbol, &message)
	case how.status != 0 || !told.isWhole:
		tell(outcomeExited, phase, symbol, refusal)
	case refusal != nil:
		tell(outcomeNotLoadable, phaseOpen, "", refusal)
	case len(missing) > 0:
		tell(outcomeSymbolMissing, phaseSymbol, missing[0].Symbol, &missing[0].Message)
	case len(differing) > 0:
		tell(outcomeTypeDiffers, phaseSymbol, differing[0].Symbol, &differing[0].Message)
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
