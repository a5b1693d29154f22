package requestid

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// serve returns the id that the handler saw, having checked that the answer has the same.
func serve(t *testing.T, id string) string {
	t.Helper()
	middleware, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var seen string
	handler := middleware(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		seen = request.Header.Get(Header)
	}))
	request, response := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
	if id != "" {
		request.Header.Set(Header, id)
	}
	handler.ServeHTTP(response, request)
	if answered := response.Header().Get(Header); answered != seen {
		t.Errorf("the handler saw %q, the caller %q", seen, answered)
	}
	return seen
}

func TestCallersIdIsKept(t *testing.T) {
	if got := serve(t, "trace-17.a_b"); got != "trace-17.a_b" {
		t.Errorf("got %q", got)
	}
}

func TestOthersGetOneOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{"", "", "two words", "line\nbreak", strings.Repeat("x", 65)} {
		got := serve(t, id)
		if got == id || seen[got] || !acceptable.MatchString(got) {
			t.Errorf("%q became %q", id, got)
		}
		seen[got] = true
	}
}
