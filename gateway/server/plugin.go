package server

import (
	"errors"
	"fmt"

	"example.com/gateway/api"
)

// Plugin is one that was opened, or linked in. It has a handler or a middleware.
type Plugin struct {
	Name       string
	File       string
	Handler    api.Handler
	Middleware api.Middleware
}

// Kind says what it is.
func (p Plugin) Kind() string {
	if p.Handler != nil {
		return "handler"
	}
	return "middleware"
}

// NewHandler makes a plugin of the New of a handler.
func NewHandler(file, name string, construct func() (api.Handler, error)) (Plugin, error) {
	handler, err := construct()
	if err == nil && handler == nil {
		err = errNothing
	}
	return Plugin{Name: name, File: file, Handler: handler}, started(name, err)
}

// NewMiddleware makes a plugin of the New of a middleware.
func NewMiddleware(file, name string, construct func() (api.Middleware, error)) (Plugin, error) {
	middleware, err := construct()
	if err == nil && middleware == nil {
		err = errNothing
	}
	return Plugin{Name: name, File: file, Middleware: middleware}, started(name, err)
}

var errNothing = errors.New("New returned nil")

func started(name string, err error) error {
	if err != nil {
		return fmt.Errorf("failed to start %s: %w", name, err)
	}
	return nil
}
