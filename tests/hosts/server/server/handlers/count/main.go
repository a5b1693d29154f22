// count answers with the length of a text.
package main

import (
	"strconv"

	"example.com/server/api"
	"example.com/words"
)

// Route is the path that is answered.
var Route = "/count"

// Handle counts.
func Handle(request api.Request) (string, error) {
	return strconv.Itoa(words.Count(request.Text)), nil
}

func main() {}
