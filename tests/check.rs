//! `check`, `inspect` and `explain` from outside, on files that this machine's compiler makes, without an engine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod manifest;
#[expect(dead_code, reason = "not every form of a root is needed here")]
mod roots;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use lockstep::bundle::ArtifactRecord;
use lockstep::check::RULES;
use lockstep::digest::Digest;
use lockstep::facts::Elf;
use lockstep::image::{Entry, LayerWriter};
use lockstep::lock::{self, Lock};
use lockstep::name::EnvironmentName;
use roots::{Part, Tree, docker_archive, tar_of};
use serde_json::{Value, json};
use tempfile::TempDir;

/// No engine answers there.
const NOWHERE: &str = "unix:///nonexistent/engine.sock";

/// A host that says what the loader says.
const HOST: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **paths) {
  for (int place = 1; place < count; place++)
    puts(dlopen(paths[place], RTLD_NOW) ? "loaded" : dlerror());
  return 0;
}
"#;
const GOOD: &str = "int greet(void) { return 1; }\n";
const HELPER: &str = "int help(void) { return 2; }\n";
const NEEDS_HELPER: &str = "int help(void); int greet(void) { return help(); }\n";
/// A function that nobody has.
const NEEDS_NOBODY: &str = "int nobody(void); int greet(void) { return nobody(); }\n";

