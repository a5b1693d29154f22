// Package server is the gateway without its plugins: the command line, the routes, and how it starts and stops. Where
// plugins come from, each of the programs in cmd/ says.
package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The exit statuses.
const (
	statusOK      = 0
	statusFailure = 1
	statusUsage   = 2
)

// Source is where plugins come from.
type Source interface {
	// Load returns all that can be used, and all that was wrong with the others.
	Load() ([]Plugin, []error)

	// Watch calls changed when there are other plugins now. It returns then, or when stop is done.
	Watch(stop context.Context, changed func(), out io.Writer)
}

// Find looks for the source that the command line names as the plugins' directory.
type Find func(directory string) (Source, error)

type options struct {
	plugins      string
	listen       string
	lenient      bool
	exitOnChange bool
}

// Main is the whole program with its plugins from there. It does not return.
func Main(find Find) {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	os.Exit(Run(stop, os.Args[1:], find, os.Stdout, os.Stderr))
}

// Run is the program without what is the process's own, and returns its status. It ends when something fails or when stop is done.
func Run(stop context.Context, arguments []string, find Find, out, err io.Writer) int {
	options, parsed := parse(arguments, err)
	if errors.Is(parsed, flag.ErrHelp) {
		return statusOK
	}
	if parsed != nil {
		return statusUsage
	}

	source, problem := find(options.plugins)
	if problem != nil {
		fmt.Fprintf(err, "error: %v\n", problem)
		return statusFailure
	}
	plugins, problems := source.Load()
	gateway, clashes := newGateway(plugins)
	for _, plugin := range gateway.plugins {
		fmt.Fprintf(out, "loaded %s %s (%s)\n", plugin.Kind(), plugin.Name, plugin.File)
	}
	problems = append(problems, clashes...)
	for _, problem := range problems {
		fmt.Fprintf(err, "error: %v\n", problem)
	}
	if len(problems) > 0 && !options.lenient {
		return statusFailure
	}

	if options.exitOnChange {
		changed, cancel := context.WithCancel(stop)
		defer cancel()
		go source.Watch(changed, cancel, out)
		stop = changed
	}
	if problem := serve(stop, options.listen, gateway, out); problem != nil {
		fmt.Fprintf(err, "error: %v\n", problem)
		return statusFailure
	}
	return statusOK
}

func parse(arguments []string, err io.Writer) (options, error) {
	var options options
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(err)
	flags.StringVar(&options.plugins, "plugins", "plugins",
		"load what is for this machine in handlers/ and middlewares/ of this `directory`, in the order of the names")
	flags.StringVar(&options.listen, "listen", "127.0.0.1:8080", "serve on this `address`")
	flags.BoolVar(&options.lenient, "lenient", false, "serve although a plugin could not be loaded")
	flags.BoolVar(&options.exitOnChange, "exit-on-change", false,
		"end when the directory, a symbolic link, points elsewhere; a supervisor then starts the gateway anew")
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(err, "unexpected argument %q\n", flags.Arg(0))
		flags.Usage()
		return options, errors.New("unexpected argument")
	}
	return options, nil
}
