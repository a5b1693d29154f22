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

// drive starts the command, drives it, and reports until it is gone.
func drive(s *supervisor, options *driveOptions, out *printer) error {
	file, err := findProgram(options.command[0], options.environment)
	var r *running
	if err := printed(out.print(newHeader("starting"))); err != nil {
		return err
	}
	if err == nil {
		command := program{file: file, arguments: options.command, environment: options.environment}
		r, err = s.start(command, options.outputLimitBytes)
	}
	if err != nil {
		return printed(out.print(messageEvent{newHeader("not-started"), err.Error()}))
	}
	deadline := r.started.Add(options.timeout)
	var stoppedBy string
	if options.server == nil {
		stoppedBy = runToEnd(s, r, deadline)
	} else {
		d := &driven{s, r, options, options.server, deadline, out}
		if stoppedBy, err = d.serve(); err != nil {
			return err
		}
	}
	elapsed := time.Since(r.started)
	leftovers, _ := s.sweep()
	return printed(out.print(exitEvent{
		header:            newHeader("exit"),
		endingEvent:       newEndingEvent(r.ending()),
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

func (d *driven) serve() (string, error) {
	isReady, err := d.awaitReady()
	if err != nil {
		return "", err
	}
	if isReady {
		for index := range d.server.requests {
			if err := d.ask(index, &d.server.requests[index]); err != nil {
				return "", err
			}
		}
	}
	switch interrupt := d.interrupt(); {
	case interrupt != 0:
		d.stop(d.process, interrupt, d.server.stopTimeout)
		return stoppedByInterrupt, nil
	case !d.isAlive(d.process):
		return stoppedByItself, nil
	case d.stop(d.process, d.server.stopSignal, d.server.stopTimeout):
		return stoppedBySignal, nil
	default:
		return stoppedByStopTimeout, nil
	}
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
	case !d.isAlive(d.process):
		failure = fmt.Errorf("not sent: the server has ended")
	case !started.Before(d.deadline):
		failure = fmt.Errorf("not sent: %d ms were over", milliseconds(d.options.timeout))
	default:
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
