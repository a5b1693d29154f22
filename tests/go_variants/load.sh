#!/bin/sh
# Loads plugins for real and says what happened: each line of standard input is `HOST PLUGIN…`, files of this directory.
# Before the output for a line there is `= HOST PLUGIN…`, and after it `- STATUS`.
while read -r host plugins; do
  echo "= $host $plugins"
  set --
  for plugin in $plugins; do set -- "$@" "./$plugin"; done
  status=0
  "./$host" "$@" 2>&1 </dev/null || status=$?
  echo "- $status"
done
