#!/bin/bash
# How long `lockstep build` takes to see that nothing has changed, in projects of 1, 10, 100 and 1,000 plugins: each plugin is
# a directory of its own, and what it costs should grow with their number and no faster.
#
#   scripts/bench-plugins.sh [RUNS [PLUGINS...]]
#
# Prints medians. The first build of each project compiles every plugin in a container of its own, which for 1,000 of them
# takes a quarter of an hour.
set -euo pipefail

RUNS=${1:-5}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- 1 10 100 1000

cd "$(dirname "$0")/.."
lockstep=${LOCKSTEP:-$PWD/target/release/lockstep}
id=bench-plugins-$$

# shellcheck source=scripts/measure.sh
. scripts/measure.sh
[ -x "$lockstep" ] || fail "$lockstep is missing" 'make build'

work=$(mktemp -d)
cleanup() {
  trap - EXIT
  for file in "$work"/*/lockstep.yaml; do
    [ ! -f "$file" ] || "$lockstep" -q --file "$file" clean >/dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# A project of so many plugins below `directory`.
project() {
  local directory=$1 count=$2 number
  mkdir -p "$directory/host"
  {
    printf 'version: 1\nproject: %s-%s\n' "$id" "$count"
    printf 'environments: {glibc: {build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}}\n'
    printf 'host: {name: host, language: c, source: host, artifacts: [host]}\nplugins:\n'
    for ((number = 1; number <= count; number++)); do
      printf '  - {name: p%s, language: c, source: plugins/p%s, artifacts: [p%s.so]}\n' "$number" "$number" "$number"
    done
    printf 'contract: {loader: dlopen, abi: c, symbols: [answer]}\n'
    printf 'smoke: {command: [host, "{plugins}"], expect: {status: 0}}\n'
  } >"$directory/lockstep.yaml"
  echo 'int main(void) { return 0; }' >"$directory/host/host.c"
  for ((number = 1; number <= count; number++)); do
    mkdir -p "$directory/plugins/p$number/src/deep"
    echo "__attribute__((visibility(\"default\"))) int answer(void) { return $number; }" \
      >"$directory/plugins/p$number/p.c"
    echo "# $number" >"$directory/plugins/p$number/src/deep/notes.md"
  done
}

for count in "$@"; do
  echo "bench: $count plugins, compiled once, then $RUNS runs without changes" >&2
  project "$work/$count" "$count"
  "$lockstep" -q --file "$work/$count/lockstep.yaml" build >/dev/null
  for ((run = 0; run < RUNS; run++)); do
    measure "$work/nothing-$count" "$lockstep" -q --file "$work/$count/lockstep.yaml" build >/dev/null
    measure "$work/plan-$count" "$lockstep" -q --file "$work/$count/lockstep.yaml" plan >/dev/null
  done
done

echo '| plugins | nothing changed | sources alone (`lockstep plan`) |'
echo '| --- | --- | --- |'
for count in "$@"; do
  printf '| %s | %.2f s (%s) | %.2f s |\n' "$count" "$(median_seconds "$work/nothing-$count")" \
    "$(spread "$work/nothing-$count")" "$(median_seconds "$work/plan-$count")"
done
