#!/bin/sh
# Prints the rows that the attacks left in a directory as one table.
set -eu
printf '\n| %-10s | %-70s | %6s | %6s | %6s |\n' group attack tried held not
printf '| %s | %s | %s | %s | %s |\n' '----------' '----------------------------------------------------------------------' '-----:' '-----:' '-----:'
cat "$1"/*.tsv | sort | awk -F '\t' '
  { printf "| %-10s | %-70s | %6d | %6d | %6d |\n", $1, $2, $3, $4, $5; tried += $3; held += $4; not += $5 }
  END { printf "| %-10s | %-70s | %6d | %6d | %6d |\n", "all", "", tried, held, not; exit not > 0 }'
