set -eu
export CARGO_HOME=/lockstep/cargo HOME=/lockstep
mkdir out
for kind in host plugin; do
  mkdir -p $kind
  {
    printf '[package]\nname = "%s"\nversion = "0.0.0"\nedition = "2024"\n' $kind
    if [ $kind = host ]; then
      printf '[[bin]]\nname = "host"\npath = "../host.rs"\n'
    else
      printf '[lib]\ncrate-type = ["cdylib"]\npath = "../plugin.rs"\n'
    fi
  } > $kind/Cargo.toml
  (cd $kind && cargo build --quiet --offline)
done
cp host/target/*/debug/host plugin/target/*/debug/libplugin.so out
"$CXX" -O2 -g -Wall -Werror -fPIC -shared -Wl,-z,defs -o out/plugin-cpp.so plugin.cpp

# What does not work says so, when it is compiled.
printf '#include <iostream>\nint main() { std::cout << 1; }\n' > no.cpp
if "$CXX" -o no no.cpp 2> log; then exit 1; fi
grep -q 'not available for musl here' log
