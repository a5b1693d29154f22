package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Processes that this one starts: their output, their end, and that nothing of them stays.
//
// A plugin may do anything that a process can: fork, keep a pipe open, ignore signals, leave its group. So nothing here
// waits for the end of a pipe alone, and every descendant is adopted, killed and reaped at the end.

const (
	// What is read from a pipe at once.
	pieceBytes = 64 * 1024
	// How long a killed process may take to be gone.
	killTimeoutSeconds = 5
	// How long pipes may take to be empty once every process that could write to them is gone.
	drainTimeoutSeconds = 2
	// How long descendants may take to be gone.
	sweepTimeoutSeconds = 5
	// Between two looks at something that gives no signal.
	pauseMilliseconds = 2
	// PR_SET_DUMPABLE and PR_SET_CHILD_SUBREAPER of linux/prctl.h.
	prSetDumpable       = 4
	prSetChildSubreaper = 36
	// close_range(2), which has this number everywhere, and CLOSE_RANGE_CLOEXEC of linux/close_range.h.
	sysCloseRange     = 436
	closeRangeCloexec = 4
	// What the kernel ends first when memory runs out (proc(5)).
	oomScoreFile    = "/proc/self/oom_score_adj"
	oomScoreHighest = "1000"
)

// ending is how a process ended: by a signal, or by itself with a status.
type ending struct {
	status int
	signal syscall.Signal
}

// supervisor watches over processes, and is told when the loader itself is to end.
type supervisor struct {
	mutex sync.Mutex
	// The processes that were started and have not ended, by their number.
	watched map[int]*running
	// Who is started; nil for whoever this process is.
	credential *syscall.Credential
	// Closed when the loader is asked to end, after which interruptSignal does not change.
	interrupted     chan struct{}
	interruptSignal syscall.Signal
}

// newSupervisor takes over signals and orphans. What is started may be another user, who cannot signal or trace this
// process. Where it is the same one, it can signal, which Go does not tell apart, and neither trace nor write to it.
func newSupervisor(user *user) (*supervisor, error) {
	var credential *syscall.Credential
	if user != nil {
		if os.Geteuid() != 0 {
			return nil, fmt.Errorf("failed to start processes of another user without being root: permission denied")
		}
		credential = &syscall.Credential{Uid: user.uid, Gid: user.gid}
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0); errno != 0 {
		return nil, fmt.Errorf("failed to forbid that this process is traced: %w", errno)
	}
	// No process that is started gets a descriptor that this one was started with. Kernels before 5.11 and old seccomp
	// profiles refuse, which leaves things as they are.
	_, _, _ = syscall.RawSyscall(sysCloseRange, 3, 1<<32-1, closeRangeCloexec)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return nil, fmt.Errorf("failed to adopt orphans: %w", errno)
	}
	// Neither this process nor one that it starts writes core files: a crash is expected here.
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return nil, fmt.Errorf("failed to forbid core files: %w", err)
	}
	s := &supervisor{watched: map[int]*running{}, interrupted: make(chan struct{}), credential: credential}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	go s.handle(signals)
	return s, nil
}

func (s *supervisor) handle(signals <-chan os.Signal) {
	for received := range signals {
		switch number := received.(syscall.Signal); {
		case number == syscall.SIGCHLD:
			s.reap()
		case s.interruptSignal == 0:
			s.interruptSignal = number
			close(s.interrupted)
		}
	}
}

// interrupt is the signal that asked the loader to end, if one did.
func (s *supervisor) interrupt() syscall.Signal {
	select {
	case <-s.interrupted:
		return s.interruptSignal
	default:
		return 0
	}
}

// reap takes every child that has ended: those of interest, and orphans, which are only to be gone. It says whether
// there are children left.
func (s *supervisor) reap() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return false
		case pid <= 0:
			return true
		case !status.Signaled() && !status.Exited():
			// It has only stopped, and has made this process its tracer to have it told (PTRACE_TRACEME).
		case s.watched[pid] != nil:
			// Once it has ended its number may be an orphan's.
			r := s.watched[pid]
			delete(s.watched, pid)
			if status.Signaled() {
				r.how = &ending{signal: status.Signal()}
			} else {
				r.how = &ending{status: status.ExitStatus()}
			}
			close(r.ended)
		}
	}
}

// running is a process that was started.
type running struct {
	pid     int
	started time.Time
	// Closed when the process has ended, after which `how` does not change.
	ended  chan struct{}
	how    *ending
	stdout *reader
	stderr *reader
}

// ending is how it ended, if it has.
func (r *running) ending() *ending {
	select {
	case <-r.ended:
		return r.how
	default:
		return nil
	}
}

// program is what to start: a file, its arguments with its own name first, and variables to set apart from those that
// this process has.
type program struct {
	file        string
	arguments   []string
	environment []string
	// What it gets as descriptor 3, if anything.
	extra *os.File
	// What it reads on standard input; nil for nothing.
	stdin *os.File
	// Where it starts; empty for where this process is.
	directory string
	// Who it is; nil for the one that all are.
	user *user
}

