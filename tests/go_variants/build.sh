#!/bin/sh
# Builds every variant of host and plugin for one C library into $OUT: `build.sh OUT`, with CC for that library.
# $WORK has app/, modules/ and publish/; GOCACHE is shared by all variants.
set -eu
OUT=$1
mkdir -p "$OUT"
cd "$WORK"
export CGO_ENABLED=1 GOFLAGS='-buildvcs=false -ldflags=-w' GOPROXY=off GOSUMDB=off GOTELEMETRY=off GOTOOLCHAIN=local GOWORK=off

# Versions that differ in what is inlined, in a body that is not, or in nothing.
version() { # MODULE FROM TO [SED]
  cp -R "modules/$1@$2" "modules/$1@$3"
  [ -z "${4-}" ] || sed -i "$4" "modules/$1@$3/"*.go
}
if [ ! -d proxy ]; then
  version dep v1.0.0 v1.0.1 's/"one"/"two"/'
  version dep v1.0.0 v1.0.2
  version dep v1.0.0 v1.1.0 's/return 10/return 11/'
  version extra.v2 v2.0.0 v2.1.0 's/return 1/return 2/'
  (cd publish && go build -trimpath -o ../publish-modules .)
  ./publish-modules proxy modules/dep@v1.0.0 example.com/dep v1.0.0 modules/dep@v1.0.1 example.com/dep v1.0.1 \
    modules/dep@v1.0.2 example.com/dep v1.0.2 modules/dep@v1.1.0 example.com/dep v1.1.0 \
    modules/extra.v2@v2.0.0 gopkg.in/extra.v2 v2.0.0 modules/extra.v2@v2.1.0 gopkg.in/extra.v2 v2.1.0
  GOPROXY=file://$WORK/proxy
  export GOPROXY GOMODCACHE=$WORK/mod
  # A go.mod for each graph of modules, with its go.sum beside it.
  graph() { # NAME SED
    sed "$2" app/go.mod > "app/$1.mod"
    (cd app && go mod tidy -modfile="$1.mod")
  }
  (cd app && go mod tidy)
  graph dep-1.0.1 's|dep v1.0.0|dep v1.0.1|'
  graph dep-1.0.2 's|dep v1.0.0|dep v1.0.2|'
  graph dep-1.1.0 's|dep v1.0.0|dep v1.1.0|'
  graph extra-2.1.0 's|extra.v2 v2.0.0|extra.v2 v2.1.0|'
  graph replaced '$areplace example.com/dep => ../modules/dep@v1.0.0'
  graph replaced-1.0.1 '$areplace example.com/dep => ../modules/dep@v1.0.1'
  graph replaced-1.1.0 '$areplace example.com/dep => ../modules/dep@v1.1.0'
  graph language 's|^go 1.24|go 1.22|'
  cp -R app elsewhere
  cp -R app vendored
  (cd vendored && go mod vendor)
  cp -R mod othermod
fi
export GOPROXY=file://$WORK/proxy GOMODCACHE=$WORK/mod

# one NAME DIRECTORY PACKAGE [VARIABLE=VALUE…] -- FLAGS…
one() {
  name=$1 directory=$2 package=$3
  shift 3
  variables=
  while [ "$1" != -- ]; do variables="$variables $1"; shift; done
  shift
  # shellcheck disable=SC2086
  (cd "$directory" && env $variables go build "$@" -o "$OUT/$name" "$package")
}
both() { # NAME DIRECTORY …: the host and the plugin of a variant
  name=$1 directory=$2
  shift 2
  one "host-$name" "$directory" ./host "$@" &
  one "plug-$name.so" "$directory" ./plug "$@" -buildmode=plugin
  wait $! # for its status
}
echo "variant trimpath"; both trimpath app -- -trimpath
echo "variant default"; both default app --
echo "variant race"; both race app -- -trimpath -race
echo "variant noopt"; both noopt app -- -trimpath '-gcflags=all=-N -l'
echo "variant nobounds"; both nobounds app -- -trimpath -gcflags=all=-B
echo "variant main-noopt"; both main-noopt app -- -trimpath '-gcflags=-N -l'
echo "variant tags"; both tags app -- -trimpath -tags=special
echo "variant unused-tags"; both unused-tags app -- -trimpath -tags=nobody,nothing
echo "variant dep-1.1.0"; both dep-1.1.0 app -- -trimpath -modfile=dep-1.1.0.mod
echo "variant dep-1.0.1"; both dep-1.0.1 app -- -trimpath -modfile=dep-1.0.1.mod
echo "variant dep-1.0.2"; both dep-1.0.2 app -- -trimpath -modfile=dep-1.0.2.mod
echo "variant replaced"; both replaced app -- -trimpath -modfile=replaced.mod
echo "variant replaced-1.0.1"; both replaced-1.0.1 app -- -trimpath -modfile=replaced-1.0.1.mod
echo "variant replaced-1.1.0"; both replaced-1.1.0 app -- -trimpath -modfile=replaced-1.1.0.mod
echo "variant language"; both language app -- -trimpath -modfile=language.mod
echo "variant elsewhere"; both elsewhere elsewhere -- -trimpath
echo "variant elsewhere-default"; both elsewhere-default elsewhere --
echo "variant othermod-default"; both othermod-default app GOMODCACHE="$WORK/othermod" --
echo "variant vendored"; both vendored vendored -- -trimpath
echo "variant vendored-default"; both vendored-default vendored --
echo "variant experiment"; both experiment app GOEXPERIMENT=noswissmap -- -trimpath
echo "variant v3"; both v3 app GOAMD64=v3 -- -trimpath
echo "variant cflags"; both cflags app CGO_CFLAGS=-DUNUSED -- -trimpath
echo "variant stamped"; both stamped app -- -trimpath '-ldflags=-X main.stamp=v1 -buildid='
echo "variant stripped"; both stripped app -- -trimpath '-ldflags=-s -w'
echo "variant covered"; both covered app -- -trimpath -cover

echo "special hosts"
one host-nocgo app ./host CGO_ENABLED=0 -- -trimpath
one host-static app ./host -- -trimpath '-ldflags=-extldflags=-static'
one host-pie app ./host -- -trimpath -buildmode=pie
one host-unable app ./unable -- -trimpath

echo "special plugins"
plugin() { # NAME PACKAGE FLAGS…
  name=$1 package=$2
  shift 2
  one "$name.so" app "$package" -- -trimpath -buildmode=plugin "$@"
}
plugin second ./second
plugin second-2.1.0 ./second -modfile=extra-2.1.0.mod
plugin third ./third.v2
plugin third-2.1.0 ./third.v2 -modfile=extra-2.1.0.mod
plugin renamed ./plug -ldflags=-pluginpath=example.com/renamed
plugin renamed-silent ./silent -ldflags=-pluginpath=example.com/silent
plugin unnamed plug/main.go
plugin fewer ./fewer
plugin symbolic-dep-1.1.0 ./plug -modfile=dep-1.1.0.mod -ldflags=-extldflags=-Wl,-Bsymbolic
one c-shared.so app ./plug -- -trimpath -buildmode=c-shared
$CC -shared -fPIC -o "$OUT/c.so" c/plugin.c
cp "$OUT/plug-trimpath.so" "$OUT/copy.so"
cp "$OUT/plug-trimpath.so" "$OUT/strip.so"
strip -s "$OUT/strip.so"
cp "$OUT/host-trimpath" "$OUT/host-strip"
strip -s "$OUT/host-strip"
