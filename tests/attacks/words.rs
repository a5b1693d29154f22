//! What others say (plugins, compilers, names of files, values of a configuration) on its way to a terminal.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use lockstep::printable::is_plain;

use crate::sample::with_sample;
use crate::table::Row;
use crate::watched::{Watched, lockstep, watch};

const GROUP: &str = "words";

/// A clear screen, a title, a bell, a line that hides itself, C1, the other direction, and a forged line.
const HOSTILE: &str = "a\u{1b}[2Jb\u{1b}]0;title\u{7}c\rd\u{8}e\u{9b}1Af\u{202e}g\u{200b}h\u{85}i";
/// The same for `printf`, in octal.
const HOSTILE_OCTAL: &str =
    "a\\033[2Jb\\033]0;title\\007c\\rd\\010e\\302\\2331Af\\342\\200\\256g\\342\\200\\213h\\302\\205i\\n";
/// The same in C, which takes as many digits after `\\x` as there are.
const HOSTILE_C: &str =
    "a\\033[2Jb\\033]0;title\\007c\\rd\\010e\\302\\2331Af\\342\\200\\256g\\342\\200\\213h\\302\\205i\\n";

/// An error unless all that came out is plain text, lines and, where they are asked for, colours.
fn harmless(seen: &Watched, what: &str) -> Result<(), String> {
    for (stream, bytes) in [("stdout", &seen.stdout), ("stderr", &seen.stderr)] {
        let text = String::from_utf8_lossy(bytes);
        let bare = console::strip_ansi_codes(&text);
        let sent: String = bare
            .chars()
            .filter(|character| !is_plain(*character) && *character != '\n')
            .collect();
        let other_sequences = text.matches('\u{1b}').count() != colours(&text);
        if !sent.is_empty() || other_sequences {
            return Err(format!("{what}: {stream} has {sent:?} in {text:?}"));
        }
    }
    Ok(())
}

/// How many sequences of colours a text has.
fn colours(text: &str) -> usize {
    let parts = text.split("\u{1b}[").skip(1);
    parts
        .filter(|part| {
            let end = part.find(|character: char| !character.is_ascii_digit() && character != ';');
            end.is_some_and(|end| part[end..].starts_with('m'))
        })
        .count()
}

fn in_ways(directory: &Path, arguments: &[&str], row: &mut Row, codes: &[i32], what: &str) -> Vec<Watched> {
    let mut all = Vec::new();
    for (way, more, colour) in [
        ("plain", &["--progress", "plain"][..], "0"),
        ("quiet", &["--quiet"], "0"),
        ("with colours", &["--progress", "plain"], "1"),
    ] {
        let mut command = lockstep(directory, arguments);
        command.args(more).env("CLICOLOR_FORCE", colour);
        let seen = watch(command);
        row.count(seen.expect(codes, &format!("{what}, {way}")));
        row.count(harmless(&seen, &format!("{what}, {way}")));
        all.push(seen);
    }
    all
}

#[test]
fn what_a_compiler_and_a_plugin_say_is_shown_and_not_sent() {
    let mut row = Row::new(GROUP, "escape sequences from compilers and plugins");
    with_sample("words", |sample| {
        sample.configure(&["good", "bad"], "");
        let config = sample.read("lockstep.yaml").unwrap();
        let with_command = |script: &str| {
            let unit = "source: bad, artifacts: [bad.so]";
            config.replace(
                unit,
                &format!(
                    "{unit}, command: \"{}\"",
                    script.replace('\\', "\\\\").replace('"', "\\\"")
                ),
            )
        };
        sample.write("bad/bad.c", "long plugin_answer(void) { return 1; }\n");
        sample.write(
            "lockstep.yaml",
            &with_command(&format!("printf '{HOSTILE_OCTAL}' >&2; exit 1")),
        );
        for seen in in_ways(sample.path(), &["build"], &mut row, &[4], "a compiler's words") {
            row.check(seen.said().contains("a\\u{1b}[2Jb"), || seen.said());
        }
        // On a terminal steps are redrawn: what moves the cursor there is lockstep's own.
        for seen in [
            on_a_terminal(sample.path(), "build"),
            on_a_terminal(sample.path(), "plan"),
        ] {
            let text = String::from_utf8_lossy(&seen.stdout).into_owned();
            for sent in [
                "\u{1b}[2J",
                "\u{1b}]0;",
                "\u{7}",
                "\u{8}",
                "\u{9b}",
                "\u{202e}",
                "\u{200b}",
                "\u{85}",
            ] {
                row.check(!text.contains(sent), || {
                    format!("on a terminal {sent:?} was sent: {text:?}")
                });
            }
        }
        // Its log has the bytes as they came.
        let log = fs::read(sample.path().join(".lockstep/logs/glibc-bad.log")).unwrap();
        row.check(log.windows(4).any(|bytes| bytes == b"\x1b[2J"), || {
            "the log was changed".to_owned()
        });

        sample.write("lockstep.yaml", &config);
        let bad = format!(
            "#include <stdio.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void start(void) {{\n  fputs(\"{HOSTILE_C}\", stderr); fputs(\"{HOSTILE_C}\", stdout); abort();\n}}\nlong plugin_answer(void) {{ return 1; }}\n"
        );
        sample.write("bad/bad.c", &bad);
        in_ways(
            sample.path(),
            &["build", "--no-check"],
            &mut row,
            &[5],
            "a plugin's words",
        );
    });
    row.finish();
}

