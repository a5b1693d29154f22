package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/gateway/server"
)

// What is a plugin must be linked in, or the two gateways answer differently.
func TestAllPluginsAreLinkedIn(t *testing.T) {
	plugins, problems := linkedIn{}.Load()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	linked := map[string]bool{}
	for _, plugin := range plugins {
		linked[plugin.Kind()+"s/"+plugin.Name] = true
	}
	directories, err := filepath.Glob("../../plugins/*/*")
	if err != nil || len(directories) == 0 {
		t.Fatal("no plugins were found: ", err)
	}
	for _, directory := range directories {
		if _, err := os.Stat(filepath.Join(directory, "main.go")); err != nil {
			t.Error(err)
		}
		kind := filepath.Base(filepath.Dir(directory))
		if place := kind + "/" + filepath.Base(directory); !linked[place] {
			t.Errorf("%s is a plugin and not linked in", place)
		}
	}
	if len(linked) != len(directories) {
		t.Errorf("%d are linked in, and %d are plugins", len(linked), len(directories))
	}
}

// The whole program, asked what lockstep.yaml has the gateway asked.
func TestAnswersWithoutADirectory(t *testing.T) {
	stop, cancel := context.WithCancel(context.Background())
	defer cancel()
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		status := server.Run(stop, []string{"--plugins", "/nowhere", "--listen", "127.0.0.1:0"}, find, writer, os.Stderr)
		writer.Close()
		ended <- status
	}()

	lines := bufio.NewScanner(reader)
	url, served := "", false
	for !served && lines.Scan() {
		url, served = strings.CutPrefix(lines.Text(), "serving on ")
	}
	if !served {
		t.Fatal("it does not serve")
	}
	for path, expect := range map[string]string{
		"/hello?name=Ada":        "Hello, Ada!\n",
		"/match?text=order-4711": `{"matched":true,"groups":[[0,10],[0,5],[6,10]]}` + "\n",
	} {
		response, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != expect {
			t.Errorf("%s: got %q %v, expected %q", path, body, err, expect)
		}
		for _, header := range []string{"X-Content-Type-Options", "X-Request-Id"} {
			if response.Header.Get(header) == "" {
				t.Errorf("%s: %s is missing: a middleware is", path, header)
			}
		}
	}

	cancel()
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	if status := <-ended; status != 0 {
		t.Errorf("status %d", status)
	}
}
