// A plugin.
package main

import (
	"example.com/app/shared"
	"example.com/dep"
)

// Set by -ldflags=-X in one variant.
var stamp = "none"

// Run is what the host calls.
func Run() string {
	if dep.Limit() == 0 || stamp == "" {
		return "?"
	}
	return shared.Describe("plugin")
}

func main() {}
