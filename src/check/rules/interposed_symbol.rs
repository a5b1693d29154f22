//! A symbol of another plugin.

use crate::check::Rule;
use crate::check::fault::{Excuse, Fault, Interposer};
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "interposed-symbol",
    description: "a symbol is bound to another object's definition of that name",
    explanation: "With RTLD_GLOBAL (Go's runtime always uses it) the first definition in load order wins for everybody. If \
                  two plugins define the same global name, the second one calls and writes what the first one defined, \
                  also from inside itself. Nothing is reported, and which plugin is wrong depends on the order. A host that \
                  exports its symbols (-rdynamic) comes before all plugins and all of their libraries: a name that it \
                  has by accident is taken from it. So do the libraries that it is linked with; the C library's own functions, \
                  which everybody has, are not told.\n\n\
                  With RTLD_LOCAL the same happens in glibc for STB_GNU_UNIQUE symbols, such as static variables of C++ \
                  inline functions and templates: there is one of them in a process, in whichever plugin came first, and only \
                  `-fno-gnu-unique` changes that.\n\n\
                  What the host or a library has from the same source is no fault: functions of the same length whose bytes \
                  are the same but for addresses. Where only other functions of the two are the same, this one may be \
                  of another version, and that is unknown. So it is where the host, the plugin and the library whose \
                  function is replaced all came with the distribution's packages (dpkg, apk): they are run together as they \
                  are, and what would be wrong may never be called.\n\n\
                  Compile plugins with `-fvisibility=hidden` and export only what the contract names, or link with \
                  `-Wl,-Bsymbolic` or a version script. A hidden symbol cannot be taken over.",
};

pub(super) fn finding(
    fault: &Fault,
    symbol: &str,
    (provider, by): (&str, Interposer),
    own: &str,
    excuse: Option<Excuse>,
) -> Finding {
    let shown = super::symbol_not_found::readable(symbol).unwrap_or_else(|| symbol.to_owned());
    let (verdict, its) = match excuse {
        Some(Excuse::Copy) => (Verdict::Unknown, "which may be another version"),
        Some(Excuse::Packaged) => (Verdict::Unknown, "not its own, as the distribution ships them"),
        None => (Verdict::Danger, "not its own"),
    };
    let title = format!("`{}` uses the `{shown}` of {provider}, {its}", fault.object);
    let finding = Finding::new(RULE.code, verdict, symbol, title).evidence(format!(
        "{own} defines {symbol}, but {provider} comes before it where symbols are looked for"
    ));
    let finding = match excuse {
        Some(Excuse::Copy) => finding.evidence(format!(
            "nothing tells that the two differ in more than how they were compiled: {provider} has other functions of {own}, or \
             the code is not to be seen"
        )),
        Some(Excuse::Packaged) => finding.evidence(
            "host, plugin and library are all of the distribution's packages; whether anything calls it there is not in the files",
        ),
        None => finding,
    };
    let its_own = "compile plugins with -fvisibility=hidden, or link them with -Wl,-Bsymbolic";
    finding.hint(match by {
        Interposer::Unique => {
            "compile plugins with -fno-gnu-unique: of such a symbol there is one in a process, whatever RTLD_LOCAL and \
             -Bsymbolic say"
                .to_owned()
        }
        _ if own != fault.object => format!(
            "rename one of the two, or link {own} statically into what uses it and hide it there (-Wl,--exclude-libs,ALL)"
        ),
        Interposer::Host => format!(
            "{its_own}; or let the host export only what plugins are to use (-Wl,--dynamic-list instead of -rdynamic)"
        ),
        Interposer::HostLibrary => format!("{its_own}: what the host is linked with comes before them"),
        Interposer::Plugin => format!("{its_own}; RTLD_LOCAL in the host helps where it can be chosen"),
    })
}
