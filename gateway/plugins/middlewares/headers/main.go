// The middleware headers as a plugin. A main package cannot be imported, so what it does is in a package of its own, which
// the static gateway has compiled in.
package main

import (
	"example.com/gateway/api"
	"example.com/gateway/middlewares/headers"
)

// Name is the plugin's name.
func Name() string { return headers.Name }

// New makes the middleware.
func New() (api.Middleware, error) { return headers.New() }

// Never called: `go build ./...` and `go vet ./...` want it.
func main() {}
