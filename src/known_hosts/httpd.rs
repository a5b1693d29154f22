//! Apache httpd: modules, by apxs.

use super::source_text::between;
use super::{KnownHost, SmokePlugin, SmokeTest, any_artifact, nothing_beside, same_name};
use crate::config::{BuildSystem, LanguageName};

pub(super) const HTTPD: KnownHost = KnownHost {
    name: "httpd",
    other_names: &["apache", "apache2"],
    path: "/usr/sbin/apache2",
    install: Some("/usr/lib/apache2/modules"),
    runtime_packages: &["apache2-bin"],
    build_packages: &["apache2-dev", "bash", "gcc", "libc6-dev", "make"],
    program_directory: Some("/usr/sbin"),
    links: &[],
    files: &[],
    words: &["httpd.h", "http_config.h"],
    needs_words: false,
    crates: &[],
    own_build: None,
    systems: &[],
    fallback: Some(BuildSystem::Apxs),
    symbols: &[],
    entries,
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    beside: nothing_beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

/// The record by which a module is found: the name of `LoadModule`.
fn entries(text: &str) -> Vec<String> {
    let declared = between(text, "AP_DECLARE_MODULE(", &[')']).map(|name| format!("{name}_module"));
    let written = between(text, "module AP_MODULE_DECLARE_DATA", &['=', ';']).map(str::to_owned);
    let mut names: Vec<String> = declared.chain(written).collect();
    let is_name = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    names.retain(is_name);
    names.sort();
    names.dedup();
    names
}

/// The configuration is looked at, which needs a module that makes processes, and a log where one can be written.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let words = ["apache2", "-t", "-f", "/dev/null", "-C", "ErrorLog /tmp/error.log"];
    let mut command: Vec<String> = words.map(str::to_owned).into();
    let mut load = |module: &str, path: &str| command.extend(["-C".to_owned(), format!("LoadModule {module} {path}")]);
    load("mpm_event_module", "/usr/lib/apache2/modules/mod_mpm_event.so");
    load("authz_core_module", "/usr/lib/apache2/modules/mod_authz_core.so");
    for plugin in plugins {
        load(plugin.entries.first()?, &format!("{{plugins}}/{}", plugin.artifact));
    }
    Some(SmokeTest::of(command))
}