/// The program with a terminal on both streams; what it sent is in `stdout`.
fn on_a_terminal(directory: &Path, command: &str) -> Watched {
    let program = assert_cmd::cargo::cargo_bin("lockstep");
    let mut script = Command::new("script");
    script.current_dir(directory).env_remove("LOCKSTEP_FILE").args([
        "--quiet",
        "--return",
        "--command",
        &format!("{} {command}", program.display()),
        "/dev/null",
    ]);
    watch(script)
}

#[test]
fn what_a_configuration_says_is_shown_and_not_sent() {
    let mut row = Row::new(GROUP, "escape sequences in lockstep.yaml and recipes");
    let quoted: String = HOSTILE
        .chars()
        .map(|character| format!("\\u{:04x}", u32::from(character)))
        .collect();
    let good = "version: 1
project: words
environments:
  glibc: {build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}
host: {language: c, source: host, artifacts: [tiny]}
plugins:
  - {name: good, language: c, source: good, artifacts: [good.so], command: make}
contract: {loader: dlopen, abi: c, symbols: [plugin_answer]}
";
    for (from, to) in [
        ("project: words", "project: \"@\""),
        ("project: words", "project: words\n\"@\": 1"),
        ("  glibc:", "  \"@\":"),
        ("builtin: debian/build", "builtin: \"@\""),
        ("{builtin: debian/build}", "\"@.yaml\""),
        ("{builtin: debian/build}", "{image: \"@\"}"),
        ("{builtin: debian/build}", "{dockerfile: \"@\"}"),
        ("language: c, source: host", "language: \"@\", source: host"),
        ("source: host", "source: \"@\""),
        ("artifacts: [tiny]", "artifacts: [\"@\"]"),
        ("name: good", "name: \"@\""),
        ("command: make", "command: \"@\""),
        ("command: make", "env: {\"@\": x}"),
        ("command: make", "env: {X: \"@\"}"),
        ("symbols: [plugin_answer]", "symbols: [\"@\"]"),
        ("loader: dlopen", "loader: \"@\""),
        ("version: 1", "version: \"@\""),
        ("version: 1", "version: 1 # @\n\tx"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        for unit in ["host", "good"] {
            fs::create_dir(directory.path().join(unit)).unwrap();
            fs::write(directory.path().join(unit).join("main.c"), "").unwrap();
        }
        // Escaped in the text, and as it is.
        for text in [&quoted, HOSTILE] {
            fs::write(
                directory.path().join("lockstep.yaml"),
                good.replacen(from, &to.replace('@', text), 1),
            )
            .unwrap();
            let mut command = lockstep(directory.path(), &["plan"]);
            command.env("CLICOLOR_FORCE", "1");
            let seen = watch(command);
            row.count(seen.expect(&[0, 2], to));
            row.count(harmless(&seen, to));
        }
        // It asks the engine, which takes longer.
        if from == "  glibc:" {
            row.count(harmless(&watch(lockstep(directory.path(), &["doctor"])), to));
        }
    }
    row.finish();
}

#[test]
fn names_of_files_and_what_is_in_them_are_shown_and_not_sent() {
    let mut row = Row::new(GROUP, "escape sequences in names of files and in ELF");
    let directory = tempfile::tempdir().unwrap();
    let name = format!("{HOSTILE}\nok: 5 plugins will load\n");
    let path = directory.path().join(&name);
    // A library whose dependency is called like an attack, in as many bytes.
    let mut bytes = fs::read("/bin/true").unwrap();
    let needed = bytes.windows(9).position(|bytes| bytes == b"libc.so.6").unwrap();
    bytes[needed..needed + 9].copy_from_slice(b"\x1b[2J\x07\r\x1b[m");
    fs::write(&path, &bytes).unwrap();
    symlink("/bin/true", directory.path().join("host")).unwrap();
    for arguments in [
        &["check", "host", &name][..],
        &["check", &name, &name],
        &["check", "host", "gone\u{1b}[2J"],
        &["check", "--rootfs", "gone\u{1b}[2J", "host", "host"],
        &["check", "--contract", &name, "host", "host"],
        &["inspect", &name],
        &["inspect", "gone\u{1b}[2J"],
        &["explain", "gone\u{1b}[2J"],
        &["init", &name],
        &["plan", "--file", &name],
        &["gone\u{1b}[2J"],
        &["plan", "--gone\u{1b}[2J"],
    ] {
        let mut command = lockstep(directory.path(), arguments);
        command.env("DOCKER_HOST", "unix:///gone\u{1b}[2J");
        let seen = watch(command);
        row.count(seen.expect(&[0, 1, 2, 3], &format!("{arguments:?}")));
        row.count(harmless(&seen, &format!("{arguments:?}")));
        let all = String::from_utf8_lossy(&seen.stdout).into_owned() + &seen.said();
        row.check(!all.lines().any(|line| line.starts_with("ok: 5")), || {
            format!("a line was forged: {all}")
        });
    }
    // Sources with such names.
    let project = tempfile::tempdir().unwrap();
    fs::write(
        project.path().join("Cargo.toml"),
        format!("[package]\nname = \"x\"\n{HOSTILE}"),
    )
    .unwrap();
    fs::create_dir(project.path().join(&name)).unwrap();
    fs::write(
        project.path().join(&name).join("main.c"),
        "int main(void) { return 0; }\n",
    )
    .unwrap();
    fs::create_dir(project.path().join("plugin")).unwrap();
    fs::write(project.path().join("plugin/p.c"), "int answer(void) { return 0; }\n").unwrap();
    row.count(harmless(&watch(lockstep(project.path(), &["init"])), "init"));
    row.finish();
}
