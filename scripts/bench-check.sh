#!/bin/bash
# How fast `lockstep check` is, beside what one would use without it, on the same files in one run: one host with 1,000
# plugins, made for this, and hosts of the distribution, each with its own modules; all in a root filesystem that is
# unpacked, but not installed.
#
#   lockstep check           each host with all of its modules in one call, against the root as a directory
#   ldd -r                   each module, in the root; it knows no host, so what hosts define is missing for it
#   ld.so                    the same without the shell script around it
#   auditwheel, one process  each module: its tree of libraries, symbol versions and external references, by the functions
#                            that its command has
#   auditwheel lddtree       each of the 1,000 plugins: the tree of libraries alone, by the command
#
#   scripts/bench-check.sh [RUNS]
#
# Prints medians, ratios and the largest resident memory. auditwheel comes from the package index into target/.
set -euo pipefail

RUNS=${1:-5}
PLUGINS_COUNT=1000
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
lockstep=$target/release/lockstep
corpus=$target/corpus/bench

# shellcheck source=scripts/measure.sh
. scripts/measure.sh
[ -x "$lockstep" ] || fail "$lockstep is missing" 'make build'
command -v python3 >/dev/null || fail 'python3 is missing' 'install python3 and python3-venv'
command -v gcc >/dev/null || fail 'gcc is missing' 'make setup'

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
# A host that offers its plugins functions of its own, and plugins that use those, the C library's and another library's.
rm -rf "$root/.bench"
mkdir -p "$root/.bench/plugins"
cat >"$work/host.c" <<'C'
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
static int count;
int host_register(const char *name, int (*handle)(double)) { return handle(name[0]) + ++count; }
void host_log(const char *line) { fputs(line, stderr); }
double host_scale = 2;
int main(int argc, char **argv) {
    host_scale = sqrt(argc);
    for (int i = 1; i < argc; i++) {
        void *plugin = dlopen(argv[i], RTLD_NOW);
        int (*start)(void) = plugin ? (int (*)(void))dlsym(plugin, "plugin_start") : 0;
        if (!start || !start()) return 1;
    }
    return 0;
}
C
cat >"$work/plugin.c" <<'C'
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
int host_register(const char *name, int (*handle)(double));
void host_log(const char *line);
extern double host_scale;
const char plugin_name[] = NAME;
static int compare(const void *one, const void *other) { return strcmp(*(char *const *)one, *(char *const *)other); }
int plugin_handle(double value) {
    char line[200], *words[8], *copy = strdup(NAME " has some words");
    int count = 0;
    for (char *word = strtok(copy, " "); word && count < 8; word = strtok(NULL, " ")) words[count++] = word;
    qsort(words, count, sizeof *words, compare);
    snprintf(line, sizeof line, "%s %f %d", words[0], pow(value, host_scale) + sin(value), toupper(words[0][0]));
    errno = 0;
    if (strtol(getenv("PLUGIN") ? getenv("PLUGIN") : "1", NULL, 10) > 1 || time(NULL) == 0) host_log(line);
    free(copy);
    return (int)strlen(line) + (memchr(line, 'q', 3) != NULL);
}
int plugin_start(void) { return host_register(plugin_name, plugin_handle); }
C
gcc -O2 -rdynamic -o "$root/.bench/host" "$work/host.c" -lm
seq -f 'p%04.0f' "$PLUGINS_COUNT" | (cd "$root/.bench/plugins" && xargs -P "$(nproc)" -I '{}' \
  gcc -O2 -shared -fPIC -DNAME='"{}"' -Wl,-soname,'{}.so' -o '{}.so' "$work/plugin.c" -lm)

