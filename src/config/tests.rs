use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::nearest::nearest;

const GREETER: &str = include_str!("fixtures/greeter.yaml");
const GATEWAY: &str = include_str!("fixtures/gateway.yaml");
const BUILTIN: &[&str] = &["debian/build", "debian/runtime", "musl/build", "musl/runtime"];

const DIRECTORIES: &[&str] = &[
    ".",
    "host",
    "images",
    "plugins",
    "plugins/include",
    "plugins/reverse",
    "plugins/shout",
    "vendor",
];
const FILES: &[&str] = &[
    "go.mod",
    "images/alpine/Dockerfile",
    "images/debian/build.yaml",
    "images/debian/runtime.yaml",
    "images/musl/build.yaml",
    "images/musl/runtime.yaml",
    "vendor/Greeter-1.2",
    "vendor/greeter",
];

/// A directory that only these tests have.
fn find_in_test(path: &str) -> Found {
    match path {
        "linked/out" => Found::Outside {
            target: PathBuf::from("/etc"),
        },
        "locked" => Found::Unknown {
            cause: "permission denied".to_owned(),
        },
        "socket" => Found::Other,
        _ if DIRECTORIES.contains(&path) => Found::Directory,
        _ if FILES.contains(&path) => Found::File,
        _ => Found::Nothing {
            similar: nearest(path, DIRECTORIES.iter().chain(FILES).copied()).map(str::to_owned),
        },
    }
}

fn parse_text(text: &str) -> (Option<Project>, Vec<Problem>) {
    let surroundings = Surroundings {
        file: Path::new("/project/lockstep.yaml"),
        directory: Path::new("/project"),
        shown: "lockstep.yaml",
        builtin: BUILTIN,
        architecture: "amd64",
        find: &find_in_test,
    };
    parse(text.as_bytes(), &surroundings)
}

fn told(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({omit_expression => true}, { insta::assert_snapshot!(name, text) });
}

