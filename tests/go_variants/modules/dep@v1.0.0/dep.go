// Package dep is shared by the hosts and the plugins.
package dep

// Limit is inlined by the compiler, so its body is part of what others are compiled against.
func Limit() int { return 10 }

// Name is never inlined.
//
//go:noinline
func Name() string { return "one" }
