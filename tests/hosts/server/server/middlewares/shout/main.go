// shout makes every answer a loud one.
package main

import (
	"example.com/server/api"
	"example.com/words"
)

// Middleware stands before a handler.
func Middleware(next api.Handler) api.Handler {
	return func(request api.Request) (string, error) {
		answer, err := next(request)
		return words.Loud(answer), err
	}
}

func main() {}
