// Package words is a module of others, which the server and its plugins share.
package words

import "strings"

// Loud is how a text is shouted.
func Loud(text string) string {
	return strings.ToUpper(text)
}

// Count is how many characters a text has.
func Count(text string) int {
	return len([]rune(text))
}
