#!/bin/bash
# How fast `lockstep check` is, beside what one would use without it, on the same files in one run: hosts of the
# distribution, each with its own modules, in a root filesystem that is unpacked, but not installed.
#
#   lockstep check    each host with all of its modules in one call, against the root as a directory
#   ldd -r            each module, in the root; it knows no host, so what hosts define is missing for it
#   ld.so             the same without the shell script around it
#   auditwheel        each module: its tree of libraries, symbol versions and external references, by its own functions
#
#   scripts/bench-check.sh [RUNS]
#
# Prints medians, ratios and the largest resident memory. auditwheel comes from the package index into target/.
set -euo pipefail

RUNS=${1:-5}
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
lockstep=$target/release/lockstep
corpus=$target/corpus/bench

# shellcheck source=scripts/measure.sh
. scripts/measure.sh
[ -x "$lockstep" ] || fail "$lockstep is missing" 'make build'
command -v python3 >/dev/null || fail 'python3 is missing' 'install python3 and python3-venv'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

echo "bench: the root filesystem and auditwheel first, then $RUNS runs" >&2
cargo test --release --locked --quiet --test corpus -- --ignored the_root_of_the_benchmark >"$work/log" 2>&1 || {
  tail -n 20 "$work/log" >&2
  fail 'the root filesystem was not made' 'see its output above'
}
root=$corpus/root
pairs=$corpus/pairs.txt
modules=$work/modules.txt
cut -f 2 "$pairs" >"$modules"
count=$(wc -l <"$pairs")
python=$target/auditwheel/bin/python
if [ ! -x "$python" ] || ! "$python" -c 'import auditwheel' 2>/dev/null; then
  python3 -m venv "${python%/bin/python}"
  "$python" -m pip --quiet install auditwheel >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail 'auditwheel was not installed' 'see its output above'
  }
fi

# As auditwheel's analysis of a wheel treats each of its files, but in a root.
cat >"$work/analysis.py" <<'PYTHON'
import logging
import sys
from pathlib import Path

from auditwheel.architecture import Architecture
from auditwheel.elfutils import elf_find_versioned_symbols, elf_file_filter, elf_is_python_extension
from auditwheel.lddtree import ldd, load_ld_paths
from auditwheel.libc import Libc
from auditwheel.policy import WheelPolicies

logging.disable(logging.CRITICAL)
root, modules = sys.argv[1], Path(sys.argv[2]).read_text().split()
paths = load_ld_paths(root)
policies = WheelPolicies(libc=Libc.GLIBC, arch=Architecture.detect())
looked = 0
for path, elf in elf_file_filter(Path(root + module) for module in modules):
    looked += 1
    try:
        tree = ldd(path, root=root, ldpaths=paths)
    except IsADirectoryError:
        # Where a path of a library leads out of the root it opens the root itself.
        continue
    versions = list(elf_find_versioned_symbols(elf))
    elf_is_python_extension(path, elf)
    policies.lddtree_external_references(tree, path.parent)
assert looked == len(modules), looked
PYTHON

