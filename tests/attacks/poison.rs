//! A unit that writes wherever it can, to change the bits of others: of the host, of the other plugins, and of the smoke
//! loader, which serves all projects.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lockstep::digest::Digest;

use crate::sample::{Sample, said, wait, with_sample};
use crate::table::{Row, tries};

const PATIENCE: Duration = Duration::from_secs(300);

const HOST: &str = r#"package main

import (
	"fmt"
	"os"
	"plugin"
	"strings"
)

func main() {
	opened, err := plugin.Open(os.Args[1] + "/good.so")
	if err != nil {
		panic(err)
	}
	answer, err := opened.Lookup("Answer")
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.Repeat(answer.(func() string)(), 2))
}
"#;
const PLUGIN: &str = "package main\n\nimport \"strings\"\n\nfunc Answer() string { return strings.ToUpper(\"yes\") }\n\nfunc main() {}\n";

/// What a program says that is compiled with the changed standard library; as long as the original, or Go would see it.
const ORIGINAL: &str = "negative Repeat count";
const POISONED: &str = "POISONED Repeat count";

/// Whatever can be written to is: what is kept of the standard library says something else, also where only a link can be
/// replaced, other files are overwritten, and directories get files. Then the unit is built as if nothing were.
const POISON: &str = r#"
poison() {
  for place in "$GOCACHE" /lockstep/cache /usr/share/lockstep/go-build; do
    grep -rlI -a 'ORIGINAL' "$place"/ 2>/dev/null | while read -r entry; do
      LC_ALL=C sed 's/ORIGINAL/POISONED/' "$entry" > /tmp/poisoned
      if [ -w "$entry" ]; then cat /tmp/poisoned > "$entry"; echo "poisoned $entry"; fi
      if [ -w "${entry%/*}" ]; then rm -f "$entry"; cp /tmp/poisoned "$entry"; echo "poisoned $entry"; fi
    done
  done
  find / -xdev \( -path /proc -o -path /sys -o -path /lockstep/src -o -name '*-[ad]' \) -prune -o -type f -print 2>/dev/null |
    while read -r file; do
      if [ -w "$file" ]; then printf POISON | dd of="$file" bs=1 seek=64 conv=notrunc 2>/dev/null || true; fi
    done
  for place in /lockstep/cache /lockstep/home /lockstep/deps /lockstep/loader /tmp "$GOCACHE"; do
    mkdir -p "$place/evil" 2>/dev/null && echo evil > "$place/evil/file" || true
  done
}
poison || true
unset GOFLAGS
GOCACHE=/lockstep/target/fresh go build -trimpath -buildvcs=false -ldflags=-buildid= -buildmode=plugin -o "$LOCKSTEP_OUT/evil.so" ./evil
"#;

fn poison() -> String {
    assert_eq!(ORIGINAL.len(), POISONED.len());
    POISON
        .replace("ORIGINAL", ORIGINAL)
        .replace("/POISONED/", &format!("/{POISONED}/"))
}

/// The ways in which a unit may come to run something of its own.
const WAYS: [(&str, &str); 2] = [
    ("a command of its own", "command: sh evil/build.sh"),
    (
        "a tool that `go build` is told to run",
        "env: {GOFLAGS: '-toolexec=/lockstep/src/evil/tool.sh'}",
    ),
];

fn configure(sample: &Sample, evil: &str) {
    let text = format!(
        "version: 1
project: {}
environments:
  glibc: {{build: {{builtin: debian/build}}, runtime: {{builtin: debian/runtime}}}}
host: {{language: go, source: ., package: ./server, artifacts: [tiny]}}
plugins:
  - {{name: good, language: go, source: ., package: ./answer, artifacts: [good.so]}}
  - {{name: evil, language: go, source: ., package: ./evil, artifacts: [evil.so]{evil}}}
contract: {{loader: go, abi: go, symbols: [Answer], calls: [{{symbol: Answer, returns: string}}]}}
smoke: {{command: [tiny, '{{plugins}}'], expect: {{status: 0, stdout: [YESYES]}}}}
",
        sample.name
    );
    sample.write("lockstep.yaml", &text);
}

/// Builds from nothing but the lock's images and what the engine keeps, with a user's cache of its own; gives the digests of
/// all that came out, and of the loader.
fn build(sample: &Sample, cache: &Path) -> Result<BTreeMap<String, Digest>, String> {
    for path in [".lockstep", "dist"] {
        let _ = std::fs::remove_dir_all(sample.path().join(path));
    }
    let _ = std::fs::remove_dir_all(cache.join("compiled"));
    let build = sample
        .command(&["build"])
        .env("LOCKSTEP_CACHE_DIR", cache)
        .spawn()
        .unwrap();
    let output = wait(build, PATIENCE);
    if output.status.code() != Some(0) {
        return Err(said(&output));
    }
    let digest_of = |path: &Path| Digest::of(&std::fs::read(path).unwrap());
    let mut digests = BTreeMap::new();
    for name in ["tiny", "good.so", "evil.so"] {
        digests.insert(name.to_owned(), digest_of(&sample.path().join("dist/glibc").join(name)));
    }
    for entry in std::fs::read_dir(cache.join("compiled")).unwrap() {
        let loader = entry.unwrap().path().join("lockstep-loader");
        digests.insert("the smoke loader".to_owned(), digest_of(&loader));
    }
    Ok(digests)
}

/// The lock without what units yielded: the images stay the same.
fn forget_units(sample: &Sample) {
    let path = sample.path().join("lockstep.lock");
    let mut lock = lockstep::lock::read(&path).unwrap().unwrap();
    for environment in lock.environments.values_mut() {
        environment.units.clear();
    }
    lockstep::lock::write(&path, &lock).unwrap();
}

#[test]
fn what_a_unit_leaves_in_any_place_changes_no_bit_of_another_build() {
    let mut row = Row::new(
        "units",
        "every writable place of a compile is poisoned, then all is built from clean sources",
    );
    with_sample("poison", |sample| {
        for (path, text) in [
            ("go.mod", "module sample\n\ngo 1.24\n"),
            ("server/main.go", HOST),
            ("answer/answer.go", PLUGIN),
            ("evil/evil.go", PLUGIN),
            ("evil/build.sh", &poison()),
        ] {
            sample.write(path, text);
        }
        sample.write(
            "evil/tool.sh",
            &format!(
                "#!/bin/sh\nif mkdir /tmp/poisoned 2>/dev/null; then ({POISON}) >/dev/null 2>&1; fi\nexec \"$@\"\n"
            ),
        );
        let tool = sample.path().join("evil/tool.sh");
        std::fs::set_permissions(tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        configure(sample, "");
        // The images as every project has them, from the user's cache.
        let output = sample.run(&["lock"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let cache = tempfile::tempdir().unwrap();
        let clean = build(sample, cache.path()).unwrap();
        for (way, evil) in &WAYS[..tries(1, WAYS.len())] {
            configure(sample, &format!(", {evil}"));
            forget_units(sample);
            let poisoned = build(sample, cache.path());
            row.check(poisoned.is_ok(), || {
                format!("{way}: the poisoning build failed: {poisoned:?}")
            });
            configure(sample, "");
            forget_units(sample);
            let after = build(sample, cache.path());
            row.check(after.as_ref() == Ok(&clean), || {
                format!("{way}: {after:?} instead of {clean:?}")
            });
        }
    });
    row.finish();
}
