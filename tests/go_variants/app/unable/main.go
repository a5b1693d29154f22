// A host that was written without plugins; it uses cgo all the same.
package main

import "C"

import "example.com/app/shared"

func main() { println(shared.Describe("unable")) }