/// A directory with files that were compiled in it.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// With a host, and plugins: one that is well, one that needs `libhelper.so`, and one that calls what nobody has.
    fn with_files() -> Self {
        let bench = Self::new();
        bench.compile("host", HOST, &["-ldl"]);
        bench.library("good.so", GOOD, &[]);
        bench.library("libhelper.so", HELPER, &[]);
        bench.library("helped.so", NEEDS_HELPER, &["-L.", "-lhelper"]);
        bench.library("lost.so", NEEDS_NOBODY, &["-Wl,-z,lazy"]);
        std::fs::create_dir(bench.path("apart")).unwrap();
        std::fs::rename(bench.path("libhelper.so"), bench.path("apart/libhelper.so")).unwrap();
        bench
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Makes what lies in `dist/here` a bundle, as `build` would have published it.
    fn seal(&self) {
        let directory = self.path("dist/here");
        let mut artifacts: Vec<ArtifactRecord> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name() != "manifest.json")
            .map(|entry| {
                let content = std::fs::read(entry.path()).unwrap();
                let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
                ArtifactRecord {
                    name: entry.file_name().into_string().unwrap(),
                    digest: Digest::of(&content),
                    size_bytes: content.len() as u64,
                    executable: mode & 0o100 != 0,
                }
            })
            .collect();
        artifacts.sort_by(|one, other| one.name.cmp(&other.name));
        let manifest = manifest::manifest("sample", "here", "host", artifacts);
        self.write("dist/here/manifest.json", manifest.to_json().unwrap());
    }

    fn compile(&self, name: &str, source: &str, arguments: &[&str]) {
        self.write("source.c", source);
        let status = Command::new("gcc")
            .current_dir(self.directory.path())
            .args(["-O1", "-o", name, "source.c"])
            .args(arguments)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "gcc failed to make {name}");
        std::fs::remove_file(self.path("source.c")).unwrap();
    }

    fn library(&self, name: &str, source: &str, arguments: &[&str]) {
        let soname = format!("-Wl,-soname,{}", name.rsplit('/').next().unwrap());
        self.compile(
            name,
            source,
            &[&["-shared", "-fPIC", soname.as_str()], arguments].concat(),
        );
    }

    fn lockstep(&self, arguments: &[&str]) -> Output {
        assert_cmd::Command::cargo_bin("lockstep")
            .unwrap()
            .current_dir(self.directory.path())
            .env("DOCKER_HOST", NOWHERE)
            .env("LOCKSTEP_CACHE_DIR", self.path("cache"))
            .env("COLUMNS", "100")
            .env_remove("LOCKSTEP_FILE")
            .args(arguments)
            .timeout(std::time::Duration::from_secs(60))
            .output()
            .unwrap()
    }

    /// The report for scripts, with what the program ended with.
    fn check(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.lockstep(&[&["check", "--format", "json"], arguments].concat());
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|error| panic!("{error}: {}", seen(&output)));
        (output.status.code().unwrap(), report)
    }

    /// The verdicts of all pairs, each with the codes of what was found, and what the program ended with.
    fn verdicts(&self, arguments: &[&str]) -> (i32, Vec<String>) {
        let (exit, report) = self.check(arguments);
        let verdicts = report["pairs"].as_array().unwrap().iter().map(|pair| {
            let findings = pair["findings"].as_array().unwrap().iter();
            let codes: Vec<&str> = findings.map(|finding| finding["code"].as_str().unwrap()).collect();
            let words = [pair["verdict"].as_str().unwrap(), &codes.join(" ")].join(" ");
            words.trim_end().to_owned()
        });
        (exit, verdicts.collect())
    }

    fn inspect(&self, name: &str) -> Value {
        let output = self.lockstep(&["inspect", "--format", "json", name]);
        assert_eq!(output.status.code(), Some(0), "{}", seen(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the real loader says of plugins, one line each.
    fn observe(&self, plugins: &[&str]) -> Vec<String> {
        let output = Command::new(self.path("host"))
            .current_dir(self.directory.path())
            .args(plugins)
            .output()
            .unwrap();
        text(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// A root with this machine's own loader and C library.
    fn root(&self) -> Tree {
        let host = Elf::read(std::fs::read(self.path("host")).unwrap().into()).unwrap();
        let interpreter = host.interpreter.unwrap();
        let libc = Command::new("gcc").arg("-print-file-name=libc.so.6").output().unwrap();
        let libc = std::fs::canonicalize(text(&libc.stdout).trim()).unwrap();
        let directory = libc.parent().unwrap().to_string_lossy().into_owned();
        let inside = |path: &str| path.trim_start_matches('/').to_owned();
        // Where `/lib` is a link to `usr/lib` here, the loader's own directories lead there as well.
        let place = inside(&interpreter);
        let mut tree = Tree::default()
            .directory(place.rsplit_once('/').unwrap().0)
            .file_of_mode(&place, std::fs::read(&interpreter).unwrap(), 0o755);
        tree = put(tree, "etc/os-release", "ID=sample\nPRETTY_NAME=\"Sample 1\"\n");
        let names = BTreeSet::from([directory.clone(), directory.replacen("/usr/lib", "/lib", 1)]);
        for name in names {
            let path = format!("{}/libc.so.6", inside(&name));
            tree = put(tree, &path, std::fs::read(&libc).unwrap());
        }
        tree
    }
}

/// The tree with one more file, and the directories that it is in.
fn put(tree: Tree, path: &str, content: impl AsRef<[u8]>) -> Tree {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    tree.directory(directory).file(path, content)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a person sees: the code, then both streams.
fn seen(output: &Output) -> String {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let code = output.status.code().unwrap();
    format!("exit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_plugin_that_loads_is_ok() {
    let bench = Bench::with_files();
    assert_eq!(bench.observe(&["./good.so"]), ["loaded"]);
    let (exit, report) = bench.check(&["host", "good.so"]);
    let expected = json!({
        "schema_version": 1,
        "verdict": "ok",
        "pairs": [{
            "host": "host",
            "plugin": "good.so",
            "verdict": "ok",
            "predicted": { "phase": "none", "message": null },
            "findings": [],
        }],
    });
    assert_eq!((exit, report), (0, expected));
    let output = bench.lockstep(&["check", "host", "good.so"]);
    assert_eq!(
        seen(&output),
        "exit 0\n--- stdout\nok: 1 plugin will load\n--- stderr\n"
    );
}

#[test]
fn a_refusal_is_told_in_the_loaders_words() {
    let bench = Bench::with_files();
    let observed = bench.observe(&["./helped.so"]);
    let (exit, report) = bench.check(&["host", "helped.so"]);
    assert_eq!((exit, &report["verdict"]), (1, &json!("refuse")));
    assert_eq!(keys(&report), ["pairs", "schema_version", "verdict"]);
    let pair = &report["pairs"][0];
    assert_eq!(keys(pair), ["findings", "host", "plugin", "predicted", "verdict"]);
    assert_eq!(pair["predicted"], json!({ "phase": "load", "message": observed[0] }));
    let finding = &pair["findings"][0];
    let expected = ["because_of", "code", "evidence", "hint", "subject", "title", "verdict"];
    assert_eq!(keys(finding), expected);
    assert_eq!(
        (
            &finding["code"],
            &finding["verdict"],
            &finding["subject"],
            &finding["because_of"]
        ),
        (
            &json!("library-missing"),
            &json!("refuse"),
            &json!("libhelper.so"),
            &Value::Null
        )
    );
    assert!(
        finding["evidence"].is_array() && finding["hint"].is_string(),
        "{finding}"
    );
    // The directories are the machine's, the rest is not.
    bench.root().write(&bench.path("root"));
    let said = seen(&bench.lockstep(&["check", "--rootfs", "root", "host", "helped.so"]));
    let searched = |line: &&str| !line.starts_with("   |  searched: /");
    assert_eq!(said.lines().filter(|line| !searched(line)).count(), 1, "{said}");
    insta::assert_snapshot!(
        "check-refuse",
        said.lines().filter(searched).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn all_causes_are_told_and_what_follows_names_its_cause() {
    let bench = Bench::with_files();
    let (_, report) = bench.check(&["host", "helped.so"]);
    let findings = report["pairs"][0]["findings"].as_array().unwrap();
    let follows = findings
        .iter()
        .find(|finding| finding["code"] == "symbol-not-found")
        .unwrap();
    assert_eq!(
        (&follows["subject"], &follows["because_of"]),
        (&json!("help"), &json!("library-missing"))
    );
    bench.library(
        "both.so",
        "int nobody(void); int help(void); int greet(void) { return nobody() + help(); }",
        &["-Lapart", "-lhelper"],
    );
    let (exit, verdicts) = bench.verdicts(&["host", "both.so"]);
    assert_eq!(exit, 1);
    assert_eq!(verdicts[0].matches("symbol-not-found").count(), 2, "{verdicts:?}");
}

#[test]
fn what_is_wrong_with_many_symbols_is_said_once() {
    let bench = Bench::with_files();
    let names: Vec<String> = (0..12)
        .map(|number| format!("absent_{}", "x".repeat(number + 1)))
        .collect();
    let declared = names
        .iter()
        .fold(String::new(), |text, name| format!("{text}int {name}(void);\n"));
    let called = names
        .iter()
        .fold(String::from("0"), |text, name| format!("{text} + {name}()"));
    let source = format!("{declared}int greet(void) {{ return {called}; }}\n");
    bench.library("many.so", &source, &["-Wl,-z,now"]);
    let (exit, verdicts) = bench.verdicts(&["host", "many.so"]);
    assert_eq!(
        (exit, verdicts[0].matches("symbol-not-found").count()),
        (1, 12),
        "{verdicts:?}"
    );
    let said = text(&bench.lockstep(&["check", "host", "many.so"]).stdout);
    assert_eq!(said.matches("refuse[symbol-not-found]").count(), 1, "{said}");
    assert!(
        said.contains("   |  the same of `absent_x") && said.contains(" and 3 more\n"),
        "{said}"
    );
}

#[test]
fn plugins_are_opened_in_their_order_in_one_process() {
    let bench = Bench::with_files();
    let arguments = ["good.so", "helped.so", "apart/libhelper.so", "helped.so"];
    let observed = bench.observe(&["./good.so", "./helped.so", "./apart/libhelper.so", "./helped.so"]);
    let is_loaded: Vec<bool> = observed.iter().map(|line| line == "loaded").collect();
    // A library that is loaded answers to its name.
    assert_eq!(is_loaded, [true, false, true, true]);
    let (exit, report) = bench.check(&[&["host"][..], &arguments].concat());
    let pairs = report["pairs"].as_array().unwrap();
    let verdicts: Vec<&str> = pairs.iter().map(|pair| pair["verdict"].as_str().unwrap()).collect();
    // Files from anywhere are as if beside each other, but that is no search path.
    assert_eq!((exit, verdicts), (1, vec!["ok", "refuse", "ok", "ok"]));
}

#[test]
fn what_is_allowed_is_no_reason_to_fail() {
    let bench = Bench::with_files();
    let allow = ["--allow", "library-missing,symbol-not-found"];
    let (exit, report) = bench.check(&[&allow[..], &["host", "helped.so"]].concat());
    assert_eq!((exit, &report["verdict"]), (0, &json!("ok")));
    let pair = &report["pairs"][0];
    assert_eq!(
        (&pair["allowed"], &pair["findings"]),
        (&json!(["library-missing", "symbol-not-found"]), &json!([]))
    );
    // It is allowed, and happens all the same.
    assert_eq!(pair["predicted"]["phase"], "load");
    assert_eq!(pair["allowed_findings"][0]["subject"], "libhelper.so");
    // What follows from something that is allowed is allowed with it.
    let allow = ["--allow", "library-missing", "host", "helped.so"];
    assert_eq!(bench.check(&allow).0, 0);
    let said = text(&bench.lockstep(&[&["check"][..], &allow].concat()).stdout);
    assert!(
        said.starts_with("allowed[library-missing]: `helped.so` needs libhelper.so"),
        "{said}"
    );
    assert!(
        said.contains("cannot open shared object file") && said.ends_with("1 plugin: 1 allowed\n"),
        "{said}"
    );
    // A refusal that follows from a danger is not allowed with it: nothing of musl is there, and glibc's loader says so.
    let needs_musl = ["-nostdlib", "-Lapart", "-l:libc.musl-x86_64.so.1"];
    bench.library("apart/libc.musl-x86_64.so.1", HELPER, &[]);
    bench.library("musl.so", NEEDS_HELPER, &needs_musl);
    let (exit, report) = bench.check(&["--allow", "libc-family", "host", "musl.so"]);
    assert_eq!((exit, &report["verdict"]), (1, &json!("refuse")), "{report}");
    let (exit, verdicts) = bench.verdicts(&["--allow", "truncated", "host", "helped.so"]);
    assert_eq!(exit, 1, "{verdicts:?}");
}

#[test]
fn what_is_unknown_fails_only_if_told_so() {
    let bench = Bench::with_files();
    bench.compile("foreign", HOST, &["-ldl", "-Wl,--dynamic-linker=/nonexistent/ld.so"]);
    let unknown = vec!["unknown no-rootfs".to_owned()];
    assert_eq!(bench.verdicts(&["foreign", "good.so"]), (0, unknown.clone()));
    assert_eq!(bench.verdicts(&["--strict", "foreign", "good.so"]), (1, unknown));
    let allowed = bench.verdicts(&["--strict", "--allow", "no-rootfs", "foreign", "good.so"]);
    assert_eq!(allowed, (0, vec!["ok".to_owned()]));
}

#[test]
fn the_contract_says_how_the_host_opens_and_what_it_looks_up() {
    let bench = Bench::with_files();
    bench.write("now.yaml", "flags: now\n");
    bench.write("lazy.yaml", "{loader: dlopen, abi: c, flags: lazy}\n");
    bench.write("symbols.yaml", "symbols: [greet, part]\n");
    bench.write(
        "whole.yaml",
        "version: 1\nproject: sample\ncontract: {loader: dlopen, abi: c, symbols: [part]}\n",
    );
    for (contract, plugin, exit, verdict, phase) in [
        ("now.yaml", "lost.so", 1, "refuse symbol-not-found", "load"),
        ("lazy.yaml", "lost.so", 1, "danger symbol-not-found", "call"),
        ("symbols.yaml", "good.so", 1, "refuse contract-symbol", "symbol"),
        ("whole.yaml", "good.so", 1, "refuse contract-symbol", "symbol"),
        ("now.yaml", "good.so", 0, "ok", "none"),
    ] {
        let arguments = ["--contract", contract, "host", plugin];
        assert_eq!(
            bench.verdicts(&arguments),
            (exit, vec![verdict.to_owned()]),
            "{contract}"
        );
        let (_, report) = bench.check(&arguments);
        assert_eq!(report["pairs"][0]["predicted"]["phase"], phase, "{contract}");
    }
}

#[test]
fn variables_and_the_working_directory_count() {
    let bench = Bench::with_files();
    let helper = std::fs::read(bench.path("apart/libhelper.so")).unwrap();
    let root = put(bench.root(), "opt/libhelper.so", helper);
    root.write(&bench.path("root"));
    let check = |more: &[&str]| {
        bench
            .verdicts(&[&["--rootfs", "root"], more, &["host", "helped.so"]].concat())
            .0
    };
    assert_eq!(check(&[]), 1);
    assert_eq!(check(&["--env", "LD_LIBRARY_PATH=/opt"]), 0);
    assert_eq!(check(&["--env", "LD_LIBRARY_PATH=."]), 1);
    assert_eq!(check(&["--env", "LD_LIBRARY_PATH=.", "--cwd", "/opt"]), 0);
    assert_eq!(check(&["--env", "LD_PRELOAD=/opt/libhelper.so"]), 0);
}

#[test]
fn a_root_is_a_directory_a_tar_or_a_saved_image() {
    let bench = Bench::with_files();
    // Here and only here the plugin's library is: `/c` is on the image's LD_LIBRARY_PATH.
    let helper = std::fs::read(bench.path("apart/libhelper.so")).unwrap();
    let tree = put(bench.root(), "c/libhelper.so", helper);
    tree.write(&bench.path("root"));
    bench.write("root.tar", tree.tar());
    bench.write("image.tar", tar_of(&docker_archive(&[tree.tar()])));
    for (name, more, exit) in [
        ("root", &[][..], 1),
        ("root", &["--env", "LD_LIBRARY_PATH=/c"], 0),
        ("root.tar", &["--env", "LD_LIBRARY_PATH=/c"], 0),
        ("image.tar", &[], 0),
        ("image.tar", &["--env", "LD_LIBRARY_PATH=/elsewhere"], 1),
    ] {
        let found = bench.verdicts(&[&["--rootfs", name], more, &["host", "helped.so"]].concat());
        assert_eq!(found.0, exit, "{name} {more:?}: {found:?}");
    }
}

#[test]
fn files_inside_the_root_are_seen_at_their_path() {
    let bench = Bench::with_files();
    bench.library(
        "beside.so",
        NEEDS_HELPER,
        &["-Lapart", "-lhelper", "-Wl,-rpath,$ORIGIN/lib"],
    );
    bench.root().write(&bench.path("root"));
    std::fs::create_dir_all(bench.path("root/opt/app/lib")).unwrap();
    for (from, to) in [
        ("host", "root/opt/app/host"),
        ("beside.so", "root/opt/app/beside.so"),
        ("apart/libhelper.so", "root/opt/app/lib/libhelper.so"),
    ] {
        std::fs::copy(bench.path(from), bench.path(to)).unwrap();
    }
    let (exit, report) = bench.check(&["--rootfs", "root", "root/opt/app/host", "root/opt/app/beside.so"]);
    let pair = &report["pairs"][0];
    assert_eq!(
        (exit, &pair["host"], &pair["plugin"]),
        (0, &json!("/opt/app/host"), &json!("/opt/app/beside.so"))
    );
    let (exit, report) = bench.check(&["--rootfs", "root", "root/opt/app/host", "beside.so"]);
    assert_eq!((exit, &report["pairs"][0]["plugin"]), (1, &json!("beside.so")));
    // A link is opened where it is, and `$ORIGIN` is the directory of what was opened.
    std::fs::create_dir_all(bench.path("root/plugins")).unwrap();
    symlink("../opt/app/beside.so", bench.path("root/plugins/linked.so")).unwrap();
    let (exit, report) = bench.check(&["--rootfs", "root", "root/opt/app/host", "root/plugins/linked.so"]);
    assert_eq!((exit, &report["pairs"][0]["plugin"]), (1, &json!("/plugins/linked.so")));
}

/// What the distribution ships together runs together, so that a library's function that the host's replaces is no danger for
/// certain; in a plugin from elsewhere, which may call it, it is.
#[test]
fn what_packages_ship_together_is_unknown_and_not_dangerous() {
    const HOST_WITH_NAME: &str =
        "int step(int a, int b, int c) { return a * b * c; }\nint main(void) { return step(1, 2, 3); }\n";
    const LIBRARY: &str = "int step(int a) { return a + 1; }\nint walk(int a) { return step(a) + step(a + 1); }\n";
    const PLUGIN: &str = "int walk(int); int greet(void) { return walk(1); }\n";
    let bench = Bench::new();
    bench.compile("host", HOST_WITH_NAME, &["-rdynamic", "-ldl"]);
    bench.library("libwalk.so", LIBRARY, &[]);
    bench.library("plugin.so", PLUGIN, &["-L.", "-lwalk", "-Wl,-rpath,/usr/lib/host"]);
    let mut tree = bench.root();
    for (from, to) in [
        ("host", "usr/bin/host"),
        ("libwalk.so", "usr/lib/host/libwalk.so"),
        ("plugin.so", "usr/lib/host/plugin.so"),
    ] {
        tree = put(tree, to, std::fs::read(bench.path(from)).unwrap());
    }
    let check = |tree: &Tree, plugin: &str, expected: (i32, &str)| {
        let _ = std::fs::remove_dir_all(bench.path("root"));
        tree.write(&bench.path("root"));
        std::fs::set_permissions(bench.path("root/usr/bin/host"), PermissionsExt::from_mode(0o755)).unwrap();
        bench.write("image.tar", tar_of(&docker_archive(&[tree.tar()])));
        let inside = ["--rootfs", "root", "root/usr/bin/host", plugin];
        let (exit, verdicts) = bench.verdicts(&inside);
        assert_eq!((exit, verdicts[0].as_str()), expected, "{plugin}");
        // Of an image the same is known; its files are not on this machine.
        if plugin == "plugin.so" {
            let (exit, verdicts) = bench.verdicts(&["--rootfs", "image.tar", "host", plugin]);
            assert_eq!((exit, verdicts[0].as_str()), expected, "image");
        }
    };
    let (danger, unknown) = ((1, "danger interposed-symbol"), (0, "unknown interposed-symbol"));
    check(&tree, "root/usr/lib/host/plugin.so", danger);
    let dpkg = "/.\n/usr/bin/host\n/usr/lib/host/libwalk.so\n/usr/lib/host/plugin.so\n";
    let apk = "P:host\nF:usr/bin\nR:host\nF:usr/lib/host\nR:libwalk.so\nR:plugin.so\n\n";
    for (path, list) in [("var/lib/dpkg/info/host.list", dpkg), ("lib/apk/db/installed", apk)] {
        check(&put(tree.clone(), path, list), "root/usr/lib/host/plugin.so", unknown);
        check(&put(tree.clone(), path, list), "plugin.so", danger);
        let without_library = list.replace("libwalk", "libother");
        check(
            &put(tree.clone(), path, without_library),
            "root/usr/lib/host/plugin.so",
            danger,
        );
    }
}

#[test]
fn names_in_files_do_not_reach_the_terminal() {
    let bench = Bench::with_files();
    bench.compile(
        "apart/libred.so",
        HELPER,
        &["-shared", "-fPIC", "-Wl,-soname,lib\u{1b}[31mred.so"],
    );
    bench.library("red.so", NEEDS_HELPER, &["-Lapart", "-lred"]);
    for arguments in [&["check", "host", "red.so"][..], &["inspect", "red.so"]] {
        let said = text(&bench.lockstep(arguments).stdout);
        assert!(
            said.contains("lib\\u{1b}[31mred.so") && !said.contains('\u{1b}'),
            "{said}"
        );
    }
    let (_, report) = bench.check(&["host", "red.so"]);
    assert_eq!(report["pairs"][0]["findings"][0]["subject"], "lib\u{1b}[31mred.so");
}

#[test]
fn a_link_to_a_plugin_is_that_plugin() {
    let bench = Bench::with_files();
    symlink("good.so", bench.path("current.so")).unwrap();
    symlink("nothing.so", bench.path("dangling.so")).unwrap();
    let (exit, report) = bench.check(&["host", "current.so"]);
    assert_eq!((exit, &report["pairs"][0]["plugin"]), (0, &json!("current.so")));
    let (exit, verdicts) = bench.verdicts(&["host", "dangling.so"]);
    assert_eq!((exit, verdicts), (1, vec!["refuse file-unreadable".to_owned()]));
}

#[test]
fn what_is_no_library_is_refused_with_what_it_is() {
    let bench = Bench::with_files();
    bench.write("script.so", "INPUT(libreal.so)\n");
    bench.write("empty.so", "");
    let whole = std::fs::read(bench.path("good.so")).unwrap();
    bench.write("cut.so", &whole[..whole.len() / 8]);
    bench.write(
        "packed.so",
        b"\x1f\x8b\x08\0 and so on, as gzip writes it, and long enough for a header of an ELF file",
    );
    bench.write(
        "objects.so",
        "!<arch>\n and so on, as ar writes it, and long enough for a header of an ELF file",
    );
    let status = Command::new("mkfifo").arg(bench.path("pipe.so")).status();
    assert!(status.is_ok_and(|status| status.success()));
    for (name, hint) in [
        ("script.so", "linker script"),
        ("empty.so", "build it or copy it again"),
        ("cut.so", "compare its digest"),
        ("packed.so", "gunzip"),
        ("objects.so", "--whole-archive"),
        ("pipe.so", "waits until somebody writes"),
    ] {
        let (exit, report) = bench.check(&["host", name]);
        let pair = &report["pairs"][0];
        assert_eq!((exit, &pair["verdict"]), (1, &json!("refuse")), "{name}: {report}");
        assert_eq!(pair["predicted"]["phase"], "load", "{name}: {report}");
        assert!(text_of(&pair["findings"][0]["hint"]).contains(hint), "{name}: {report}");
    }
}

/// What is behind the end of a file follows from that, and is no cause of its own.
#[test]
fn what_a_file_that_was_cut_off_lacks_follows_from_that() {
    let bench = Bench::with_files();
    bench.write("contract.yaml", "symbols: [greet]\n");
    let whole = std::fs::read(bench.path("good.so")).unwrap();
    let elf = Elf::read(whole.clone().into()).unwrap();
    let end = elf.loaded_end();
    // To the middle of what is loaded.
    bench.write("cut.so", &whole[..usize::try_from(end / 2).unwrap()]);
    let (_, report) = bench.check(&["--contract", "contract.yaml", "host", "cut.so"]);
    let findings = report["pairs"][0]["findings"].as_array().unwrap();
    assert_eq!(findings[0]["code"], "truncated", "{report}");
    assert!(
        text_of(&findings[0]["title"]).ends_with(&format!("reach to {end}")),
        "{report}"
    );
    for finding in &findings[1..] {
        assert_eq!(finding["because_of"], "truncated", "{report}");
    }
}

#[test]
fn quiet_says_nothing_of_what_is_well() {
    let bench = Bench::with_files();
    let well = bench.lockstep(&["--quiet", "check", "host", "good.so"]);
    assert_eq!(seen(&well), "exit 0\n--- stdout\n--- stderr\n");
    let lost = bench.lockstep(&["--quiet", "check", "host", "lost.so"]);
    assert!(text(&lost.stdout).contains("nobody"), "{}", seen(&lost));
}

/// The loader's cache outlives what it names, for example in an image from which a layer has removed files.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_library_that_only_the_cache_knows_is_told_with_the_cache() {
    let bench = Bench::with_files();
    for directory in [
        "root/lib64",
        "root/lib/x86_64-linux-gnu",
        "root/etc",
        "root/opt/libraries",
    ] {
        std::fs::create_dir_all(bench.path(directory)).unwrap();
    }
    for (from, to) in [
        ("/lib64/ld-linux-x86-64.so.2", "root/lib64/ld-linux-x86-64.so.2"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "root/lib/x86_64-linux-gnu/libc.so.6"),
        (&bench.path("host").display().to_string(), "root/host"),
    ] {
        std::fs::copy(from, bench.path(to)).unwrap();
    }
    bench.write("root/etc/ld.so.conf", "/opt/libraries\n");
    bench.library("root/opt/libraries/libgone.so", "int gone(void) { return 1; }", &[]);
    let gone = bench.path("root/opt/libraries/libgone.so");
    let needed = gone.display().to_string();
    bench.library(
        "root/needy.so",
        "int gone(void); int needy(void) { return gone(); }",
        &[&needed],
    );
    let ldconfig = std::process::Command::new("/sbin/ldconfig")
        .arg("-r")
        .arg(bench.path("root"))
        .status();
    assert!(ldconfig.unwrap().success());
    std::fs::remove_file(&gone).unwrap();
    let output = bench.lockstep(&["check", "--rootfs", "root", "/host", "/needy.so"]);
    let said = text(&output.stdout);
    for line in [
        "/etc/ld.so.cache names /opt/libraries/libgone.so, and nothing is there",
        "or run ldconfig if it is somewhere else now",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

/// What is started is often a script that sets variables and hands over to the host.
#[test]
fn a_host_that_is_a_script_is_followed_to_what_it_starts() {
    let bench = Bench::with_files();
    let script = |name: &str, text: &str| {
        bench.write(name, text);
        std::fs::set_permissions(bench.path(name), PermissionsExt::from_mode(0o755)).unwrap();
    };
    std::fs::create_dir(bench.path("lib")).unwrap();
    bench.library(
        "lib/libdeep.so",
        "int deep(void) { return 1; }",
        &["-Wl,-soname,libdeep.so"],
    );
    let deep = bench.path("lib/libdeep.so").display().to_string();
    bench.library(
        "needy.so",
        "int deep(void); int needy(void) { return deep(); }",
        &[&deep],
    );
    script(
        "start",
        "#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\nexport LD_LIBRARY_PATH=\"$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\nexec \"$here/host\" \"$@\"\n",
    );
    let output = bench.lockstep(&["check", "start", "needy.so"]);
    assert_eq!(output.status.code(), Some(0), "{}", seen(&output));
    let told = format!("it starts {}", bench.path("host").display());
    assert!(text(&output.stderr).contains(&told), "{}", seen(&output));
    let output = bench.lockstep(&["check", "host", "needy.so"]);
    assert!(text(&output.stdout).contains("library-missing"), "{}", seen(&output));

    script(
        "asks",
        "#!/bin/sh\nif [ -e /etc/asked ]; then exec ./other; fi\nexec ./host\n",
    );
    script("lost", "#!/bin/sh\nexec /nowhere/host\n");
    for (name, why) in [
        (
            "asks",
            "`asks` is a script, and what it does on line 2 decides only when it runs",
        ),
        ("lost", "there is no `/nowhere/host`, which it starts"),
    ] {
        let output = bench.lockstep(&["check", name, "good.so"]);
        assert_eq!(output.status.code(), Some(2), "{}", seen(&output));
        assert!(text(&output.stderr).contains(why), "{}", seen(&output));
    }
    script("round", "#!/bin/sh\nexec \"$0\"\n");
    let output = bench.lockstep(&["check", "round", "good.so"]);
    assert!(
        text(&output.stderr).contains("scripts that start each other"),
        "{}",
        seen(&output)
    );
}

/// A host that does not start is what is wrong, once, whatever it would have opened.
#[test]
fn what_is_wrong_with_the_host_is_said_once_and_of_the_host() {
    let bench = Bench::with_files();
    bench.library("libhost.so", GOOD, &[]);
    let output = bench.lockstep(&["check", "libhost.so", "good.so", "helped.so"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let head = "`libhost.so` is no program that can be started: it is a library\n  --> libhost.so\n";
    assert_eq!(said.matches(head).count(), 1, "{said}");
    assert!(said.contains("name the program that opens the plugins first"), "{said}");
    assert!(said.ends_with("2 plugins: 2 refuse\n"), "{said}");
    let (_, report) = bench.check(&["libhost.so", "good.so"]);
    assert_eq!(report["pairs"][0]["predicted"]["phase"], "exec", "{report}");
    // In a root its mode says who may start it.
    bench.root().write(&bench.path("root"));
    for name in ["host", "good.so"] {
        std::fs::copy(bench.path(name), bench.path("root").join(name)).unwrap();
    }
    let set = |name: &str, mode: u32| {
        std::fs::set_permissions(bench.path("root").join(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    let hint = |place: usize| {
        let (_, report) = bench.check(&["--rootfs", "root", "root/host", "root/good.so"]);
        text_of(&report["pairs"][0]["findings"][place]["hint"])
    };
    set("host", 0o644);
    assert_eq!(hint(0), "make it executable: chmod a+x /host");
    set("host", 0o755);
    if rustix::process::geteuid().is_root() {
        set("good.so", 0);
        assert_eq!(
            hint(0),
            "say who it runs as: --user; or open it to all: chmod a+r /good.so"
        );
    }
}

#[test]
fn what_is_preloaded_in_vain_is_unknown() {
    let bench = Bench::with_files();
    let check = |variable: &str, expected: (i32, &[&str])| {
        let (exit, verdicts) = bench.verdicts(&["--env", variable, "host", "good.so"]);
        let expected = (
            expected.0,
            expected.1.iter().map(|verdict| (*verdict).to_owned()).collect(),
        );
        assert_eq!((exit, verdicts), expected, "{variable}");
    };
    let apart = bench.path("apart/libhelper.so");
    check(&format!("LD_PRELOAD={}", apart.display()), (0, &["ok"]));
    check("LD_PRELOAD=libnone.so", (0, &["unknown preload-ignored"]));
    check("LD_AUDIT=libnone.so", (0, &["unknown not-modelled"]));
    check("GLIBC_TUNABLES=glibc.malloc.check=3", (0, &["ok"]));
    check("GLIBC_TUNABLES=glibc.rtld.optional_static_tls=0x400", (0, &["ok"]));
    check(
        "GLIBC_TUNABLES=glibc.malloc.check=3:glibc.rtld.nns=1",
        (0, &["unknown not-modelled"]),
    );
}

/// A loader that does not know packed relative relocations passes over them without a word: musl 1.2.3 was seen to end such
/// processes by SIGSEGV, in the plugin's constructors if it has some, else in the first call that follows a pointer.
#[test]
fn an_old_loader_does_not_apply_packed_relocations() {
    const POINTER: &str = "static int x = 5; int *px = &x; int greet(void) { return *px; }\n";
    const CONSTRUCTOR: &str =
        "static int x; int *px = &x; __attribute__((constructor)) static void begin(void) { *px = 5; }\n";
    let bench = Bench::with_files();
    let packed = ["-nostdlib", "-Wl,-z,pack-relative-relocs"];
    bench.library("pointer.so", POINTER, &packed);
    bench.library("constructor.so", CONSTRUCTOR, &packed);
    // Without the C library, which may have some itself.
    bench.compile("bare", "void _start(void) { for (;;); }\n", &["-nostdlib", "-pie"]);
    let files = ["bare", "pointer.so", "constructor.so"];
    bench.root().write(&bench.path("root"));
    let verdicts = |root: &str| bench.verdicts(&[&["--rootfs", root][..], &files].concat());
    assert_eq!(verdicts("root"), (0, vec!["ok".to_owned(); 2]));
    // The same loader, as an older release.
    let mut tree = bench.root();
    for part in &mut tree.0 {
        let mark = b"stable release version ";
        if let Part::File(_, content, _) = part
            && let Some(at) = content.windows(mark.len()).position(|window| window == mark)
        {
            content[at + mark.len()..][..4].copy_from_slice(b"2.35");
        }
    }
    tree.write(&bench.path("older"));
    let expected = ["danger relative-relocations", "refuse relative-relocations"].map(str::to_owned);
    assert_eq!(verdicts("older"), (1, expected.to_vec()));
}

/// What hosts compare by themselves, in the structures that they read: of each what its program has, what a module has, the
/// numbers of both, and what it says.
#[test]
fn a_module_that_was_compiled_for_another_host_is_refused() {
    const NGINX: &str =
        "struct module { long index[2]; const char *name; long spare[2], version; const char *signature; };\n";
    const HTTPD: &str =
        "struct module { int version, minor, index; const char *name; void *handle, *next; unsigned long cookie; };\n";
    const POSTGRES: &str = "struct block { int len, version, arguments, keys, name, is_by_value; char maker[32]; };\n";
    let cases = [
        (
            NGINX,
            "struct module ngx_core_module = {{0}, 0, {0}, V, \"8,4,8,0011\"};",
            "struct module hello = {{0}, 0, {0}, V, \"8,4,8,0011\"}; struct module *ngx_modules[] = {&hello, 0};",
            ("1026003", "1022001"),
            "module \"other.so\" version 1022001 instead of 1026003",
        ),
        (
            NGINX,
            "struct module ngx_core_module = {{0}, 0, {0}, 1026003, \"8,4,8,\" V};",
            "static struct module hello = {{0}, 0, {0}, 1026003, \"8,4,8,\" V}; struct module *ngx_modules[] = {&hello, 0};",
            ("\"0011\"", "\"0010\""),
            "module \"other.so\" is not binary compatible",
        ),
        (
            HTTPD,
            "void ap_add_module(void) {} struct module core_module = {V, 1, -1, \"core.c\", 0, 0, 0x41503234};",
            "struct module hello_module = {V, 7, -1, \"mod_hello.c\", 0, 0, 0x41503234}; int no_module = 3;",
            ("20120211", "20051115"),
            "Module \"mod_hello.c\" is not compatible with this version of Apache (found 20051115, need 20120211)",
        ),
        (
            "",
            "void zend_register_functions(void) {} const char *id(void) { return \"API\" V; } const char *more = \"API4\" V;",
            "const char *get_module(void) { return \"API\" V; }",
            ("\"20240924,NTS\"", "\"20190902,NTS\""),
            "Module compiled with module API=20190902, PHP compiled with module API=20240924",
        ),
        (
            "",
            "void zend_register_functions(void) {} const char *id(void) { return \"API\" V; }",
            "const char *get_module(void) { return \"API\" V; }",
            ("\"20240924,NTS\"", "\"20240924,TS\""),
            "Module compiled with build ID=API20240924,TS, PHP compiled with build ID=API20240924,NTS",
        ),
        (
            POSTGRES,
            "static const struct block block = {56, V, 100, 32, 64, 1, \"PostgreSQL\"}; const void *PostgresMain(void) { return &block; }",
            "static const struct block block = {56, V, 100, 32, 64, 1, \"PostgreSQL\"}; const void *Pg_magic_func(void) { return &block; }",
            ("1700", "906"),
            "incompatible library \"other.so\": version mismatch: Server is version 17, library is version 9.6",
        ),
        (
            POSTGRES,
            "static const struct block block = {56, 1700, 100, 32, V, 1, \"PostgreSQL\"}; const void *PostgresMain(void) { return &block; }",
            "static const struct block block = {56, 1700, 100, 32, V, 1, \"PostgreSQL\"}; const void *Pg_magic_func(void) { return &block; }",
            ("64", "128"),
            "incompatible library \"other.so\": magic block mismatch: Server has NAMEDATALEN = 64, library has 128",
        ),
    ];
    for (types, host, module, (own, other), words) in cases {
        let bench = Bench::new();
        let define = |value: &str| format!("-DV={value}");
        let program = format!("{types}{host}\nint main(void) {{ return 0; }}\n");
        bench.compile("host", &program, &["-rdynamic", &define(own)]);
        bench.library("same.so", &format!("{types}{module}\n"), &[&define(own)]);
        bench.library("other.so", &format!("{types}{module}\n"), &[&define(other)]);
        bench.library("none.so", GOOD, &[]);
        let (exit, verdicts) = bench.verdicts(&["host", "same.so", "none.so", "other.so"]);
        assert_eq!(
            (exit, verdicts),
            (1, ["ok", "ok", "refuse host-version"].map(str::to_owned).into()),
            "{words}"
        );
        let (_, report) = bench.check(&["host", "other.so"]);
        assert_eq!(
            report["pairs"][0]["predicted"],
            json!({"phase": "call", "message": words})
        );
    }
}

/// A library that the host is linked with comes before a plugin and what it brings, as the host itself does.
#[test]
fn a_library_of_the_host_takes_the_place_of_a_plugins_own_function() {
    const OF_LIBRARY: &str = "int step(int a) { return a + 1; }\n";
    const OWN: &str =
        "int step(int a, int b, int c) { return a * b * c + 7; }\nint greet(void) { return step(1, 2, 3); }\n";
    let bench = Bench::with_files();
    bench.library("libstep.so", OF_LIBRARY, &[]);
    let rpath = "-Wl,-rpath,$ORIGIN";
    bench.compile(
        "stepping",
        HOST,
        &["-Wl,--no-as-needed", "-L.", "-lstep", "-ldl", rpath],
    );
    bench.library("own.so", OWN, &[]);
    bench.library(
        "linked.so",
        "int step(int); int greet(void) { return step(1); }\n",
        &["-L.", "-lstep", rpath],
    );
    bench.library("symbolic.so", OWN, &["-Wl,-Bsymbolic"]);
    let (exit, verdicts) = bench.verdicts(&["stepping", "own.so", "linked.so", "symbolic.so"]);
    assert_eq!(
        (exit, verdicts),
        (1, ["danger interposed-symbol", "ok", "ok"].map(str::to_owned).to_vec())
    );
}

/// Thread-local storage at a fixed offset has the room that a tunable says.
#[test]
fn the_tunable_for_thread_local_storage_counts() {
    let bench = Bench::with_files();
    let source =
        "__attribute__((tls_model(\"initial-exec\"))) __thread char room[4000]; int greet(void) { return room[0]; }\n";
    bench.library("tls.so", source, &[]);
    let verdicts = |value: &str| {
        let variable = format!("GLIBC_TUNABLES=glibc.rtld.optional_static_tls={value}");
        bench.verdicts(&["--env", &variable, "host", "tls.so"])
    };
    assert_eq!(verdicts("512"), (1, vec!["refuse static-tls-full".to_owned()]));
    assert_eq!(verdicts("8192"), (0, vec!["ok".to_owned()]));
    for (value, words) in [
        ("512", "cannot allocate memory in static TLS block"),
        ("8192", "loaded"),
    ] {
        let output = Command::new(bench.path("host"))
            .current_dir(bench.directory.path())
            .env("GLIBC_TUNABLES", format!("glibc.rtld.optional_static_tls={value}"))
            .arg("./tls.so")
            .output()
            .unwrap();
        assert!(
            text(&output.stdout).contains(words),
            "{value}: {}",
            text(&output.stdout)
        );
    }
}

/// With a root, a path from the top is one in the root if it is there, whatever this machine has at it.
#[test]
fn a_path_from_the_top_means_the_roots_file() {
    let bench = Bench::with_files();
    let here = bench.path("good.so").to_string_lossy().into_owned();
    // At the same path in the root is another file.
    let tree = put(bench.root(), here.trim_start_matches('/'), "no library at all\n");
    bench.write("root.tar", tree.tar());
    bench.write("empty.tar", bench.root().tar());
    let check = |root: &str, plugin: &str| bench.verdicts(&["--rootfs", root, "host", plugin]);
    assert_eq!(check("root.tar", &here), (1, vec!["refuse elf-invalid".to_owned()]));
    assert_eq!(check("root.tar", "good.so"), (0, vec!["ok".to_owned()]));
    assert_eq!(check("empty.tar", &here), (0, vec!["ok".to_owned()]));
}

/// On this machine a host is started as one would start it here.
#[test]
fn without_a_root_the_working_directory_and_the_variables_are_the_users() {
    let bench = Bench::with_files();
    let check = |variable: Option<&str>| {
        let mut command = assert_cmd::Command::cargo_bin("lockstep").unwrap();
        command
            .current_dir(bench.path("apart"))
            .env_remove("LD_LIBRARY_PATH")
            .args(["check", "../host", "../helped.so"]);
        if let Some(variable) = variable {
            command.env("LD_LIBRARY_PATH", variable);
        }
        command.output().unwrap().status.code()
    };
    assert_eq!(check(None), Some(1));
    assert_eq!(check(Some(".")), Some(0));
    assert_eq!(check(Some("/nowhere")), Some(1));
}

/// A library that a filter names and that only a plugin's path leads to is gone again with that plugin.
#[test]
fn what_a_failed_plugin_brought_is_forgotten() {
    let bench = Bench::with_files();
    bench.library("apart/libaux.so", "int from_aux(void) { return 1; }\n", &[]);
    bench.library(
        "libfilter.so",
        "int from_filter(void) { return 2; }\n",
        &["-Wl,-f,libaux.so"],
    );
    let filtered = ["-L.", "-l:libfilter.so", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed"];
    bench.compile(
        "host-of-filter",
        "#include <dlfcn.h>\nint main(int c, char **v) { return !dlopen(v[1], RTLD_NOW); }\n",
        &[&filtered[..], &["-ldl"]].concat(),
    );
    let broken = "int missing(void);\nint run(void) { return missing(); }\n";
    bench.library(
        "first.so",
        broken,
        &[
            "-Wl,-z,now",
            "-Wl,--disable-new-dtags,-rpath,$ORIGIN/apart",
            "-L.",
            "-l:libfilter.so",
            "-Lapart",
            "-l:libaux.so",
            "-Wl,--no-as-needed",
        ],
    );
    bench.library("second.so", GOOD, &filtered);
    let (exit, verdicts) = bench.verdicts(&["host-of-filter", "first.so", "second.so"]);
    assert_eq!(exit, 1);
    assert!(verdicts[0].starts_with("refuse"), "{verdicts:?}");
    assert_eq!(verdicts[1], "ok", "{verdicts:?}");
}

/// What follows from a cause is told once, however many causes there are.
#[test]
fn what_follows_from_several_causes_is_told_once() {
    let bench = Bench::with_files();
    bench.library("apart/libgone.so", HELPER, &[]);
    bench.library(
        "libone.so",
        "int one(void) { return 1; }\n",
        &["-Wl,--no-as-needed", "-Lapart", "-l:libgone.so"],
    );
    let needs = [
        "-Wl,--no-as-needed",
        "-L.",
        "-l:libone.so",
        "-Lapart",
        "-l:libgone.so",
        "-Wl,-rpath,$ORIGIN",
    ];
    bench.library("both.so", NEEDS_HELPER, &needs);
    let (_, verdicts) = bench.verdicts(&["host", "both.so"]);
    assert_eq!(
        verdicts,
        ["refuse library-missing symbol-not-found library-missing"],
        "{verdicts:?}"
    );
}

/// A tar with one more file: a program that has `cap_kill=ep`.
fn with_capable_program(mut tar: Vec<u8>, path: &str, content: &[u8]) -> Vec<u8> {
    /// Two empty blocks end a tar.
    const END_BYTES: usize = 1024;
    const KILL_EP: &[u8] = b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut entry = Entry::file(path, content.len() as u64, 0o755, 0);
    entry
        .attributes
        .insert("security.capability".to_owned(), KILL_EP.to_vec());
    let mut writer = LayerWriter::new(Vec::new());
    writer.append(&entry, &mut &content[..]).unwrap();
    tar.truncate(tar.len() - END_BYTES);
    tar.extend(writer.finish().unwrap().2);
    tar
}

#[test]
fn a_host_with_rights_of_its_own_trusts_nobody() {
    let bench = Bench::with_files();
    let read = |name: &str| std::fs::read(bench.path(name)).unwrap();
    let tree = bench
        .root()
        .directory("opt")
        .directory("opt/lib")
        .file("opt/lib/libhelper.so", read("apart/libhelper.so"))
        .file("opt/helped.so", read("helped.so"))
        .file("opt/good.so", read("good.so"));
    let plain = tree.clone().file_of_mode("opt/host", read("host"), 0o4755);
    bench.write("mode.tar", plain.tar());
    let capable = with_capable_program(tree.tar(), "opt/host", &read("host"));
    bench.write("capable.tar", &capable);
    bench.write("image.tar", tar_of(&docker_archive(&[capable])));
    let check = |root: &str, plugin: &str, more: &[&str]| {
        let variable = ["--env", "LD_LIBRARY_PATH=/opt/lib"];
        let files = ["--rootfs", root, "/opt/host", plugin];
        bench.verdicts(&[&files[..], &variable, more].concat())
    };
    let verdict = |exit, text: &str| (exit, vec![text.to_owned()]);
    let (ok, missing) = (verdict(0, "ok"), verdict(1, "refuse library-missing symbol-not-found"));
    for root in ["mode.tar", "capable.tar", "image.tar"] {
        assert_eq!(
            check(root, "/opt/helped.so", &["--user", "1000:1000"]),
            missing,
            "{root}"
        );
        assert_eq!(check(root, "/opt/helped.so", &["--user", "0"]), ok, "{root}");
        assert_eq!(check(root, "/opt/good.so", &["--user", "1000:1000"]), ok, "{root}");
    }
    // An image says who starts it; where nobody does, both is possible, and may come to the same.
    assert_eq!(check("image.tar", "/opt/helped.so", &[]), missing);
    for root in ["mode.tar", "capable.tar"] {
        let doubtful = verdict(0, "unknown secure-execution");
        assert_eq!(check(root, "/opt/helped.so", &[]), doubtful, "{root}");
        assert_eq!(check(root, "/opt/good.so", &[]), ok, "{root}");
    }
    let stranger = ["--user", "1000:1000", "--no-new-privileges"];
    assert_eq!(check("mode.tar", "/opt/helped.so", &stranger), ok);
    assert_eq!(check("capable.tar", "/opt/helped.so", &stranger), missing);
    let refused = verdict(1, "refuse secure-execution");
    assert_eq!(check("capable.tar", "/opt/good.so", &["--cap-drop", "ALL"]), refused);
    assert_eq!(check("capable.tar", "/opt/good.so", &["--cap-drop", "net_admin"]), ok);
    let output = bench.lockstep(&["check", "--rootfs", "mode.tar", "/opt/host", "--cap-drop", "NET_ADMINS"]);
    assert_eq!(output.status.code(), Some(2), "{}", seen(&output));
    assert!(
        text(&output.stderr).contains("did you mean `NET_ADMIN`?"),
        "{}",
        seen(&output)
    );
}

/// What the report says of it.
#[test]
fn why_a_host_trusts_nobody_is_told() {
    let bench = Bench::with_files();
    let read = |name: &str| std::fs::read(bench.path(name)).unwrap();
    let tree = bench
        .root()
        .directory("opt")
        .directory("opt/lib")
        .file("opt/lib/libhelper.so", read("apart/libhelper.so"))
        .file("opt/helped.so", read("helped.so"));
    bench.write("root.tar", with_capable_program(tree.tar(), "opt/host", &read("host")));
    let files = ["--rootfs", "root.tar", "/opt/host", "/opt/helped.so"];
    let said = |more: &[&str]| {
        let variable = ["--env", "LD_LIBRARY_PATH=/opt/lib"];
        let (_, report) = bench.check(&[&files[..], &variable, more].concat());
        report["pairs"][0]["findings"][0].clone()
    };
    let finding = said(&["--user", "1000:1000"]);
    let evidence = finding["evidence"].to_string();
    for words in [
        "it is in /opt/lib, which LD_LIBRARY_PATH names; that does not count",
        "the host starts in secure-execution mode: it has the capabilities cap_kill=ep",
        "a mount with nosuid takes that away; no_new_privs does not, and a process that may not have cap_kill cannot start it",
    ] {
        assert!(evidence.contains(words), "{words}: {finding}");
    }
    let finding = said(&[]);
    assert_eq!(
        finding["title"],
        "what becomes of `/opt/helped.so` depends on who starts `/opt/host`, which has the capabilities cap_kill=ep"
    );
    assert_eq!(finding["hint"], "say who starts it: --user");
}

#[test]
fn who_the_host_runs_as_decides_what_it_may_read() {
    let bench = Bench::with_files();
    let read = |name: &str| std::fs::read(bench.path(name)).unwrap();
    let tree = bench
        .root()
        .directory("opt")
        .file_of_mode("opt/host", read("host"), 0o755);
    let tree = tree.file_of_mode("opt/good.so", read("good.so"), 0o640);
    let tree = tree.file("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
    bench.write("root.tar", tree.tar());
    bench.write("image.tar", tar_of(&docker_archive(&[tree.tar()])));
    let check =
        |root: &str, more: &[&str]| bench.check(&[&["--rootfs", root, "/opt/host", "/opt/good.so"], more].concat());
    let verdict = |root: &str, more: &[&str]| check(root, more).1["verdict"].as_str().unwrap().to_owned();
    assert_eq!(verdict("root.tar", &["--user", "root"]), "ok");
    assert_eq!(verdict("root.tar", &["--user", "5:0"]), "ok");
    let (exit, report) = check("root.tar", &["--user", "app"]);
    let pair = &report["pairs"][0];
    assert_eq!((exit, &pair["verdict"]), (1, &json!("refuse")), "{report}");
    let message = "/opt/good.so: cannot open shared object file: Permission denied";
    assert_eq!(pair["predicted"], json!({"phase": "load", "message": message}));
    let finding = &pair["findings"][0];
    assert_eq!(finding["code"], "file-unreadable");
    let evidence = "/opt/good.so has the mode 0640, of user 0 and group 0";
    assert_eq!(finding["evidence"], json!([evidence]));
    // Where nobody says who it is, nobody knows.
    let (exit, report) = check("root.tar", &[]);
    assert_eq!((exit, &report["verdict"]), (0, &json!("unknown")), "{report}");
    assert_eq!(report["pairs"][0]["findings"][0]["evidence"], json!([evidence]));
    // An image does.
    assert_eq!(verdict("image.tar", &[]), "refuse");
    assert_eq!(verdict("image.tar", &["--user", "0:0"]), "ok");
    let output = bench.lockstep(&[
        "check",
        "--rootfs",
        "root.tar",
        "/opt/host",
        "/opt/good.so",
        "--user",
        "nobody",
    ]);
    assert_eq!(output.status.code(), Some(2), "{}", seen(&output));
    let said = "there is no user `nobody` in the root: /etc/passwd has no user `nobody`";
    assert!(text(&output.stderr).contains(said), "{}", seen(&output));
}

/// What is not on this machine is named as a process in the root calls it.
#[test]
fn files_in_an_archive_are_named_by_their_path_there() {
    let bench = Bench::with_files();
    let mut tree = bench.root();
    for (from, to) in [("host", "opt/sample/host"), ("good.so", "opt/sample/good.so")] {
        let file = std::fs::read(bench.path(from)).unwrap();
        tree = tree.directory("opt/sample").file_of_mode(to, file, 0o755);
    }
    bench.write("root.tar", tree.tar());
    let rootfs = ["--rootfs", "root.tar"];
    let named = ["/opt/sample/host", "/opt/sample/good.so"];
    let (exit, report) = bench.check(&[&rootfs[..], &named].concat());
    let pair = &report["pairs"][0];
    assert_eq!(
        (exit, &pair["host"], &pair["plugin"]),
        (0, &json!(named[0]), &json!(named[1])),
        "{report}"
    );
    let (exit, report) = bench.check(&[&rootfs[..], &["host", named[1]]].concat());
    assert_eq!((exit, &report["pairs"][0]["plugin"]), (0, &json!(named[1])), "{report}");
    let (exit, report) = bench.check(&[&rootfs[..], &["host", "opt/sample/good.so"]].concat());
    assert_eq!((exit, &report["pairs"][0]["plugin"]), (0, &json!(named[1])), "{report}");
    let output = bench.lockstep(&["check", "--rootfs", "root.tar", "host", "/opt/sample/none.so"]);
    assert_eq!(output.status.code(), Some(2), "{}", seen(&output));
    assert!(text(&output.stderr).contains("a file inside root.tar is named by its path there"));
}

#[test]
fn mistakes_end_with_2() {
    let bench = Bench::with_files();
    bench.write("bad.yaml", "symbols: [greet]\nflags: sometimes\nscpoe: local\n");
    for (name, arguments) in [
        ("check-nothing", &["check"][..]),
        ("check-no-plugin", &["check", "host"]),
        ("check-no-file", &["check", "host", "missing.so"]),
        (
            "check-bad-contract",
            &["check", "--contract", "bad.yaml", "host", "good.so"],
        ),
        (
            "check-no-contract",
            &["check", "--contract", "missing.yaml", "host", "good.so"],
        ),
        (
            "check-unknown-code",
            &["check", "--allow", "libc-famly", "host", "good.so"],
        ),
        ("check-bad-variable", &["check", "--env", "NAME", "host", "good.so"]),
        ("check-no-root", &["check", "--rootfs", "./missing", "host", "good.so"]),
        ("check-bad-directory", &["check", "--cwd", "opt", "host", "good.so"]),
        (
            "check-mistyped-variable",
            &["check", "--env", "LD_LIBRARY_PTAH=/opt", "host", "good.so"],
        ),
        (
            "check-no-archive",
            &["check", "--rootfs", "bad.yaml", "host", "good.so"],
        ),
        ("inspect-nothing", &["inspect"]),
        ("inspect-no-file", &["inspect", "./missing"]),
        ("explain-unknown", &["explain", "libc-famly"]),
        ("explain-nonsense", &["explain", "qqqq"]),
    ] {
        let output = bench.lockstep(arguments);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", seen(&output));
        assert!(output.stdout.is_empty(), "{name}: {}", seen(&output));
        insta::assert_snapshot!(name, seen(&output));
    }
}

#[test]
fn an_image_needs_an_engine_and_that_ends_with_3() {
    let bench = Bench::with_files();
    for arguments in [
        &["inspect", "some:image"][..],
        &["check", "--rootfs", "some:image", "host", "good.so"],
    ] {
        let output = bench.lockstep(arguments);
        assert_eq!(output.status.code(), Some(3), "{}", seen(&output));
        let said = text(&output.stderr);
        assert!(said.contains("some:image") && said.contains("hint: "), "{said}");
    }
}

#[test]
fn every_code_is_explained() {
    let bench = Bench::new();
    let listed = bench.lockstep(&["explain"]);
    assert_eq!(listed.status.code(), Some(0));
    let listed = text(&listed.stdout);
    let codes: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(codes, RULES.iter().map(|rule| rule.code).collect::<Vec<_>>());
    for rule in RULES {
        let output = bench.lockstep(&["explain", rule.code]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", rule.code);
        let head = format!("{}: {}", rule.code, rule.description);
        assert_eq!(said.lines().next(), Some(head.as_str()));
        assert!(said.lines().count() > 2, "{said}");
        assert!(said.lines().skip(1).all(|line| line.chars().count() <= 100), "{said}");
    }
}

#[test]
fn an_elf_file_says_what_it_was_built_with() {
    let bench = Bench::with_files();
    let source = "_Thread_local int counter; int greet(void) { return ++counter; }\n";
    bench.library(
        "rich.so",
        source,
        &[
            "-Wl,-z,now",
            "-Wl,-Bsymbolic",
            "-Wl,-rpath,$ORIGIN/lib",
            "-Wl,--build-id=0xc0ffee",
            "-Wl,-z,execstack",
            "-ftls-model=initial-exec",
            "-Wl,--no-as-needed",
            "-lm",
        ],
    );
    let report = bench.inspect("rich.so");
    assert_eq!(keys(&report), ["facts", "name", "schema_version"]);
    assert_eq!(
        (&report["schema_version"], &report["name"]),
        (&json!(1), &json!("rich.so"))
    );
    let facts = &report["facts"];
    for (pointer, expected) in [
        ("/kind", json!("elf")),
        ("/role", json!("shared-object")),
        ("/linkage", json!("dynamic")),
        ("/interpreter", Value::Null),
        ("/soname", json!("rich.so")),
        ("/runpath", json!("$ORIGIN/lib")),
        ("/build_id", json!("c0ffee")),
        ("/executable_stack", json!(true)),
        ("/binding/now", json!(true)),
        ("/binding/symbolic", json!(true)),
        ("/binding/no_open", json!(false)),
        ("/tls/size_bytes", json!(4)),
        ("/tls/fixed_offset_accesses", json!(1)),
        ("/libc/family", json!("glibc")),
        ("/tools/0/kind", json!("gcc")),
        ("/needed/0/name", json!("libm.so.6")),
        ("/stripped", json!(false)),
        ("/go", Value::Null),
        ("/rust", Value::Null),
        ("/cxx", Value::Null),
        ("/problems", json!([])),
    ] {
        assert_eq!(facts.pointer(pointer), Some(&expected), "{pointer}: {facts:#}");
    }
    let names = facts["symbols"]["names"].as_array().unwrap();
    assert!(
        names.contains(&json!("greet")) && names.contains(&json!("counter")),
        "{names:?}"
    );

    let said = seen(&bench.lockstep(&["inspect", "rich.so"]));
    for words in [
        "rich.so · shared object · ",
        "$ORIGIN/lib",
        "4 bytes for each thread · 1 access at a fixed offset",
        "own definitions come first",
        "must be executable",
        "2 exported: counter, greet",
        "c0ffee",
    ] {
        assert!(said.contains(words), "`{words}` is not in {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");

    let facts = &bench.inspect("host")["facts"];
    assert_eq!(
        (&facts["role"], &facts["linkage"]),
        (&json!("program"), &json!("dynamic"))
    );
    assert!(facts["interpreter"].is_string());
    bench.compile("alone", "int main(void) { return 0; }", &["-static"]);
    let facts = &bench.inspect("alone")["facts"];
    assert_eq!(
        (&facts["role"], &facts["linkage"]),
        (&json!("program"), &json!("static"))
    );
}

#[test]
fn names_of_cxx_are_seen() {
    let bench = Bench::new();
    bench.library(
        "old.so",
        "int greet(void) __asm__(\"_Z5greetRKSs\"); int greet(void) { return 1; }\n",
        &[],
    );
    let facts = &bench.inspect("old.so")["facts"];
    assert_eq!(facts["cxx"]["exported_strings"], json!({ "old": true, "new": false }));
    let said = seen(&bench.lockstep(&["inspect", "old.so"]));
    assert!(said.contains("exports strings of the old ABI"), "{said}");
}

#[test]
fn what_is_no_elf_file_is_told_as_what_it_is() {
    let bench = Bench::with_files();
    bench.write("wrapper", "#!/bin/sh\nexec /opt/host\n");
    bench.write("libfoo.so", "/* GNU ld script */\nINPUT(libfoo.so.1)\n");
    for (name, form) in [("wrapper", "script"), ("libfoo.so", "linker-script")] {
        let facts = &bench.inspect(name)["facts"];
        assert_eq!((&facts["kind"], &facts["form"]), (&json!("file"), &json!(form)));
        insta::assert_snapshot!(format!("inspect-{form}"), seen(&bench.lockstep(&["inspect", name])));
    }
    let whole = std::fs::read(bench.path("good.so")).unwrap();
    bench.write("cut.so", &whole[..whole.len() / 8]);
    let facts = &bench.inspect("cut.so")["facts"];
    assert_eq!(facts["kind"], "elf");
    assert_ne!(facts["problems"], json!([]));
    bench.write("head.so", &whole[..20]);
    assert_eq!(bench.inspect("head.so")["facts"]["form"], "broken-elf");
}

#[test]
fn a_root_says_which_loader_it_has_and_where_that_looks() {
    let bench = Bench::with_files();
    let helper = std::fs::read(bench.path("apart/libhelper.so")).unwrap();
    let tree = put(bench.root(), "etc/ld.so.conf", "/opt/lib\n/opt/nothing\n");
    let tree = put(tree, "etc/ld.so.preload", "# none but\n/opt/lib/libhelper.so\n");
    let tree = put(tree, "opt/lib/libhelper.so", helper);
    tree.write(&bench.path("root"));
    bench.write("root.tar", tree.tar());
    bench.write("image.tar", tar_of(&docker_archive(&[tree.tar()])));
    let directory = bench.inspect("root")["facts"].clone();
    assert_eq!(
        (&directory["kind"], &directory["system"]),
        (&json!("root"), &json!("Sample 1"))
    );
    let loader = &directory["loaders"][0];
    let version = Command::new("getconf").arg("GNU_LIBC_VERSION").output().unwrap();
    let said = format!(
        "{} {}",
        loader["family"].as_str().unwrap(),
        loader["release"].as_str().unwrap()
    );
    assert_eq!(said, text(&version.stdout).trim());
    assert!(!loader["directories"].as_array().unwrap().is_empty());
    assert_eq!(directory["not_cached"], json!(["/opt/lib"]));
    assert_eq!(directory["preloaded"], json!(["/opt/lib/libhelper.so"]));
    assert_eq!(
        (&directory["cache"], &directory["variables"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(bench.inspect("root.tar")["facts"], directory);
    let image = &bench.inspect("image.tar")["facts"];
    assert_eq!(
        image["variables"],
        json!([{ "name": "LD_LIBRARY_PATH", "value": "/a=b:/c" }])
    );
    assert_eq!(
        (&image["user"], &image["directory"]),
        (&json!("1234:50"), &json!("/srv"))
    );
    assert_eq!(image["loaders"], directory["loaders"]);
    // What is an archive, and not of one root, is an error that says so.
    let mut files = docker_archive(&[tree.tar()]);
    let mut manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let mut other = manifest[0].clone();
    other["RepoTags"] = json!(["c:d"]);
    manifest.as_array_mut().unwrap().push(other);
    files.insert("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap());
    bench.write("two.tar", tar_of(&files));
    let output = bench.lockstep(&["inspect", "two.tar"]);
    let said = seen(&output);
    assert!(
        said.starts_with("exit 2\n") && said.contains("a:b") && said.contains("c:d"),
        "{said}"
    );
    bench.write("notes.gz", roots::gzip(b"nothing that has files in it"));
    assert_eq!(bench.inspect("notes.gz")["facts"]["form"], "gzip");
}

const PROJECT: &str = "version: 1
project: sample
environments:
  here:  {build: {image: 'build:1'}, runtime: {image: 'runtime:1'}}
  there: {build: {image: 'build:1'}, runtime: {image: 'runtime:1'}}
host: {language: c, source: src/host, artifacts: [host]}
plugins:
  - {name: good, language: c, source: src/plugin, artifacts: [good.so]}
  - {name: helped, language: c, source: src/plugin, artifacts: [helped.so]}
contract: {loader: dlopen, abi: c, symbols: [greet]}
";

/// A project with a bundle for `here`, whose runtime image, which is in the user's cache, has the library of `helped.so`.
fn project() -> Bench {
    let bench = Bench::with_files();
    bench.write("lockstep.yaml", PROJECT);
    bench.write("src/host/a.c", "");
    bench.write("src/plugin/a.c", "");
    for file in ["host", "good.so", "helped.so"] {
        bench.write(&format!("dist/here/{file}"), std::fs::read(bench.path(file)).unwrap());
    }
    bench.seal();
    let helper = std::fs::read(bench.path("apart/libhelper.so")).unwrap();
    let layer = put(bench.root(), "opt/libhelper.so", helper).tar();
    let digest = Digest::of(&layer);
    bench.write(&format!("cache/images/layers/{}.tar", digest.hex()), layer);
    let image = lock::Image {
        recipe: Digest::of(b"recipe"),
        id: Digest::of(b"image").to_string(),
        layers: vec![digest],
        registry: None,
        packages: vec![],
    };
    let environment = lock::Environment {
        build: image.clone(),
        runtime: image,
        toolchains: BTreeMap::new(),
        host: None,
        pushed: lock::Pushed::new(),
        units: BTreeMap::new(),
    };
    let lock = Lock {
        environments: BTreeMap::from([(EnvironmentName::new("here").unwrap(), environment)]),
        ..Lock::default()
    };
    lock::write(&bench.path("lockstep.lock"), &lock).unwrap();
    bench
}

/// The library is in the runtime image alone, where only this leads to.
const LEAD: &str = "LD_LIBRARY_PATH=/opt";

#[test]
fn without_files_the_bundles_of_the_project_are_checked() {
    let bench = project();
    let (exit, report) = bench.check(&["--env", LEAD]);
    let pairs = report["pairs"].as_array().unwrap();
    let named: Vec<&str> = pairs.iter().map(|pair| pair["plugin"].as_str().unwrap()).collect();
    assert_eq!((exit, named), (0, vec!["dist/here/good.so", "dist/here/helped.so"]));
    assert_eq!(pairs[0]["host"], "dist/here/host");
    let (exit, verdicts) = bench.verdicts(&[]);
    assert_eq!((exit, verdicts[0].as_str()), (1, "ok"));
    assert!(verdicts[1].starts_with("refuse library-missing"), "{verdicts:?}");
    // The project's own contract holds, and another one if it is named.
    std::fs::write(bench.path("lockstep.yaml"), PROJECT.replace("[greet]", "[greet, part]")).unwrap();
    let (exit, verdicts) = bench.verdicts(&["--env", LEAD]);
    assert_eq!((exit, verdicts), (1, vec!["refuse contract-symbol".to_owned(); 2]));
    bench.write("loose.yaml", "loader: dlopen\n");
    assert_eq!(bench.verdicts(&["--env", LEAD, "--contract", "loose.yaml"]).0, 0);
    // From elsewhere, by the project's file.
    let elsewhere = bench.path("apart");
    let output = assert_cmd::Command::cargo_bin("lockstep")
        .unwrap()
        .current_dir(&elsewhere)
        .env("DOCKER_HOST", NOWHERE)
        .env("LOCKSTEP_CACHE_DIR", bench.path("cache"))
        .args([
            "check",
            "--file",
            "../lockstep.yaml",
            "--allow",
            "contract-symbol",
            "--env",
            LEAD,
        ])
        .output()
        .unwrap();
    assert_eq!(
        seen(&output),
        "exit 0\n--- stdout\n\
         allowed[contract-symbol]: `../dist/here/good.so` does not export `part`, which the contract names\n  \
         --> ../dist/here/good.so\n  \
         = looking up the symbol will say: ../dist/here/good.so: undefined symbol: part\n\n\
         allowed[contract-symbol]: `../dist/here/helped.so` does not export `part`, which the contract names\n  \
         --> ../dist/here/helped.so\n  \
         = looking up the symbol will say: ../dist/here/helped.so: undefined symbol: part\n\n\
         2 plugins: 2 allowed\n--- stderr\n"
    );
}

#[test]
fn what_a_bundle_lacks_is_told() {
    let bench = project();
    std::fs::remove_file(bench.path("dist/here/good.so")).unwrap();
    insta::assert_snapshot!("check-bundle-altered", seen(&bench.lockstep(&["check"])));
    bench.seal();
    insta::assert_snapshot!("check-bundle-lacks", seen(&bench.lockstep(&["check"])));
    std::fs::remove_file(bench.path("dist/here/manifest.json")).unwrap();
    insta::assert_snapshot!("check-no-bundle", seen(&bench.lockstep(&["check"])));
    let bench = project();
    std::fs::remove_dir_all(bench.path("cache")).unwrap();
    let output = bench.lockstep(&["check"]);
    assert_eq!(
        output.status.code(),
        Some(3),
        "without its layers the image is asked of the engine: {}",
        seen(&output)
    );
    bench.root().write(&bench.path("root"));
    assert_eq!(bench.lockstep(&["check", "--rootfs", "root"]).status.code(), Some(1));
    std::fs::remove_file(bench.path("lockstep.lock")).unwrap();
    insta::assert_snapshot!("check-no-lock", seen(&bench.lockstep(&["check"])));
}

#[test]
fn files_of_a_bundle_are_checked_as_the_project_says() {
    let bench = project();
    let files = ["dist/here/host", "dist/here/good.so", "dist/here/helped.so"];
    let verdicts = |more: &[&str]| bench.verdicts(&[more, &files].concat());
    assert_eq!(verdicts(&["--env", LEAD]), (0, vec!["ok".to_owned(); 2]));
    // Files that lie elsewhere are checked against this machine, where `/opt` has no such library.
    assert_eq!(bench.verdicts(&["--env", LEAD, "host", "helped.so"]).0, 1);
    std::fs::write(bench.path("lockstep.yaml"), PROJECT.replace("[greet]", "[greet, part]")).unwrap();
    assert_eq!(
        verdicts(&["--env", LEAD]),
        (1, vec!["refuse contract-symbol".to_owned(); 2])
    );
    // The contract holds for what lies elsewhere in the project, too.
    let elsewhere = bench.verdicts(&["host", "good.so"]);
    assert_eq!(elsewhere, (1, vec!["refuse contract-symbol".to_owned()]));
    // What the user says counts more than the project.
    bench.write("loose.yaml", "loader: dlopen\n");
    assert_eq!(verdicts(&["--env", LEAD, "--contract", "loose.yaml"]).0, 0);
    bench.root().write(&bench.path("root"));
    assert_eq!(verdicts(&["--env", LEAD, "--rootfs", "root"]).0, 1);
}

#[test]
fn what_a_unit_brings_beside_its_plugin_is_there() {
    let bench = project();
    std::fs::copy(bench.path("apart/libhelper.so"), bench.path("dist/here/libhelper.so")).unwrap();
    bench.library(
        "dist/here/helped.so",
        NEEDS_HELPER,
        &["-Lapart", "-lhelper", "-Wl,-rpath,$ORIGIN"],
    );
    bench.seal();
    let files = ["dist/here/host", "dist/here/helped.so"];
    assert_eq!(
        bench.verdicts(&files).0,
        1,
        "no unit says that the library belongs to it"
    );
    let text = PROJECT.replace(
        "artifacts: [helped.so]",
        "artifacts: [helped.so, libhelper.so], command: make",
    );
    std::fs::write(bench.path("lockstep.yaml"), text).unwrap();
    assert_eq!(bench.verdicts(&files), (0, vec!["ok".to_owned()]));
    // Without files, what is beside the plugins is looked at, too.
    assert_eq!(bench.verdicts(&[]), (0, vec!["ok".to_owned(); 3]));
}

/// Whatever is shipped and a loader could load is looked at: not only what the host opens.
#[test]
fn what_lies_beside_plugins_is_looked_at() {
    let bench = project();
    bench.library("apart/libgone.so", "int gone(void) { return 3; }", &[]);
    let lost = ["-Wl,--no-as-needed", "-Lapart", "-lgone"];
    bench.library("dist/here/fine.so", GOOD, &[]);
    bench.library("dist/here/lost.so", GOOD, &lost);
    bench.compile("dist/here/tool", "int main(void) { return 0; }", &[]);
    bench.compile("dist/here/lost-tool", "int main(void) { return 0; }", &lost);
    // What linkers and debuggers read, and what is no object at all.
    bench.compile("dist/here/part.o", GOOD, &["-c"]);
    bench.library("dist/here/fine.debug", GOOD, &["-g"]);
    let debug = Command::new("objcopy")
        .args([
            "--only-keep-debug".as_ref(),
            bench.path("dist/here/fine.debug").as_os_str(),
        ])
        .status();
    assert!(debug.unwrap().success());
    bench.write("dist/here/LICENSE", "free");
    let beside = ["fine.so", "tool", "part.o", "fine.debug", "LICENSE"];
    let with = |more: &[&str]| {
        let all: Vec<&str> = beside.iter().chain(more).copied().collect();
        let text = format!("artifacts: [helped.so, {}], command: make", all.join(", "));
        std::fs::write(
            bench.path("lockstep.yaml"),
            PROJECT.replace("artifacts: [helped.so]", &text),
        )
        .unwrap();
        bench.seal();
        let (exit, report) = bench.check(&["--env", LEAD]);
        let pairs = report["pairs"].as_array().unwrap().iter();
        let told: Vec<String> = pairs
            .filter(|pair| pair["is_companion"] == true)
            .map(|pair| {
                let name = pair["plugin"].as_str().unwrap().rsplit('/').next().unwrap();
                format!("{name} {}", pair["verdict"].as_str().unwrap())
            })
            .collect();
        (exit, told.join(", "))
    };
    assert_eq!(with(&[]), (0, "fine.so ok, tool ok".to_owned()));
    let text = bench.lockstep(&["check", "--env", LEAD]);
    assert!(
        seen(&text).contains("ok: 2 plugins and 2 files beside will load"),
        "{}",
        seen(&text)
    );
    let expected = "fine.so ok, tool ok, lost.so refuse, lost-tool refuse";
    assert_eq!(with(&["lost.so", "lost-tool"]), (1, expected.to_owned()));
}
