//! GCC: plugins of its compiler proper, cc1.

use super::source_text::defined;
use super::{KnownHost, MAKEFILE_FIRST, SmokePlugin, SmokeTest, any_artifact, nothing_beside, same_name};
use crate::config::LanguageName;

pub(super) const GCC: KnownHost = KnownHost {
    name: "gcc",
    other_names: &["gcc-14", "cc1"],
    path: "/usr/libexec/gcc/x86_64-linux-gnu/14/cc1",
    install: None,
    runtime_packages: &["cpp-14"],
    build_packages: &["g++", "gcc-14-plugin-dev", "libc6-dev", "make"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["gcc-plugin.h"],
    needs_words: true,
    crates: &[],
    own_build: None,
    systems: MAKEFILE_FIRST,
    fallback: None,
    symbols: &["plugin_is_GPL_compatible"],
    entries: |text| defined(text, |name| name == "plugin_init"),
    artifact: any_artifact,
    language: LanguageName::Cpp,
    env: &[("CPLUS_INCLUDE_PATH", "/usr/lib/gcc/x86_64-linux-gnu/14/plugin/include")],
    beside: nothing_beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let load = plugins
        .iter()
        .map(|plugin| format!("-fplugin={{plugins}}/{}", plugin.artifact));
    let words = ["cc1", "-quiet", "-fsyntax-only"].map(str::to_owned).into_iter();
    Some(SmokeTest::of(words.chain(load).chain(["/dev/null".to_owned()])))
}
