//! Lua: modules in C, found by `require`.

use super::source_text::defined;
use super::{KnownHost, SmokePlugin, SmokeTest, nothing_beside, same_name};
use crate::config::{BuildSystem, LanguageName};

/// Lua's own libraries: who has them is Lua, or brings it along.
const OWN: &[&str] = &[
    "luaopen_base",
    "luaopen_bit32",
    "luaopen_coroutine",
    "luaopen_debug",
    "luaopen_io",
    "luaopen_math",
    "luaopen_os",
    "luaopen_package",
    "luaopen_string",
    "luaopen_table",
    "luaopen_utf8",
];

pub(super) const LUA: KnownHost = KnownHost {
    name: "lua",
    other_names: &["lua5.4"],
    path: "/usr/bin/lua5.4",
    install: Some("/usr/lib/x86_64-linux-gnu/lua/5.4"),
    runtime_packages: &["lua5.4"],
    build_packages: &["gcc", "libc6-dev", "liblua5.4-dev", "make"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["lua.h", "lua.hpp", "lauxlib.h"],
    needs_words: false,
    crates: &["mlua"],
    own_build: None,
    // Makefiles take Lua's headers from where the compiler looks; the others look for a Lua by themselves.
    systems: &[BuildSystem::Make],
    fallback: None,
    symbols: &[],
    entries,
    artifact: |entry| entry.strip_prefix("luaopen_").map(|name| format!("{name}.so")),
    language: LanguageName::C,
    env: &[
        ("C_INCLUDE_PATH", "/usr/include/lua5.4"),
        ("CPLUS_INCLUDE_PATH", "/usr/include/lua5.4"),
    ],
    beside: nothing_beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

fn entries(text: &str) -> Vec<String> {
    defined(text, |name| {
        name.starts_with("luaopen_") && name.len() > 8 && !OWN.contains(&name)
    })
}

fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let requires: Vec<String> = plugins
        .iter()
        .map(|plugin| format!("require('{}')", plugin.stem()))
        .collect();
    Some(SmokeTest::of(["lua5.4", "-e", &requires.join(" ")]))
}
