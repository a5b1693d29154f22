// server answers requests by what its plugins say: handlers in one directory, middlewares in another.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"plugin"
	"runtime"
	"strings"
	"syscall"

	"example.com/server/api"
)

func main() {
	config := flag.String("config", "server.conf", "the file that says where to listen, and where plugins lie")
	ask := flag.String("ask", "", "ask the server that runs, and print what it answers")
	flag.Parse()
	var err error
	if *ask != "" {
		err = get(*ask)
	} else {
		err = serve(*config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func get(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func serve(config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	settings := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		key, value, _ := strings.Cut(line, " ")
		settings[key] = value
	}
	directory := settings["plugins"]
	mux, err := load(directory)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: settings["listen"], Handler: mux}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	go func() {
		<-stop.Done()
		server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// load opens all plugins that are for this machine.
func load(directory string) (*http.ServeMux, error) {
	pattern := fmt.Sprintf("*-%s-%s.so", runtime.GOOS, runtime.GOARCH)
	middlewares, err := filepath.Glob(filepath.Join(directory, "middlewares", pattern))
	if err != nil {
		return nil, err
	}
	var around []func(api.Handler) api.Handler
	for _, path := range middlewares {
		middleware, err := look[func(api.Handler) api.Handler](path, "Middleware")
		if err != nil {
			return nil, err
		}
		around = append(around, middleware)
	}
	handlers, err := filepath.Glob(filepath.Join(directory, "handlers", pattern))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, path := range handlers {
		route, err := look[*string](path, "Route")
		if err != nil {
			return nil, err
		}
		handle, err := look[func(api.Request) (string, error)](path, "Handle")
		if err != nil {
			return nil, err
		}
		handler := api.Handler(handle)
		for _, middleware := range around {
			handler = middleware(handler)
		}
		mux.HandleFunc(*route, func(response http.ResponseWriter, request *http.Request) {
			answer, err := handler(api.Request{Text: request.FormValue("text"), Directory: directory})
			if err != nil {
				http.Error(response, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintln(response, answer)
		})
	}
	return mux, nil
}

// look is a symbol of a plugin, which must be of the type that the host expects.
func look[Symbol any](path, name string) (Symbol, error) {
	var none Symbol
	opened, err := plugin.Open(path)
	if err != nil {
		return none, err
	}
	symbol, err := opened.Lookup(name)
	if err != nil {
		return none, err
	}
	typed, fits := symbol.(Symbol)
	if !fits {
		return none, fmt.Errorf("%s: %s is %T, and not %T", path, name, symbol, none)
	}
	return typed, nil
}