# The distribution's hosts, then the one that was made.
cut -f 1 "$pairs" | sort -u >"$work/hosts"
mapfile -t hosts <"$work/hosts"
made=${#hosts[@]}
hosts+=(/.bench/host)
directories=$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu
loader=$(readelf -lW "$root${hosts[0]}" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')

# Each host's modules, by its number: as arguments, and as what is in the root.
for number in "${!hosts[@]}"; do
  awk -F '\t' -v host="${hosts[number]}" '$1 == host { print $2 }' "$pairs" >"$root/.bench/$number"
done
seq -f '/.bench/plugins/p%04.0f.so' "$PLUGINS_COUNT" >"$root/.bench/$made"
for number in "${!hosts[@]}"; do
  sed "s|^|$root|" "$root/.bench/$number" >"$work/arguments-$number"
done
cut -f 2 "$pairs" >"$work/modules-of-all"
cp "$root/.bench/$made" "$work/modules-of-made"
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
with_lddtree() {
  local file
  while read -r file; do
    "${python%python}auditwheel" lddtree --ldpaths "$directories" "$root$file" >>"$work/lddtree" 2>&1 || fail 'auditwheel lddtree failed' "$file"
  done <"$work/modules-of-made"
}
with_auditwheel() { "$python" "$work/analysis.py" "$root" "$work/modules-of-$1"; }

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
  # It takes long, and varies little.
  for what in all made; do
    [ -s "$work/time-auditwheel-of-$what" ] || measure "$work/time-auditwheel-of-$what" with_auditwheel "$what"
  done
  [ -s "$work/time-lddtree-of-made" ] || measure "$work/time-lddtree-of-made" with_lddtree
done
# All of the distribution's hosts of a run together.
for what in lockstep ldd loader; do
  mv "$work/time-$what-$made" "$work/time-$what-of-made"
  paste -d + "$work/time-$what"-[0-9]* | awk -F + '{ sum = 0; for (i = 1; i <= NF; i++) sum += $i; print sum }' \
    >"$work/time-$what-of-all"
done
rm "$work/reports.json"
for number in "${!hosts[@]}"; do
  with_lockstep "$number"
done
count=$(wc -l <"$pairs")
told=$(grep -c '^ *"plugin": ' "$work/reports.json" || true)
[ "$told" = $((count + PLUGINS_COUNT)) ] || fail "lockstep answered for $told of $count and $PLUGINS_COUNT" "see $work/reports.json"
# They load, and it says so.
with_host() { in_root /.bench/host "$@"; }
mapfile -t files <"$root/.bench/$made"
with_host "${files[@]}" || fail 'the host that was made does not load its plugins' "see $root/.bench"
: >"$work/reports.json"
with_lockstep "$made"
[ "$(grep -c '"verdict": "ok"' "$work/reports.json")" = $((PLUGINS_COUNT + 1)) ] ||
  fail 'lockstep does not say that they load' "see $work/reports.json"

# The largest resident memory of one host's check.
resident_mebibytes() {
  python3 - "$work" "$lockstep" "$root" "${hosts[$1]}" "$work/arguments-$1" <<'PYTHON'
import resource
import subprocess
import sys

work, lockstep, root, host, files = sys.argv[1:]
with open(work + "/again.json", "w") as out:
    command = [lockstep, "check", "--rootfs", root, "--format", "json", root + host, *open(files).read().split()]
    subprocess.run(command, stdout=out)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
PYTHON
}
largest=$(wc -l "$work"/arguments-[0-9]* | sort -n | sed -n 's|.*/arguments-||p' | grep -vx "$made" | tail -n 1)

row() {
  printf '%-26s %8.3f s   %-26s %8.1f\n' "$1" "$(median_seconds "$2")" "($(spread "$2"))" "$(ratio_of "$2" "$3")"
}
rows() {
  printf '%-26s %10s   %-26s %8s\n' '' 'time' '' 'times lockstep'
  row '  lockstep check' "$work/time-lockstep-of-$1" "$work/time-lockstep-of-$1"
  row '  ldd -r of each' "$work/time-ldd-of-$1" "$work/time-lockstep-of-$1"
  row '  ld.so of each' "$work/time-loader-of-$1" "$work/time-lockstep-of-$1"
  row '  auditwheel, one process' "$work/time-auditwheel-of-$1" "$work/time-lockstep-of-$1"
}
echo
echo "one host, $PLUGINS_COUNT plugins; median of $RUNS (auditwheel: once), $(nproc) processors"
rows made
row '  auditwheel lddtree' "$work/time-lddtree-of-made" "$work/time-lockstep-of-made"
echo
echo "$made hosts of the distribution, $count modules of their own"
rows all
echo
unset 'hosts[made]'
printf '%-26s %8s %12s %10s %8s\n' 'host by host' 'modules' 'lockstep' 'ldd -r' 'times'
for number in "${!hosts[@]}"; do
  printf '  %-22s %8d %10.3f s %8.2f s %8.1f\n' "${hosts[number]##*/}" "$(wc -l <"$work/arguments-$number")" \
    "$(median_seconds "$work/time-lockstep-$number")" "$(median_seconds "$work/time-ldd-$number")" \
    "$(ratio_of "$work/time-ldd-$number" "$work/time-lockstep-$number")"
done
echo
hosts[made]=/.bench/host
echo "resident memory of lockstep check: $(resident_mebibytes "$made") MiB with the $PLUGINS_COUNT plugins," \
  "$(resident_mebibytes "$largest") MiB with ${hosts[largest]##*/}, which has most modules"
rm -r "$root/.bench"
