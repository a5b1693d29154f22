// A plugin with a package that the host lacks.
package main

import (
	"strconv"

	"example.com/app/shared"
	"gopkg.in/extra.v2"
)

// Run is what the host calls.
func Run() string { return shared.Describe("second") + strconv.Itoa(extra.Limit()) }

func main() {}
