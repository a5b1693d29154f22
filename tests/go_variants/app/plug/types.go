package main

import (
	"bytes"
	"io"
	"time"
	"unsafe"

	"example.com/app/shared"
	"example.com/dep"
)

// Types of all kinds, for what reads them from the file; the host says what reflect says of each.
type (
	config struct{ Depth int }
	// Alias is no type of its own.
	Alias = shared.Request
	inner struct {
		shared.Request
		*config
		tagged int `json:"tagged"`
	}
	table map[shared.Request]*config
)

var (
	Route    string
	Größe    float32
	Bytes    []byte
	Runes    []rune
	Any      any
	Failure  error
	Counts   map[string]int
	Buffer   *bytes.Buffer
	Limit    time.Duration
	Own      config
	OwnAgain **config
	Aliased  Alias
	OfDep    dep.Request
	Boxed    shared.Box[int]
	BoxedOwn shared.Box[map[string]config]
	Handler  shared.Handler
	In       <-chan int
	Out      chan<- shared.Request
	Both     chan (<-chan []byte)
	Literal  struct {
		Name string
		shared.Request
		Number int `json:"number"`
	}
	Embedded inner
	Methods  interface {
		io.Reader
		Run(first int, rest ...shared.Request) (string, error)
		hidden()
	}
	Array   [3][]shared.Request
	Pointer unsafe.Pointer
	Holding func(int, ...string) (first, second bool)
	Table   table
	Complex complex128
	Nested  map[[2]string]func(*shared.Request, chan<- struct{}) map[int]interface{}
	Made    = func() config { return config{} }
)

func Serve(to io.Writer, from *bytes.Reader)                                  {}
func Do(r shared.Request) error                                               { return nil }
func Variadic(number int, rest ...interface{}) (int, error)                   { return 0, nil }
func OfBoxes(b *shared.Box[dep.Request]) (box shared.Box[*config], err error) { return }
func Generic[T any](value T) T                                                { return value }
