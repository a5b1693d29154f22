package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/gateway/api"
)

// fixed is a handler that answers with its own pattern.
type fixed string

func (f fixed) Pattern() string { return string(f) }

func (f fixed) ServeHTTP(response http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(response, string(f))
}

func handler(name, pattern string) loadedPlugin {
	return loadedPlugin{Name: name, File: name + ".so", Handler: fixed(pattern)}
}

// trace is a middleware that puts its name into a header.
func trace(name string) loadedPlugin {
	return loadedPlugin{Name: name, File: name + ".so", Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
			response.Header().Add("Trace", name)
			next.ServeHTTP(response, request)
		})
	}}
}

func get(gateway *gateway, target string) *httptest.ResponseRecorder {
	response := httptest.NewRecorder()
	gateway.handler.ServeHTTP(response, httptest.NewRequest("GET", target, nil))
	return response
}

func TestRequestsPassMiddlewaresInOrder(t *testing.T) {
	gateway, problems := newGateway([]loadedPlugin{trace("first"), handler("a", "GET /a"), trace("second")})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	response := get(gateway, "/a")
	if trace := strings.Join(response.Header()["Trace"], " "); trace != "first second" {
		t.Errorf("the middlewares ran in the order %q", trace)
	}
	if body := response.Body.String(); body != "GET /a" {
		t.Errorf("got %q", body)
	}
}

func TestOwnPages(t *testing.T) {
	gateway, _ := newGateway([]loadedPlugin{handler("a", "GET /a"), trace("t")})
	for target, expect := range map[string]string{
		"/healthz": "ok\n",
		"/plugins": `[{"name":"a","kind":"handler","file":"a.so","pattern":"GET /a"},{"name":"t","kind":"middleware","file":"t.so"}]` + "\n",
	} {
		if body := get(gateway, target).Body.String(); body != expect {
			t.Errorf("%s: got %q, expected %q", target, body, expect)
		}
	}
}

func TestClashesAreReportedAndTheFirstStays(t *testing.T) {
	for _, test := range []struct {
		second loadedPlugin
		reason string
	}{
		{handler("a", "GET /b"), "failed to use a.so: its name a is taken by a.so"},
		{handler("b", "GET /a"), `failed to use b.so: the pattern "GET /a" is refused`},
		{handler("b", "GET /healthz"), `failed to use b.so: the pattern "GET /healthz" is refused`},
		{handler("b", "nonsense"), `failed to use b.so: the pattern "nonsense" is refused`},
	} {
		gateway, problems := newGateway([]loadedPlugin{handler("a", "GET /a"), test.second})
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), test.reason) {
			t.Errorf("got %v, expected %s", problems, test.reason)
		}
		if len(gateway.plugins) != 1 || get(gateway, "/a").Body.String() != "GET /a" {
			t.Errorf("%s: the first handler no longer answers", test.reason)
		}
	}
}

func TestNewIsCheckedBeforeUse(t *testing.T) {
	for _, test := range []struct {
		construct any
		reason    string
	}{
		{func() (api.Handler, error) { return fixed("GET /a"), nil }, ""},
		{func() (api.Handler, error) { return nil, errors.New("no disk") }, "failed to start p: no disk"},
		{func() (api.Handler, error) { return nil, nil }, "failed to start p: New returned nil"},
		{func() (api.Middleware, error) { return nil, nil }, "failed to start p: New returned nil"},
		{func() int { return 1 }, "failed to use p.so: New is a func() int, neither a handler's nor a middleware's"},
	} {
		_, err := newPlugin("p.so", func() string { return "p" }, test.construct)
		if (err == nil) != (test.reason == "") || (err != nil && err.Error() != test.reason) {
			t.Errorf("got %v, expected %q", err, test.reason)
		}
	}
}

func TestServesUntilStopped(t *testing.T) {
	gateway, _ := newGateway(nil)
	stop, cancel := context.WithCancel(context.Background())
	defer cancel()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(stop, "127.0.0.1:0", gateway, writer) }()

	line := make([]byte, 128)
	length, err := reader.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimPrefix(strings.TrimSpace(string(line[:length])), "serving on ")
	response, err := http.Get(url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d", response.StatusCode)
	}

	cancel()
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		status    int
		err       string
	}{
		{[]string{"--help"}, statusOK, "-lenient"},
		{[]string{"--nonsense"}, statusUsage, "-nonsense"},
		{[]string{"surplus"}, statusUsage, `unexpected argument "surplus"`},
		{[]string{"--listen", "no such address"}, statusFailure, "error: "},
	} {
		var out, err bytes.Buffer
		status := run(context.Background(), test.arguments, &out, &err)
		if status != test.status || !strings.Contains(err.String(), test.err) {
			t.Errorf("%q: got %d %q, expected %d %q", test.arguments, status, err.String(), test.status, test.err)
		}
	}
}
