//go:build static

package main

import (
	"context"
	"io"

	"example.com/gateway/handlers/hello"
	"example.com/gateway/handlers/match"
	"example.com/gateway/middlewares/headers"
	"example.com/gateway/middlewares/requestid"
)

// linkedIn is what the directory of plugins is to the dynamic gateway, in the same order.
var linkedIn = []struct {
	name      string
	construct any
}{
	{headers.Name, headers.New},
	{hello.Name, hello.New},
	{match.Name, match.New},
	{requestid.Name, requestid.New},
}

// The directory's name is accepted so that both gateways understand the same command line; nothing is read from it.
func resolve(directory string) (string, error) {
	return directory, nil
}

func load(string) (plugins []loadedPlugin, problems []error) {
	for _, linked := range linkedIn {
		plugin, err := newPlugin("linked in", func() string { return linked.name }, linked.construct)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		plugins = append(plugins, plugin)
	}
	return plugins, problems
}

// What is linked in does not change.
func watch(context.Context, func(), string, string, io.Writer) {}
