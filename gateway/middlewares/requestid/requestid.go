// Package requestid gives every request an id, so that its traces in several programs can be found together.
package requestid

import (
	"crypto/rand"
	"net/http"
	"regexp"

	"example.com/gateway/api"
)

// Name is the plugin's name.
const Name = "requestid"

// Header holds the id, in the request and in the answer.
const Header = "X-Request-Id"

// A caller's id is kept if it is short and harmless in a log; anything else is replaced.
var acceptable = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// New makes the middleware.
func New() (api.Middleware, error) {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
			id := request.Header.Get(Header)
			if !acceptable.MatchString(id) {
				id = rand.Text()
			}
			request.Header.Set(Header, id)
			response.Header().Set(Header, id)
			next.ServeHTTP(response, request)
		})
	}, nil
}
