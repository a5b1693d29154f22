//go:build !static

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhatCannotBeLoadedIsReported(t *testing.T) {
	directory := t.TempDir()
	if _, problems := load(directory); len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "no plugins (*.so) in ") {
		t.Errorf("empty directory: got %v", problems)
	}

	for _, name := range []string{"broken.so", "ignored.txt"} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte("not an ELF file"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plugins, problems := load(directory)
	if len(plugins) != 0 || len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "failed to load broken.so: plugin.Open(") {
		t.Errorf("got %v %v", plugins, problems)
	}

	if _, err := resolve(filepath.Join(directory, "absent")); err == nil {
		t.Error("a directory that is not there was found")
	}
}

func TestChangeIsNoticed(t *testing.T) {
	directory := t.TempDir()
	link := filepath.Join(directory, "current")
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(directory, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	resolved, err := resolve(link)
	if err != nil {
		t.Fatal(err)
	}

	stop, changed := context.WithCancel(context.Background())
	defer changed()
	go watch(stop, changed, link, resolved, io.Discard)

	next := filepath.Join(directory, "next")
	if err := os.Symlink("two", next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, link); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stop.Done():
	case <-time.After(10 * watchInterval):
		t.Error("the new directory went unnoticed")
	}
}
