# What people and machines run. `make` alone lists the targets.

CARGO = cargo
# How much `make fuzz` does, and from where on; the same numbers give the same inputs.
INPUTS = 10000000
SCENARIOS = 1000
SEED = 5
# Projects that are compiled inside build images have locks of their own, and are no members of the workspace.
APART = $(wildcard loader/Cargo.toml host/Cargo.toml plugins/*/Cargo.toml)

.DEFAULT_GOAL := help
.PHONY: help setup build demo test check fmt fuzz attacks hosts corpus baselines bench clean nondeterminism

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  to install the program: cargo install --path .'

setup: ## bring what is missing on a Debian-like machine, or say what to install
	@scripts/setup.sh

build: ## compile the program: target/release/lockstep
	$(CARGO) build --release --locked

# The program as the tests use it: compiled in a minute, and the demonstration mostly waits for compilers and containers.
demo: setup ## both samples, glibc and musl, loaded for real and crossed
	$(CARGO) build --locked
	./target/debug/lockstep demo

test: setup ## every test: units, the binary from outside, the real engine
	@set -eu; for manifest in $(APART); do \
	  echo "$(CARGO) test --manifest-path $$manifest"; \
	  $(CARGO) test --locked --manifest-path "$$manifest"; \
	done
	$(CARGO) test --locked --no-fail-fast

check: setup ## what a change must pass: format, lints, scripts, tests
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@set -eu; for manifest in $(APART); do \
	  echo "$(CARGO) clippy --manifest-path $$manifest"; \
	  $(CARGO) fmt --check --manifest-path "$$manifest"; \
	  $(CARGO) clippy --locked --manifest-path "$$manifest" --all-targets -- -D warnings; \
	done
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; \
	else echo 'shellcheck is not installed: the scripts were not checked'; fi
	$(MAKE) test

fmt: ## format the sources
	$(CARGO) fmt
	@set -eu; for manifest in $(APART); do $(CARGO) fmt --manifest-path "$$manifest"; done

fuzz: setup ## more random inputs than the tests have: INPUTS=, SCENARIOS=, SEED=
	LOCKSTEP_FUZZ_INPUTS=$(INPUTS) LOCKSTEP_FUZZ_SEED=$(SEED) $(CARGO) test --release --locked --test hostile
	LOCKSTEP_FAULTS_COUNT=$(SCENARIOS) LOCKSTEP_FAULTS_SEED=$(SEED) \
	  $(CARGO) test --locked --test faults -- random_scenarios

attacks: setup ## every attack that is known, as often as it takes; the table of what was tried and what held
	rm -rf target/tmp/attacks
	LOCKSTEP_ATTACKS=all $(CARGO) test --locked --no-fail-fast --test attacks; status=$$?; \
	  scripts/attacks-table.sh target/tmp/attacks && exit $$status

hosts: setup ## every host of tests/hosts: built, opened, asked, changed, broken; the table of what they said
	rm -rf target/tmp/hosts
	LOCKSTEP_HOSTS=all $(CARGO) test --locked --no-fail-fast --test hosts; status=$$?; \
	  scripts/hosts-table.sh target/tmp/hosts && exit $$status

nondeterminism: setup ## builds that are not reproducible, and cured twins: what verify finds, held to an experiment; half an hour
	rm -rf target/tmp/nondeterminism
	LOCKSTEP_NONDETERMINISM=all $(CARGO) test --locked --no-fail-fast --test nondeterminism -- --include-ignored; status=$$?; \
	  cat target/tmp/nondeterminism/*.txt && exit $$status

corpus: setup ## check against what the distribution's hosts and modules really do; downloads 700 MB
	$(CARGO) test --release --locked --test corpus -- --ignored --nocapture all_packages

baselines: setup ## what ldd -r, version strings and auditwheel see of the faults that check is tested with
	$(CARGO) test --locked --test faults -- --ignored --nocapture baselines

bench: setup build ## how fast: lockstep against the same by hand, and with many plugins
	scripts/bench.sh
	scripts/bench-check.sh
	scripts/bench-plugins.sh
	scripts/bench-normal.sh
	scripts/bench-again.sh

clean: ## remove what was built here, and this project's containers, volumes and images
	@if [ -x target/release/lockstep ]; then for project in . gateway; do \
	  if [ -f "$$project/lockstep.yaml" ]; then \
	    ./target/release/lockstep clean --file "$$project/lockstep.yaml" || exit; \
	  fi; \
	done; fi
	$(CARGO) clean
	@set -eu; for manifest in $(APART); do $(CARGO) clean --manifest-path "$$manifest"; done
