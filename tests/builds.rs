//! `build:` from outside: projects with the build systems that such projects have, in real images, loaded for real.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use sample::{Sample, with_sample};

/// Answers 42, and says where and when it was compiled.
const SAYS_WHERE: &str = r"const char *plugin_where(void) { return __FILE__ __DATE__; }
long plugin_part(void);
long plugin_answer(void) { return plugin_part() + 1; }
";
const PART: &str = "long plugin_part(void) { return 41; }\n";
/// A makefile as they are: an archive, and the flags of whoever calls make.
const MAKEFILE: &str = "NAME = made
$(NAME).so: main.c libpart.a
\t$(CC) $(CFLAGS) -fPIC -shared -o $@ $(CURDIR)/main.c libpart.a $(LDFLAGS)
libpart.a: libpart.a(part.o)
install: $(NAME).so
\tmkdir -p $(DESTDIR)/usr/lib
\tcp $(NAME).so $(DESTDIR)/usr/lib/installed.so
part.o: part.c
\t$(CC) $(CFLAGS) -fPIC -c -o $@ $(CURDIR)/part.c
";
/// What autoconf would write, as far as it matters here.
const CONFIGURE: &str = r#"#!/bin/sh
for option; do case $option in --with-name=*) name=${option#*=} ;; esac; done
sed "s/^NAME = .*/NAME = $name/; s|^CFLAGS.*|CFLAGS = $CFLAGS|" Makefile.in > Makefile
"#;
const CRATE: &str = r#"
#[unsafe(no_mangle)]
pub extern "C" fn plugin_answer() -> std::ffi::c_long {
    shared::part() + if cfg!(feature = "one") { 1 } else { 0 }
}
#[unsafe(no_mangle)]
pub extern "C" fn plugin_where() -> *const u8 {
    concat!(file!(), "\0").as_ptr()
}
"#;
const GO: &str = r#"package main

import "C"

//export plugin_answer
func plugin_answer() C.long { return C.long(part) }

func main() {}
"#;

/// Writes `lockstep.yaml` with these plugins, of which the host is given the artifacts that are named.
fn configure(sample: &Sample, build: &str, plugins: &str, opened: &[&str]) {
    let arguments: String = opened.iter().map(|name| format!(", '{{plugins}}/{name}'")).collect();
    let answers = vec!["answer 42"; opened.len()].join("\\n");
    let text = format!(
        r#"version: 1
project: {name}
environments:
  glibc: {{build: {build}, runtime: {{builtin: debian/runtime}}}}
host: {{language: c, source: host, artifacts: [tiny]}}
plugins:
{plugins}
contract: {{loader: dlopen, abi: c, symbols: [plugin_answer], calls: [{{symbol: plugin_answer, returns: integer}}]}}
smoke:
  command: [tiny{arguments}]
  expect: {{status: 0, stdout: ["{answers}"]}}
"#,
        name = sample.name
    );
    sample.write("lockstep.yaml", &text);
}

fn write_make(sample: &Sample, directory: &str) {
    sample.write(&format!("{directory}/main.c"), SAYS_WHERE);
    sample.write(&format!("{directory}/part.c"), PART);
    sample.write(&format!("{directory}/Makefile"), MAKEFILE);
}

fn write_workspace(sample: &Sample, rust_version: &str) {
    sample.write(
        "work/Cargo.toml",
        "[workspace]\nmembers = [\"shared\", \"plugin\"]\nresolver = \"2\"\n",
    );
    sample.write("work/Cargo.lock", "version = 3\n\n[[package]]\nname = \"plugin\"\nversion = \"0.1.0\"\ndependencies = [\n \"shared\",\n]\n\n[[package]]\nname = \"shared\"\nversion = \"0.1.0\"\n");
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    sample.write("work/shared/Cargo.toml", &package("shared"));
    sample.write("work/shared/src/lib.rs", "pub fn part() -> std::ffi::c_long { 41 }\n");
    let more = "\n[lib]\ncrate-type = [\"cdylib\"]\n\n[features]\none = []\n\n[dependencies]\nshared = { path = \"../shared\" }\n";
    sample.write("work/plugin/Cargo.toml", &(package("plugin") + more));
    sample.write("work/plugin/src/lib.rs", CRATE);
    sample.write("work/rust-toolchain", rust_version);
}

fn published_bytes(sample: &Sample, artifact: &str) -> Vec<u8> {
    std::fs::read(sample.path().join("dist/glibc").join(artifact)).unwrap()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Everything is made again from nothing, and must be what the lock has.
fn build_again(sample: &Sample) {
    for directory in [".lockstep", "dist"] {
        std::fs::remove_dir_all(sample.path().join(directory)).unwrap();
    }
    let output = sample.run(&["build", "--locked"]);
    assert_eq!(output.status.code(), Some(0), "{}", sample::said(&output));
}

#[test]
fn what_makefiles_and_packages_of_a_workspace_make_is_loaded_and_reproducible() {
    with_sample("systems", |sample| {
        write_make(sample, "made");
        write_make(sample, "commanded");
        write_make(sample, "configured");
        let makefile = MAKEFILE.replace("NAME = made\n", "NAME = made\nCFLAGS =\n");
        sample.write("configured/Makefile.in", &makefile);
        std::fs::remove_file(sample.path().join("configured/Makefile")).unwrap();
        sample.write("configured/configure", CONFIGURE);
        write_workspace(sample, "stable\n");
        sample.write(
            "going/go.mod",
            "module going\n\ngo 1.21\n\nrequire elsewhere.invalid/part v1.0.0\n",
        );
        sample.write(
            "going/go.sum",
            "elsewhere.invalid/part v1.0.0 h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        );
        sample.write(
            "going/vendor/modules.txt",
            "# elsewhere.invalid/part v1.0.0\n## explicit; go 1.21\nelsewhere.invalid/part\n",
        );
        sample.write(
            "going/vendor/elsewhere.invalid/part/part.go",
            "package part\n\nconst Part = 42\n",
        );
        sample.write("going/main.go", GO);
        sample.write(
            "going/part_one.go",
            "//go:build one\n\npackage main\n\nimport vendored \"elsewhere.invalid/part\"\n\nconst part = vendored.Part\n",
        );
        let command = "make NAME=commanded && cp commanded.so $LOCKSTEP_OUT/";
        configure(
            sample,
            "{builtin: debian/build}",
            &format!(
                "  - {{name: made, language: c, build: {{system: make, install: true}}, source: made, artifacts: [made.so, installed.so]}}
  - {{name: commanded, language: c, command: '{command}', source: commanded, artifacts: [commanded.so]}}
  - {{name: configured, language: c, build: {{system: autotools, options: [--with-name=configured]}}, source: configured, artifacts: [configured.so]}}
  - {{name: crate, build: {{system: cargo, package: plugin, features: [one]}}, source: work, artifacts: [libplugin.so]}}
  - {{name: going, build: {{system: go, buildmode: c-shared, tags: [one]}}, source: going, artifacts: [going.so, going.h]}}"
            ),
            &["made.so", "commanded.so", "configured.so", "libplugin.so", "going.so"],
        );
        let told = sample.build(0);
        assert!(!told.contains("fetch going"), "what is vendored is not fetched: {told}");
        for (artifact, source) in [
            ("made.so", "/src/made/main.c"),
            ("commanded.so", "/src/commanded/main.c"),
            ("configured.so", "/src/configured/main.c"),
            ("libplugin.so", "plugin/src/lib.rs"),
        ] {
            let bytes = published_bytes(sample, artifact);
            assert!(contains(&bytes, source), "{artifact} has no {source}");
            assert!(!contains(&bytes, "/lockstep/"), "{artifact} says where it was built");
        }
        assert!(!contains(&published_bytes(sample, "going.so"), "/lockstep/"));
        build_again(sample);
    });
}

#[test]
fn what_is_outside_of_the_image_or_not_made_is_said_with_what_to_do() {
    with_sample("lacking", |sample| {
        write_make(sample, "made");
        write_workspace(sample, "1.999.0\n");
        let refused = |plugin: &str, words: &[&str]| {
            configure(sample, "{builtin: debian/build}", plugin, &["made.so"]);
            let told = sample.build(4);
            for word in words {
                assert!(told.contains(word), "`{word}` is not in {told}");
            }
            sample.assert_nothing_left(&[]);
        };
        refused(
            "  - {name: made, language: c, build: cmake, source: made, artifacts: [made.so]}",
            &[
                "has no cmake, which `build: cmake` needs",
                "add the package cmake",
                "hint: a program is not in the build image",
            ],
        );
        refused(
            "  - {name: made, language: c, build: make, source: made, artifacts: [other.so]}",
            &["made no other.so; what it made: made.so"],
        );
        sample.write("made/old/made.so", "something else\n");
        refused(
            "  - {name: made, language: c, build: make, source: made, artifacts: [made.so]}",
            &[
                "two files that differ are called made.so",
                "./made.so and ./old/made.so",
            ],
        );
        std::fs::remove_dir_all(sample.path().join("made/old")).unwrap();
        refused(
            "  - {name: made, language: c, build: {system: make, options: ['CFLAGS=-Wl,-rpath,/lockstep/src'], targets: [made.so]}, source: made, artifacts: [made.so]}",
            &["looks for libraries where it was built", "`install: true`"],
        );
        refused(
            "  - {name: crate, build: {system: cargo, package: plugin}, source: work, artifacts: [libplugin.so]}",
            &[
                "`crate` asks for rustc 1.999.0, and the build image of glibc has 1.",
                "work/rust-toolchain",
            ],
        );
    });
}

/// What asks for programs that no image of lockstep's own has. The image is made once, and stays in the user's cache.
#[test]
fn cmake_and_meson_leave_no_search_path_of_the_build() {
    with_sample("tools", |sample| {
        // Without the compilers that none of this needs, it is made in half the time.
        sample.write(
            "images/tools.yaml",
            "bootstrap:\n  base: {builtin: debian/runtime}\n  packages: [cmake, gcc, libc6-dev, make, meson]\n",
        );
        for directory in ["cmaked", "mesoned"] {
            sample.write(&format!("{directory}/main.c"), SAYS_WHERE);
            sample.write(&format!("{directory}/part.c"), PART);
        }
        sample.write(
            "cmaked/CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.16)
project(cmaked C)
add_library(cmaked-part SHARED part.c)
add_library(cmaked MODULE main.c)
target_link_libraries(cmaked cmaked-part)
set_target_properties(cmaked PROPERTIES PREFIX '' INSTALL_RPATH \"$ORIGIN\")
"
            .replace("''", "\"\"")
            .as_str(),
        );
        sample.write(
            "mesoned/meson.build",
            "project('mesoned', 'c')
part = shared_library('mesoned-part', 'part.c', install: true)
shared_module('mesoned', 'main.c', name_prefix: '', link_with: part, install: true, install_rpath: '$ORIGIN')
",
        );
        configure(
            sample,
            "images/tools.yaml",
            "  - {name: cmaked, language: c, build: cmake, source: cmaked, artifacts: [cmaked.so, libcmaked-part.so]}
  - {name: mesoned, language: c, build: meson, source: mesoned, artifacts: [mesoned.so, libmesoned-part.so]}",
            &["cmaked.so", "mesoned.so"],
        );
        sample.build(0);
        for artifact in ["cmaked.so", "libcmaked-part.so", "mesoned.so", "libmesoned-part.so"] {
            assert!(
                !contains(&published_bytes(sample, artifact), "/lockstep/"),
                "{artifact}"
            );
        }
        build_again(sample);
    });
}
