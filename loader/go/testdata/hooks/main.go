// A plugin that does what AT_OPEN says while it is opened.
package main

import (
	"os"
	"time"
)

func init() {
	switch os.Getenv("AT_OPEN") {
	case "panic":
		panic("cannot be initialised")
	case "exit":
		os.Exit(0)
	case "hang":
		time.Sleep(time.Hour)
	}
}

func Name() string { return "hooks" }

func main() {}
