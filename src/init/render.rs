//! The text of a proposal: YAML with comments that say what each line is for.

use std::fmt::Write as _;

use super::text::unit_name;
use super::tree::file_name;
use super::{Candidate, OwnImages, Proposal, ProposedHost};
use crate::config::{Abi, Build, LanguageName, Loader};
use crate::known_hosts::{FileBeside, KnownHost, SmokeKind, SmokeStep, SmokeTest};

/// `lockstep.yaml` for a proposal.
#[must_use]
pub fn render(proposal: &Proposal) -> String {
    let mut text = String::new();
    text.push_str(
        "\
# What lockstep builds here, and in which environments.
#
#   lockstep plan             what a build would do
#   lockstep build            builds host and plugins, and loads every plugin for real
#
# `lockstep plan` shows what it comes to.
version: 1

# Part of the names of the images and volumes that are made.
",
    );
    let _ = writeln!(text, "project: {}", scalar(&proposal.project));
    match &proposal.host {
        ProposedHost::Compiled { host, images } => compiled_host(&mut text, host, images.as_ref()),
        ProposedHost::Known {
            host,
            recipe,
            build_packages,
        } => known_host(&mut text, host, &recipe.path, build_packages),
        ProposedHost::Image {
            name,
            reference,
            path,
            install,
        } => image_host(&mut text, name, reference, path, *install),
    }
    builds(&mut text, proposal);
    text.push_str(
        "
# The shared objects that it loads, in this order. `inputs` are files and directories outside of `source` that a unit
# reads.
plugins:
",
    );
    for plugin in &proposal.plugins {
        let _ = writeln!(text, "  - {}", unit(plugin, "    ").trim_start());
    }
    contract(&mut text, proposal);
    match (&proposal.smoke, &proposal.host) {
        (Some(test), _) => smoke(&mut text, test),
        (None, ProposedHost::Compiled { host, .. }) => smoke_to_write(&mut text, &host.artifact),
        (None, ProposedHost::Known { host, .. }) => smoke_to_write(&mut text, file_name(host.path)),
        (None, ProposedHost::Image { path, .. }) => smoke_to_write(&mut text, file_name(path)),
    }
    text
}

/// What is compiled once for several units.
fn builds(text: &mut String, proposal: &Proposal) {
    if proposal.builds.is_empty() {
        return;
    }
    text.push_str(
        "
# What is compiled once, and several units take their artifacts `from`.
builds:
",
    );
    for build in &proposal.builds {
        let _ = writeln!(
            text,
            "  {}:\n{}",
            scalar(&build.name),
            lines(making(&build.making), "    ")
        );
    }
}

