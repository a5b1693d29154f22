// A plugin with the same package, and a dot in its own path.
package main

import (
	"strconv"

	"gopkg.in/extra.v2"
)

// Run is what the host calls.
func Run() string { return "third" + strconv.Itoa(extra.Limit()) }

func main() {}
