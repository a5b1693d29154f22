// A plugin that uses what its host uses too.
package main

import "example.com/faults/dep"

// Run is what hosts call.
func Run() int { return dep.Number() + dep.Shape + 100 }

func main() {}
