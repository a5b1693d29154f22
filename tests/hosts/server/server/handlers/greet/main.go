// greet answers with a word of the file that lies beside it.
package main

import (
	"os"
	"path/filepath"
	"strings"

	"example.com/server/api"
)

// Route is the path that is answered.
var Route = "/greet"

// Handle greets.
func Handle(request api.Request) (string, error) {
	word, err := os.ReadFile(filepath.Join(request.Directory, "handlers", "greet.txt"))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(word)) + ", " + request.Text + "!", nil
}

func main() {}
