package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"plugin"
	"strings"
	"testing"
	"time"

	"example.com/gateway/api"
)

func TestWhatCannotBeLoadedIsReported(t *testing.T) {
	root := t.TempDir()
	source, err := find(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := source.Load(); len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "no plugins (*-linux-") {
		t.Errorf("empty directory: got %v", problems)
	}

	for _, name := range []string{"handlers/broken" + suffix, "handlers/other-plan9-vax.so", "middlewares/ignored.txt", "elsewhere" + suffix} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("not an ELF file"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plugins, problems := source.Load()
	expect := fmt.Sprintf("failed to load handlers/broken%s: plugin.Open(", suffix)
	if len(plugins) != 0 || len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), expect) {
		t.Errorf("got %v %v", plugins, problems)
	}

	if _, err := find(filepath.Join(root, "absent")); err == nil {
		t.Error("a directory that is not there was found")
	}
}

// exported stands for what a plugin exports.
type exported map[string]plugin.Symbol

func (e exported) Lookup(name string) (plugin.Symbol, error) {
	symbol, found := e[name]
	if !found {
		return nil, fmt.Errorf("plugin: symbol %s not found", name)
	}
	return symbol, nil
}

func TestAPluginOfTheOtherKindIsRefused(t *testing.T) {
	middleware := exported{"New": func() (api.Middleware, error) { return nil, nil }}
	if _, err := look[func() (api.Middleware, error)](middleware, "New"); err != nil {
		t.Error(err)
	}
	_, err := look[func() (api.Handler, error)](middleware, "New")
	if err == nil || err.Error() != "New is a func() (api.Middleware, error), not a func() (api.Handler, error)" {
		t.Errorf("got %v", err)
	}
	if _, err := look[func() string](middleware, "Name"); err == nil || !strings.Contains(err.Error(), "symbol Name not found") {
		t.Errorf("got %v", err)
	}
}

func TestChangeIsNoticed(t *testing.T) {
	root := t.TempDir()
	link := filepath.Join(root, "current")
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	source, err := find(link)
	if err != nil {
		t.Fatal(err)
	}

	stop, changed := context.WithCancel(context.Background())
	defer changed()
	go source.Watch(stop, changed, io.Discard)

	next := filepath.Join(root, "next")
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
