//! Two Rust compilers.

use crate::check::Rule;
use crate::check::{Finding, Verdict};
use crate::facts::rust::Rust;

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "rust-compiler",
    description: "host and plugin were compiled by different Rust compilers",
    explanation: "Rust promises nothing about the layout of its own types between compilers, not even between two releases \
                  or two builds of one: fields are reordered, enums are packed otherwise, vtables and TypeId differ. A \
                  contract whose abi is `rust` passes such types, so a plugin of another compiler reads fields from wrong \
                  places, and a downcast of `dyn Any` answers no. Nothing is reported.\n\n\
                  The compiler is read from `.comment` (`rustc version …`), and from the paths of the standard library's \
                  sources (`/rustc/<commit>/`), which survive stripping.\n\n\
                  Build host and plugins with the same toolchain, in one image; or make the contract one of C types (`abi: \
                  c`, `#[repr(C)]`, `extern \"C\"`), for which the compiler does not matter.",
};

pub(in crate::check) fn finding(host: (&str, Option<&Rust>), plugin: (&str, Option<&Rust>)) -> Option<Finding> {
    let witnesses = |rust: Option<&Rust>| -> Vec<String> {
        let Some(rust) = rust else { return vec![] };
        let compilers = rust.compilers.iter().map(|compiler| compiler.text.clone());
        compilers.collect()
    };
    let commits = |rust: Option<&Rust>| rust.map(|rust| rust.commits.clone()).unwrap_or_default();
    let releases = |rust: Option<&Rust>| rust.map(|rust| rust.source_releases.clone()).unwrap_or_default();
    let (ours, theirs) = (witnesses(host.1), witnesses(plugin.1));
    let differs = |ours: &[String], theirs: &[String]| {
        !ours.is_empty() && !theirs.is_empty() && !theirs.iter().any(|one| ours.contains(one))
    };
    let finding = |verdict: Verdict, title: String| {
        Finding::new(RULE.code, verdict, plugin.0, title)
            .hint("build host and plugins with the same toolchain, or make the contract one of C types (abi: c)")
    };
    if differs(&ours, &theirs) {
        let title = format!(
            "`{}` and `{}` were compiled by different Rust compilers",
            plugin.0, host.0
        );
        return Some(
            finding(Verdict::Danger, title)
                .evidence(format!("{}: {}", host.0, ours.join("; ")))
                .evidence(format!("{}: {}", plugin.0, theirs.join("; "))),
        );
    }
    if !ours.is_empty() && !theirs.is_empty() {
        return None;
    }
    for (ours, theirs) in [
        (commits(host.1), commits(plugin.1)),
        (releases(host.1), releases(plugin.1)),
    ] {
        if differs(&ours, &theirs) {
            let title = format!(
                "`{}` and `{}` have standard libraries of different Rust compilers",
                plugin.0, host.0
            );
            return Some(
                finding(Verdict::Danger, title)
                    .evidence(format!("{}: {}", host.0, ours.join(", ")))
                    .evidence(format!("{}: {}", plugin.0, theirs.join(", "))),
            );
        }
        if !ours.is_empty() && !theirs.is_empty() {
            return None;
        }
    }
    let silent = if theirs.is_empty() { plugin.0 } else { host.0 };
    let title = format!("the contract passes Rust types, and nothing in `{silent}` tells which compiler made it");
    Some(
        finding(Verdict::Unknown, title)
            .evidence("neither .comment nor a path of the standard library's sources is in the file"),
    )
}
