// A plugin with functions of all the kinds that a contract may name.
package main

import (
	"errors"
	"fmt"
	"math"
)

type text string

var Version = "1.0"

var Handler = func(name string) string { return "handled " + name }

var Nothing func() string

func Name() string                 { return "good" }
func Typed() text                  { return "a type of its own" }
func Greet(name string) string     { return fmt.Sprintf("hello, %s", name) }
func Add(a, b int64) int64         { return a + b }
func Small(number int8) int        { return -int(number) }
func Unsigned(number uint16) uint8 { return uint8(number) }
func Huge() uint64                 { return math.MaxUint64 }
func NotUTF8() string              { return "caf\xe9" }
func Run()                         {}
func Fail() error                  { return errors.New("it is not configured") }
func Succeed() error               { return nil }
func Wrap(next func()) func()      { return next }
func Join(words ...string) string  { return fmt.Sprint(words) }

func Both(name string) (string, error) {
	if name == "nobody" {
		return "", errors.New("nobody is not known")
	}
	return "both " + name, nil
}

func Long() string {
	return fmt.Sprintf("%070000d", 0)
}

func main() {}
