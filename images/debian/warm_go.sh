#!/bin/sh
# Compiles what most Go programs and plugins need of the standard library, in both build modes and with the flags that
# lockstep uses, into a build cache that comes with the image: a first compile takes a second instead of forty.
#
# Go's cache is keyed by content, so a unit's compile takes from it what is the same and nothing else; it changes no bit
# of the result. $CC decides for which C library the packages that use cgo are compiled.
set -eu

cache=/usr/share/lockstep/go-build
work=/tmp/warm-go
trap 'rm -rf "$work"' EXIT
mkdir "$work"
cd "$work"

cat > go.mod <<'MOD'
module warm
go 1.21
MOD
cat > main.go <<'GO'
package main

import (
	_ "bufio"
	_ "compress/gzip"
	_ "encoding/json"
	_ "flag"
	_ "html/template"
	_ "log/slog"
	_ "net/http"
	_ "net/http/httputil"
	_ "os/signal"
	_ "path/filepath"
	_ "plugin"
	_ "regexp"
)

func main() {}
GO

export CGO_ENABLED=1 GOCACHE="$cache" GOFLAGS="" GOPROXY=off GOTELEMETRY=off GOTOOLCHAIN=local HOME="$work"
# Without this note, Go would sweep out what this run has no use for: in the image everything is as old as the image.
mkdir -p "$cache"
date +%s > "$cache/trim.txt"
for mode in exe plugin; do
  go build -trimpath -buildvcs=false -ldflags=-buildid= -buildmode=$mode -o "$work/out" .
done

# An entry `v1 <action> <output> <size> <time>` ends with the moment it was made, in a field of fixed width.
find "$cache" -name '*-a' -exec sed -i -E 's/[0-9]{19}$/1735689600000000000/' {} +
rm -f "$cache/trim.txt" "$cache/testexpire.txt"
chmod -R a+rX "$cache"
