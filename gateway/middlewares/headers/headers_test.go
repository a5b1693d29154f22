package headers

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHeadersAreSet(t *testing.T) {
	middleware, err := New()
	if err != nil {
		t.Fatal(err)
	}
	response := httptest.NewRecorder()
	middleware(http.NotFoundHandler()).ServeHTTP(response, httptest.NewRequest("GET", "/", nil))
	for name, expect := range map[string]string{
		"X-Content-Type-Options": "nosniff",
		"X-Frame-Options":        "DENY",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := response.Header().Get(name); got != expect {
			t.Errorf("%s: got %q, expected %q", name, got, expect)
		}
	}
}
