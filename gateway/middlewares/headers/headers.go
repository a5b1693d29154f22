// Package headers adds to every answer the headers that tell browsers to take no liberties with it.
package headers

import (
	"net/http"

	"example.com/gateway/api"
)

// Name is the plugin's name.
const Name = "headers"

// New makes the middleware.
func New() (api.Middleware, error) {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
			// Before the handler, which sends them with its first byte, and which may set others in their place.
			header := response.Header()
			header.Set("X-Content-Type-Options", "nosniff")
			header.Set("X-Frame-Options", "DENY")
			header.Set("Referrer-Policy", "no-referrer")
			next.ServeHTTP(response, request)
		})
	}, nil
}
