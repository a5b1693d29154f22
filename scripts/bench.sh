#!/bin/bash
# How fast lockstep is, beside the same done by hand, in one run:
#
#   cold     greeter's host and plugins for glibc, from nothing but the images: `lockstep build` against one `docker run`
#            a unit with the same commands in the same image with the same limits, fetch included. What comes out of both
#            must be equal to the bit.
#   no-op    nothing has changed: `lockstep build` against `docker build` of an equivalent Dockerfile, everything cached
#
#   scripts/bench.sh [COLD_RUNS [NOOP_RUNS]]
#
# Prints medians and ratios. Needs the docker client and an engine on this machine: by hand means bind mounts.
set -euo pipefail

COLD_RUNS=${1:-5}
NOOP_RUNS=${2:-20}

cd "$(dirname "$0")/.."
lockstep=$PWD/target/release/lockstep
id=bench-$$
runtime_tag=lockstep-bench/runtime:$id
image_tag=lockstep-bench/greeter:$id

# shellcheck source=scripts/measure.sh
. scripts/measure.sh
command -v docker >/dev/null || fail 'the docker client is missing' 'install docker.io (Debian) or docker-ce-cli'
[ -x "$lockstep" ] || fail 'target/release/lockstep is missing' 'make build'

work=$(mktemp -d)
cleanup() {
  trap - EXIT
  [ ! -f "$work/project/lockstep.yaml" ] || "$lockstep" -q --file "$work/project/lockstep.yaml" clean >/dev/null || true
  docker rmi -f "$image_tag" "$runtime_tag" >/dev/null 2>&1 || true
  # The stages of the Dockerfile have no name, but the label.
  docker images -q --filter "label=dev.lockstep.bench=$id" | xargs -r docker rmi -f >/dev/null 2>&1 || true
  docker volume rm "$id" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# A project of its own, so that the checkout's bundles, volumes and images stay as they are.
mkdir -p "$work/project" "$work/hand"
cp -R host plugins images lockstep.yaml "$work/project/"
rm -rf "$work"/project/host/target "$work"/project/plugins/*/target
sed -i "s/^project: .*/project: $id/" "$work/project/lockstep.yaml"
# Containers run as user 1000.
chmod 755 "$work" && chmod 777 "$work/hand"
cd "$work/project"

echo "bench: the images first, then $COLD_RUNS cold runs and $NOOP_RUNS without changes" >&2
report=$("$lockstep" -q build --format json glibc)
field() { printf '%s\n' "$report" | sed -n "s/.*\"$1\": \"\(.*\)\".*/\1/p" | head -n 1; }
build_image=$(field build_image)
runtime_image=$(field runtime_image)

# The machine's way to the network, as lockstep's fetch gets it.
ca_bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
network=()
for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [ -z "${!variable-}" ] || network+=(--env "$variable")
done
[ ! -f "$ca_bundle" ] || network+=(--volume "$ca_bundle:/ca.crt:ro" --env CARGO_HTTP_CAINFO=/ca.crt)

# The commands of `lockstep plan --format json`, as one would write them.
rust="cargo build --release --locked --offline --target-dir /lockstep/target --config \
'target.'\\''cfg(all())'\\''.rustflags=[\"-Ctarget-feature=-crt-static\",\"--remap-path-prefix=/lockstep/src=/src\",\
\"--remap-path-prefix=/lockstep/deps/cargo/registry/src=/deps\"]'"
c_compile='-O2 -g -fPIC -ffile-prefix-map=/lockstep=/ -Wdate-time -Wall -I/lockstep/src/plugins/include'
c_plugin='-fvisibility=hidden -shared -Wl,-Bsymbolic'
c_link='-Wl,--build-id=sha1 -Wl,-z,defs -Wl,-z,now -Wl,-z,relro -Wl,-z,noexecstack'
greeter="cargo fetch --locked && $rust && cp /lockstep/target/release/greeter /out/"
shout="$rust && cp /lockstep/target/release/libshout.so /out/"
reverse="cc $c_compile $c_plugin -o /out/reverse.so reverse.c $c_link"
stats="c++ $c_compile $c_plugin -o /out/stats.so stats.cpp $c_link -Wl,--as-needed"

# One unit by hand: directory, network, command.
unit() {
  docker run --rm --user 1000:1000 --network "$2" --memory 4g --cpus "$(nproc)" --pids-limit 2048 --init \
    --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
    --volume "$work/project:/lockstep/src:ro" --volume "$work/hand:/out" --volume "$id:/lockstep" \
    --workdir "/lockstep/src/$1" --env SOURCE_DATE_EPOCH=1735689600 --env HOME=/lockstep/home --env LC_ALL=C.UTF-8 \
    --env TZ=UTC --env TMPDIR=/lockstep/target --env CARGO_HOME=/lockstep/deps/cargo --env CARGO_TERM_COLOR=never \
    "${network[@]}" "$build_image" sh -euc "$3" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail "by hand, $1 did not compile" 'see its output above'
  }
}
by_hand() {
  unit host bridge "$greeter"
  unit plugins/shout none "$shout"
  unit plugins/reverse none "$reverse"
  unit plugins/stats none "$stats"
}
with_lockstep() { "$lockstep" -q build glibc; }

