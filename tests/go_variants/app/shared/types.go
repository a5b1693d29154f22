package shared

// Request is what hosts and plugins exchange.
type Request struct{ Path string }

// Handler is a function with a name.
type Handler func(Request) error

// Box has a type of its own for each of its arguments.
type Box[T any] struct{ Value T }
