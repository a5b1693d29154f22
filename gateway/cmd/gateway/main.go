// gateway is an HTTP server that knows no requests of its own: handlers and middlewares are plugins, loaded from two
// directories when it starts.
package main

import "example.com/gateway/server"

func main() {
	server.Main(find)
}
