//! PHP: extensions, by a `config.m4`.

use super::source_text::between;
use super::{
    Files, KnownHost, Made, OwnBuild, SmokePlugin, SmokeTest, any_artifact, no_entries, nothing_beside, same_name,
};
use crate::config::{BuildSystem, LanguageName};

pub(super) const PHP: KnownHost = KnownHost {
    name: "php",
    other_names: &["php8.4"],
    path: "/usr/bin/php8.4",
    install: Some("/usr/lib/php/20240924"),
    runtime_packages: &["php8.4-cli"],
    build_packages: &["php8.4-dev", "gcc", "libc6-dev", "make"],
    program_directory: None,
    // phpize and php-config are alternatives, which nothing chooses in an image that is unpacked only.
    // phpize also asks dpkg, which such an image has no answers of, for libtool's version, and then looks where the old ones were.
    links: &[
        ("usr/bin/phpize", "phpize8.4"),
        ("usr/bin/php-config", "php-config8.4"),
        ("usr/share/libtool/config", "build-aux"),
    ],
    files: &[],
    words: &["php.h"],
    needs_words: false,
    crates: &["ext-php-rs"],
    own_build: Some(OwnBuild {
        system: BuildSystem::Phpize,
        made,
    }),
    systems: &[],
    fallback: None,
    symbols: &["get_module"],
    entries: no_entries,
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    beside: nothing_beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

fn made(file: &str, text: &str, _: &dyn Files) -> Vec<Made> {
    if file != "config.m4" {
        return vec![];
    }
    let names: std::collections::BTreeSet<&str> = between(text, "PHP_NEW_EXTENSION(", &[',', ')']).collect();
    let is_name = |name: &&str| !name.is_empty() && !name.contains('$');
    names
        .into_iter()
        .filter(is_name)
        .map(|name| Made {
            name: name.to_owned(),
            artifact: format!("{name}.so"),
        })
        .collect()
}

fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let mut command = vec!["php8.4".to_owned(), "-n".to_owned()];
    let mut loaded = Vec::new();
    for plugin in plugins {
        command.extend(["-d".to_owned(), format!("extension={{plugins}}/{}", plugin.artifact)]);
        loaded.push(format!("extension_loaded('{}')", plugin.stem()));
    }
    command.extend(["-r".to_owned(), format!("exit({} ? 0 : 1);", loaded.join(" && "))]);
    Some(SmokeTest::of(command))
}
