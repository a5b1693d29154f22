//go:build !static

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"plugin"
	"time"
)

// watchInterval is how long a new set of plugins may go unnoticed.
const watchInterval = time.Second

// resolve follows symbolic links, so that all plugins come from one directory even if the link is changed meanwhile.
func resolve(directory string) (string, error) {
	resolved, err := filepath.EvalSymlinks(directory)
	if err != nil {
		return "", fmt.Errorf("failed to find the plugins: %w", err)
	}
	return resolved, nil
}

// load opens every *.so of a directory in the order of their names. It returns all that can be used, and all that was
// wrong with the others.
func load(directory string) (plugins []loadedPlugin, problems []error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, []error{fmt.Errorf("failed to read the plugins: %w", err)}
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".so" {
			continue
		}
		plugin, err := open(filepath.Join(directory, entry.Name()))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		plugins = append(plugins, plugin)
	}
	if len(plugins)+len(problems) == 0 {
		problems = append(problems, fmt.Errorf("no plugins (*.so) in %s", directory))
	}
	return plugins, problems
}

func open(path string) (loadedPlugin, error) {
	file := filepath.Base(path)
	opened, err := plugin.Open(path)
	if err != nil {
		return loadedPlugin{}, fmt.Errorf("failed to load %s: %w", file, err)
	}
	name, err := opened.Lookup("Name")
	if err != nil {
		return loadedPlugin{}, fmt.Errorf("failed to use %s: %w", file, err)
	}
	construct, err := opened.Lookup("New")
	if err != nil {
		return loadedPlugin{}, fmt.Errorf("failed to use %s: %w", file, err)
	}
	nameFunction, ok := name.(func() string)
	if !ok {
		return loadedPlugin{}, fmt.Errorf("failed to use %s: Name is a %T, not a func() string", file, name)
	}
	return newPlugin(file, nameFunction, construct)
}

// watch calls changed when link no longer leads to directory. Go cannot unload a plugin: a new set of plugins needs a
// new process.
func watch(stop context.Context, changed func(), link, directory string, out io.Writer) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop.Done():
			return
		case <-ticker.C:
			// A link that leads nowhere right now will lead somewhere once whoever changes it is done.
			if now, err := filepath.EvalSymlinks(link); err == nil && now != directory {
				fmt.Fprintln(out, "the plugins have changed")
				changed()
				return
			}
		}
	}
}
