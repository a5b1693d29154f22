//! A symbol is missing.

use crate::check::Rule;
use crate::check::fault::{Fault, SymbolName};
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "symbol-not-found",
    description: "a symbol that is needed is defined nowhere",
    explanation: "A reference must find a definition among the host (if it exports its symbols: `-rdynamic`, or \
                  `-Wl,--dynamic-list`), the libraries that the host started with, plugins that were opened with RTLD_GLOBAL \
                  before, and the plugin with its own libraries. With RTLD_NOW, with `-z now` (the default of rustc and of \
                  many distributions) and for data, all of them are looked up when the plugin is opened, and the first \
                  that is missing ends it.\n\n\
                  With RTLD_LAZY, functions are looked up when they are called: the plugin loads, and the call ends the \
                  process (\"symbol lookup error\" in glibc, a jump to nowhere in musl). musl defers data as well.\n\n\
                  Symbols such as `__memcpy_chk` or `gnu_get_libc_version` are glibc's own: the plugin was built for \
                  glibc. `_Z…` and `_R…` are mangled names of C++ and Rust: host and plugin were compiled from different \
                  declarations, or by different compilers. A name that the host should provide needs `-rdynamic` there.",
};

pub(super) fn finding(
    fault: &Fault,
    symbol: &SymbolName,
    passed_over: Option<&str>,
    offset: u64,
    near: Option<&str>,
) -> Finding {
    let named = match &symbol.version {
        Some(version) => format!("{}@{version}", symbol.name),
        None => symbol.name.clone(),
    };
    let shown = readable(&symbol.name).map_or_else(|| format!("`{named}`"), |readable| format!("`{readable}`"));
    let (verdict, title) = if fault.stops {
        (
            Verdict::Refuse,
            format!("`{}` needs {shown}, which nothing defines", fault.object),
        )
    } else {
        let title = format!(
            "`{}` loads, but {shown} is defined nowhere, and calling it ends the process",
            fault.object
        );
        (Verdict::Danger, title)
    };
    let mut finding = Finding::new(RULE.code, verdict, &symbol.name, title)
        .evidence(format!("{}: reference to {named} at offset {offset:#x}", fault.object));
    finding.version.clone_from(&symbol.version);
    if let Some(passed_over) = passed_over {
        finding = finding.evidence(passed_over);
    }
    match near {
        _ if passed_over.is_some_and(|passed_over| passed_over.contains("indirect function")) => {
            finding.hint("musl has no indirect functions: compile it without __attribute__((ifunc)) or target_clones")
        }
        Some(near) => finding.hint(format!("`{near}` is defined: were host and plugin compiled from the same declarations?")),
        None => finding.hint("if the host should provide it, link the host with -rdynamic; else add the library that defines it to the plugin's link (-l…) and to the runtime image"),
    }
}

/// The name as it is in the source, for mangled ones.
pub(crate) fn readable(name: &str) -> Option<String> {
    if let Ok(name) = rustc_demangle::try_demangle(name) {
        return Some(format!("{name:#}"));
    }
    let symbol = cpp_demangle::Symbol::new(name).ok()?;
    let readable = name.starts_with("_Z").then(|| symbol.demangle().ok()).flatten()?;
    // `{vtable(Shape)}` is what binutils call `vtable for Shape`.
    let special = readable.strip_prefix('{').and_then(|rest| rest.strip_suffix(")}"));
    match special.and_then(|special| special.split_once('(')) {
        Some((what, of)) => Some(format!("{what} for {of}")),
        None => Some(readable),
    }
}
