#!/bin/sh
# Prints what the trials of hosts left in a directory as one table.
set -eu
printf '\n| %-12s | %-24s | %-26s | %-14s | %s |\n' host 'cold' 'after one changed line' 'broken, refused' 'what it then said'
printf '| %s | %s | %s | %s | %s |\n' '---' '---' '---' '---' '---'
cat "$1"/*.tsv | sort | awk -F '\t' '{ printf "| %-12s | %-24s | %-26s | %-14s | %s |\n", $1, $2, $3 " s", $4, $5 }'
