//! `go-amd64-level`: the plugin has instructions that the host's processors need not have.

use super::go_side::GoSide;
use crate::check::{Finding, Phase, Rule, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "go-amd64-level",
    description: "the plugin was compiled for newer processors than the host (GOAMD64 and its like)",
    explanation: "\
GOAMD64 (GOARM64, GORISCV64, GOPPC64 elsewhere) says which processors the compiler may count on. It is not part of the \
packages' hashes, and nothing of it is in the ELF file's notes. A program checks its processor when it starts, but a plugin \
does not: loaded on an older processor by a host that was compiled for it, it runs until it meets the first instruction that \
is not there, and the process ends with SIGILL.

Compile the plugin with the host's level, or both with the level of the oldest processor.",
};

/// The variables, by architecture; of two values the one that sorts higher needs more.
const LEVELS: [&str; 4] = ["GOAMD64", "GOARM64", "GOPPC64", "GORISCV64"];

/// Compares the levels of a pair.
#[must_use]
pub(super) fn check(host: &GoSide, plugin: &GoSide) -> Option<Finding> {
    LEVELS.iter().find_map(|name| {
        let (ours, theirs) = (host.setting(name)?, plugin.setting(name)?);
        if !is_higher(theirs, ours) {
            return None;
        }
        let title = format!(
            "`{}` needs processors of level {theirs}, `{}` only of level {ours}",
            plugin.shown, host.shown
        );
        Some(
            Finding::new(RULE.code, Verdict::Danger, *name, title)
                .evidence(format!("{}: {name}={ours}", host.shown))
                .evidence(format!("{}: {name}={theirs}", plugin.shown))
                .evidence("no plugin checks the processor when it is loaded")
                .hint(format!("compile the plugin with {name}={ours}"))
                .predicted(Phase::None, None),
        )
    })
}

/// Compares by the numbers in two levels (`v3`, `v8.2,lse`, `power9`, `rva22u64`), and then by what is added to them.
fn is_higher(level: &str, than: &str) -> bool {
    let numbers = |level: &str| -> Vec<u64> {
        let base = level.split(',').next().unwrap_or_default();
        let parts = base.split(|letter: char| !letter.is_ascii_digit());
        parts.filter_map(|part| part.parse().ok()).collect()
    };
    let additions = |level: &str| level.split(',').count();
    (numbers(level), additions(level)) > (numbers(than), additions(than))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_by_their_numbers() {
        for (level, than) in [
            ("v3", "v1"),
            ("v9.0", "v8.9"),
            ("v8.0,lse", "v8.0"),
            ("power10", "power9"),
            ("rva22u64", "rva20u64"),
        ] {
            assert!(is_higher(level, than), "{level} {than}");
            assert!(!is_higher(than, level) && !is_higher(level, level), "{level} {than}");
        }
    }
}
