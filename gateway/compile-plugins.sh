#!/bin/sh
# Compiles every plugin of this module and publishes the set: compile-plugins.sh DIRECTORY
#
#   DIRECTORY/releases/<digest>/<kind>/*.so    the set; the digest is that of its files
#   DIRECTORY/current -> releases/<…>          what the gateway loads: handlers/ and middlewares/
#
# It runs in the build image that the gateway was compiled in, and with the flags that it was compiled with
# (`lockstep plan` shows them): Go refuses a plugin that was not. `current` changes in one step, after the last plugin is
# compiled. When one cannot be compiled, nothing changes.
set -eu

directory=${1:?usage: compile-plugins.sh DIRECTORY}
cd "$(dirname "$0")"

mkdir -p "$directory/releases"
# Only one at a time: what an interrupted run has left behind is nobody's.
rm -rf "$directory"/.new.*
new=$(mktemp -d "$directory/.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

# What the build image brings of the standard library, compiled: without it the first start takes a minute.
if [ -d /usr/share/lockstep/go-build ] && [ -n "${GOCACHE-}" ] && [ ! -d "$GOCACHE" ]; then
    rm -rf "$GOCACHE".seed.*
    seed=$(mktemp -d "$GOCACHE.seed.XXXXXX")
    cp -R /usr/share/lockstep/go-build/. "$seed"
    mv -T "$seed" "$GOCACHE"
fi

# The gateway opens what is called as its machine is.
suffix=$(go env GOOS)-$(go env GOARCH)
for package in plugins/*/*/; do
    package=${package%/}
    file=${package#plugins/}-$suffix.so
    mkdir -p "$new/${file%/*}"
    go build -trimpath -buildvcs=false -ldflags=-buildid= -buildmode=plugin -o "$new/$file" "./$package"
done

digest=$(cd "$new" && sha256sum -- */*.so | sha256sum | cut -c1-16)
if [ "$(readlink "$directory/current" || true)" = "releases/$digest" ]; then
    echo "the plugins are unchanged ($digest)"
    exit 0
fi

chmod 755 "$new" "$new"/*/
rm -rf "$directory/releases/$digest"
mv "$new" "$directory/releases/$digest"
ln -sfn "releases/$digest" "$directory/.current"
mv -T "$directory/.current" "$directory/current"

# A gateway that is running has its plugins in memory and may go on until it is started anew.
for release in "$directory"/releases/*; do
    [ "${release##*/}" = "$digest" ] || rm -rf "$release"
done
echo "published $digest"
