# shellcheck shell=bash
# What benchmarks share: commands are timed one by one, into files of milliseconds. Sourced by bench*.sh.

fail() {
  printf 'error[bench]: %s\n  hint: %s\n' "$1" "$2" >&2
  exit 1
}

# Appends the milliseconds that a command takes to a file.
measure() {
  local file=$1 start=${EPOCHREALTIME/./} took
  shift
  "$@"
  took=$((${EPOCHREALTIME/./} - start))
  printf '%d.%03d\n' $((took / 1000)) $((took % 1000)) >>"$file"
}
median() { sort -n "$1" | awk '{ t[NR] = $1 } END { print NR % 2 ? t[(NR + 1) / 2] : (t[NR / 2] + t[NR / 2 + 1]) / 2 }'; }
median_seconds() { median "$1" | awk '{ print $1 / 1000 }'; }
spread() { sort -n "$1" | awk 'NR == 1 { low = $1 } { high = $1 } END { printf "%.2f .. %.2f s", low / 1000, high / 1000 }'; }
# How many times the second the first took, by their medians.
ratio_of() { echo "$(median "$1") $(median "$2")" | awk '{ print $1 / $2 }'; }
