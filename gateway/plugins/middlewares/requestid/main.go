// The middleware requestid as a plugin. A main package cannot be imported, so what it does is in a package of its own, which
// the static gateway has compiled in.
package main

import (
	"example.com/gateway/api"
	"example.com/gateway/middlewares/requestid"
)

// Name is the plugin's name.
func Name() string { return requestid.Name }

// New makes the middleware.
func New() (api.Middleware, error) { return requestid.New() }

// Never called: `go build ./...` and `go vet ./...` want it.
func main() {}