# Runs a command in the root, with nothing but what it brings.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(--map-root-user)
in_root() {
  unshare "${as_root[@]}" --mount --pid --net --fork --kill-child chroot "$root" /usr/bin/env -i "$@"
}
mkdir -p "$root/.bench"
cut -f 1 "$pairs" | sort -u >"$work/hosts"
mapfile -t hosts <"$work/hosts"
loader=$(readelf -lW "$root${hosts[0]}" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')

# Each host's modules, by its number: as arguments, and as what is in the root.
for number in "${!hosts[@]}"; do
  awk -F '\t' -v host="${hosts[number]}" '$1 == host { print $2 }' "$pairs" >"$root/.bench/$number"
  sed "s|^|$root|" "$root/.bench/$number" >"$work/arguments-$number"
done
with_lockstep() {
  local status=0 files
  mapfile -t files <"$work/arguments-$1"
  "$lockstep" check --rootfs "$root" --format json "$root${hosts[$1]}" "${files[@]}" >>"$work/reports.json" || status=$?
  # Some modules need others to be opened before them.
  [ "$status" = 1 ] || [ "$status" = 0 ] || fail 'lockstep check failed' "status $status"
}
# shellcheck disable=SC2016
with_ldd() {
  in_root /bin/bash -c 'while read -r f; do ldd -r "$f"; done </.bench/'"$1" >>"$work/ldd" 2>&1 || true
}
# shellcheck disable=SC2016
with_loader() {
  in_root /bin/bash -c 'while read -r f; do LD_TRACE_LOADED_OBJECTS=1 LD_WARN=yes LD_BIND_NOW=yes '"$loader"' "$f"; done \
    </.bench/'"$1" >>"$work/loader" 2>&1 || true
}
with_auditwheel() { "$python" "$work/analysis.py" "$root" "$modules"; }

# In turns, so that whatever else this machine does falls on all; the first round only fills the page cache.
for number in "${!hosts[@]}"; do
  with_lockstep "$number"
done
for _ in $(seq "$RUNS"); do
  for number in "${!hosts[@]}"; do
    measure "$work/time-lockstep-$number" with_lockstep "$number"
    : >"$work/ldd"
    measure "$work/time-ldd-$number" with_ldd "$number"
    answered=$(grep -c '=> .* (0x' "$work/ldd" || true)
    [ "$answered" -gt 0 ] || fail "ldd did not answer for ${hosts[number]}" "see $work/ldd"
    measure "$work/time-loader-$number" with_loader "$number"
  done
  # It takes longer than all others together, and varies little.
  [ -s "$work/time-auditwheel" ] || measure "$work/time-auditwheel" with_auditwheel
done
# All hosts of a run together.
for what in lockstep ldd loader; do
  paste -d + "$work/time-$what"-* | awk -F + '{ sum = 0; for (i = 1; i <= NF; i++) sum += $i; print sum }' >"$work/time-$what"
done
rm "$work/reports.json"
for number in "${!hosts[@]}"; do
  with_lockstep "$number"
done
rm -r "$root/.bench"
told=$(grep -c '^ *"plugin": ' "$work/reports.json" || true)
[ "$told" = "$count" ] || fail "lockstep answered for $told of $count modules" "see $work/reports.json"
largest=$(cut -f 1 "$pairs" | sort | uniq -c | sort -n | awk 'END { print $2 }')
resident=$(python3 - "$work" "$lockstep" "$root" "$largest" "$pairs" <<'PYTHON'
import resource
import subprocess
import sys

work, lockstep, root, host, pairs = sys.argv[1:]
files = [root + line.split("\t")[1].strip() for line in open(pairs) if line.startswith(host + "\t")]
with open(work + "/again.json", "w") as out:
    subprocess.run([lockstep, "check", "--rootfs", root, "--format", "json", root + host, *files], stdout=out)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
PYTHON
)

row() {
  printf '%-24s %8.2f s   %-24s %8.1f\n' "$1" "$(median_seconds "$2")" "($(spread "$2"))" "$(ratio_of "$2" "$work/time-lockstep")"
}
echo
echo "${#hosts[@]} hosts, $count modules of their own, median of $RUNS (auditwheel: once), $(nproc) processors"
printf '%-24s %10s   %-24s %8s\n' '' 'time' '' 'times lockstep'
row '  lockstep check' "$work/time-lockstep"
row '  ldd -r of each' "$work/time-ldd"
row '  ld.so of each' "$work/time-loader"
row '  auditwheel of each' "$work/time-auditwheel"
echo
printf '%-24s %8s %12s %10s %8s\n' 'host by host' 'modules' 'lockstep' 'ldd -r' 'times'
for number in "${!hosts[@]}"; do
  printf '  %-22s %8d %10.3f s %8.2f s %8.1f\n' "${hosts[number]##*/}" "$(wc -l <"$work/arguments-$number")" \
    "$(median_seconds "$work/time-lockstep-$number")" "$(median_seconds "$work/time-ldd-$number")" \
    "$(ratio_of "$work/time-ldd-$number" "$work/time-lockstep-$number")"
done
echo
echo "resident memory of lockstep check with ${largest##*/}, which has most modules: $resident MiB"