// outputPipe is a pipe for what a process writes. It is its writer's, who may open it by its name, too: /dev/stderr is where
// many programs write their log.
func outputPipe(writer *syscall.Credential) (reader, end *os.File, err error) {
	if writer != nil {
		// What is changed is this thread's alone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before, _, _ := syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(writer.Uid), 0, 0)
		defer syscall.RawSyscall(syscall.SYS_SETFSUID, before, 0, 0)
	}
	return os.Pipe()
}

// start starts a process in a group of its own, and reads what it writes. It dies with this one.
func (s *supervisor) start(p program, outputLimitBytes int) (*running, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("failed to open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	credential := s.credential
	if p.user != nil {
		credential = &syscall.Credential{Uid: p.user.uid, Gid: p.user.gid}
	}
	stdout, stdoutEnd, err := outputPipe(credential)
	if err != nil {
		return nil, fmt.Errorf("failed to make a pipe: %w", err)
	}
	defer stdoutEnd.Close()
	stderr, stderrEnd, err := outputPipe(credential)
	if err != nil {
		stdout.Close()
		return nil, fmt.Errorf("failed to make a pipe: %w", err)
	}
	defer stderrEnd.Close()
	stdin := null
	if p.stdin != nil {
		stdin = p.stdin
	}
	files := []uintptr{stdin.Fd(), stdoutEnd.Fd(), stderrEnd.Fd()}
	if p.extra != nil {
		files = append(files, p.extra.Fd())
	}
	attributes := &syscall.ProcAttr{
		// The user is changed first: only that one may be able to enter the directory.
		Dir:   p.directory,
		Env:   mergeEnvironment(os.Environ(), p.environment),
		Files: files,
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: credential},
	}
	// Nobody may reap between the start and the moment when it is known who was started.
	s.mutex.Lock()
	defer s.mutex.Unlock()
	r := &running{started: time.Now(), ended: make(chan struct{})}
	// The os package would wait for the process in ways of its own.
	sacrificed(func() { r.pid, _, err = syscall.StartProcess(p.file, p.arguments, attributes) })
	if err != nil {
		stdout.Close()
		stderr.Close()
		return nil, startFailure(p.file, p.directory, err)
	}
	s.watched[r.pid] = r
	r.stdout = startReader(stdout, outputLimitBytes)
	r.stderr = startReader(stderr, outputLimitBytes)
	return r, nil
}

// sacrificed lets the kernel end first what is started, when memory runs out: a process begins with the score of its
// parent. Where that cannot be done, the kernel judges by size, which is nearly as good.
func sacrificed(start func()) {
	before, err := os.ReadFile(oomScoreFile)
	if err == nil && os.WriteFile(oomScoreFile, []byte(oomScoreHighest), 0) == nil {
		defer os.WriteFile(oomScoreFile, bytes.TrimSpace(before), 0)
	}
	start()
}

// startFailure says more than the kernel, which says "no such file" of a file that is there when it means the interpreter
// that the file names.
func startFailure(file, directory string, err error) error {
	reason, place, found := "", "", file
	_, directoryErr := os.Stat("/")
	if directory != "" {
		place = " in `" + directory + "`"
		if !filepath.IsAbs(file) {
			found = filepath.Join(directory, file)
		}
		_, directoryErr = os.Stat(directory)
	}
	if _, statErr := os.Stat(found); statErr == nil && directoryErr == nil && errors.Is(err, syscall.ENOENT) {
		reason = "; the file is there, its interpreter is not"
	}
	return fmt.Errorf("failed to start `%s`%s: %w%s", file, place, err, reason)
}

// inFile gives a file without a name that holds this text, and is read from its start by whoever has it.
func inFile(text string) (*os.File, error) {
	failure := func(err error) error { return fmt.Errorf("failed to keep what the command reads: %w", err) }
	file, err := os.CreateTemp("", "lockstep-input-")
	if err != nil {
		return nil, failure(err)
	}
	err = errors.Join(os.Remove(file.Name()), file.Chmod(0o644))
	if err == nil {
		_, err = file.WriteString(text)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, failure(err)
	}
	return file, nil
}

