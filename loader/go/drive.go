package main

import (
	"fmt"
	"net"
	"time"
)

const (
	// Between two looks whether a server is ready.
	readyPauseMilliseconds = 10
	// For one such look: a server that accepts and never answers is asked anew.
	readyAttemptTimeoutSeconds = 2
	// Of the body of such a look.
	readyBodyLimitBytes = 64 * 1024
	// After a request that failed: a server that dies closes its connections before its end can be seen.
	dyingPauseMilliseconds = 100
	// How long a command may take to end after the loader was asked to, when no other limit is given.
	commandInterruptTimeoutSeconds = 5
)

// driveSteps drives one command after the other, until one is not what the next needs.
func driveSteps(s *supervisor, steps []*driveOptions, out *printer) error {
	for index, step := range steps {
		if err := printed(out.print(stepEvent{newHeader("step"), index})); err != nil {
			return err
		}
		if isAsNeeded, err := drive(s, step, out); err != nil || !isAsNeeded || s.interrupt() != 0 {
			return err
		}
	}
	return nil
}

// startCommand starts a command as it is to be started.
func startCommand(s *supervisor, options *driveOptions) (*running, error) {
	file, err := findProgram(options.command[0], options.environment)
	if err != nil {
		return nil, err
	}
	command := program{
		file: file, arguments: options.command, environment: options.environment,
		directory: options.directory, user: options.user,
	}
	if options.stdin != nil {
		if command.stdin, err = inFile(*options.stdin); err != nil {
			return nil, err
		}
		defer command.stdin.Close()
	}
	return s.start(command, options.outputLimitBytes)
}

// drive starts the command, drives it, and reports until it is gone. It says whether it became ready, if it is a server, and
// ended by itself or when it was asked to, with the status that is needed.
func drive(s *supervisor, options *driveOptions, out *printer) (bool, error) {
	if err := printed(out.print(newHeader("starting"))); err != nil {
		return false, err
	}
	r, err := startCommand(s, options)
	if err != nil {
		return false, printed(out.print(messageEvent{newHeader("not-started"), err.Error()}))
	}
	deadline := r.started.Add(options.timeout)
	stoppedBy, isReady := "", true
	if options.server == nil {
		stoppedBy = runToEnd(s, r, deadline)
	} else {
		d := &driven{s, r, options, options.server, deadline, out}
		if isReady, stoppedBy, err = d.serve(); err != nil {
			return false, err
		}
	}
	elapsed := time.Since(r.started)
	leftovers, _ := s.sweep()
	how := r.ending()
	isAsked := stoppedBy == stoppedByItself || stoppedBy == stoppedBySignal
	hasStatus := options.status == nil || how != nil && how.signal == 0 && how.status == *options.status
	return isReady && isAsked && hasStatus, printed(out.print(exitEvent{
		header:            newHeader("exit"),
		endingEvent:       newEndingEvent(how),
		StoppedBy:         stoppedBy,
		LeftoverProcesses: leftovers,
		ElapsedMs:         milliseconds(elapsed),
		Stdout:            r.stdout.finish().event(),
		Stderr:            r.stderr.finish().event(),
	}))
}

func runToEnd(s *supervisor, r *running, deadline time.Time) string {
	switch s.wait(r, deadline) {
	case wakeEnded:
		return stoppedByItself
	case wakeTimedOut:
		s.kill(r)
		return stoppedByTimeout
	default:
		s.stop(r, s.interrupt(), commandInterruptTimeoutSeconds*time.Second)
		return stoppedByInterrupt
	}
}

// driven is a server at work.
type driven struct {
	*supervisor
	process  *running
	options  *driveOptions
	server   *serverOptions
	deadline time.Time
	out      *printer
}

// serve says whether it became ready, and what ended it.
func (d *driven) serve() (bool, string, error) {
	isReady, err := d.awaitReady()
	if err != nil {
		return false, "", err
	}
	if isReady {
		for index, question := range d.server.questions {
			if question.client != nil {
				err = d.runClient(index, question.client)
			} else {
				err = d.ask(index, question.request)
			}
			if err != nil {
				return false, "", err
			}
		}
	}
	switch interrupt := d.interrupt(); {
	case interrupt != 0:
		d.stop(d.process, interrupt, d.server.stopTimeout)
		return isReady, stoppedByInterrupt, nil
	case !d.isAlive(d.process):
		return isReady, stoppedByItself, nil
	case d.stop(d.process, d.server.stopSignal, d.server.stopTimeout):
		return isReady, stoppedBySignal, nil
	default:
		return isReady, stoppedByStopTimeout, nil
	}
}

// whyNot says why nothing more can be asked, if that is so.
func (d *driven) whyNot() string {
	switch {
	case !d.isAlive(d.process):
		return "the server has ended"
	case !time.Now().Before(d.deadline):
		return fmt.Sprintf("%d ms were over", milliseconds(d.options.timeout))
	default:
		return ""
	}
}

