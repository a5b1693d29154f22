// The host of the cases in Go. It says what it does as programs/host.c says it.
package main

import (
	"fmt"
	"os"
	"plugin"
	"strings"

	"example.com/faults/dep"
)

func say(what string, index int, symbol, text string) {
	text = strings.ReplaceAll(text, "\n", "\x1f")
	fmt.Printf("@ %s %d %s %s\n", what, index, symbol, text)
}

func main() {
	say("start", 0, "-", fmt.Sprint(dep.Number()))
	symbols := strings.Split(os.Args[3], ",")
	for index, path := range os.Args[4:] {
		say("open", index, "-", "")
		opened, err := plugin.Open(path)
		if err != nil {
			say("failed", index, "-", err.Error())
			continue
		}
		say("opened", index, "-", "")
		for _, name := range symbols {
			symbol, err := opened.Lookup(name)
			if err != nil {
				say("missing", index, name, err.Error())
				continue
			}
			say("call", index, name, "")
			say("answer", index, name, fmt.Sprint(symbol.(func() int)()))
		}
		say("called", index, "-", "")
	}
	say("done", 0, "-", "")
}