/// What plugins are held to: one contract for all of them, or one for each kind.
fn contract(text: &mut String, proposal: &Proposal) {
    let listed = |symbols: &[String]| {
        symbols
            .iter()
            .map(|symbol| scalar(symbol))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (loader, abi) = (loader(proposal.loader), abi(proposal.abi));
    if proposal.contracts.is_empty() {
        text.push_str("\n# What the host expects of every plugin: how it loads them, what they exchange");
        text.push_str(if proposal.symbols.is_empty() {
            ".\n"
        } else {
            ", and which symbols it looks up.\n"
        });
        let _ = writeln!(text, "contract:\n  loader: {loader}\n  abi: {abi}");
        if !proposal.symbols.is_empty() {
            let _ = writeln!(text, "  symbols: [{}]", listed(&proposal.symbols));
        }
        return;
    }
    text.push_str(
        "
# What the host expects of plugins, by their kinds: how it loads them, what they exchange, and which symbols it looks up.
# Plugins of a kind lie in its directory `into` of `{plugins}`.
contracts:
",
    );
    for kind in &proposal.contracts {
        let _ = writeln!(text, "  {}:\n    loader: {loader}\n    abi: {abi}", scalar(&kind.name));
        if let Some(into) = &kind.into {
            let _ = writeln!(text, "    into: {}", scalar(into));
        }
        if !kind.symbols.is_empty() {
            let _ = writeln!(text, "    symbols: [{}]", listed(&kind.symbols));
        }
    }
}

/// Environments, and a host that is compiled in them.
fn compiled_host(text: &mut String, host: &Candidate, images: Option<&OwnImages>) {
    match images {
        None => text.push_str(OWN_ENVIRONMENTS),
        Some(images) => {
            let _ = write!(
                text,
                "
# An environment is a pair of images: host and plugins are compiled in the one and run in the other. What compiles is what
# runs and these packages on top.
environments:
  glibc:
    build: {{extends: runtime, packages: [{packages}]}}
    runtime: {recipe}
",
                packages = images.build_packages.join(", "),
                recipe = scalar(&images.recipe.path),
            );
        }
    }
    text.push_str(
        "
# The program that loads the plugins: the directory it is compiled in, and the files that must come out of it. The
# language brings the commands; `command:`, `fetch:` and `env:` of a unit replace or complete them.
",
    );
    let _ = writeln!(text, "host:\n{}", unit(host, "  "));
}

/// The environments of what lockstep's own images can compile.
const OWN_ENVIRONMENTS: &str = "
# An environment is a pair of images: host and plugins are compiled in the one and run in the other. These recipes come
# with lockstep; a recipe's path in the project, {dockerfile: PATH} or {image: REFERENCE} can stand in their place.
environments:
  glibc:
    build: {builtin: debian/build}
    runtime: {builtin: debian/runtime}
  musl:
    build: {builtin: musl/build}
    runtime: {builtin: musl/runtime}

# What `lockstep build` builds when no environment is named.
default: [glibc, musl]
";

/// A host that a package brings, and the environment that is made from its packages.
fn known_host(text: &mut String, host: &KnownHost, recipe: &str, build_packages: &[String]) {
    let _ = write!(
        text,
        "
# An environment is a pair of images: plugins are compiled in the one and run, with their host, in the other. What compiles
# is what runs and these packages on top, so that headers and host are of one version.
environments:
  {name}:
    build: {{extends: runtime, packages: [{packages}]}}
    runtime: {recipe}

# The program that loads the plugins. It is in the runtime image, and the plugins are put where it looks for them.
host:
  name: {unit}
  from: runtime
  path: {path}
",
        name = host.name,
        packages = build_packages.join(", "),
        recipe = scalar(recipe),
        unit = scalar(&unit_name(host.name)),
        path = scalar(host.path),
    );
    if let Some(install) = host.install {
        let _ = writeln!(text, "  install: {}", scalar(install));
    }
}

/// A host of an image that is there.
fn image_host(text: &mut String, name: &str, reference: &str, path: &str, install: Option<&str>) {
    let _ = write!(
        text,
        "
# An environment is a pair of images: plugins are compiled in the one and run, with their host, in the other.
environments:
  image:
    build: {{builtin: debian/build}}
    runtime: {{image: {reference}}}

# The program that loads the plugins. It is in the runtime image. With `install: DIRECTORY`, the plugins are put where it
# looks for them.
host:
  name: {name}
  from: runtime
  path: {path}
",
        reference = quoted(reference),
        name = scalar(name),
        path = quoted(path),
    );
    if let Some(install) = install {
        let _ = writeln!(text, "  install: {}", scalar(install));
    }
}

/// A smoke test that can be run as it is.
fn smoke(text: &mut String, test: &SmokeTest) {
    text.push_str(
        "
# The host itself is started in the runtime image, too, after each plugin has been loaded on its own. `{plugins}` stands
# for the directory that holds them. This shows that the host opens them; what they must then do is yours to add.
smoke:
",
    );
    match test.steps.as_slice() {
        [step] if matches!(step.kind, SmokeKind::Run { .. }) => {
            let _ = writeln!(text, "{}", lines(step_keys("command", step), "  "));
        }
        steps => {
            for step in steps {
                let _ = writeln!(
                    text,
                    "  - {}",
                    lines(step_keys(step_word(step), step), "    ").trim_start()
                );
            }
        }
    }
}

fn step_word(step: &SmokeStep) -> &'static str {
    match step.kind {
        SmokeKind::Setup => "setup",
        SmokeKind::Run { .. } => "run",
        SmokeKind::Serve { .. } => "serve",
    }
}

