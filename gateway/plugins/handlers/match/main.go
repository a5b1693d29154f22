// The handler match as a plugin. A main package cannot be imported, so what it does is in a package of its own, which the
// static gateway has compiled in.
package main

import (
	"example.com/gateway/api"
	"example.com/gateway/handlers/match"
)

// Name is the plugin's name.
func Name() string { return match.Name }

// New makes the handler.
func New() (api.Handler, error) { return match.New() }

// Never called: `go build ./...` and `go vet ./...` want it.
func main() {}
