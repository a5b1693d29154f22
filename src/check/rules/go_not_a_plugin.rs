//! `go-not-a-plugin`: the file is a library, but none that Go's runtime takes for a plugin.

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-not-a-plugin",
    description: "what is opened as a Go plugin is none, or joins no host's runtime",
    explanation: "\
When a Go plugin is loaded, the first thing it does is to append itself to the host runtime's list of modules. plugin.Open \
then takes the last module of that list. A C library, or one built with -buildmode=c-shared, appends nothing, so the runtime \
finds no new module: `fatal error: runtime: no plugin module data`, which no recover() catches and which ends the host. If a \
good plugin was opened before, the runtime takes that one for it and says `plugin already loaded`.

The same happens to a plugin whose own symbols come first (-extldflags=-Wl,-Bsymbolic): it appends itself to a list of its own.

Build the plugin with -buildmode=plugin, and without -Bsymbolic.",
};

/// What the runtime says before it ends the process.
pub(super) const FATAL: &str = "fatal error: runtime: no plugin module data";

/// Whether the runtime sees a module when the file is loaded.
#[must_use]
pub(super) fn is_plugin(plugin: &GoSide) -> bool {
    plugin
        .go
        .is_some_and(|go| go.module.is_handed_over && !go.module.checked.is_empty())
}

/// Says what the file is, if it is no plugin; `is_last_good` is whether the plugin that was loaded last was taken.
#[must_use]
pub(super) fn check(plugin: &GoSide, is_last_good: bool) -> Option<Finding> {
    if is_plugin(plugin) {
        return None;
    }
    let mode = plugin.go.and_then(|go| go.build_mode());
    let (title, evidence, hint) = match (plugin.go, mode) {
        (None, _) => (
            "is no Go plugin: Go's linker did not make it".to_owned(),
            "neither build info nor package hashes of Go are in the file".to_owned(),
            "open it with dlopen, or write the plugin in Go and build it with -buildmode=plugin",
        ),
        (Some(go), Some("plugin")) if !go.module.checked.is_empty() => (
            "keeps its runtime to itself, so the host's does not see it".to_owned(),
            match &plugin.elf.dynamic {
                Some(dynamic) if dynamic.is_symbolic() => {
                    "its own symbols come first (DF_SYMBOLIC), runtime.lastmoduledatap too".to_owned()
                }
                _ => "it refers to no runtime.lastmoduledatap outside of itself".to_owned(),
            },
            "link the plugin without -Bsymbolic",
        ),
        (Some(_), mode) => (
            format!(
                "is no Go plugin, but was built with -buildmode={}",
                mode.unwrap_or("exe")
            ),
            "it has no table of packages for the runtime to compare".to_owned(),
            "build it with -buildmode=plugin",
        ),
    };
    let words = if is_last_good {
        plugin.refused(super::go_plugin_path::ALREADY)
    } else {
        FATAL.to_owned()
    };
    Some(
        Finding::new(
            RULE.code,
            Verdict::Refuse,
            plugin.shown,
            format!("`{}` {title}", plugin.shown),
        )
        .evidence(evidence)
        .hint(hint)
        .predicted(Phase::Load, Some(words)),
    )
}
