#!/bin/bash
# How long it takes to do things again:
#
#   verify   the sample projects for glibc: `lockstep verify`, which compiles everything twice, beside a build of everything
#            from nothing but the images
#   images   an environment from packages, made from its locked packages, all kept, beside making it the first time, as a user
#            does who has fetched its packages already; and beside the first time of all
#
#   scripts/bench-again.sh [RUNS]
#
# Prints medians and ratios, and fails where `verify` takes more than 2.5 times the build, or an image that is made again
# longer than the first time.
set -euo pipefail

RUNS=${1:-3}
VERIFY_LIMIT=2.5
AGAIN_LIMIT=1.0

cd "$(dirname "$0")/.."
lockstep=$PWD/target/release/lockstep
id=bench-again-$$

# shellcheck source=scripts/measure.sh
. scripts/measure.sh
command -v docker >/dev/null || fail 'the docker client is missing' 'install docker.io (Debian) or docker-ce-cli'
[ -x "$lockstep" ] || fail 'target/release/lockstep is missing' 'make build'

work=$(mktemp -d)
# mmdebstrap's users read below it.
chmod 755 "$work"
forget_images() {
  docker images --format '{{.Repository}}:{{.Tag}}' lockstep/environment | grep -- "-$id-" | xargs -r docker rmi -f >/dev/null
}
cleanup() {
  trap - EXIT
  for file in "$work"/*/lockstep.yaml; do
    [ ! -f "$file" ] || "$lockstep" -q --file "$file" clean >/dev/null || true
  done
  forget_images || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# A project of its own, so that the checkout's bundles, volumes and images stay as they are.
project() {
  mkdir "$work/$2"
  (cd "$1" && git ls-files . | grep -v '^tests/\|^src/' | tar --files-from=- -cf -) | tar -C "$work/$2" -xf -
  sed -i "s/^project: .*/project: $id-$2/" "$work/$2/lockstep.yaml"
}
# The lock stays: it is in version control.
nothing_but_images() {
  rm -rf .lockstep dist
  docker volume rm "lockstep-$1-glibc" >/dev/null
  docker volume rm "lockstep-$1-glibc-cache" >/dev/null 2>&1 || true
  docker rmi "lockstep/$1:glibc" >/dev/null
}

verify() {
  local name=$1
  cd "$work/$name"
  "$lockstep" -q build glibc >/dev/null
  # In turns, so that whatever else this machine does falls on both.
  for _ in $(seq "$RUNS"); do
    nothing_but_images "$id-$name"
    measure "$work/build-$name" "$lockstep" -q build glibc
    measure "$work/verify-$name" "$lockstep" -q verify glibc
  done
  cd "$OLDPWD"
}

# An environment of its own, of which nobody else has the images.
environment() {
  mkdir -p "$work/environment/host" "$work/environment/$id"
  cat >"$work/environment/lockstep.yaml" <<YAML
version: 1
project: $id-environment
environments: {glibc: {build: $id/build.yaml, runtime: $id/build.yaml}}
archives: [kept]
host: {language: c, source: host, artifacts: [host]}
YAML
  echo 'int main(void) { return 0; }' >"$work/environment/host/host.c"
  cat >"$work/environment/$id/build.yaml" <<YAML
bootstrap:
  distribution: debian
  suite: trixie
  variant: apt
  packages: [gcc, libc6-dev]
  remove: [usr/share/doc, usr/share/man, usr/share/locale]
config: {user: "1000:1000", env: {PATH: /usr/local/bin:/usr/bin}}
YAML
}
# The image is gone from the engine, and the cache has at most packages.
forget_environment() {
  forget_images
  rm -rf .lockstep "$work"/cache/images/{records,ids,layers}
}
images() {
  export LOCKSTEP_CACHE_DIR=$work/cache
  environment
  cd "$work/environment"
  mkdir kept
  for _ in $(seq "$RUNS"); do
    rm -rf lockstep.lock kept/* "$work/cache"
    forget_environment
    measure "$work/image-first" "$lockstep" -q lock
    cp lockstep.lock first.lock
    rm lockstep.lock
    forget_environment
    measure "$work/image-fetched" "$lockstep" -q lock
    cmp first.lock lockstep.lock || fail 'the same recipe gave another image' 'the mirror has moved on: try again'
    "$lockstep" -q lock --keep kept >/dev/null
    rm -rf "$work/cache"
    forget_environment
    measure "$work/image-again" unshare -n "$lockstep" -q lock
    cmp first.lock lockstep.lock || fail 'made again, the image is another one' 'lockstep image diff'
  done
  cd "$OLDPWD"
}

echo "bench: $RUNS runs each" >&2
project . greeter
project gateway gateway
verify greeter
verify gateway
images

row() { printf '| %s | %.1f s (%s) |\n' "$1" "$(median_seconds "$2")" "$(spread "$2")"; }
is_over() { awk -v ratio="$1" -v limit="$2" 'BEGIN { exit !(ratio > limit) }'; }
failed=no
verdict() {
  local ratio
  ratio=$(ratio_of "$2" "$3")
  printf '| %s | %.2f |\n' "$1" "$ratio"
  ! is_over "$ratio" "$4" || failed=yes
}

echo "| medians of $RUNS, $(nproc) processors | |"
echo '| --- | --- |'
for name in greeter gateway; do
  row "$name: \`build\` from nothing but images" "$work/build-$name"
  row "$name: \`verify\`" "$work/verify-$name"
  verdict "$name: ratio" "$work/verify-$name" "$work/build-$name" "$VERIFY_LIMIT"
done
row 'an image for the first time' "$work/image-first"
row 'the same, its packages fetched' "$work/image-fetched"
row 'made again from kept packages, without a network' "$work/image-again"
verdict 'ratio to the first time' "$work/image-again" "$work/image-first" "$AGAIN_LIMIT"
verdict 'ratio to the first time with packages fetched' "$work/image-again" "$work/image-fetched" 9
[ "$failed" = no ] || fail 'a limit is passed' 'see above; try again on a quiet machine'