/// A step's keys, one a line; what is asked of a server has lines of its own.
fn step_keys(word: &str, step: &SmokeStep) -> Vec<String> {
    let words = |words: &[String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ");
    let mut keys = vec![format!("{word}: [{}]", words(&step.command))];
    if !step.env.is_empty() {
        let env = step
            .env
            .iter()
            .map(|(name, value)| format!("{name}: {}", quoted(value)));
        keys.push(format!("env: {{{}}}", env.collect::<Vec<_>>().join(", ")));
    }
    if !step.writable.is_empty() {
        keys.push(format!("writable: [{}]", step.writable.join(", ")));
    }
    if let Some(stdin) = &step.stdin {
        keys.push("stdin: |".to_owned());
        keys.extend(stdin.lines().map(|line| format!("  {line}")));
    }
    keys.extend(step.timeout.map(|timeout| format!("timeout: {timeout}")));
    match &step.kind {
        SmokeKind::Setup => {}
        SmokeKind::Run { stdout, stderr } => {
            let streams = [("stdout", stdout), ("stderr", stderr)];
            let expected = streams.iter().filter(|(_, texts)| !texts.is_empty());
            let expected: String = expected
                .map(|(stream, texts)| format!(", {stream}: [{}]", words(texts)))
                .collect();
            keys.push(format!("expect: {{status: 0{expected}}}"));
        }
        SmokeKind::Serve { tcp, signal, requests } => {
            keys.push(format!("ready: {{tcp: {tcp}}}"));
            if !requests.is_empty() {
                keys.push("requests:".to_owned());
            }
            for request in requests {
                let asked = lines(step_keys(step_word(request), request), "    ");
                keys.extend(format!("  - {}", asked.trim_start()).lines().map(str::to_owned));
            }
            keys.extend(signal.map(|signal| format!("stop: {{signal: {signal}}}")));
        }
    }
    keys
}

/// What a smoke test would look like.
fn smoke_to_write(text: &mut String, host: &str) {
    let _ = write!(
        text,
        "
# With this, the host itself is started in the runtime image, too, after each plugin has been loaded on its own.
# `{{plugins}}` stands for the directory that holds them. A server has `ready:`, `requests:` and `stop:` instead.
#
# smoke:
#   command: [{host}, \"{{plugins}}\"]
#   expect: {{status: 0, stdout: [\"what it must print\"]}}
",
        host = scalar(host)
    );
}

/// A unit's keys, one a line.
fn unit(unit: &Candidate, indentation: &str) -> String {
    let mut keys = vec![format!("name: {}", scalar(&unit.name))];
    keys.extend(
        unit.contract
            .iter()
            .map(|contract| format!("contract: {}", scalar(contract))),
    );
    keys.extend(unit.beside.into.iter().map(|into| format!("into: {}", scalar(into))));
    let own = match &unit.to {
        Some(to) => format!("{{file: {}, to: {}}}", scalar(&unit.artifact), scalar(to)),
        None => scalar(&unit.artifact),
    };
    let made = unit.beside.made.iter().map(|made| file(made, scalar));
    let artifacts: Vec<String> = std::iter::once(own).chain(made).collect();
    let artifacts = format!("artifacts: [{}]", artifacts.join(", "));
    match &unit.from {
        Some(from) => keys.extend([format!("from: {}", scalar(from)), artifacts]),
        None => {
            keys.extend(making(unit));
            keys.push(artifacts);
        }
    }
    if !unit.beside.files.is_empty() {
        keys.push("files:".to_owned());
        keys.extend(
            unit.beside
                .files
                .iter()
                .map(|beside| format!("  - {}", file(beside, path))),
        );
    }
    lines(keys, indentation)
}

/// A file that is shipped, with where it is looked for if that is elsewhere.
fn file(beside: &FileBeside, name: fn(&str) -> String) -> String {
    let name = name(&beside.file);
    match &beside.install {
        Some(install) => format!("{{file: {name}, install: {}}}", scalar(install)),
        None => name,
    }
}

/// The keys that say how it is made.
fn making(unit: &Candidate) -> Vec<String> {
    let mut keys = vec![
        format!("language: {}", language(unit.language)),
        format!("source: {}", path(&unit.source)),
    ];
    keys.extend(
        unit.package
            .iter()
            .map(|package| format!("package: {}", scalar(package))),
    );
    if !unit.inputs.is_empty() {
        let inputs: Vec<String> = unit.inputs.iter().map(|input| path(input)).collect();
        keys.push(format!("inputs: [{}]", inputs.join(", ")));
    }
    keys.extend(unit.build.iter().map(|system| format!("build: {}", build(system))));
    keys.extend(
        unit.command
            .iter()
            .map(|command| format!("command: {}", quoted(command))),
    );
    if !unit.env.is_empty() {
        let env = unit
            .env
            .iter()
            .map(|(name, value)| format!("{name}: {}", quoted(value)));
        keys.push(format!("env: {{{}}}", env.collect::<Vec<_>>().join(", ")));
    }
    keys
}

fn lines(keys: Vec<String>, indentation: &str) -> String {
    let lines: Vec<String> = keys.into_iter().map(|key| format!("{indentation}{key}")).collect();
    lines.join("\n")
}

/// A build system, with what it is told.
fn build(build: &Build) -> String {
    let name = build.system.name();
    let keys = [
        ("features", &build.features),
        ("options", &build.options),
        ("sources", &build.sources),
    ];
    let package = build
        .package
        .iter()
        .map(|package| format!(", package: {}", scalar(package)));
    let said: String = package.collect();
    let said = keys
        .iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(key, words)| {
            let words: Vec<String> = words.iter().map(|word| scalar(word)).collect();
            format!(", {key}: [{}]", words.join(", "))
        })
        .fold(said, |said, key| said + &key);
    match said.is_empty() {
        true => name.to_owned(),
        false => format!("{{system: {name}{said}}}"),
    }
}

