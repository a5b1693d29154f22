//! Two C libraries' families.

use crate::check::Rule;
use crate::check::platform::{Family, Platform};
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "libc-family",
    description: "plugin and host were built for different C libraries",
    explanation: "glibc and musl have the same function names and other types behind them: regmatch_t has 8 bytes in one \
                  and 16 in the other, and the constants of nl_langinfo, the layout of glob_t, jmp_buf and lconv differ. A \
                  plugin that was compiled with the headers of one and runs with the other passes wrong sizes and offsets.\n\n\
                  musl takes libc.so.6, libm.so.6, libpthread.so.0 and their like for itself and ignores versions, so a \
                  plugin for glibc often loads without any message, and Go's own check of package hashes sees no \
                  difference either. A smoke test passes, and the answers are wrong. Some such plugins fail by accident, \
                  because of a library or a symbol that only glibc has; installing gcompat or libc6-compat removes that \
                  accident, not the difference.\n\n\
                  The reverse, a plugin for musl in a glibc host, fails unless a directory on the search path has musl's \
                  libc.so, and then there are two C libraries in one process.\n\n\
                  Build the plugin in the host's environment.",
};

/// `needs` are the witnesses of the plugin's family, the strongest first.
pub(super) fn finding(
    plugin: &str,
    family: Family,
    host: &str,
    platform: &Platform,
    witnesses: &[String],
    divergent: &[String],
) -> Finding {
    let runs_on = platform.family;
    let title = format!(
        "`{}` was built for {}, but `{}` runs on {}",
        short(plugin),
        family.name(),
        short(host),
        runs_on.name()
    );
    let mut finding = Finding::new(RULE.code, Verdict::Danger, plugin, title);
    let mut needs = witnesses.join("; ");
    if !divergent.is_empty() {
        needs.push_str(&format!(
            "; calls {}, whose types differ between the two",
            divergent.join(", ")
        ));
    }
    finding = finding.evidence(needs);
    if runs_on == Family::Musl {
        finding = finding.evidence(
            "musl takes libc.so.6 for itself, so nothing reports the difference, and the answers may be wrong",
        );
    }
    finding
        .evidence(format!("host: interpreter {}", platform.interpreter))
        .hint(format!(
            "build it in the host's environment, with {}: lockstep build",
            runs_on.name()
        ))
}

/// Functions of the C library whose types have other sizes, layouts or constants in the other family.
pub(super) const DIVERGENT: &[&str] = &[
    "regcomp",
    "regexec",
    "regfree",
    "glob",
    "glob64",
    "globfree",
    "localeconv",
    "nl_langinfo",
    "nl_langinfo_l",
    "setjmp",
    "_setjmp",
    "sigsetjmp",
    "__sigsetjmp",
    "longjmp",
    "siglongjmp",
    "wordexp",
    "posix_spawnattr_init",
    "posix_spawn_file_actions_init",
    "fts_open",
    "getutxent",
    "mallinfo",
    "msgctl",
    "semctl",
    "shmctl",
];

fn short(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
