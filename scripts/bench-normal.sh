#!/bin/bash
# How long it takes to bring an image of 500 MB that the engine's builder made into its one form and to load that, beside
# `docker save` of the same image through a pipe into `docker load`; and how much memory it takes at most. Both load into a
# second engine that has nothing, which the test starts itself; it takes root.
#
#   scripts/bench-normal.sh [RUNS]
#
# Prints medians and the ratio, and fails if lockstep is slower or takes 64 MiB or more.
set -euo pipefail

cd "$(dirname "$0")/.."
LOCKSTEP_BENCH_RUNS=${1:-5} cargo test --release --locked --test normal -- --ignored --nocapture --exact \
  normalising_is_no_slower_than_saving_and_loading
