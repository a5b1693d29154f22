#!/bin/sh
# Brings what lockstep's development needs on a Debian-like machine, and starts the engine; where it may not, it says
# exactly what to run. Changes nothing, and is quick, when nothing is missing.
#
#   scripts/setup.sh [--dry-run]      --dry-run: only say what would be done
#
# Ends with 0 when everything is there, else with 1.
set -eu

# The engine needs a moment after its start, longer when it restores many containers.
ENGINE_START_TIMEOUT_SECONDS=60
# apt waits this long for another apt to end.
APT_LOCK_TIMEOUT_SECONDS=120
# The distribution release that the recipes in images/ are made from: its archive keys must be known.
RELEASE=trixie

project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dry_run=no
case "${1-}" in
'') ;;
--dry-run) dry_run=yes ;;
*)
  echo "usage: $0 [--dry-run]" >&2
  exit 2
  ;;
esac

problems=0
say() { printf 'setup: %s\n' "$1" >&2; }
problem() {
  printf 'setup: %s\n  hint: %s\n' "$1" "$2" >&2
  problems=$((problems + 1))
}
has() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }
# The daemon is in sbin, which is not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin

has_compose() {
  has docker-compose && return
  for directory in "${HOME-}/.docker" /usr/local/lib/docker /usr/local/libexec/docker /usr/lib/docker \
    /usr/libexec/docker; do
    [ -x "$directory/cli-plugins/docker-compose" ] && return
  done
  return 1
}

# The archive keys of the release are files of their own since they exist; older keyrings lack them.
has_release_keys() {
  for file in /usr/share/keyrings/debian-archive-"$RELEASE"-*; do
    [ -e "$file" ] && return
  done
  return 1
}

# The engine's address, as the docker client finds it where there is one: it knows the contexts.
engine_address() {
  if [ -n "${DOCKER_HOST-}" ]; then
    echo "$DOCKER_HOST"
  elif has docker; then
    docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || echo "context of $(docker context show 2>/dev/null)"
  else
    echo unix:///var/run/docker.sock
  fi
}

# Where the engine is expected: only a local socket can be looked at without a client.
engine_socket() {
  address=$(engine_address)
  case "$address" in
  unix://*) echo "${address#unix://}" ;;
  esac
}

# Whether something accepts connections on the socket; the socket's file outlives a daemon that was killed.
socket_answers() {
  if has perl; then
    perl -MIO::Socket::UNIX -e 'exit(IO::Socket::UNIX->new(Peer => $ARGV[0]) ? 0 : 1)' "$1"
  else
    [ -S "$1" ]
  fi
}

# The client was in the engine's package until Debian 12.
docker_client() {
  if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
}

