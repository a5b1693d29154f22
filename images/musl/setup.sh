#!/bin/sh
# Makes Debian's compilers compile for musl: see build.yaml.
set -eu

machine=$(uname -m)
musl=/usr/lib/$machine-linux-musl
target=$machine-unknown-linux-musl
here=/usr/share/lockstep/musl

# C: the unwinder's one wish of glibc, and the index of the unwind tables, which Debian's specs leave out.
for name in find_object glibc_names; do
  musl-gcc -O2 -fPIC -Wall -Werror -c "$here/$name.c" -o "/tmp/$name.o"
done
ar rcsD "$musl/libfindobject.a" /tmp/find_object.o
ar rcsD "$musl/libglibcnames.a" /tmp/glibc_names.o
sed -i \
  -e "s|%:if-exists(libgcc_eh.a%s)|& $musl/libfindobject.a|" \
  -e 's|-nostdlib %{shared|-nostdlib --eh-frame-hdr %{shared|' \
  "$musl/musl-gcc.specs"
grep -q "libgcc_eh.a%s) $musl/libfindobject.a" "$musl/musl-gcc.specs"
grep -q -e '--eh-frame-hdr' "$musl/musl-gcc.specs"

# C++: libstdc++'s headers, without what musl has not.
version=$(g++ -dumpversion)
headers=/usr/include/$machine-linux-musl/c++/$version/bits
mkdir -p "$headers"
cp "$here/ctype_base.h" "$here/os_defines.h" "$headers"
sed -E 's|^#define (_GLIBCXX_USE_PTHREAD_(COND_CLOCKWAIT\|MUTEX_CLOCKLOCK\|RWLOCK_CLOCKLOCK)) .*|/* not in musl: \1 */|' \
  "/usr/include/$machine-linux-gnu/c++/$version/bits/c++config.h" > "$headers/c++config.h"

# Rust: what its std links with as libgcc_s is the static unwinder.
echo 'INPUT(-lgcc_eh -lgcc -lfindobject)' > "$musl/libgcc_s.so"
mkdir -p /.cargo
cat > /.cargo/config.toml <<TOML
[build]
target = "$target"

[target.$target]
linker = "musl-gcc"
rustflags = ["-Ctarget-feature=-crt-static", "-Clink-self-contained=no"]
TOML

# Go: what the warm cache of the base image has is shared but for the packages that use cgo.
CC=musl-gcc /usr/share/lockstep/warm_go.sh &
go=$!

# Rust's std, compiled once. The compiler's own switch for this is not stable, hence RUSTC_BOOTSTRAP.
mkdir /tmp/std
cd /tmp/std
cat > Cargo.toml <<'TOML'
cargo-features = ["profile-rustflags"]

[package]
name = "std-for-musl"
version = "0.0.0"
edition = "2021"

[lib]
path = "lib.rs"

# This crate alone has the other panic strategy: units choose.
[profile.release.package.panic_abort]
rustflags = ["-Cpanic=abort"]
TOML
: > lib.rs
# With bitcode, as the distribution's own library has it, so that units may use link-time optimisation.
if ! CARGO_HOME=/tmp/cargo RUSTC_BOOTSTRAP=1 \
  cargo build --release -Z build-std=std,panic_unwind,panic_abort --target "$target" \
  --config "target.$target.rustflags=['-Cembed-bitcode=yes']"; then
  wait $go
  exit 1
fi
library=/usr/lib/rustlib/$target/lib
mkdir -p "$library"
rm "target/$target/release/deps"/libstd_for_musl-*.rlib
cp "target/$target/release/deps"/*.rlib "$library"
wait $go
rm -rf /tmp/std /tmp/cargo

# Only needed to make the above.
dpkg --purge rust-src
