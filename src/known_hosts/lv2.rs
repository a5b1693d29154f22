//! LV2: audio plugins, opened by lilv in lv2apply.

use super::source_text::defined;
use super::{GENERATED_FIRST, KnownHost, any_artifact};
use crate::config::LanguageName;

pub(super) const LV2: KnownHost = KnownHost {
    name: "lv2",
    other_names: &["lilv", "lv2apply"],
    path: "/usr/bin/lv2apply",
    install: None,
    runtime_packages: &["lilv-utils"],
    build_packages: &["g++", "gcc", "libc6-dev", "lv2-dev", "make", "pkg-config"],
    program_directory: None,
    links: &[],
    files: &[],
    words: &["lv2.h", "lv2.hpp"],
    needs_words: false,
    crates: &["lv2"],
    own_build: None,
    systems: GENERATED_FIRST,
    fallback: None,
    symbols: &[],
    entries: |text| defined(text, |name| name == "lv2_descriptor"),
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    // A host finds a plugin by the .ttl files beside it, which its directory does not have here.
    smoke: |_| None,
    rust_note: None,
    note: Some(
        "the host opens the plugin and nothing more: lilv finds it by the .ttl files of its bundle, which are not artifacts",
    ),
};
