// A plugin that exports nothing.
package main

import _ "example.com/dep"

func main() {}
