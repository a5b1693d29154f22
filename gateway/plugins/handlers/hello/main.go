// The handler hello as a plugin. A main package cannot be imported, so what it does is in a package of its own, which the
// static gateway has compiled in.
package main

import (
	"example.com/gateway/api"
	"example.com/gateway/handlers/hello"
)

// Name is the plugin's name.
func Name() string { return hello.Name }

// New makes the handler.
func New() (api.Handler, error) { return hello.New() }

// Never called: `go build ./...` and `go vet ./...` want it.
func main() {}
