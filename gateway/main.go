// gateway is an HTTP server that knows no requests of its own: handlers and middlewares are plugins, loaded from a
// directory when it starts.
//
// Compiled with `-tags static`, the same handlers and middlewares are linked in, and no directory is read.
package main

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

type options struct {
	plugins      string
	listen       string
	lenient      bool
	exitOnChange bool
}

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	os.Exit(run(stop, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it ends when something fails or when stop is done.
func run(stop context.Context, arguments []string, out, err io.Writer) int {
	options, parsed := parse(arguments, err)
	if errors.Is(parsed, flag.ErrHelp) {
		return statusOK
	}
	if parsed != nil {
		return statusUsage
	}

	directory, problem := resolve(options.plugins)
	if problem != nil {
		fmt.Fprintf(err, "error: %v\n", problem)
		return statusFailure
	}
	plugins, problems := load(directory)
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
		go watch(changed, cancel, options.plugins, directory, out)
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
	flags.StringVar(&options.plugins, "plugins", "plugins", "load every *.so of this `directory`, in the order of their names")
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
