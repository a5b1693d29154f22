//! Builds that are not reproducible, each with a cured twin: `verify` finds the one, names what causes it, and says nothing of
//! the other. What is true is found by experiment (`nondeterminism/experiment.rs`), and not written down.
//!
//! A few cases run always; all with `LOCKSTEP_NONDETERMINISM=all`, in both C libraries (`make nondeterminism`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "nondeterminism/case.rs"]
mod case;
mod common;
#[path = "nondeterminism/experiment.rs"]
mod experiment;
mod sample;
#[path = "nondeterminism/trial.rs"]
mod trial;

use case::Case;

/// The cases that run always: one that a variation causes, and one that is there in each build.
const ALWAYS: [&str; 2] = ["hostname", "urandom"];

fn asked() -> Vec<Case> {
    let all = case::all();
    match std::env::var("LOCKSTEP_NONDETERMINISM").ok().as_deref() {
        None | Some("") => all
            .into_iter()
            .filter(|case| ALWAYS.contains(&case.name.as_str()))
            .collect(),
        Some("all") => all,
        Some(names) => {
            let named = |case: &Case| names.split(',').any(|name| name == case.name);
            all.into_iter().filter(named).collect()
        }
    }
}

#[test]
fn what_is_not_reproducible_on_glibc_is_found_with_its_cause() {
    let is_thorough = std::env::var("LOCKSTEP_NONDETERMINISM").is_ok();
    trial::run("glibc", "debian", &asked(), is_thorough);
}

#[test]
#[ignore = "as long again: make nondeterminism"]
fn what_is_not_reproducible_on_musl_is_found_with_its_cause() {
    trial::run("musl", "musl", &asked(), true);
}
