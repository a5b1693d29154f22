// Package api is what the gateway and its plugins agree on.
//
// A plugin is a Go plugin (-buildmode=plugin) that exports two functions, of its name and of what it does. There are two
// kinds, which lie in two directories:
//
//	func Name() string
//	func New() (api.Handler, error)       // in handlers/
//	func New() (api.Middleware, error)    // in middlewares/
//
// This package is linked into the gateway and into every plugin, and so is all that it imports. Go compares these
// packages when it opens a plugin, and refuses one whose copy is not the gateway's. A change here means that the gateway
// and all plugins are compiled anew.
package api

import "net/http"

// Handler answers the requests that match its pattern.
type Handler interface {
	http.Handler

	// Pattern says which requests, as [http.ServeMux] has it: "GET /hello".
	Pattern() string
}

// Middleware puts something before or after every request. The gateway calls it once, when it starts.
type Middleware func(next http.Handler) http.Handler