/// A path of the project: one that begins with `~` would be taken for one of a home directory.
fn path(path: &str) -> String {
    if path.starts_with('~') {
        scalar(&format!("./{path}"))
    } else {
        scalar(path)
    }
}

/// A language as `lockstep.yaml` spells it.
#[must_use]
pub fn language(name: LanguageName) -> &'static str {
    match name {
        LanguageName::Rust => "rust",
        LanguageName::Go => "go",
        LanguageName::C => "c",
        LanguageName::Cpp => "cpp",
    }
}

fn loader(loader: Loader) -> &'static str {
    match loader {
        Loader::Dlopen => "dlopen",
        Loader::Go => "go",
    }
}

fn abi(abi: Abi) -> &'static str {
    match abi {
        Abi::C => "c",
        Abi::Cxx => "cxx",
        Abi::Rust => "rust",
        Abi::Go => "go",
    }
}

/// A text as YAML takes it for that text and nothing else: plain where nobody could doubt it, else in quotes, as JSON
/// writes it, which YAML reads the same (YAML 1.2.2, section 1.1).
fn scalar(text: &str) -> String {
    const WORDS: &[&str] = &["false", "n", "no", "null", "off", "on", "true", "y", "yes"];
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_./-".contains(character);
    let starts_plainly = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        || text == "."
        || text.starts_with('/')
        || text.starts_with("./");
    if starts_plainly && text.chars().all(is_plain) && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// The same, in quotes whatever it is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, Tree, propose};
    use super::*;

    #[test]
    fn a_text_is_read_back_as_it_was() {
        for text in [
            "a", "1", "1.0", "no", "./x", "/x/y", ".", "a b", "x: y", "\"", "ä", "", "-", "~", "0x1", "a#b", ".5",
        ] {
            let value: serde_yaml::Value = serde_yaml::from_str(&scalar(text)).unwrap();
            assert_eq!(value.as_str(), Some(text), "{}", scalar(text));
        }
    }

    #[test]
    fn the_file_says_what_was_found() {
        let tree = Tree::of(&[
            ("host/main.c", "int main(void) { dlopen(0, 0); }\n"),
            ("include/api.h", ""),
            ("plugins/a/a.c", "#include \"api.h\"\nint run(void) { return 1; }\n"),
            ("plugins/1st/b.cpp", "extern \"C\" int run() { return 1; }\n"),
        ]);
        insta::assert_snapshot!(render(&propose(&tree, "sample", None).unwrap()));
    }

    /// Parts of paths, among them such as no unit may be called, and some that mean something elsewhere.
    const PARTS: &[&str] = &[
        "src",
        "plugins",
        "a",
        "My Plugin",
        "~x",
        "-dash",
        "no",
        "1.0",
        "lockstep-loader",
        "manifest.json",
        "\u{e4}",
        "a\tb",
        "..x",
        "plugin's",
        "x\"y",
        "{z}",
        "#c",
        "environment",
    ];
    /// Files by their names, with texts that tell something.
    const FILES: &[(&str, &str)] = &[
        ("main.c", "int main(void) { dlopen(0, 0); }\n"),
        ("other.c", "int main(void) {\n}\n"),
        ("a.c", "int run(void) {\n}\n"),
        ("b c.c", "int run(void) {\n}\n"),
        ("x.cpp", "#include \"api.h\"\nextern \"C\" int run() {\n}\n"),
        ("api.h", ""),
        ("l.c", "#include <lua.h>\nint luaopen_l(void *l) {\n}\n"),
        ("m.c", "int luaopen_m_core(void *l) {\n}\n"),
        (
            "r.c",
            "#include \"redismodule.h\"\nint RedisModule_OnLoad(int x) {\n}\n",
        ),
        ("p.c", "int pam_sm_setcred(int h)\n{\n}\n"),
        ("mod_h.c", "AP_DECLARE_MODULE(h) = {"),
        ("g.cc", "#include <gcc-plugin.h>\nint plugin_init(int x) {\n}\n"),
        ("config", "ngx_module_name=ngx_http_x_module\n"),
        ("config.m4", "PHP_NEW_EXTENSION(ext, a.c)\n"),
        ("setup.py", "Extension('pkg._x', [])\nExtension(\"a b\")\n"),
        (
            "Makefile",
            "MODULE_big = $(X)\nX = vec\nMODULES=../up q\nPGXS=1\nall: made.so $(X).so\n",
        ),
        (
            "meson.build",
            "project('x')\nshared_module('l', 'l.c', name_prefix: '')\nshared_library('../evil')\n",
        ),
        (
            "CMakeLists.txt",
            "project(x)\nadd_library(r MODULE r.c)\nadd_library(s STATIC)\n",
        ),
        (
            "meson.build",
            "project('y')\nexecutable('my host', 'main.c')\nif get_option('o')\n  shared_module('m', 'a.c')\nendif\nlibrary('l', install: true)\n",
        ),
        (
            "CMakeLists.txt",
            "project(y)\nadd_executable(y main.c)\nforeach(n a.so my+mod)\n  add_library(${n} MODULE a.c)\nendforeach()\n",
        ),
        (
            "Makefile",
            "EXTENSION = x\nMODULES = x y\nDATA = $(wildcard *.sql sql/*) up.sql ../up.sql\nDATA_built = x.so ~x.sql\nPGXS=1\n",
        ),
        (
            "Makefile",
            "E = .so\nhost: a.o\n\t$(CC) -o $@ a.o\nm$(E): a.o\n\t$(CC) -shared -o $@ a.o\n",
        ),
        (
            "x.control",
            "default_version = '1 2'\ndirectory = '../x'\nrequires = 'y'\n",
        ),
        ("x--1.sql", ""),
        ("b c.sql", ""),
        ("v.c", "#include <lv2.h>\nconst void *lv2_descriptor(int x)\n{\n}\n"),
        (
            "manifest.ttl",
            "@prefix l: <http://lv2plug.in/ns/lv2core#> .\n<urn:v> a l:Plugin ; l:binary <v.so> .\n<urn:\"x> a l:Plugin .\n",
        ),
        ("manifest.ttl.in", "<urn:v> l:binary <v@EXT@> .\n"),
        ("v data.ttl", ""),
        ("n.c", "#include <nss.h>\nint _nss_n_setpwent(void) {\n}\n"),
        ("configure.ac", "AC_INIT\nPKG_CHECK_MODULES(Z, zlib)\n"),
        (
            "Makefile.am",
            "bin_PROGRAMS = h\nm_LTLIBRARIES = m.la\nm_la_LDFLAGS = -module\nh_SOURCES = main.c\n",
        ),
        ("parse.l", ""),
        ("Cargo.toml", "[workspace]\nmembers = [\"*\", \"a/*\"]\n"),
        (
            "Cargo.toml",
            "[package]\nname = \"ext\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\npyo3 = \"1\"\n",
        ),
        (
            "Cargo.toml",
            "[package]\nname = \"app\"\n[dependencies]\nlibloading = \"1\"\n[workspace]\n",
        ),
        ("src/main.rs", "fn main() {}"),
        (
            "pyproject.toml",
            "[tool.maturin]\nfeatures = [\"pyo3/extension-module\", \"x y\"]\n",
        ),
        ("configure.ac", "AC_INIT\n"),
        ("Makefile.am", "x_LTLIBRARIES = pam_p.la \\\n libq.la\n"),
        (
            "Cargo.toml",
            "[package]\nname = \"../x y\"\n[lib]\ncrate-type = [\"dylib\"]\n[dependencies]\nredis-module = \"1\"\n",
        ),
        ("Cargo.lock", ""),
        ("go.mod", "module \"a/b c\"\n"),
        ("go.work", "use ./a\nuse .\n"),
        ("main.go", "package main\nimport \"plugin\"\nfunc main() {}\n"),
        (
            "main.go",
            "package main\nimport \"plugin\"\nfunc main() { p.Lookup(\"New\"); p.Lookup(\"Other\") }\n",
        ),
        ("new.go", "package main\nfunc New() {}\n"),
        ("other.go", "package main\nfunc Other() {}\n"),
        (
            "main.c",
            "int main(void) { dlopen(0, 0); dlsym(h, \"run\"); dlsym(h, \"draw\"); }\n",
        ),
        ("d.c", "int draw(void) {\n}\n"),
        ("build.rs", "cc::Build::new().file(\"a.c\")"),
        ("lua.yaml", "no recipe"),
    ];

    fn find(files: &std::collections::BTreeSet<String>, path: &str) -> crate::config::Found {
        if files.contains(path) {
            crate::config::Found::File
        } else if path == "." || files.iter().any(|file| file.starts_with(&format!("{path}/"))) {
            crate::config::Found::Directory
        } else {
            crate::config::Found::Nothing { similar: None }
        }
    }

    proptest::proptest! {
        /// Whatever a tree has, what is written for it is a project, with the recipe that it names.
        #[test]
        fn what_is_written_is_accepted(
            places in proptest::collection::vec((proptest::collection::vec(0..PARTS.len(), 0..6), 0..FILES.len()), 0..14),
            directory in 0..PARTS.len(),
            host in 0..crate::known_hosts::KNOWN_HOSTS.len() * 2 + 1,
        ) {
            let files: Vec<(String, &str)> = places
                .iter()
                .map(|(parts, file)| {
                    let mut path: Vec<&str> = parts.iter().map(|part| PARTS[*part]).collect();
                    path.push(FILES[*file].0);
                    (path.join("/"), FILES[*file].1)
                })
                .collect();
            let borrowed: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            let tree = Tree::of(&borrowed);
            let known = crate::known_hosts::KNOWN_HOSTS.get(host).copied();
            let asked = match (known, host % 2) {
                (Some(known), _) => Some(Asked::Known(known)),
                (None, 0) => Some(Asked::parse("r.example:5000/x/nginx:1:/opt/x y/nginx").unwrap()),
                (None, _) => None,
            };
            if let Ok(proposal) = propose(&tree, PARTS[directory], asked.as_ref()) {
                let text = render(&proposal);
                let mut there: std::collections::BTreeSet<String> = files.iter().map(|(path, _)| path.clone()).collect();
                let recipe = proposal.host.recipe();
                if let Some(recipe) = recipe {
                    proptest::prop_assert!(recipe.is_there || there.insert(recipe.path.clone()), "{} is overwritten", recipe.path);
                }
                let surroundings = crate::config::Surroundings {
                    file: std::path::Path::new("/p/lockstep.yaml"),
                    directory: std::path::Path::new("/p"),
                    shown: "lockstep.yaml",
                    architecture: "amd64",
                    builtin: &["debian/build", "debian/runtime", "musl/build", "musl/runtime"],
                    find: &|path| find(&there, path),
                };
                let (project, problems) = crate::config::parse(text.as_bytes(), &surroundings);
                proptest::prop_assert!(project.is_some(), "{problems:?}\n{text}");
            }
        }
    }

    /// What goes with an extension, and the steps by which it is asked for.
    #[test]
    fn the_file_of_an_extension_has_its_scripts_and_steps() {
        let tree = Tree::of(&[
            (
                "Makefile",
                "EXTENSION = count\nMODULES = count\nDATA = count--1.0--1.1.sql\nPGXS := $(shell pg_config --pgxs)\n",
            ),
            ("count.control", "default_version = '1.1'\n"),
            ("count--1.0--1.1.sql", ""),
            ("count.c", "#include \"postgres.h\"\n"),
        ]);
        insta::assert_snapshot!(render(&propose(&tree, "count", None).unwrap()));
    }

    #[test]
    fn the_file_of_a_known_host_says_what_was_found() {
        let tree = Tree::of(&[("hello.c", "#include <lua.h>\nint luaopen_hello(lua_State *l) {\n}\n")]);
        let proposal = propose(&tree, "hello", None).unwrap();
        insta::assert_snapshot!(render(&proposal));
        match proposal.host {
            ProposedHost::Known { recipe, .. } => insta::assert_snapshot!(recipe.text),
            other => panic!("{other:?} is not known"),
        }
    }
}
