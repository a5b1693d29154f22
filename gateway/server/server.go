package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	// stopTimeout is what running requests are given to end.
	stopTimeout = 5 * time.Second
	// headerLimitBytes is for all headers of a request.
	headerLimitBytes = 64 << 10
)

// gateway routes requests through its middlewares to its handlers.
type gateway struct {
	plugins []Plugin
	handler http.Handler
}

// newGateway puts plugins in their places. Those that clash with an earlier one are left out and reported.
func newGateway(plugins []Plugin) (*gateway, []error) {
	gateway := &gateway{plugins: []Plugin{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(response, "ok")
	})
	mux.HandleFunc("GET /plugins", gateway.list)

	var problems []error
	names := map[string]string{}
	for _, plugin := range plugins {
		if other, taken := names[plugin.Name]; taken {
			problems = append(problems, fmt.Errorf("failed to use %s: its name %s is taken by %s", plugin.File, plugin.Name, other))
			continue
		}
		if plugin.Handler != nil {
			if err := register(mux, plugin.Handler.Pattern(), plugin.Handler); err != nil {
				problems = append(problems, fmt.Errorf("failed to use %s: %w", plugin.File, err))
				continue
			}
		}
		names[plugin.Name] = plugin.File
		gateway.plugins = append(gateway.plugins, plugin)
	}

	// The first middleware is the outermost: it sees a request first and its answer last.
	gateway.handler = mux
	for i := len(gateway.plugins) - 1; i >= 0; i-- {
		if middleware := gateway.plugins[i].Middleware; middleware != nil {
			gateway.handler = middleware(gateway.handler)
		}
	}
	return gateway, problems
}

// register turns into an error what the mux answers with a panic: a pattern that is malformed, or that clashes.
func register(mux *http.ServeMux, pattern string, handler http.Handler) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the pattern %q is refused: %v", pattern, reason)
		}
	}()
	mux.Handle(pattern, handler)
	return nil
}

// list answers with the plugins in the order in which they were loaded.
func (g *gateway) list(response http.ResponseWriter, _ *http.Request) {
	type row struct {
		Name    string `json:"name"`
		Kind    string `json:"kind"`
		File    string `json:"file"`
		Pattern string `json:"pattern,omitempty"`
	}
	rows := make([]row, len(g.plugins))
	for i, plugin := range g.plugins {
		rows[i] = row{Name: plugin.Name, Kind: plugin.Kind(), File: plugin.File}
		if plugin.Handler != nil {
			rows[i].Pattern = plugin.Handler.Pattern()
		}
	}
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(rows)
}

// serve answers requests until stop is done; then it lets the running ones end.
func serve(stop context.Context, address string, gateway *gateway, out io.Writer) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("failed to serve: %w", err)
	}
	server := &http.Server{
		Handler:        gateway.handler,
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		MaxHeaderBytes: headerLimitBytes,
	}
	fmt.Fprintf(out, "serving on http://%s\n", listener.Addr())

	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("failed to serve: %w", err)
	case <-stop.Done():
	}

	limited, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Shutdown(limited); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("failed to stop: %w", err)
	}
	fmt.Fprintln(out, "stopped")
	return nil
}
