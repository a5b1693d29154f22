package main

import (
	"fmt"

	"example.com/gateway/api"
)

// loadedPlugin is one that was opened, or linked in. It has a handler or a middleware.
type loadedPlugin struct {
	Name       string
	File       string
	Handler    api.Handler
	Middleware api.Middleware
}

// Kind says what it is.
func (p loadedPlugin) Kind() string {
	if p.Handler != nil {
		return "handler"
	}
	return "middleware"
}

// newPlugin makes a plugin of the two functions that it exports. construct is its New, of a type still to be found out.
func newPlugin(file string, name func() string, construct any) (loadedPlugin, error) {
	plugin := loadedPlugin{Name: name(), File: file}
	var err error
	switch construct := construct.(type) {
	case func() (api.Handler, error):
		plugin.Handler, err = construct()
	case func() (api.Middleware, error):
		plugin.Middleware, err = construct()
	default:
		return plugin, fmt.Errorf("failed to use %s: New is a %T, neither a handler's nor a middleware's", file, construct)
	}
	if err != nil {
		return plugin, fmt.Errorf("failed to start %s: %w", plugin.Name, err)
	}
	if plugin.Handler == nil && plugin.Middleware == nil {
		return plugin, fmt.Errorf("failed to start %s: New returned nil", plugin.Name)
	}
	return plugin, nil
}
