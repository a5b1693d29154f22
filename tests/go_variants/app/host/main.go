// The host opens the plugins that it is given, in their order, and writes a line for each step.
package main

import (
	"os"
	"plugin"
	"reflect"
	"time"

	"example.com/app/shared"
	"example.com/dep"
)

// Opening a plugin takes milliseconds, unless it never ends.
const limit = 10 * time.Second

// Set by -ldflags=-X in one variant.
var stamp = "none"

func main() {
	if dep.Limit() == 0 || stamp == "" {
		os.Exit(9)
	}
	go func() {
		time.Sleep(limit)
		os.Stdout.WriteString("late\n")
		os.Exit(7)
	}()
	for _, path := range os.Args[1:] {
		os.Stdout.WriteString("plugin: " + path + "\n")
		opened, err := plugin.Open(path)
		if err != nil {
			os.Stdout.WriteString("open: " + err.Error() + "\n")
			continue
		}
		// Only reflect sees all of them.
		for symbols := reflect.ValueOf(opened).Elem().FieldByName("syms").MapRange(); symbols.Next(); {
			os.Stdout.WriteString("symbol: " + symbols.Key().String() + " " + symbols.Value().Elem().Type().String() + "\n")
		}
		for _, name := range []string{"Run", "Absent"} {
			symbol, err := opened.Lookup(name)
			if err != nil {
				os.Stdout.WriteString("lookup: " + err.Error() + "\n")
				continue
			}
			run, ok := symbol.(func() string)
			if !ok {
				os.Stdout.WriteString("type: " + name + "\n")
				continue
			}
			os.Stdout.WriteString("call: " + shared.Describe("host") + " " + run() + "\n")
		}
	}
	os.Stdout.WriteString("end\n")
}
