//! nginx: dynamic modules, each a directory with a `config` that nginx's own `configure` reads.

use super::makefile::words;
use super::{
    Files, KnownHost, Made, OwnBuild, SmokePlugin, SmokeTest, any_artifact, no_entries, nothing_beside, same_name,
};
use crate::config::{BuildSystem, LanguageName};

pub(super) const NGINX: KnownHost = KnownHost {
    name: "nginx",
    other_names: &[],
    path: "/usr/sbin/nginx",
    install: Some("/usr/lib/nginx/modules"),
    runtime_packages: &["nginx"],
    build_packages: &["nginx-dev", "gcc", "libc6-dev", "make", "bash"],
    program_directory: Some("/usr/sbin"),
    links: &[],
    files: &[],
    words: &["ngx_core.h"],
    needs_words: false,
    crates: &["ngx"],
    own_build: Some(OwnBuild {
        system: BuildSystem::NginxModule,
        made,
    }),
    systems: &[],
    fallback: None,
    symbols: &["ngx_modules", "ngx_module_names"],
    entries: no_entries,
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    beside: nothing_beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

/// The shared object has the name of the first module (nginx's auto/module).
fn made(file: &str, text: &str, _: &dyn Files) -> Vec<Made> {
    if file != "config" || !text.contains("ngx_") {
        return vec![];
    }
    let named = ["ngx_module_name", "ngx_addon_name"]
        .iter()
        .find_map(|variable| words(text, variable).into_iter().next());
    named
        .into_iter()
        .map(|name| Made {
            artifact: format!("{name}.so"),
            name,
        })
        .collect()
}

/// A configuration of its own, as `-g` takes no blocks.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let load: String = plugins
        .iter()
        .map(|plugin| format!("load_module {{plugins}}/{}; ", plugin.artifact))
        .collect();
    let script = format!(
        "echo '{load}pid /tmp/nginx.pid; events {{}}' >/tmp/nginx.conf && nginx -t -e stderr -c /tmp/nginx.conf"
    );
    Some(SmokeTest::of(["sh", "-c", &script]))
}
