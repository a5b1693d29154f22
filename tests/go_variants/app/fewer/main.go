// A plugin whose symbol is spelt otherwise.
package main

import "example.com/app/shared"

// Runs is not what the host looks for.
func Runs() string { return shared.Describe("fewer") }

// Table is data.
var Table = map[string]int{"one": 1}

func main() {}
