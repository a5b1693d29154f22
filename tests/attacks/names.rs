//! Names that collide with lockstep's own, or that nothing can be called.

use std::fs;

use crate::table::Row;
use crate::watched::{lockstep, watch};

const GROUP: &str = "names";

#[test]
fn names_that_are_taken_or_cannot_be_are_refused_with_their_place() {
    let mut row = Row::new(GROUP, "names that are taken, or that no file can have");
    let good = "version: 1
project: names
environments:
  glibc: {build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}
host: {language: c, source: host, artifacts: [tiny]}
plugins:
  - {name: good, language: c, source: good, artifacts: [good.so]}
contract: {loader: dlopen, abi: c, symbols: [plugin_answer]}
";
    let directory = tempfile::tempdir().unwrap();
    for unit in ["host", "good"] {
        fs::create_dir(directory.path().join(unit)).unwrap();
        fs::write(directory.path().join(unit).join("main.c"), "").unwrap();
    }
    let environment = "{build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}";
    let long = "a".repeat(256);
    let artifacts = [
        ".artifacts.json",
        ".hidden",
        "manifest.json",
        "MANIFEST.JSON",
        "lockstep-loader",
        "tiny",
        "a/b",
        "/a",
        ".",
        "..",
        "-rf",
        "",
        "a\u{1b}b",
        "a\u{202e}b",
        "a\u{200b}b",
        "a\nb",
        &long,
    ];
    let mut cases: Vec<(&str, String)> = Vec::new();
    for artifact in artifacts {
        let quoted: String = artifact
            .chars()
            .map(|character| format!("\\u{:04x}", u32::from(character)))
            .collect();
        cases.push(("[good.so]", format!("[\"{quoted}\"]")));
    }
    cases.push(("[good.so]", "[good.so, good.so], command: make".to_owned()));
    for unit in ["lockstep-loader", "tiny", "Good", "a b", "", "..", "-x"] {
        cases.push(("name: good", format!("name: '{unit}'")));
    }
    cases.push(("[tiny]", "[lockstep-loader]".to_owned()));
    for name in ["cache", "b-cache", "glibc-cache", "x.staged-1", "A", "..", "a/b"] {
        cases.push(("  glibc:", format!("  {name}: {environment}\n  glibc:")));
    }
    cases.push(("  glibc:", format!("  glibc-build: {environment}\n  glibc:")));
    for name in ["environment", "recipe", "p.staged-x", "A", "a:b"] {
        cases.push(("project: names", format!("project: '{name}'")));
    }
    cases.push(("project: names\n", String::new()));
    for (from, to) in &cases {
        let mut text = good.replacen(from, to, 1);
        if to.is_empty() {
            text = text.replace("artifacts: [tiny]", "artifacts: [tiny], name: environment");
        }
        fs::write(directory.path().join("lockstep.yaml"), text).unwrap();
        let seen = watch(lockstep(directory.path(), &["plan"]));
        row.count(seen.expect(&[2], to));
        let said = seen.said();
        row.check(said.contains("lockstep.yaml:") && said.contains('^'), || {
            format!("{to}: no place: {said}")
        });
    }
    let fine = [
        ("[good.so]", "[\"a b.so\"]"),
        ("[good.so]", "[manifest.json.so]"),
        ("name: good", "name: loader"),
        ("  glibc:", "  x-build:"),
        ("project: names", "project: environments"),
    ];
    for (from, to) in fine {
        fs::write(directory.path().join("lockstep.yaml"), good.replacen(from, to, 1)).unwrap();
        row.count(watch(lockstep(directory.path(), &["plan"])).expect(&[0], to));
    }
    row.finish();
}