// runClient runs a command beside the server to its end, and reports. None is started beside a server that is gone, or when
// no time is left.
func (d *driven) runClient(index int, client *driveOptions) error {
	if d.interrupt() != 0 {
		return nil
	}
	failed := func(message string) error {
		return printed(d.out.print(clientFailedEvent{newHeader("client-failed"), index, message}))
	}
	if why := d.whyNot(); why != "" {
		return failed("not started: " + why)
	}
	r, err := startCommand(d.supervisor, client)
	if err != nil {
		return failed(err.Error())
	}
	stoppedBy := runToEnd(d.supervisor, r, earlier(d.deadline, r.started.Add(client.timeout)))
	if d.interrupt() != 0 {
		return nil
	}
	elapsed := time.Since(r.started)
	d.sweepGroup(r)
	return printed(d.out.print(clientEvent{
		header:      newHeader("client"),
		Index:       index,
		endingEvent: newEndingEvent(r.ending()),
		StoppedBy:   stoppedBy,
		ElapsedMs:   milliseconds(elapsed),
		Stdout:      r.stdout.finish().event(),
		Stderr:      r.stderr.finish().event(),
	}))
}

// awaitReady waits and reports. Not ready is also what a loader gets that is asked to end meanwhile.
func (d *driven) awaitReady() (bool, error) {
	started := d.process.started
	deadline := earlier(d.deadline, started.Add(d.server.readyTimeout))
	attempts := 0
	var message *string
	reason := ""
	for reason == "" {
		attempts++
		var failure error
		if !d.meanwhile(func() { failure = d.attempt(deadline) }) {
			return false, nil
		}
		switch {
		case failure == nil && d.isAlive(d.process):
			event := readyEvent{newHeader("ready"), attempts, milliseconds(time.Since(started))}
			return true, printed(d.out.print(event))
		case failure == nil:
			// An answer from somebody else on that port says nothing about a server that has ended.
			reason = "exited"
			continue
		case message != nil && !time.Now().Before(deadline):
			// A look that the deadline cut short says less than the one before.
		default:
			text := failure.Error()
			message = &text
		}
		switch d.wait(d.process, time.Now().Add(readyPauseMilliseconds*time.Millisecond)) {
		case wakeEnded:
			reason = "exited"
		case wakeInterrupted:
			return false, nil
		case wakeTimedOut:
			if !time.Now().Before(deadline) {
				reason = "timed-out"
			}
		}
	}
	event := notReadyEvent{newHeader("not-ready"), reason, message, milliseconds(time.Since(started))}
	return false, printed(d.out.print(event))
}

// attempt is one look.
func (d *driven) attempt(deadline time.Time) error {
	deadline = earlier(deadline, time.Now().Add(readyAttemptTimeoutSeconds*time.Second))
	switch wanted := d.server.ready; {
	case wanted.stdout != nil:
		if !d.process.stdout.hasPrinted(*wanted.stdout) {
			return fmt.Errorf("`%s` was not printed", *wanted.stdout)
		}
	case wanted.http != nil:
		request := &httpRequest{method: "GET", url: wanted.http}
		response, err := exchange(request, deadline, readyBodyLimitBytes)
		if err != nil {
			return err
		}
		if response.status >= 400 {
			return fmt.Errorf("%v answered with status %d", wanted.http, response.status)
		}
	default:
		address := urlOfPort(wanted.port).address.String()
		connection, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", address)
		if err != nil {
			return connectFailure(address, err)
		}
		connection.Close()
	}
	return nil
}

// ask sends one request and reports. Nothing is sent to a server that is gone, or when no time is left.
func (d *driven) ask(index int, request *httpRequest) error {
	started := time.Now()
	var response *httpResponse
	var failure error
	isSent := false
	switch {
	case d.interrupt() != 0:
		return nil
	default:
		if why := d.whyNot(); why != "" {
			failure = fmt.Errorf("not sent: %s", why)
			break
		}
		deadline := earlier(d.deadline, started.Add(d.server.requestTimeout))
		isSent = true
		finished := d.meanwhile(func() {
			response, failure = exchange(request, deadline, d.options.outputLimitBytes)
		})
		if !finished {
			return nil
		}
	}
	about := asked{index, request.method, request.url.String(), milliseconds(time.Since(started))}
	if failure != nil {
		if isSent {
			d.wait(d.process, time.Now().Add(dyingPauseMilliseconds*time.Millisecond))
		}
		return printed(d.out.print(requestFailedEvent{newHeader("request-failed"), about, failure.Error()}))
	}
	return printed(d.out.print(responseEvent{
		newHeader("response"), about, response.status, response.headers, response.body.event(),
	}))
}

func earlier(one, other time.Time) time.Time {
	if other.Before(one) {
		return other
	}
	return one
}
