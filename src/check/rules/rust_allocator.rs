//! Two allocators.

use crate::check::Rule;
use crate::check::{Finding, Verdict};
use crate::facts::rust::Allocator;

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "rust-allocator",
    description: "host and plugin have different allocators",
    explanation: "A contract whose abi is `rust` moves boxes, vectors and strings across the border, and whoever drops \
                  them frees the memory with its own allocator. If host and plugin have different ones \
                  (`#[global_allocator]`), that is undefined: \"free(): invalid pointer\" at best. A stripped file \
                  does not tell which allocator it has, and one with link-time optimisation may not.\n\n\
                  Use the same allocator on both sides, or let each side free what it allocated.",
};

pub(in crate::check) fn finding(
    host: (&str, Option<&Allocator>),
    plugin: (&str, Option<&Allocator>),
) -> Option<Finding> {
    let (Some(ours), Some(theirs)) = (host.1, plugin.1) else {
        let silent = if plugin.1.is_none() { plugin.0 } else { host.0 };
        let title = format!("the contract passes Rust types, and nothing in `{silent}` tells which allocator it has");
        return Some(
            Finding::new(RULE.code, Verdict::Unknown, plugin.0, title)
                .evidence("the symbols that would tell are stripped, or link-time optimisation has removed them"),
        );
    };
    if ours == theirs {
        return None;
    }
    let title = format!(
        "`{}` allocates with {}, `{}` with {}",
        plugin.0,
        word(theirs),
        host.0,
        word(ours)
    );
    Some(
        Finding::new(RULE.code, Verdict::Danger, plugin.0, title)
            .hint("use the same #[global_allocator] on both sides, or let each side free what it allocated"),
    )
}

fn word(allocator: &Allocator) -> &'static str {
    match allocator {
        Allocator::System => "the C library's malloc",
        Allocator::Jemalloc => "jemalloc",
        Allocator::Mimalloc => "mimalloc",
        Allocator::Custom => "an allocator of its own",
    }
}