/// Each change of a good file, by itself, and what it gets.
fn check(base: &str, changes: &[(&str, &str)]) -> String {
    let cases = changes.iter().map(|(from, to)| {
        assert_eq!(base.matches(from).count(), 1, "`{from}` must be in the file once");
        let (project, problems) = parse_text(&base.replace(from, to));
        assert_eq!(project.is_some(), problems.is_empty());
        let answer = if problems.is_empty() {
            "ok".to_owned()
        } else {
            told(&problems)
        };
        let from = if from == &base {
            "(all)".to_owned()
        } else {
            from.escape_debug().to_string()
        };
        format!("{from} -> {}\n{answer}\n", to.escape_debug())
    });
    cases.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_examples_are_read() {
    let (project, problems) = parse_text(GREETER);
    assert_eq!(told(&problems), "");
    snapshot("greeter", &serde_json::to_string_pretty(&project).unwrap());
    let (project, problems) = parse_text(GATEWAY);
    assert_eq!(told(&problems), "");
    snapshot("gateway", &serde_json::to_string_pretty(&project).unwrap());
}

/// The samples themselves; that their files exist is the build's test.
#[test]
fn the_samples_are_read() {
    for (text, name) in [
        (include_str!("../../lockstep.yaml"), "greeter"),
        (include_str!("../../gateway/lockstep.yaml"), "gateway"),
    ] {
        let is_file = |path: &str| path.ends_with(".yaml") || path.ends_with("Dockerfile");
        let surroundings = Surroundings {
            file: Path::new("/project/lockstep.yaml"),
            directory: Path::new("/project"),
            shown: "lockstep.yaml",
            builtin: &[BUILTIN, &["alpine/build", "alpine/runtime"]].concat(),
            architecture: "amd64",
            find: &|path| if is_file(path) { Found::File } else { Found::Directory },
        };
        let (project, problems) = parse(text.as_bytes(), &surroundings);
        assert_eq!(told(&problems), "");
        assert_eq!(project.unwrap().name.as_str(), name);
    }
}

#[test]
fn a_mark_and_line_ends_of_other_systems_change_nothing() {
    let (expected, _) = parse_text(GREETER);
    assert_eq!(parse_text(&GREETER.replace('\n', "\r\n")), (expected.clone(), vec![]));
    assert_eq!(parse_text(&format!("\u{feff}{GREETER}")), (expected, vec![]));
}

#[test]
fn the_file_as_a_whole() {
    snapshot(
        "file",
        &check(
            GREETER,
            &[
                (GREETER, ""),
                (GREETER, "just text"),
                (GREETER, "- a\n- b\n"),
                (GREETER, "version: 1\n"),
                ("version: 1\n", ""),
                ("version: 1", "version: 2"),
                ("version: 1", "version: \"1\""),
                ("version: 1", "version: 1.0"),
                ("version: 1", "version:"),
                ("version: 1", "verson: 1"),
                ("project: greeter", "project: My Greeter"),
                ("project: greeter", "project: 42"),
                ("project: greeter\n", ""),
                ("project: greeter", "project: greeter\nproject: other"),
                ("project: greeter", "projct: greeter"),
                ("project: greeter", "services: {}"),
                ("default: [glibc, musl]", "default: [glib, musl]"),
                ("default: [glibc, musl]", "default: [windows, musl, musl]"),
                ("default: [glibc, musl]", "default: []"),
                ("default: [glibc, musl]", "default: glibc"),
                ("default: [glibc, musl]\n", ""),
                ("project: greeter", "source_date_epoch: -1"),
                ("project: greeter", "source_date_epoch: 2025-01-01"),
                ("smoke:\n", "---\nsmoke:\n"),
            ],
        ),
    );
}

#[test]
fn archives() {
    let read = |text: &str| {
        let (project, problems) = parse_text(&GREETER.replace("version: 1", &format!("version: 1\narchives: {text}")));
        (project.map(|project| project.archives), told(&problems))
    };
    let (archives, told) =
        read("[packages, /srv/packages, 'https://a.example/1/', 'http://b.example x-security main non-free']");
    let expected = [
        "deb [trusted=yes check-valid-until=no check-date=no] https://a.example/1/ trixie main\n",
        "deb [trusted=yes check-valid-until=no check-date=no] http://b.example x-security main non-free\n",
    ];
    let archives = archives.unwrap_or_else(|| panic!("{told}"));
    let sources: Vec<String> = archives.iter().filter_map(|archive| archive.source("trixie")).collect();
    assert_eq!(sources, expected);
    let places: Vec<String> = archives.iter().map(ToString::to_string).collect();
    assert_eq!(places[..2], ["/project/packages", "/srv/packages"]);
    let wrong = [
        "packages",
        "[ftp://a.example]",
        "['https://a.example [trusted=yes]']",
        "['']",
        "[~/packages]",
    ];
    let told: Vec<String> = wrong.iter().map(|text| format!("# {text}\n{}", read(text).1)).collect();
    snapshot("archives", &told.join("\n"));
}

#[test]
fn registry() {
    let read = |text: &str| {
        let (project, problems) = parse_text(&GREETER.replace("version: 1", &format!("version: 1\nregistry: {text}")));
        (project.and_then(|project| project.registry), told(&problems))
    };
    let (registry, told) = read("registry.example.org/team/gateway");
    assert_eq!(
        registry.map(|registry| registry.tagged("1")).as_deref(),
        Some("registry.example.org/team/gateway:1"),
        "{told}"
    );
    let wrong = [
        "gateway",
        "team/gateway",
        "https://a.example/b",
        "a.example/b:1",
        "a.example/B",
        "[a.example/b]",
        "''",
    ];
    let told: Vec<String> = wrong.iter().map(|text| format!("# {text}\n{}", read(text).1)).collect();
    snapshot("registry", &told.join("\n"));
}

#[test]
fn environments() {
    snapshot(
        "environments",
        &check(
            GREETER,
            &[
                ("musl:   {", "Musl Linux: {"),
                ("musl:   {", "glibc: {"),
                (
                    "{build: images/musl/build.yaml,   runtime: images/musl/runtime.yaml}",
                    "images/musl",
                ),
                (
                    "{build: images/musl/build.yaml,   runtime: images/musl/runtime.yaml}",
                    "{biuld: images/musl/build.yaml}",
                ),
                ("images/musl/build.yaml", "images/mussl/build.yaml"),
                ("images/musl/build.yaml", "/etc/passwd"),
                ("images/musl/build.yaml", "../other/build.yaml"),
                ("images/musl/build.yaml", "a/../../build.yaml"),
                ("images/musl/build.yaml", "~/build.yaml"),
                ("images/musl/build.yaml", "linked/out"),
                ("images/musl/build.yaml", "locked"),
                ("images/musl/build.yaml", "images"),
                ("images/musl/build.yaml", "debian:trixie"),
                ("images/musl/build.yaml", "musl/build"),
                ("images/musl/build.yaml", "images/alpine/Dockerfile"),
                ("images/musl/build.yaml", "./images//musl/build.yaml"),
                ("images/musl/build.yaml", "\"\""),
                ("images/musl/build.yaml", "{}"),
                ("images/musl/build.yaml", "{builtin: musl/biuld}"),
                ("images/musl/build.yaml", "{builtin: windows}"),
                ("images/musl/build.yaml", "{builtin: musl/build, target: x}"),
                ("images/musl/build.yaml", "{file: images/musl/build.yaml}"),
                (
                    "images/musl/build.yaml",
                    "{extends: runtime, packages: [gcc, libc6-dev]}",
                ),
                ("images/musl/build.yaml", "{extends: build, packages: [gcc]}"),
                ("images/musl/build.yaml", "{extends: runtime}"),
                ("images/musl/build.yaml", "{extends: runtime, packages: []}"),
                ("images/musl/build.yaml", "{extends: runtime, packages: [-o, 'a b']}"),
                (
                    "images/musl/build.yaml",
                    "{extends: runtime, packages: [gcc], target: x}",
                ),
                ("images/musl/build.yaml", "{builtin: musl/build, packages: [gcc]}"),
                ("images/musl/runtime.yaml", "{extends: runtime, packages: [gcc]}"),
                (
                    "{dockerfile: images/alpine/Dockerfile, target: build}",
                    "{extends: runtime, packages: [gcc]}",
                ),
                (
                    "dockerfile: images/alpine/Dockerfile, target: build",
                    "dockerfile: images/Dockerfile, target: -x",
                ),
                ("dockerfile: images/alpine/Dockerfile, target: build", "target: build"),
                (
                    "{image: \"alpine:3.22\"}",
                    "{image: \"alpine:3.22\", builtin: debian/runtime}",
                ),
                ("{image: \"alpine:3.22\"}", "{image: Alpine}"),
                ("{image: \"alpine:3.22\"}", "{image: \"alpine 3\"}"),
                (
                    "{image: \"alpine:3.22\"}",
                    "{image: \"localhost:5000/Team/x@sha256:00\"}",
                ),
                (
                    "{image: \"alpine:3.22\"}",
                    "{image: \"localhost:5000/team/x:V1@sha256:00\"}",
                ),
                ("{image: \"alpine:3.22\"}", "{image: 3.22}"),
            ],
        ),
    );
}

#[test]
fn builds() {
    let unit = "language: c,    source: plugins/reverse";
    let builds = [
        "cmake",
        "{system: cmake, options: [-DX=ON, '-DY=a b'], targets: [reverse], install: true}",
        "{system: cmake, features: [x]}",
        "{system: cmake, install: maybe}",
        "{systm: cmake}",
        "{system: ninja}",
        "cmaek",
        "[cmake]",
        "",
        "make, command: make",
        "make, package: ./x",
        "{system: make, targets: all}",
        "cargo",
    ]
    .map(|build| format!("{unit}, build: {build}"));
    let alone = [
        "cargo",
        "make",
        "{system: ninja}",
        "{system: cargo, package: reverse, features: [a, b], default_features: false}",
        "{system: cargo, features: ['a,b'], package: ../other}",
        "{system: go, buildmode: c-shared, tags: [netgo], package: ./x}",
        "go",
        "{system: go, buildmode: archive}",
        "{system: apxs, sources: [-x.c]}",
        "pgxs",
        "maturin",
    ]
    .map(|build| format!("source: plugins/reverse, build: {build}"));
    let changes: Vec<(&str, &str)> = builds.iter().chain(&alone).map(|to| (unit, to.as_str())).collect();
    snapshot("builds", &check(GREETER, &changes));
}

/// Two builds, and who takes what.
const SHARED: &str = "version: 1
project: greeter
environments: {glibc: {build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}}
builds:
  tree: {build: cmake, language: c, source: plugins, inputs: [host]}
  crates: {language: rust, source: plugins/shout, env: {A: b}}
host: {from: tree, artifacts: [greeter]}
plugins:
  - {name: reverse, from: tree, artifacts: [reverse.so]}
  - {name: shout, from: crates, artifacts: [libshout.so, {file: libloud.so, to: loud/er.so}]}
contract: {loader: dlopen, abi: c, symbols: [greet]}
";

#[test]
fn units_take_from_builds() {
    let (project, problems) = parse_text(SHARED);
    assert_eq!(told(&problems), "");
    let project = project.unwrap();
    let shown = serde_json::json!({"builds": project.builds, "host": project.host, "plugins": project.plugins});
    snapshot("shared", &serde_json::to_string_pretty(&shown).unwrap());
}

#[test]
fn shared_builds() {
    snapshot(
        "shared_builds",
        &check(
            SHARED,
            &[
                ("host: {from: tree,", "host: {from: crates,"),
                ("reverse, from: tree", "reverse, from: tere"),
                ("reverse, from: tree", "reverse, from: runtime"),
                ("reverse, from: tree", "reverse, from: elsewhere"),
                ("reverse, from: tree", "reverse, from: [tree]"),
                ("reverse, from: tree", "reverse, from: ''"),
                ("reverse, from: tree", "reverse, form: tree"),
                ("host: {from: tree,", "host: {from: trees,"),
                ("host: {from: tree,", "host: {from: runtime,"),
                ("host: {from: tree,", "host: {from: tree, path: /usr/bin/greeter,"),
                ("host: {from: tree,", "host: {from: runtime, language: c,"),
                ("shout, from: crates", "shout, from: tree"),
                (
                    "shout, from: crates",
                    "shout, from: crates, source: plugins/shout, inputs: [], language: rust, package: ., build: cargo, command: x, fetch: y, env: {}",
                ),
                ("[reverse.so]", "[libshout.so]"),
                ("[reverse.so]", "[{file: libshout.so, to: other.so}]"),
                ("name: shout", "name: tree"),
                ("[greeter]", "[tree]"),
                ("  crates:", "  runtime:"),
                ("  crates:", "  Crates:"),
                ("  crates:", "  lockstep-loader:"),
                ("build: cmake", "build: {system: go, buildmode: c-shared}"),
                ("build: cmake, language: c", "build: cmake"),
                ("build: cmake, language: c", "language: c"),
                ("build: cmake, language: c", "language: c, command: make"),
                ("build: cmake, language: c", "build: cmake, command: make, language: c"),
                ("inputs: [host]", "artifacts: [greeter]"),
                ("source: plugins/shout, ", ""),
                ("abi: c", "abi: rust"),
                ("{loader: dlopen, abi: c", "{loader: go, abi: go"),
                ("builds:\n  tree", "builds: {}\nbilds:\n  tree"),
            ],
        ),
    );
}

#[test]
fn units() {
    snapshot(
        "units",
        &check(
            GREETER,
            &[
                ("artifacts: [greeter]", "artefacts: [greeter]"),
                ("artifacts: [greeter]", "artifacts: greeter"),
                ("artifacts: [greeter]", "artifacts: []"),
                ("artifacts: [greeter]", "artifacts: [Greeter]"),
                ("artifacts: [greeter]", "name: the host, artifacts: [greeter]"),
                ("artifacts: [greeter]", "name: shout, artifacts: [greeter]"),
                ("artifacts: [greeter]", "package: ., artifacts: [greeter]"),
                ("language: rust, source: host", "source: host"),
                ("language: rust, source: host", "language: rsut, source: host"),
                ("language: rust, source: host", "language: C++, source: host"),
                ("language: rust, source: host", "language: zig, source: host"),
                ("language: rust, source: host", "language: [rust], source: host"),
                ("source: host", "source: hots"),
                ("source: host", "source: go.mod"),
                ("source: host", "source: socket"),
                (
                    "source: host",
                    "inputs: [plugins/include, /etc, nowhere, plugins/./include], source: host",
                ),
                ("source: host", "command: [make], fetch: \"\", source: host"),
                (
                    "source: host",
                    "env: {1A: x, B: [], C: true, SOURCE_DATE_EPOCH: 1, LOCKSTEP_OUT: /x}, source: host",
                ),
                ("source: host", "env: [A=1], source: host"),
                ("name: reverse", "name: shout"),
                ("name: reverse, ", ""),
                ("name: reverse", "name: ../reverse"),
                ("[reverse.so]", "[libshout.so]"),
                ("[reverse.so]", "[build/reverse.so]"),
                ("[reverse.so]", "[..]"),
                ("[reverse.so]", "[manifest.json]"),
                ("[reverse.so]", "[\"a\\nb\", \"a\\0b\", \"\", -x, 1]"),
                ("[reverse.so]", "[reverse.so, other.so]"),
                ("[libshout.so]", "[libshout.so, libother.so]"),
                ("  - {name: reverse", "  - reverse\n  - {name: reverse"),
                ("artifacts: [reverse.so]", "package: ../x, artifacts: [reverse.so]"),
            ],
        ),
    );
    snapshot(
        "units_in_go",
        &check(
            GATEWAY,
            &[
                ("package: ./plugins/hello", "package: ../hello"),
                ("package: ./plugins/hello", "package: ./..."),
                (
                    "plugins:\n  - name: hello\n    language: go",
                    "plugins:\n  - name: hello\n    language: cpp",
                ),
                ("source: ./", "source: \"\""),
            ],
        ),
    );
}

#[test]
fn hosts() {
    const HOST: &str = "host:    {language: rust, source: host, artifacts: [greeter]}";
    let hosts = [
        "host: {from: runtime, path: /usr/sbin/nginx}",
        "host: {from: runtime, path: /usr/sbin/nginx, install: /usr/lib/nginx/modules}",
        "host: {name: python, from: runtime, path: /usr/bin/python3.13}",
        "host: {from: runtime, path: '/usr/bin/['}",
        "host: {from: runtime}",
        "host: {from: image, path: /usr/sbin/nginx}",
        "host: {path: /usr/sbin/nginx}",
        "host: {from: runtime, path: usr/sbin/nginx}",
        "host: {from: runtime, path: /usr//sbin/../bin/nginx/}",
        "host: {from: runtime, path: \"/usr/\\u0007\"}",
        "host: {from: runtime, path: /bin/shout, name: shout}",
        "host: {from: runtime, path: /bin/lockstep-loader}",
        "host: {from: runtime, path: /usr/sbin/nginx, source: host, artifacts: [nginx]}",
        "host: {language: rust, source: host, artifacts: [greeter], from: runtime}",
        "host: {language: rust, source: host, artifacts: [greeter], install: /opt/greeter/plugins}",
        "host: {language: rust, source: host, artifacts: [greeter], install: plugins}",
        "host: {language: rust, source: host, artifacts: [greeter], install: /tmp/plugins}",
        "host: {language: rust, source: host, artifacts: [greeter], install: /lockstep}",
        "host: {language: rust, source: host, artifacts: [greeter], install: /tmpfiles}",
        "host: {file: vendor/greeter}",
        "host: {file: vendor/greeter, install: /usr/lib/greeter}",
        "host: {name: greeter, file: vendor/Greeter-1.2}",
        "host: {file: vendor/Greeter-1.2}",
        "host: {file: vendor/greeterr}",
        "host: {file: /usr/bin/greeter}",
        "host: {file: vendor}",
        "host: {file: vendor/greeter, from: runtime}",
        "host: {file: vendor/greeter, path: /usr/bin/greeter}",
        "host: {file: vendor/greeter, language: rust, source: host}",
        "host: {name: shout, file: vendor/greeter}",
        "host: {name: libshout.so, file: vendor/greeter}",
        "host: {name: manifest.json, file: vendor/greeter}",
    ];
    let changes: Vec<(&str, &str)> = hosts.iter().map(|host| (HOST, *host)).collect();
    snapshot("hosts", &check(GREETER, &changes));
    // The plugins lie where the host looks for them.
    let installed = GREETER
        .replace(
            HOST,
            "host: {from: runtime, path: /usr/sbin/nginx, install: /usr/lib/nginx/modules}",
        )
        .replace(
            "command: [greeter, --plugins, \"{plugins}\", World]",
            "command: [nginx, -t]",
        );
    let (project, problems) = parse_text(&installed);
    assert_eq!(problems, []);
    assert_eq!(
        project.unwrap().host.resolve("nginx", "/lockstep/bin"),
        "/usr/sbin/nginx"
    );
    // A file of the project lies under its name, and its own name means it too.
    let brought = GREETER.replace(HOST, "host: {name: greeter, file: vendor/Greeter-1.2}");
    let (project, problems) = parse_text(&brought);
    assert_eq!(problems, []);
    let host = project.unwrap().host;
    assert_eq!(host.place(), Some("greeter"));
    for word in ["greeter", "Greeter-1.2"] {
        assert_eq!(host.resolve(word, "/bundle"), "/bundle/greeter");
    }
    assert_eq!(host.resolve("sh", "/bundle"), "sh");
}

#[test]
fn image_starts() {
    let starts = [
        "image: {entrypoint: [greeter, \"{plugins}\"], cmd: [], env: {A: 1}, user: \"10:10\"}",
        "image: {entrypoint: []}",
        "image: {entrypoint: greeter}",
        "image: {user: a b}",
        "image: {user: \"1:2:3\"}",
        "image: {env: [A=1]}",
        "image: {command: [greeter]}",
        "image: greeter",
    ];
    let changes: Vec<(&str, String)> = starts
        .iter()
        .map(|start| ("smoke:\n", format!("{start}\nsmoke:\n")))
        .collect();
    let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
    snapshot("image_starts", &check(GREETER, &changes));
}

#[test]
fn contracts() {
    snapshot(
        "contracts",
        &check(
            GREETER,
            &[
                (
                    "{loader: dlopen, abi: c, symbols: [plugin_name, plugin_greet]}",
                    "dlopen",
                ),
                ("{loader: dlopen, abi: c, symbols: [plugin_name, plugin_greet]}", "{}"),
                ("loader: dlopen", "loader: dlopn"),
                ("loader: dlopen", "loader: java"),
                ("loader: dlopen", "loader: go"),
                ("loader: dlopen, abi: c,", "loader: go, abi: go,"),
                ("abi: c,", "abi: go,"),
                ("abi: c,", "abi: cpp,"),
                ("abi: c,", "abi: rust,"),
                ("abi: c,", "abi: cxx,"),
                ("name: reverse, language: c, ", "name: reverse, language: go,"),
                (
                    "name: reverse, language: c, ",
                    "name: reverse, command: make, language: go,",
                ),
                ("plugin_greet]", "plugin_greet, plugin_greet, \"a b\", 1]"),
                (
                    "plugin_greet]",
                    "{name: plugin_greet}, {name: plugin_count, type: \"*int\"}, {name: plugin_name}, {type: \"*int\"}]",
                ),
                (
                    "plugin_greet]",
                    "plugin_greet], calls: [{symbol: plugin_gret}, {symbol: other, args: [1, {}]}, {}]",
                ),
                (
                    "plugin_greet]",
                    "plugin_greet], calls: [{symbol: plugin_greet, args: [1, 2, 3, 4, 5], returns: bool}]",
                ),
                (
                    "plugin_greet]",
                    "plugin_greet], calls: [{symbol: plugin_greet, returns: int32}]",
                ),
                ("plugin_greet]", "plugin_greet], calls: {plugin_greet: []}"),
            ],
        ),
    );
}

#[test]
fn smoke_commands() {
    snapshot(
        "smoke_commands",
        &check(
            GREETER,
            &[
                ("command: [greeter,", "command: [greter,"),
                ("command: [greeter,", "command: [sh, -c,"),
                ("command: [greeter, --plugins, \"{plugins}\", World]", "command: []"),
                (
                    "command: [greeter, --plugins, \"{plugins}\", World]",
                    "command: greeter {plugins}",
                ),
                (
                    "command: [greeter, --plugins, \"{plugins}\", World]",
                    "command: [greeter, {plugins}]",
                ),
                ("\"{plugins}\"", "plugins"),
                ("\"{plugins}\"", "\"{plugin}\""),
                ("\"{plugins}\", World", "\"--dir={plugins}\", 8080"),
                ("  expect:  {status: 0, stdout: [\"HELLO, WORLD\"]}\n", ""),
                ("  expect:", "  ready: {tcp: 0}\n  expect:"),
                ("  expect:", "  requests: []\n  stop: {}\n  expect:"),
                ("  expect:", "  timeout: 10\n  expect:"),
                ("  expect:", "  timeout: soon\n  expect:"),
                ("  expect:", "  timeout: 0s\n  expect:"),
                ("  expect:", "  timeout: 500ms\n  expect:"),
                ("status: 0", "status: 256"),
                ("status: 0", "status: ok"),
                ("stdout: [\"HELLO, WORLD\"]", "stdout: HELLO"),
                ("stdout: [\"HELLO, WORLD\"]", "stdout: [\"\", true], stder: [x]"),
            ],
        ),
    );
}

/// GREETER with steps in the place of its smoke test.
fn with_steps(steps: &str) -> String {
    let at = GREETER.find("smoke:\n").unwrap();
    format!("{}smoke:\n{steps}", &GREETER[..at])
}

const STEPS: &str = r#"  - {setup: [initdb, -D, /data], user: postgres, writable: [/data], exec: true}
  - serve: [greeter, "{plugins}"]
    user: 7
    env: {A: server, B: server}
    cwd: /data
    timeout: 5s
    ready: {tcp: 5432}
    requests:
      - {run: [psql, -c, select 1], stdin: "x", env: {B: client}, expect: {status: 3}}
      - {path: /healthz}
    stop: {signal: INT}
  - {run: [sh, -c, "ls /data"], writable: [/data], user: postgres}
"#;

#[test]
fn smoke_steps_are_read_in_their_order() {
    let (project, problems) = parse_text(&with_steps(STEPS));
    assert_eq!(problems, []);
    let smoke = project.unwrap().smoke.unwrap();
    let [setup, server, run] = smoke.steps.as_slice() else {
        panic!("{smoke:?}");
    };
    assert_eq!(
        (&setup.kind, setup.exec, setup.writable.as_slice()),
        (&StepKind::Setup, true, &["/data".to_owned()][..])
    );
    assert_eq!(run.kind, StepKind::Command(Expectation::default()));
    assert_eq!(smoke.started(), Some(server));
    // A client is as its server, but for what it says itself.
    let StepKind::Server(Server { requests, .. }) = &server.kind else {
        panic!("{server:?}");
    };
    let [Question::Client(client), Question::Request(request)] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    let own = &client.invocation;
    assert_eq!(
        (own.user.as_deref(), own.cwd.as_deref(), own.timeout.as_secs()),
        (Some("7"), Some("/data"), 5)
    );
    assert_eq!(
        own.env,
        [("A", "server"), ("B", "client")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    );
    assert_eq!((own.stdin.as_deref(), client.expect.status), (Some("x"), 3));
    assert_eq!(request.url, "http://127.0.0.1:5432/healthz");
    assert_eq!(smoke.invocations().count(), 4);
}

#[test]
fn a_step_can_start_in_the_root() {
    let (project, problems) = parse_text(&with_steps("  - {run: [greeter, '{plugins}'], cwd: /}\n"));
    assert_eq!(problems, []);
    let smoke = project.unwrap().smoke.unwrap();
    assert_eq!(smoke.started().unwrap().invocation.cwd.as_deref(), Some("/"));
}

#[test]
fn smoke_steps() {
    snapshot(
        "smoke_steps",
        &check(
            &with_steps(STEPS),
            &[
                ("\"{plugins}\"", "plugins"),
                ("setup: [initdb", "setup: [initdb], run: [initdb"),
                ("setup: [initdb", "steup: [initdb"),
                ("{setup: [initdb, -D, /data], ", "{"),
                ("exec: true", "expect: {status: 0}"),
                ("exec: true", "exec: yes, ready: {tcp: 1}"),
                ("writable: [/data], exec", "exec"),
                ("    ready: {tcp: 5432}\n", ""),
                (
                    "    stop: {signal: INT}",
                    "    stop: {signal: INT}\n    expect: {status: 0}",
                ),
                (
                    "[sh, -c, \"ls /data\"],",
                    "[sh, -c, \"ls /data\"], stop: {status: 1}, ready: {tcp: 1},",
                ),
                ("user: 7", "user: root"),
                ("user: 7", "user: 0"),
                ("user: 7", "user: \"postgres:postgres\""),
                ("cwd: /data", "cwd: data"),
                ("cwd: /data", "stdin: [text]"),
                (
                    "[/data], user",
                    "[data, /tmp, /dev/shm, /lockstep/out, /etc, /, /var/../x], user",
                ),
                ("[/data], user: postgres}", "[/data], user: other}"),
                ("run: [psql, -c, select 1]", "run: [psql, -c, select 1], path: /"),
                ("run: [psql, -c, select 1]", "run: []"),
                ("run: [psql, -c, select 1]", "run: [greter]"),
                ("expect: {status: 3}", "expect: {status: 300}"),
            ],
        ),
    );
}

#[test]
fn smoke_tests_that_test_nothing_are_refused() {
    let many = "  - {run: [greeter, '{plugins}']}\n".repeat(65);
    let places: Vec<String> = (0..17).map(|place| format!("/place/{place}")).collect();
    let places = format!(
        "  - {{run: [greeter, '{{plugins}}'], writable: [{}]}}\n",
        places.join(", ")
    );
    let long = format!(
        "  - {{run: [greeter, '{{plugins}}'], stdin: {}}}\n",
        "x".repeat(65 * 1024)
    );
    for (steps, expect) in [
        ("  []\n", "a smoke test without a step tests nothing"),
        (
            "  - {setup: [greeter, '{plugins}']}\n",
            "a smoke test that only sets up tests nothing",
        ),
        (&many, "these are too many steps"),
        (&places, "these are too many directories"),
        (&long, "this is too much to read"),
    ] {
        let (project, problems) = parse_text(&with_steps(steps));
        assert_eq!(project, None);
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, [expect]);
    }
}

#[test]
fn smoke_servers() {
    snapshot(
        "smoke_servers",
        &check(
            GATEWAY,
            &[
                ("ready: {http: \"http://127.0.0.1:8080/healthz\"}", "ready: {}"),
                (
                    "ready: {http: \"http://127.0.0.1:8080/healthz\"}",
                    "ready: {tcp: 8080, stdout: ready}",
                ),
                ("ready: {http: \"http://127.0.0.1:8080/healthz\"}", "ready: {tcp: 8080}"),
                (
                    "ready: {http: \"http://127.0.0.1:8080/healthz\"}",
                    "ready: {tcp: 65536}",
                ),
                (
                    "ready: {http: \"http://127.0.0.1:8080/healthz\"}",
                    "ready: {stdout: listening}",
                ),
                ("\"http://127.0.0.1:8080/healthz\"", "\"https://127.0.0.1:8080/\""),
                ("\"http://127.0.0.1:8080/healthz\"", "127.0.0.1:8080"),
                ("\"http://127.0.0.1:8080/healthz\"", "http://example.org/"),
                ("\"http://127.0.0.1:8080/healthz\"", "http://127.0.0.1@192.0.2.1/"),
                ("\"http://127.0.0.1:8080/healthz\"", "http://127.9.9.9:81/x"),
                ("\"http://127.0.0.1:8080/healthz\"", "http://127.0.0.1:99999/"),
                ("\"http://127.0.0.1:8080/healthz\"", "http://127.0.0.1:/"),
                ("\"http://127.0.0.1:8080/healthz\"", "\"http://[::1]:8080\""),
                ("\"http://127.0.0.1:8080/healthz\"", "\"http://127.0.0.1/a b\""),
                ("path: /hello?name=Ada", "path: hello"),
                (
                    "path: /hello?name=Ada",
                    "path: /hello?name=Ada\n      url: http://127.0.0.1/",
                ),
                (
                    "- path: /hello?name=Ada\n      headers: {X-Request-Id: smoke-1}",
                    "- headers: {\"a b\": x, c: \"x\\ny\", d: 1, D: 2}",
                ),
                ("method: POST", "method: post"),
                ("method: POST", "method: BREW"),
                ("status: 404", "status: 99"),
                ("signal: SIGINT", "signal: TRM"),
                ("signal: SIGINT", "signal: 15"),
            ],
        ),
    );
}

#[test]
fn limits() {
    snapshot(
        "limits",
        &check(
            GATEWAY,
            &[
                ("memory: 2GiB", "memory: 2048"),
                ("memory: 2GiB", "memory: 2gb"),
                ("memory: 2GiB", "memory: 1KiB"),
                ("memory: 2GiB", "memory: lots"),
                ("cpus: 2", "cpus: 0"),
                ("cpus: 2", "cpus: 1.5"),
                ("cpus: 2", "cpus: \"2\""),
                ("processes: 512", "processes: 99999999999999999999"),
                ("timeout: 10m", "timeout: 25h"),
                ("artifact: 64MiB", "artefact: 64MiB"),
                (
                    "{memory: 2GiB, cpus: 2, processes: 512, timeout: 10m, artifact: 64MiB}",
                    "[2GiB]",
                ),
            ],
        ),
    );
}

/// A host with two kinds of plugins, in directories of their own and with the machine in their names.
const KINDS: &str = r#"version: 1
project: server
environments:
  glibc: {build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}
host: {name: server, language: go, source: ., package: ./cmd/server, artifacts: [server]}
contracts:
  handler:    {loader: go, abi: go, into: handlers, symbols: [Handle]}
  middleware: {loader: go, abi: go, into: middlewares, symbols: [Wrap]}
plugins:
  - name: ip
    contract: handler
    language: go
    source: .
    package: ./plugins/ip
    artifacts: [{file: ip.so, to: "ip-{os}-{arch}.so"}]
    files: [go.mod, {file: plugins/include, to: share/ip}]
  - {name: cors, contract: middleware, language: go, source: ., package: ./plugins/cors, artifacts: [cors.so]}
smoke: {command: [server, "{plugins}"], expect: {}}
"#;

#[test]
fn kinds_of_plugins_lie_where_their_contracts_say() {
    let (project, problems) = parse_text(KINDS);
    assert_eq!(told(&problems), "");
    let project = project.unwrap();
    let places = project.plugins.iter().flat_map(|plugin| {
        let files = plugin
            .files
            .iter()
            .map(|file| format!("{} as {}", file.path, file.place));
        let contract = project.contracts.of(plugin).symbols.join(" ");
        let yielded = plugin.places().map(|(file, place)| format!("{file} as {place}"));
        yielded.chain(files).chain([contract]).collect::<Vec<_>>()
    });
    assert_eq!(
        places.collect::<Vec<_>>(),
        [
            "ip.so as handlers/ip-linux-amd64.so",
            "go.mod as handlers/go.mod",
            "plugins/include as handlers/share/ip",
            "Handle",
            "cors.so as middlewares/cors.so",
            "Wrap",
        ]
    );
}

#[test]
fn kinds_and_places() {
    snapshot(
        "kinds",
        &check(
            KINDS,
            &[
                ("contract: handler", "contract: handlr"),
                ("    contract: handler\n", ""),
                ("contract: handler", "contract: middleware"),
                ("contract: handler", "contract: {loader: go, abi: go}"),
                ("contracts:\n", "contract: {loader: go, abi: go}\ncontracts:\n"),
                (
                    "contracts:\n  handler:    {loader: go, abi: go, into: handlers, symbols: [Handle]}\n  middleware: {loader: go, abi: go, into: middlewares, symbols: [Wrap]}\n",
                    "contracts: {}\n",
                ),
                (
                    "contracts:\n  handler:    {loader: go, abi: go, into: handlers, symbols: [Handle]}\n  middleware: {loader: go, abi: go, into: middlewares, symbols: [Wrap]}\n",
                    "",
                ),
                (
                    "middleware: {loader: go, abi: go,",
                    "middleware: {loader: dlopen, abi: c,",
                ),
                ("middleware: {loader", "Middle ware: {loader"),
                ("into: handlers", "into: ../handlers"),
                ("into: handlers", "into: /handlers"),
                ("into: handlers", "into: handlers/"),
                ("into: middlewares", "into: handlers/go.mod"),
                ("into: middlewares", "into: handlers/ip-linux-amd64.so"),
                ("ip-{os}-{arch}.so", "ip-{os}-{machine}.so"),
                ("ip-{os}-{arch}.so", "../ip.so"),
                ("ip-{os}-{arch}.so", "ip/"),
                ("ip-{os}-{arch}.so", "manifest.json"),
                ("ip-{os}-{arch}.so", "go.mod"),
                ("ip-{os}-{arch}.so", "go.mod/ip.so"),
                ("{file: ip.so, to", "{to"),
                ("{file: ip.so, to", "{file: a/ip.so, to"),
                (
                    "{file: ip.so, to: \"ip-{os}-{arch}.so\"}",
                    "ip.so, {file: ip.so, to: x.so}",
                ),
                ("[go.mod,", "[go.mdo,"),
                ("[go.mod,", "[{file: go.mod, fill: perhaps},"),
                ("[go.mod,", "[go.mod, {file: plugins/include, to: go.mod/x},"),
                ("[go.mod,", "[{file: go.mod, install: /etc/server},"),
                ("[go.mod,", "[{file: go.mod, install: etc},"),
                ("[go.mod,", "[{file: go.mod, install: /lockstep/x},"),
                ("{file: ip.so, to", "{file: ip.so, install: /tmp, to"),
                ("artifacts: [server]}", "artifacts: [server], contract: handler}"),
                ("artifacts: [server]}", "artifacts: [{file: server, to: bin/server}]}"),
                ("artifacts: [cors.so]", "artifacts: [cors.so], into: more"),
            ],
        ),
    );
}

/// Faults that have nothing to do with each other, and what each is told.
const FAULTS: &[(&str, &str, &str)] = &[
    ("version: 1", "version: 3", "unknown version 3 of the configuration"),
    ("project: greeter", "project: GREETER", "`GREETER` is not a name"),
    (
        "images/debian/build.yaml",
        "/build.yaml",
        "the path `/build.yaml` leaves the project: it is absolute",
    ),
    ("images/musl/runtime.yaml", "nowhere", "`nowhere` does not exist"),
    ("{image: \"alpine:3.22\"}", "{image: \"\"}", "the text is empty"),
    (
        "default: [glibc, musl]",
        "default: [glibc, muls]",
        "the environment `muls` does not exist",
    ),
    ("source: host", "sauce: host", "unknown key `sauce`"),
    (
        "name: shout,   language: rust",
        "name: shout,   language: rus",
        "unknown language `rus`",
    ),
    ("name: reverse", "name: shout", "the unit `shout` is given twice"),
    ("[reverse.so]", "[]", "a unit without artifacts"),
    ("abi: c", "abi: d", "unknown abi `d`"),
    (
        "symbols: [plugin_name, plugin_greet]",
        "symbols: 3",
        "`symbols` must be a list, found the number 3",
    ),
    (
        "command: [greeter",
        "command: [greter",
        "`greter` is no artifact of the host",
    ),
    ("status: 0", "status: -1", "the number -1 is out of range"),
    (
        "stdout: [\"HELLO, WORLD\"]",
        "stdout: [{}]",
        "expected text, found a mapping",
    ),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn independent_faults_are_found_all_at_once(chosen in proptest::sample::subsequence(FAULTS, 1..=FAULTS.len())) {
        let text = chosen.iter().fold(GREETER.to_owned(), |text, (from, to, _)| text.replacen(from, to, 1));
        let (project, problems) = parse_text(&text);
        prop_assert!(project.is_none());
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        for (_, _, message) in &chosen {
            prop_assert!(messages.contains(message), "`{}` is missing in {:?}", message, messages);
        }
        prop_assert!(problems.is_sorted_by_key(Problem::position));
    }

    #[test]
    fn a_file_with_anything_done_to_it_gets_an_answer(
        base in prop_oneof![Just(GREETER), Just(GATEWAY)],
        edits in proptest::collection::vec((0.0f64..1.0, 0usize..12, "[ \\n\\t\\r:,\\[\\]{}\"'&*!|>%@#~a-c1.\u{e4}-]{0,6}"), 1..4),
    ) {
        let mut text: Vec<char> = base.chars().collect();
        for (place, removed, added) in edits {
            let start = (place * text.len() as f64) as usize;
            let end = (start + removed).min(text.len());
            text.splice(start..end, added.chars());
        }
        let text: String = text.into_iter().collect();
        let (project, problems) = parse_text(&text);
        prop_assert_eq!(project.is_some(), problems.is_empty());
        let lines: Vec<&str> = text.split(['\n', '\r']).collect();
        for problem in problems {
            let excerpt = problem.excerpt.clone().ok_or_else(|| TestCaseError::fail("no place"))?;
            prop_assert!(excerpt.line <= lines.len(), "{}", problem);
            prop_assert!(!excerpt.label.is_empty(), "{}", problem);
        }
    }
}

/// A project on disk: the files of the greeter, and `text` as its `lockstep.yaml`.
fn on_disk(text: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for path in DIRECTORIES {
        fs::create_dir_all(directory.path().join(path)).unwrap();
    }
    for path in FILES {
        fs::create_dir_all(directory.path().join(path).parent().unwrap()).unwrap();
        fs::write(directory.path().join(path), "").unwrap();
    }
    fs::write(directory.path().join("lockstep.yaml"), text).unwrap();
    directory
}

fn load_from(directory: &Path) -> (Option<Project>, Vec<Problem>) {
    load(&directory.join("lockstep.yaml"), "lockstep.yaml", BUILTIN)
}

#[test]
fn a_project_is_loaded_from_disk() {
    let directory = on_disk(GREETER.as_bytes());
    let (project, problems) = load_from(directory.path());
    assert_eq!(told(&problems), "");
    let project = project.unwrap();
    let real = directory.path().canonicalize().unwrap();
    assert_eq!((project.file, project.directory), (real.join("lockstep.yaml"), real));
}

#[test]
fn the_disk_is_asked_about_paths() {
    let changes = BTreeMap::from([
        ("source: host,", "source: out,"),
        ("source: plugins/shout,", "source: plugins/shuot,"),
        ("source: plugins/reverse,", "source: inside,"),
        ("images/debian/build.yaml", "imaages/debian/build.yaml"),
        ("images/debian/runtime.yaml", "images/debian/build.yaml/x"),
        ("images/musl/build.yaml", "loop"),
        ("images/musl/runtime.yaml", "dangling"),
        ("images/alpine/Dockerfile", "out/file"),
    ]);
    let text = changes
        .iter()
        .fold(GREETER.to_owned(), |text, (from, to)| text.replace(from, to));
    let directory = on_disk(text.as_bytes());
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "").unwrap();
    symlink(outside.path(), directory.path().join("out")).unwrap();
    symlink("plugins/reverse", directory.path().join("inside")).unwrap();
    symlink("loop", directory.path().join("loop")).unwrap();
    symlink("nothing", directory.path().join("dangling")).unwrap();
    let (project, problems) = load_from(directory.path());
    assert!(project.is_none());
    let outside = outside.path().canonicalize().unwrap();
    snapshot(
        "disk",
        &told(&problems).replace(&outside.display().to_string(), "/outside"),
    );
}

#[test]
fn what_is_no_file_is_told() {
    let directory = on_disk(b"version: 1\nproject: gr\xfcn\n");
    let mut told_all = vec![told(&load_from(directory.path()).1)];
    let path = directory.path().join("lockstep.yaml");
    fs::write(&path, vec![b'#'; yaml::TEXT_LIMIT_BYTES * 2]).unwrap();
    told_all.push(told(&load_from(directory.path()).1).replace(&"#".repeat(50), "[50 #]"));
    fs::remove_file(&path).unwrap();
    told_all.push(told(&load_from(directory.path()).1));
    fs::create_dir(&path).unwrap();
    told_all.push(told(&load_from(directory.path()).1));
    symlink("/dev/zero", directory.path().join("zero")).unwrap();
    told_all.push(told(&load(&directory.path().join("zero"), "zero", BUILTIN).1));
    snapshot("no_file", &told_all.join("\n"));
}
