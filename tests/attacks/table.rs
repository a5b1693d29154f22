//! What was tried and what held: a row for each kind of attack, in `target/attacks/`, where `make attacks` prints them.

#![allow(dead_code, reason = "not every part of the suite uses all of it")]

use std::fmt::Write as _;
use std::path::Path;

/// One kind of attack, tried any number of times.
#[must_use = "a row is judged by `finish`"]
pub(crate) struct Row {
    /// What is attacked: the file of the row.
    group: &'static str,
    /// What is done.
    attack: String,
    tried: usize,
    /// What did not hold.
    failures: Vec<String>,
}

impl Row {
    pub(crate) fn new(group: &'static str, attack: impl Into<String>) -> Self {
        Self {
            group,
            attack: attack.into(),
            tried: 0,
            failures: Vec::new(),
        }
    }

    /// One try: it held, or what happened instead.
    pub(crate) fn count(&mut self, outcome: Result<(), String>) {
        self.tried += 1;
        self.failures.extend(outcome.err());
    }

    /// One try that holds if `is_as_it_should_be`; `otherwise` says what happened instead.
    pub(crate) fn check(&mut self, is_as_it_should_be: bool, otherwise: impl FnOnce() -> String) {
        self.count(if is_as_it_should_be { Ok(()) } else { Err(otherwise()) });
    }

    /// Keeps the row, and fails if not all of it held.
    pub(crate) fn finish(self) {
        assert!(self.tried > 0, "nothing was tried: {}", self.attack);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attacks");
        std::fs::create_dir_all(&directory).unwrap();
        let held = self.tried - self.failures.len();
        let line = format!(
            "{}\t{}\t{}\t{held}\t{}\n",
            self.group,
            self.attack,
            self.tried,
            self.failures.len()
        );
        let name: String = format!("{}-{}", self.group, self.attack)
            .chars()
            .map(|character| {
                if character.is_ascii_alphanumeric() {
                    character
                } else {
                    '-'
                }
            })
            .collect();
        std::fs::write(directory.join(format!("{name}.tsv")), line).unwrap();
        let mut told = String::new();
        for failure in &self.failures {
            let _ = writeln!(told, "  {failure}");
        }
        assert!(
            self.failures.is_empty(),
            "{}: {} of {} did not hold:\n{told}",
            self.attack,
            self.failures.len(),
            self.tried
        );
    }
}

/// How often to try: `few` in a test run, `all` in `make attacks`.
pub(crate) fn tries(few: usize, all: usize) -> usize {
    if std::env::var_os("LOCKSTEP_ATTACKS").is_some_and(|value| value == "all") {
        all
    } else {
        few
    }
}