// findProgram looks for a program as a shell does.
func findProgram(name string, environment []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, variable := range mergeEnvironment(os.Environ(), environment) {
		if value, found := strings.CutPrefix(variable, "PATH="); found {
			path = value
		}
	}
	for _, directory := range filepath.SplitList(path) {
		file := filepath.Join(directory, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", startFailure(name, "", syscall.ENOENT)
}

// mergeEnvironment lets later variables replace earlier ones of the same name.
func mergeEnvironment(variables, more []string) []string {
	merged := make([]string, 0, len(variables)+len(more))
	places := map[string]int{}
	for _, variable := range append(variables, more...) {
		name, _, _ := strings.Cut(variable, "=")
		if place, found := places[name]; found {
			merged[place] = variable
		} else {
			places[name] = len(merged)
			merged = append(merged, variable)
		}
	}
	return merged
}

// Why a wait is over.
type wake int

const (
	wakeEnded wake = iota
	wakeTimedOut
	wakeInterrupted
)

// wait waits until the process has ended, the deadline has passed, or the loader is asked to end.
func (s *supervisor) wait(r *running, deadline time.Time) wake {
	// An end that has happened counts more than anything else.
	if r.ending() != nil {
		return wakeEnded
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-r.ended:
		return wakeEnded
	case <-s.interrupted:
		return wakeInterrupted
	case <-timer.C:
		return wakeTimedOut
	}
}

// waitRegardless waits until the process has ended or the time is over, whatever else is wanted.
func (s *supervisor) waitRegardless(r *running, timeout time.Duration) bool {
	select {
	case <-r.ended:
		return true
	case <-time.After(timeout):
		return false
	}
}

// isAlive looks for ends that no signal has told of yet.
func (s *supervisor) isAlive(r *running) bool {
	s.reap()
	return r.ending() == nil
}

// meanwhile runs something that may block while ends and signals are handled. False if the loader is asked to end before
// it is done; the work is then left to its own time limit.
func (s *supervisor) meanwhile(work func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	select {
	case <-done:
		return true
	case <-s.interrupted:
		return false
	}
}

// signal sends the process a signal, unless it has ended: its number may be another's then.
func (s *supervisor) signal(r *running, number syscall.Signal) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if r.ending() == nil {
		// That it has gone already is no error.
		_ = syscall.Kill(r.pid, number)
	}
}

// signalGroup sends its group a signal.
func (s *supervisor) signalGroup(r *running, number syscall.Signal) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	// Group 1 would be written -1, which means every process there is.
	if r.ending() == nil && r.pid > 1 {
		_ = syscall.Kill(-r.pid, number)
	}
}

// stop asks the process to end, and kills it if it does not in time. It says whether it ended by itself.
func (s *supervisor) stop(r *running, number syscall.Signal, timeout time.Duration) bool {
	s.signal(r, number)
	ended := s.waitRegardless(r, timeout)
	if !ended {
		s.kill(r)
	}
	return ended
}

// kill kills the process and its group.
func (s *supervisor) kill(r *running) {
	s.signalGroup(r, syscall.SIGKILL)
	s.signal(r, syscall.SIGKILL)
	s.waitRegardless(r, killTimeoutSeconds*time.Second)
}

// sweepGroup kills what is left of the process's group, and leaves all others alone: another process is at work beside it.
func (s *supervisor) sweepGroup(r *running) {
	_ = syscall.Kill(-r.pid, syscall.SIGKILL)
	s.reap()
}

// sweep kills and reaps whatever the process has left behind, and gives how many processes that were, and whether all are
// gone.
func (s *supervisor) sweep() (int, bool) {
	deadline := time.Now().Add(sweepTimeoutSeconds * time.Second)
	// A container's first process has nothing but descendants beside it, and the kernel ends them at once: none can fork
	// in time.
	isFirst := os.Getpid() == 1
	killed := map[int]bool{}
	for {
		if !s.reap() {
			return len(killed), true
		}
		if !time.Now().Before(deadline) {
			return len(killed), false
		}
		// Orphans become children of this process, so each round reaches the next generation.
		found := livingProcesses(isFirst)
		if isFirst {
			_ = syscall.Kill(-1, syscall.SIGKILL)
		}
		for _, pid := range found {
			killed[pid] = true
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(pauseMilliseconds * time.Millisecond)
	}
}

// livingProcesses are the children of this process that still run, or all others. None when there is no process table to
// read: their group was killed all the same.
func livingProcesses(all bool) []int {
	own := os.Getpid()
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		state, parent, ok := parseStat(string(stat))
		if ok && pid != own && (all || parent == own) && state != "Z" && state != "X" {
			found = append(found, pid)
		}
	}
	return found
}

// parseStat gives state and parent from /proc/PID/stat (proc(5)). The name before them may hold anything, even
// parentheses.
func parseStat(stat string) (state string, parent int, ok bool) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 || !strings.Contains(stat, ")") {
		return "", 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return fields[0], parent, err == nil
}

// reader reads a pipe all the time, so that its writer never waits.
type reader struct {
	mutex   sync.Mutex
	capture *capture
	done    chan struct{}
}

// startReader reads until the end of the pipe, and keeps up to the limit.
func startReader(pipe *os.File, limitBytes int) *reader {
	r := &reader{capture: captureStream(limitBytes), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer pipe.Close()
		// What ends the reading matters to nobody: there is no more to read.
		_, _ = io.CopyBuffer(struct{ io.Writer }{r}, struct{ io.Reader }{pipe}, make([]byte, pieceBytes))
	}()
	return r
}

// Write takes what was read.
func (r *reader) Write(piece []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.capture.push(piece)
	return len(piece), nil
}

// hasPrinted says whether a text is among the first bytes.
func (r *reader) hasPrinted(text string) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return bytes.Contains(r.capture.head, []byte(text))
}

// finish gives what was read until the end, or until it is clear that none comes: a process that was not killed could hold
// the pipe for ever.
func (r *reader) finish() *capture {
	select {
	case <-r.done:
	case <-time.After(drainTimeoutSeconds * time.Second):
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.capture.clone()
}
