// Package hello greets: GET /hello?name=Ada.
package hello

import (
	"fmt"
	"net/http"

	"example.com/gateway/api"
)

// Name is the plugin's name.
const Name = "hello"

// greeting is the word to change when you try out how a plugin is replaced.
const greeting = "Hello"

type handler struct{}

// New makes the handler.
func New() (api.Handler, error) {
	return handler{}, nil
}

func (handler) Pattern() string {
	return "GET /hello"
}

func (handler) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	name := request.FormValue("name")
	if name == "" {
		name = "World"
	}
	response.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(response, "%s, %s!\n", greeting, name)
}
