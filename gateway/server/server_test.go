package server

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

func handler(name, pattern string) Plugin {
	return Plugin{Name: name, File: name + ".so", Handler: fixed(pattern)}
}

// trace is a middleware that puts its name into a header.
func trace(name string) Plugin {
	return Plugin{Name: name, File: name + ".so", Middleware: func(next http.Handler) http.Handler {
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
	gateway, problems := newGateway([]Plugin{trace("first"), handler("a", "GET /a"), trace("second")})
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
	gateway, _ := newGateway([]Plugin{handler("a", "GET /a"), trace("t")})
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
		second Plugin
		reason string
	}{
		{handler("a", "GET /b"), "failed to use a.so: its name a is taken by a.so"},
		{handler("b", "GET /a"), `failed to use b.so: the pattern "GET /a" is refused`},
		{handler("b", "GET /healthz"), `failed to use b.so: the pattern "GET /healthz" is refused`},
		{handler("b", "nonsense"), `failed to use b.so: the pattern "nonsense" is refused`},
	} {
		gateway, problems := newGateway([]Plugin{handler("a", "GET /a"), test.second})
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), test.reason) {
			t.Errorf("got %v, expected %s", problems, test.reason)
		}
		if len(gateway.plugins) != 1 || get(gateway, "/a").Body.String() != "GET /a" {
			t.Errorf("%s: the first handler no longer answers", test.reason)
		}
	}
}

func TestNewIsCheckedBeforeUse(t *testing.T) {
	handler := func(handler api.Handler, err error) (Plugin, error) {
		return NewHandler("p.so", "p", func() (api.Handler, error) { return handler, err })
	}
	middleware := func(middleware api.Middleware) (Plugin, error) {
		return NewMiddleware("p.so", "p", func() (api.Middleware, error) { return middleware, nil })
	}
	for _, test := range []struct {
		kind, reason string
		start        func() (Plugin, error)
	}{
		{"handler", "", func() (Plugin, error) { return handler(fixed("GET /a"), nil) }},
		{"", "failed to start p: no disk", func() (Plugin, error) { return handler(nil, errors.New("no disk")) }},
		{"", "failed to start p: New returned nil", func() (Plugin, error) { return handler(nil, nil) }},
		{"middleware", "", func() (Plugin, error) { return middleware(trace("p").Middleware) }},
		{"", "failed to start p: New returned nil", func() (Plugin, error) { return middleware(nil) }},
	} {
		plugin, err := test.start()
		if (err == nil) != (test.reason == "") || (err != nil && err.Error() != test.reason) {
			t.Errorf("got %v, expected %q", err, test.reason)
		}
		if err == nil && plugin.Kind() != test.kind {
			t.Errorf("got a %s, expected a %s", plugin.Kind(), test.kind)
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

// source stands for where plugins come from.
type source struct {
	plugins  []Plugin
	problems []error
}

func (s source) Load() ([]Plugin, []error) { return s.plugins, s.problems }

func (source) Watch(_ context.Context, changed func(), _ io.Writer) { changed() }

func TestCommandLine(t *testing.T) {
	broken := source{[]Plugin{handler("a", "GET /a")}, []error{errors.New("b is broken")}}
	for _, test := range []struct {
		arguments []string
		source    source
		status    int
		err       string
	}{
		{[]string{"--help"}, source{}, statusOK, "-lenient"},
		{[]string{"--nonsense"}, source{}, statusUsage, "-nonsense"},
		{[]string{"surplus"}, source{}, statusUsage, `unexpected argument "surplus"`},
		{[]string{"--listen", "no such address"}, source{}, statusFailure, "error: "},
		{[]string{"--plugins", "absent"}, source{}, statusFailure, "error: absent is not there"},
		{[]string{"--listen", "127.0.0.1:0", "--exit-on-change"}, source{}, statusOK, ""},
		{[]string{"--listen", "127.0.0.1:0", "--exit-on-change"}, broken, statusFailure, "error: b is broken"},
		{[]string{"--listen", "127.0.0.1:0", "--exit-on-change", "--lenient"}, broken, statusOK, "error: b is broken"},
	} {
		find := func(directory string) (Source, error) {
			if directory == "absent" {
				return nil, errors.New("absent is not there")
			}
			return test.source, nil
		}
		var out, err bytes.Buffer
		status := Run(context.Background(), test.arguments, find, &out, &err)
		if status != test.status || !strings.Contains(err.String(), test.err) {
			t.Errorf("%q: got %d %q, expected %d %q", test.arguments, status, err.String(), test.status, test.err)
		}
	}
}