nothing_by_hand() {
  docker volume rm "$id" >/dev/null 2>&1 || true
  docker volume create --label "dev.lockstep.bench=$id" "$id" >/dev/null
  docker run --rm --user 0:0 --network none --volume "$id:/lockstep" "$build_image" \
    install -d -o 1000 -g 1000 /lockstep/home /lockstep/target /lockstep/deps
  rm -rf "$work"/hand/*
}
# The lock stays: it is in version control.
nothing_of_lockstep() {
  rm -rf .lockstep dist
  docker volume rm "lockstep-$id-glibc" >/dev/null
  docker rmi "lockstep/$id:glibc" >/dev/null
}

# An equivalent Dockerfile, and its context.
mkdir "$work/context"
cp -R host plugins "$work/context/"
[ ! -f "$ca_bundle" ] || cp "$ca_bundle" "$work/context/ca.crt"
touch "$work/context/ca.crt"
docker tag "$runtime_image" "$runtime_tag"
cat >"$work/context/Dockerfile" <<DOCKERFILE
FROM lockstep/$id:glibc-build AS build
LABEL dev.lockstep.bench=$id
ENV CARGO_HOME=/home/lockstep/cargo CARGO_HTTP_CAINFO=/src/ca.crt SOURCE_DATE_EPOCH=1735689600
COPY ca.crt /src/
COPY --chown=1000:1000 host /src/host
WORKDIR /src/host
RUN cargo fetch --locked && cargo build --release --locked --offline --target-dir /tmp/target && mkdir /tmp/out \\
 && cp /tmp/target/release/greeter /tmp/out/
COPY --chown=1000:1000 plugins /src/plugins
WORKDIR /src/plugins/shout
RUN cargo build --release --locked --offline --target-dir /tmp/target && cp /tmp/target/release/libshout.so /tmp/out/
RUN cc -O2 -g -fPIC -I../include -fvisibility=hidden -shared -o /tmp/out/reverse.so ../reverse/reverse.c
RUN c++ -O2 -g -fPIC -I../include -fvisibility=hidden -shared -o /tmp/out/stats.so ../stats/stats.cpp -Wl,--as-needed
FROM $runtime_tag
LABEL dev.lockstep.bench=$id
COPY --from=build /tmp/out /opt/greeter
ENTRYPOINT ["/opt/greeter/greeter"]
DOCKERFILE
with_docker_build() {
  DOCKER_BUILDKIT=0 docker build --network "${BENCH_BUILD_NETWORK:-default}" --tag "$image_tag" "$work/context" \
    >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail 'docker build failed' 'see its output above'
  }
}

# In turns, so that whatever else this machine does falls on both.
for _ in $(seq "$COLD_RUNS"); do
  nothing_by_hand
  measure "$work/cold-hand" by_hand
  nothing_of_lockstep
  measure "$work/cold-lockstep" with_lockstep
done
for artifact in greeter libshout.so reverse.so stats.so; do
  cmp "$work/hand/$artifact" "dist/glibc/$artifact" || fail "$artifact differs from the one made by hand" \
    'the commands in scripts/bench.sh are not those of lockstep plan --format json any more'
done

with_docker_build
for _ in $(seq "$NOOP_RUNS"); do
  measure "$work/noop-docker" with_docker_build
  measure "$work/noop-lockstep" with_lockstep
done

row() {
  printf '%-34s %8.2f s   %s\n' "$1" "$(median_seconds "$2")" "($(spread "$2"))"
}
ratio() { printf '%-34s %8.2f\n\n' 'ratio' "$(ratio_of "$1" "$2")"; }

echo
echo "cold, median of $COLD_RUNS, $(nproc) processors; all four artifacts are equal to the bit"
row '  by hand: compile only' "$work/cold-hand"
row '  lockstep build: and prove, publish' "$work/cold-lockstep"
ratio "$work/cold-lockstep" "$work/cold-hand"
echo "nothing changed, median of $NOOP_RUNS"
row '  docker build, all cached' "$work/noop-docker"
row '  lockstep build' "$work/noop-lockstep"
ratio "$work/noop-lockstep" "$work/noop-docker"
