// Opens Go plugins and drives programs inside a runtime image, and reports what it saw as JSON lines.
//
// It observes; whoever reads the lines judges. ../README.md is the reference for flags and events, which are the same as
// those of the loader for dlopen beside it.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
)

// version is that of the loaders; both have the same.
const version = "0.1.0"

const (
	// statusUsage says that the command line is not understood.
	statusUsage = 2
	// statusInternal says that the loader itself has failed.
	statusInternal = 70
	// statusSignalBase is added to the number of the signal that asked the loader to end.
	statusSignalBase = 128
)

const help = `Opens Go plugins and drives programs, and reports what it saw as JSON lines.

usage: lockstep-loader open [FLAG…] [--] PLUGIN…
       lockstep-loader drive [FLAG…] -- COMMAND [ARGUMENT…]
       lockstep-loader steps [NUMBER WORD…]…
       lockstep-loader version

both:   --timeout-ms N  --output-limit-bytes N  --env NAME=VALUE…  --user UID:GID

open:   --flags now  --scope global  --keep-open  --scratch DIRECTORY…  --symbol NAME [--type TYPE]…
        --call SYMBOL [--arg-string TEXT | --arg-integer N]… [--returns string|integer|int32|none]…

drive:  --ready-http URL | --ready-tcp PORT | --ready-stdout TEXT
        --ready-timeout-ms N  --request-timeout-ms N  --stop-signal NAME  --stop-timeout-ms N
        --request METHOD URL [--header 'NAME: VALUE']… [--body TEXT]…  --client NUMBER WORD…
        --directory DIRECTORY  --stdin TEXT  --status N
`

// A started process dies with the thread that started it, so that has to be one that lasts.
func init() {
	runtime.LockOSThread()
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(words []string, stdout, stderr io.Writer) int {
	asked, err := parseArguments(words)
	if err != nil {
		fmt.Fprintf(stderr, "error[usage]: %v\nhint: %s\n", err, usageHint(err))
		return statusUsage
	}
	out := &printer{out: stdout}
	interrupt, err := perform(asked, out)
	if err != nil {
		// Whoever reads events learns it there; when nobody can, standard error is all that is left.
		if out.print(newErrorEvent(err)) != nil {
			fmt.Fprintf(stderr, "error[loader]: %v\n", err)
		}
		return statusInternal
	}
	if interrupt != 0 {
		return statusSignalBase + int(interrupt)
	}
	return 0
}
