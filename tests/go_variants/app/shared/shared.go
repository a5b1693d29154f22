// Package shared is the part of the main module that hosts and plugins have in common.
package shared

import "example.com/dep"

// Describe calls what can be inlined and what can not.
func Describe(who string) string {
	return who + " " + dep.Name() + " " + dep.Mode()
}
