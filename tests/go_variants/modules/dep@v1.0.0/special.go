//go:build special

package dep

// Mode depends on a build tag.
func Mode() string { return "special" }
