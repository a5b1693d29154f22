package hello

import (
	"net/http/httptest"
	"testing"
)

func TestGreets(t *testing.T) {
	for target, expect := range map[string]string{
		"/hello":          greeting + ", World!\n",
		"/hello?name=Ada": greeting + ", Ada!\n",
	} {
		handler, err := New()
		if err != nil {
			t.Fatal(err)
		}
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, httptest.NewRequest("GET", target, nil))
		if got := response.Body.String(); got != expect {
			t.Errorf("%s: got %q, expected %q", target, got, expect)
		}
	}
}
