//! `go-host-cannot-load-plugins`: the host is no Go program with the package `plugin`, cgo and a dynamic loader.

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};
use crate::facts::go::{PluginPackage, has_text};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-host-cannot-load-plugins",
    description: "the host can load no Go plugin at all",
    explanation: "\
Only a Go program can open a Go plugin, and only if it was linked for that: it imports the package `plugin`, it was built \
with cgo, and it is linked dynamically. Go's linker then exports every package to the plugins, with a hash of each. A host \
without those hashes cannot share its packages, so all plugins fail in it, however they were built.

Without cgo (CGO_ENABLED=0, or cross-compiled without a C compiler, where it is off by default) plugin.Open always answers \
`plugin: not implemented`. Linked statically, it has no dynamic loader (musl: `Dynamic loading not supported`), or one that \
cannot join the plugin to the program (glibc: `fatal error: runtime: no plugin module data`, which ends the process).

Build the host with CGO_ENABLED=1, without -extldflags=-static, and open plugins with the package `plugin`.",
};

/// What the C library says in a static program, if that is musl.
const STATIC_MUSL: &str = "Dynamic loading not supported";

/// Says why the host can load no plugin, if it cannot; with what it would say of this one.
#[must_use]
pub(super) fn check(host: &GoSide, plugin: &GoSide) -> Option<Finding> {
    let finding = |title: &str| Finding::new(RULE.code, Verdict::Refuse, host.shown, title);
    let Some(go) = host.go else {
        return Some(
            finding("the host is no Go program, and only those can open Go plugins")
                .evidence("neither build info nor package hashes of Go are in the file")
                .hint("open the plugin from a Go program, or build it with -buildmode=c-shared and a C interface")
                .predicted(Phase::Load, None),
        );
    };
    let is_exporting = !go.packages.is_empty();
    match go.plugin_package {
        PluginPackage::Stub => Some(
            finding("the host was built without cgo, and cannot load plugins")
                .evidence(match go.setting("CGO_ENABLED") {
                    Some(value) => format!("build info: CGO_ENABLED={value}"),
                    None => "the package plugin is there without the part that needs cgo".to_owned(),
                })
                .hint("build the host with CGO_ENABLED=1")
                .predicted(Phase::Load, Some("plugin: not implemented".to_owned())),
        ),
        PluginPackage::Absent if !is_exporting => Some(
            finding("the host does not import the package `plugin`, and opens no Go plugins")
                .evidence("there is no function plugin.Open in it, and it exports no package to plugins")
                .hint("import \"plugin\" in the host and open the plugin with plugin.Open")
                .predicted(Phase::Load, None),
        ),
        _ if host.is_static() => Some(
            finding("the host is linked statically, and cannot load plugins")
                .evidence("no interpreter is named in the file (PT_INTERP)")
                .hint("link the host dynamically: without -extldflags=-static and -linkmode=internal")
                .predicted(Phase::Load, static_words(host, plugin)),
        ),
        _ if !is_exporting => Some(
            finding("the host exports none of its packages to plugins")
                .evidence("there are no symbols go:link.pkghashbytes.* among its dynamic symbols")
                .hint("link the host with Go's linker, and do not take symbols out of its dynamic table")
                .predicted(Phase::Load, None),
        ),
        _ => None,
    }
}

/// A plugin that glibc's static loader opened has joined another runtime than the host's: its own.
fn static_words(host: &GoSide, plugin: &GoSide) -> Option<String> {
    if has_text(host.elf, STATIC_MUSL.as_bytes()) {
        return Some(format!("plugin.Open(\"{}\"): {STATIC_MUSL}", plugin.shown));
    }
    // One that starts threads of its own when it is loaded does not survive it.
    let starts_by_itself = plugin.go.is_some_and(|go| go.build_mode() == Some("c-shared"));
    (!starts_by_itself).then(|| super::go_not_a_plugin::FATAL.to_owned())
}