missing_packages() {
  # An engine elsewhere, or one that answers already whatever its name, needs no engine here.
  if [ -n "$socket" ] && ! socket_answers "$socket" && ! has dockerd; then echo docker.io; fi
  has_compose || echo docker-compose
  has mmdebstrap || echo mmdebstrap
  has_release_keys || echo debian-archive-keyring
  # Without root, mmdebstrap maps a range of user IDs.
  is_root || has newuidmap || echo uidmap
  # The tests compare with the docker client, and reach an engine through ssh.
  has docker || docker_client
  has ssh || echo openssh-client
  has gcc || echo gcc
  has make || echo make
  # For the validators of the tests, which come from the package index.
  if ! has python3; then echo python3; fi
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then echo python3-venv; fi
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

install_packages() {
  # shellcheck disable=SC2086 # one word a package: the list is split on purpose
  set -- $1
  if ! has apt-get; then
    problem "missing here, by their Debian names: $*" "install them with this system's package manager"
    return
  fi
  if ! is_root; then
    problem "missing: $*" "sudo apt-get update && sudo apt-get install --yes --no-install-recommends $*"
    return
  fi
  if [ "$dry_run" = yes ]; then
    say "would install: $*"
    problems=$((problems + 1))
    return
  fi
  say "installing: $*"
  export DEBIAN_FRONTEND=noninteractive
  # Lists may be old or absent; an update that fails partly may still know the packages.
  apt-get -qq -o DPkg::Lock::Timeout=$APT_LOCK_TIMEOUT_SECONDS update >&2 || say 'apt-get update failed, going on'
  if ! apt-get -qq -o DPkg::Lock::Timeout=$APT_LOCK_TIMEOUT_SECONDS install --yes --no-install-recommends "$@" >&2; then
    problem "failed to install: $*" "see apt's words above, then: apt-get install $*"
  fi
  if ! has_release_keys; then
    problem "this machine's debian-archive-keyring has no keys of $RELEASE" \
      "install debian-archive-keyring from $RELEASE, or from an updated release"
  fi
}

check_rust() {
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$project/Cargo.toml")
  install_hint='install Rust with rustup, or update it: rustup update stable'
  if ! has cargo || ! has rustc; then
    problem "missing: cargo and rustc $wanted or newer" "$install_hint"
    return
  fi
  found=$(rustc --version 2>/dev/null | cut -d ' ' -f 2)
  # Debian's sort compares versions; only the first two numbers matter.
  oldest=$(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)
  if [ "$oldest" != "$wanted" ]; then
    problem "rustc is ${found:-broken}, and $wanted or newer is needed" "$install_hint"
  fi
}

wait_for_engine() {
  waited=0
  until socket_answers "$socket"; do
    if [ "$waited" -ge $ENGINE_START_TIMEOUT_SECONDS ]; then return 1; fi
    sleep 1
    waited=$((waited + 1))
  done
}

# Starts the daemon without a service manager: in a session of its own, so that it outlives this terminal.
start_daemon() {
  log=/var/log/dockerd.log
  pid_file=/var/run/docker.pid
  # A killed daemon leaves its file, and the next one refuses to start when another process has got the number.
  if [ -e "$pid_file" ] && [ "$(cat "/proc/$(cat "$pid_file")/comm" 2>/dev/null)" != dockerd ]; then rm -f "$pid_file"; fi
  setsid dockerd --pidfile "$pid_file" >>"$log" 2>&1 </dev/null &
  if wait_for_engine; then
    say "started the engine: process $(cat "$pid_file" 2>/dev/null), log $log"
  else
    problem "the engine did not answer within $ENGINE_START_TIMEOUT_SECONDS s" "see $log"
  fi
}

start_engine() {
  if [ -z "$socket" ] || socket_answers "$socket"; then return; fi
  if ! has dockerd; then
    # What could not be installed has been told already.
    [ $problems != 0 ] || problem "nothing answers at $socket" 'install and start an engine'
    return
  fi
  if [ "$socket" != /var/run/docker.sock ]; then
    problem "nothing answers at $socket, which DOCKER_HOST or the docker context names" \
      'start the engine there, or unset DOCKER_HOST and run: docker context use default'
  elif [ -e "$socket" ] && ! is_root && [ ! -w "$socket" ]; then
    problem "you may not use the engine at $socket" "sudo usermod --append --groups docker $(id -un), then log in again"
  elif [ -d /run/systemd/system ] && ! is_root; then
    problem 'the engine is installed, but not running' 'sudo systemctl start docker'
  elif ! is_root; then
    problem 'the engine is installed, but not running' 'sudo dockerd, in another terminal'
  elif [ "$dry_run" = yes ]; then
    say 'would start the engine'
    problems=$((problems + 1))
  elif [ -d /run/systemd/system ]; then
    systemctl start docker >&2 && wait_for_engine && say 'started the engine' && return
    problem 'the engine did not start' 'journalctl --unit docker'
  else
    start_daemon
  fi
}

socket=$(engine_socket)
missing=$(missing_packages)
[ -z "$missing" ] || install_packages "$missing"
check_rust
start_engine
if [ $problems != 0 ]; then exit 1; fi
say 'nothing is missing'
