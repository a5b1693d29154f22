// Another plugin.
package main

import "example.com/faults/dep"

// Run is what hosts call.
func Run() int { return dep.Number() + dep.Shape + 200 }

func main() {}
