// Package dep is what host and plugins share.
package dep

// Number is not inlined, so that its body is not part of what Go compares.
//
//go:noinline
func Number() int { return 1 }

// Shape is.
const Shape = 10
