// gateway-static is the gateway with the same handlers and middlewares linked in. It loads nothing: whatever it answers, a
// gateway that loads them has to answer as well.
package main

import (
	"context"
	"io"

	"example.com/gateway/api"
	"example.com/gateway/handlers/hello"
	"example.com/gateway/handlers/match"
	"example.com/gateway/middlewares/headers"
	"example.com/gateway/middlewares/requestid"
	"example.com/gateway/server"
)

func main() {
	server.Main(find)
}

// The directory's name is accepted so that both gateways understand the same command line; nothing is read from it.
func find(string) (server.Source, error) {
	return linkedIn{}, nil
}

// file is said of plugins that are in no file of their own.
const file = "linked in"

var (
	handlers = []struct {
		name      string
		construct func() (api.Handler, error)
	}{
		{hello.Name, hello.New},
		{match.Name, match.New},
	}
	middlewares = []struct {
		name      string
		construct func() (api.Middleware, error)
	}{
		{headers.Name, headers.New},
		{requestid.Name, requestid.New},
	}
)

// linkedIn is what the directories of plugins are to the other gateway, in the same order.
type linkedIn struct{}

func (linkedIn) Load() (plugins []server.Plugin, problems []error) {
	add := func(plugin server.Plugin, err error) {
		if err != nil {
			problems = append(problems, err)
			return
		}
		plugins = append(plugins, plugin)
	}
	for _, handler := range handlers {
		add(server.NewHandler(file, handler.name, handler.construct))
	}
	for _, middleware := range middlewares {
		add(server.NewMiddleware(file, middleware.name, middleware.construct))
	}
	return plugins, problems
}

// What is linked in does not change.
func (linkedIn) Watch(context.Context, func(), io.Writer) {}
