package match

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	handler, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text   string
		status int
		body   string
	}{
		{"order-4711", http.StatusOK, `{"matched":true,"groups":[[0,10],[0,5],[6,10]]}`},
		{"see order-7 there", http.StatusOK, `{"matched":true,"groups":[[4,11],[4,9],[10,11]]}`},
		{"order", http.StatusOK, `{"matched":false,"groups":[]}`},
		{"", http.StatusBadRequest, "text is missing"},
		{"order\x00-4711", http.StatusBadRequest, "text holds a NUL"},
		{strings.Repeat("x", textLimitBytes+1), http.StatusBadRequest, "text has more than 1024 bytes"},
	} {
		response := httptest.NewRecorder()
		target := "/match?" + url.Values{"text": {test.text}}.Encode()
		handler.ServeHTTP(response, httptest.NewRequest("GET", target, nil))
		if body := strings.TrimSpace(response.Body.String()); response.Code != test.status || body != test.body {
			t.Errorf("%.20q: got %d %s, expected %d %s", test.text, response.Code, body, test.status, test.body)
		}
	}
}
