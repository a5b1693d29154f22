// A plugin that does what no plugin should, in Go and in C.
package main

/*
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void crash(void) { *(volatile int *)0 = 0; }
static void leave(int status) { exit(status); }

static void leave_behind(void)
{
	pid_t between = fork();
	if (between == 0) {
		setsid();
		if (fork() == 0) {
			signal(SIGTERM, SIG_IGN);
			for (;;)
				pause();
		}
		_exit(0);
	}
	waitpid(between, NULL, 0);
}

static void close_everything(void)
{
	for (int descriptor = 0; descriptor < 64; descriptor++)
		close(descriptor);
}
*/
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func Name() string { return "faults" }

func Panic() { panic("out of order") }

func PanicElsewhere() {
	go panic("out of sight")
	select {}
}

func NilPointer() { *(*int)(nil) = 0 }

func Overflow(depth int) { Overflow(depth + 1) }

func MapRace() {
	shared := map[int]int{}
	for range 8 {
		go func() {
			for i := 0; ; i++ {
				shared[i%8] = i
			}
		}()
	}
	time.Sleep(20 * time.Second)
}

func Signal(number int) {
	_ = syscall.Kill(os.Getpid(), syscall.Signal(number))
	time.Sleep(20 * time.Second)
}

func Exit(status int)  { os.Exit(status) }
func CExit(status int) { C.leave(C.int(status)) }
func CCrash()          { C.crash() }
func CAbort()          { C.abort() }
func LeaveBehind()     { C.leave_behind() }
func CloseEverything() { C.close_everything() }

func Hang() {
	signal.Ignore(syscall.SIGTERM)
	select {}
}

func Spin() {
	for {
	}
}

func Chatter() {
	fmt.Println("to stdout")
	fmt.Fprint(os.Stderr, "panic: not really\n\xff")
}

func Flood(lines int) {
	line := strings.Repeat("x", 63) + "\n"
	for range lines {
		_, _ = os.Stdout.WriteString(line)
	}
	fmt.Println("last line")
}

func main() {}
