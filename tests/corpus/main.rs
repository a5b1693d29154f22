//! The distribution's own hosts with their own modules: what the loader really does with each pair.
//!
//! `make corpus` runs all of them; the tests that always run take a few packages.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod class;
mod hosts;
mod predict;
mod report;
mod root;
mod truth;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use hosts::Hosts;
use report::Table;
use root::Root;
use truth::{Question, Seen};

/// With how many modules of other hosts each program is paired.
const CROSSED_COUNT: usize = 12;

/// How many pairs of a host and a module of its own `make bench` has at least.
const BENCH_PAIRS_COUNT: usize = 1000;

/// The root is seen twice: as the packages' files are unpacked, and with what their scripts make for the loader
/// (`ld.so.cache`, alternatives).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unpacked,
    Configured,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Unpacked => "unpacked",
            Self::Configured => "configured",
        }
    }
}

#[test]
fn a_few_packages_load_as_predicted() {
    let table = corpus(&hosts::read().sample(), "sample", true, &[State::Configured]);
    assert!(table.own_pairs >= 500 && table.alarms.is_empty(), "{}", table.text());
}

#[test]
#[ignore = "downloads 700 MB: make corpus"]
fn all_packages_load_as_predicted() {
    let table = corpus(&hosts::read(), "whole", false, &[State::Configured, State::Unpacked]);
    assert!(table.own_pairs >= 4000 && table.alarms.is_empty(), "{}", table.text());
}

/// `scripts/bench-check.sh` reads what is written here.
#[test]
#[ignore = "part of make bench"]
fn the_root_of_the_benchmark_is_made() {
    let hosts = hosts::read().bench();
    let root = Root::of(&hosts, "bench");
    root.configure(&hosts.links(&root.path));
    let pairs = hosts.pairs(&root.path, 0);
    let lines: BTreeSet<String> = pairs
        .iter()
        .filter(|pair| !pair.crossed && pair.first.is_empty())
        .map(|pair| format!("{}\t{}\n", pair.program, pair.module))
        .collect();
    assert!(lines.len() >= BENCH_PAIRS_COUNT, "{} pairs", lines.len());
    let path = root.path.with_file_name("pairs.txt");
    fs::write(path, lines.into_iter().collect::<String>()).unwrap();
}

fn corpus(hosts: &Hosts, name: &str, both_flags: bool, states: &[State]) -> Table {
    let start = Instant::now();
    let root = Root::of(hosts, name);
    let made = start.elapsed();
    let links = hosts.links(&root.path);
    let pairs = hosts.pairs(&root.path, CROSSED_COUNT);
    let mut table = Table::new(hosts, root.package_count, &pairs);
    table.note(format!(
        "{} packages unpacked in {:.1} s",
        root.package_count,
        made.as_secs_f64()
    ));
    for state in states {
        match state {
            State::Unpacked => root.unconfigure(&links),
            State::Configured => root.configure(&links),
        }
        let start = Instant::now();
        let truth: BTreeMap<Question, Seen> = truth::ask(&root, hosts, &pairs, both_flags);
        table.note(format!(
            "{}: {} questions in {:.1} s",
            state.word(),
            truth.len(),
            start.elapsed().as_secs_f64()
        ));
        let start = Instant::now();
        let questions: Vec<Question> = truth.keys().cloned().collect();
        let predicted = predict::predict(&root, hosts, &questions);
        table.note(format!(
            "{}: {} predictions in {:.1} s",
            state.word(),
            predicted.len(),
            start.elapsed().as_secs_f64()
        ));
        table.take(state.word(), (&root, hosts), &truth, &predicted);
        let directory = root.path.parent().unwrap();
        fs::write(directory.join("truth.jsonl"), table.lines()).unwrap();
        fs::write(directory.join("report.txt"), table.text()).unwrap();
    }
    table.print();
    table
}
