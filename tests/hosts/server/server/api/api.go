// Package api is what the server and its plugins know of each other.
package api

// Request is what a handler is asked.
type Request struct {
	Text string
	// Directory is where the plugins lie.
	Directory string
}

// Handler answers a request.
type Handler func(Request) (string, error)
