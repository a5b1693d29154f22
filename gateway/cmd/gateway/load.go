package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"plugin"
	"runtime"
	"strings"
	"time"

	"example.com/gateway/server"
)

// The directories of the two kinds.
const (
	handlers    = "handlers"
	middlewares = "middlewares"
)

// watchInterval is how long a new set of plugins may go unnoticed.
const watchInterval = time.Second

// suffix is how the plugins for this machine are called: one directory can have those for several.
var suffix = fmt.Sprintf("-%s-%s.so", runtime.GOOS, runtime.GOARCH)

// directory is where plugins are. link is what the command line names, path where that led when the gateway started.
type directory struct {
	link, path string
}

// find follows symbolic links, so that all plugins come from one directory even if the link is changed meanwhile.
func find(link string) (server.Source, error) {
	path, err := filepath.EvalSymlinks(link)
	if err != nil {
		return nil, fmt.Errorf("failed to find the plugins: %w", err)
	}
	return directory{link, path}, nil
}

// Load opens all that is for this machine: handlers, then middlewares, each in the order of their names.
func (d directory) Load() (plugins []server.Plugin, problems []error) {
	for _, kind := range []struct {
		name string
		open func(root, file string) (server.Plugin, error)
	}{
		{handlers, open(server.NewHandler)},
		{middlewares, open(server.NewMiddleware)},
	} {
		files, err := list(d.path, kind.name)
		if err != nil {
			problems = append(problems, err)
		}
		for _, file := range files {
			plugin, err := kind.open(d.path, file)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			plugins = append(plugins, plugin)
		}
	}
	if len(plugins)+len(problems) == 0 {
		problems = append(problems, fmt.Errorf("no plugins (*%s) in %s and %s of %s", suffix, handlers, middlewares, d.path))
	}
	return plugins, problems
}

// list returns the plugins of one kind, as paths from root on. There may be no directory of that kind.
func list(root, kind string) (files []string, err error) {
	entries, err := os.ReadDir(filepath.Join(root, kind))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("failed to read the plugins: %w", err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), suffix) {
			files = append(files, filepath.Join(kind, entry.Name()))
		}
	}
	return files, nil
}

// open makes what opens plugins of one kind, whose New has the type Construct.
func open[Construct any](start func(file, name string, construct Construct) (server.Plugin, error)) func(root, file string) (server.Plugin, error) {
	return func(root, file string) (server.Plugin, error) {
		opened, err := plugin.Open(filepath.Join(root, file))
		if err != nil {
			return server.Plugin{}, fmt.Errorf("failed to load %s: %w", file, err)
		}
		name, err := look[func() string](opened, "Name")
		if err != nil {
			return server.Plugin{}, fmt.Errorf("failed to use %s: %w", file, err)
		}
		construct, err := look[Construct](opened, "New")
		if err != nil {
			return server.Plugin{}, fmt.Errorf("failed to use %s: %w", file, err)
		}
		return start(file, name(), construct)
	}
}

// symbols is what a plugin exports.
type symbols interface {
	Lookup(name string) (plugin.Symbol, error)
}

// look finds a symbol, which must be of the type that is expected.
func look[Symbol any](opened symbols, name string) (Symbol, error) {
	var none Symbol
	symbol, err := opened.Lookup(name)
	if err != nil {
		return none, err
	}
	typed, fits := symbol.(Symbol)
	if !fits {
		return none, fmt.Errorf("%s is a %T, not a %T", name, symbol, none)
	}
	return typed, nil
}

// Watch calls changed when the link leads elsewhere. Go cannot unload a plugin: a new set of plugins needs a new process.
func (d directory) Watch(stop context.Context, changed func(), out io.Writer) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop.Done():
			return
		case <-ticker.C:
			// A link that leads nowhere right now will lead somewhere once whoever changes it is done.
			if now, err := filepath.EvalSymlinks(d.link); err == nil && now != d.path {
				fmt.Fprintln(out, "the plugins have changed")
				changed()
				return
			}
		}
	}
}
