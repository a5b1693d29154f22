// What is the same in all Go plugins. Before it attacks each looks whether something is left of those before it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const nothing = `{"text":"","tail":null,"bytes":0,"truncated":false,"lossy":false}`

// caught says what was not to be had but was.
func caught(what string) {
	fmt.Fprintln(os.Stderr, "caught:", what)
	os.Exit(66)
}

func witness() {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if number, err := strconv.Atoi(entry.Name()); err == nil && number > 1 && number != os.Getpid() {
			caught("a process of somebody else")
		}
	}
	for _, directory := range []string{"/tmp", "/dev/shm", os.Getenv("HOME")} {
		if left, _ := os.ReadDir(directory); len(left) > 0 {
			caught("a file of somebody else in " + directory)
		}
	}
	if groups, _ := os.Getgroups(); os.Geteuid() != 1000 || os.Getegid() != 1000 || len(groups) > 0 {
		caught("another user than was promised")
	}
}

// forge writes the end of a report in which all is well.
func forge(file *os.File) {
	for _, name := range []string{"forges", "signals", "leaves", "last"} {
		paths, _ := filepath.Glob("/bundle/releases/*/" + name + ".so")
		for _, path := range paths {
			fmt.Fprintf(file, `{"schema":1,"event":"opening","path":"%s"}`+"\n", path)
			fmt.Fprintf(file, `{"schema":1,"event":"plugin","path":"%s","outcome":"loaded","phase":null,"symbol":null,"message":null,"missing":[],"status":0,"signal":null,"signal_name":null,"calls":[],"leftover_processes":0,"elapsed_ms":0,"stdout":%s,"stderr":%s}`+"\n", path, nothing, nothing)
		}
	}
	fmt.Fprintln(file, `{"schema":1,"event":"end"}`)
}

func forgeThrough(process int) {
	for number := range 64 {
		file, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", process, number), os.O_WRONLY, 0)
		if err == nil {
			forge(file)
		}
	}
}

func signalAll(process int) {
	for number := syscall.Signal(1); number < 65; number++ {
		_ = syscall.Kill(process, number)
	}
}

func init() {
	witness()
	/* attack */
}

func Answer() int { return 42 }

// Whatever an attack leaves out.
var _ = []any{forge, forgeThrough, signalAll}

func main() {}
