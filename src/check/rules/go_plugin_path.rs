//! `go-plugin-path`: two plugins go by one name, or the plugin's symbols go by another name than the plugin.

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-plugin-path",
    description: "two plugins have one plugin path, or a plugin's symbols are under another path than its own",
    explanation: "\
Go's runtime knows a plugin by its plugin path: the import path of its main package, or `plugin/unnamed-` and a hash of the \
files if it was built from a list of files. The name of the file does not count. Of two plugins with the same path the second \
is refused with `plugin already loaded`: a copy, or two builds or versions of one plugin, cannot be in one process.

-ldflags=-pluginpath=… gives the plugin another path, but the compiler has named its symbols after the import path, so the \
runtime finds none of them: `could not find symbol`. A second plugin.Open of such a file never returns.

Give each plugin a main package with an import path of its own, and leave -pluginpath alone.",
};

/// What the runtime says of a second plugin with the same path.
pub(super) const ALREADY: &str = "plugin already loaded";

/// Says that `first`, which the runtime took before, has the same path.
#[must_use]
pub(super) fn duplicate(plugin: &GoSide, first: &GoSide) -> Finding {
    let path = path(plugin);
    let title = format!("`{}` and `{}` are one plugin to Go: {path}", plugin.shown, first.shown);
    let one = Finding::new(RULE.code, Verdict::Refuse, path.as_str(), title);
    one.evidence(format!(
        "{} was opened before, with the plugin path {path}",
        first.shown
    ))
    .hint("open only one of them, or give each a main package with an import path of its own")
    .predicted(Phase::Load, Some(plugin.refused(ALREADY)))
}

/// Says that the symbols are under another path, if they are.
#[must_use]
pub(super) fn renamed(plugin: &GoSide, host: &GoSide) -> Option<Finding> {
    let go = plugin.go?;
    let (path, prefix) = (go.module.plugin_path.as_deref()?, go.symbol_prefix.as_deref()?);
    if path == prefix {
        return None;
    }
    let name = &go.exports.first()?.name;
    let is_musl = host
        .elf
        .interpreter
        .as_deref()
        .is_some_and(|path| path.contains("/ld-musl-"));
    let cause = if is_musl {
        format!("Symbol not found: {path}.{name}")
    } else {
        format!("{}: undefined symbol: {path}.{name}", plugin.path)
    };
    let title = format!(
        "`{}` is linked as {path}, but its symbols are compiled as {prefix}",
        plugin.shown
    );
    let mut finding = Finding::new(RULE.code, Verdict::Refuse, path, title);
    if go.exports.len() > 1 {
        let count = go.exports.len();
        finding = finding.evidence(format!(
            "{count} symbols cannot be found; which one Go names is left to chance"
        ));
    }
    Some(
        finding
            .evidence(format!("{prefix}.{name} is there, {path}.{name} is looked for"))
            .hint("build the plugin without -ldflags=-pluginpath")
            .predicted(
                Phase::Load,
                Some(plugin.refused(&format!("could not find symbol {name}: {cause}"))),
            ),
    )
}

/// The plugin's path, as far as it is known.
pub(super) fn path(plugin: &GoSide) -> String {
    let go = plugin.go;
    let recorded = go.and_then(|go| go.module.plugin_path.clone());
    let compiled = || go.and_then(|go| go.symbol_prefix.clone());
    let main = || Some(crate::facts::go::escape(go?.build.as_ref()?.path.as_deref()?));
    recorded.or_else(compiled).or_else(main).unwrap_or_default()
}
