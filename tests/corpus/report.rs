//! The corpus in figures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lockstep::check::{PairReport, Verdict};
use serde::Serialize;

use crate::class;
use crate::hosts::{Flags, Hosts, Pair};
use crate::predict::{Agreement, compare_with, has_interposed, is_confirmed};
use crate::root::Root;
use crate::truth::{self, Question, Seen};

/// How many alarms are printed; all are in the file.
const ALARMS_SHOWN_COUNT: usize = 200;

/// Of how many the loader is asked again.
const DOUBTFUL_LIMIT_COUNT: usize = 500;

/// What was seen of all pairs.
pub(crate) struct Table {
    notes: Vec<String>,
    head: String,
    /// How many pairs are of a host and a module of its own.
    pub(crate) own_pairs: usize,
    /// By state, pairs of whom, flags, and class.
    counts: BTreeMap<(&'static str, bool, &'static str, String), usize>,
    /// By pairs of whom.
    agreements: BTreeMap<(bool, Agreement), usize>,
    /// By code and verdict: of how many pairs that load.
    codes: BTreeMap<(&'static str, &'static str), usize>,
    /// Each prediction that was wrong.
    pub(crate) alarms: Vec<String>,
    /// Each pair that loads with symbols that nobody meant, which the loader confirms.
    confirmed: Vec<String>,
    lines: String,
}

#[derive(Serialize)]
struct Line<'a> {
    state: &'static str,
    #[serde(flatten)]
    question: &'a Question,
    seen: &'a Seen,
    agreement: Agreement,
    predicted: &'a PairReport,
}

impl Table {
    pub(crate) fn new(hosts: &Hosts, package_count: usize, pairs: &[Pair]) -> Self {
        let own_pairs = pairs.iter().filter(|pair| !pair.crossed).count();
        let programs: BTreeSet<&String> = pairs.iter().map(|pair| &pair.program).collect();
        let modules: BTreeSet<&String> = pairs.iter().map(|pair| &pair.module).collect();
        let head = format!(
            "{} packages of {}, {} hosts, {} modules: {own_pairs} pairs, and {} with a module of another host",
            package_count,
            hosts.release,
            programs.len(),
            modules.len(),
            pairs.len() - own_pairs,
        );
        Self {
            notes: vec![],
            head,
            own_pairs,
            counts: BTreeMap::new(),
            agreements: BTreeMap::new(),
            codes: BTreeMap::new(),
            alarms: vec![],
            confirmed: vec![],
            lines: String::new(),
        }
    }

    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    pub(crate) fn take(
        &mut self,
        state: &'static str,
        (root, hosts): (&Root, &Hosts),
        truth: &BTreeMap<Question, Seen>,
        predictions: &BTreeMap<Question, PairReport>,
    ) {
        let agreements = agreements(root, hosts, truth, predictions);
        for (question, seen) in truth {
            let pair = &question.pair;
            let key = (state, pair.crossed, question.flags.word(), class_of(seen));
            *self.counts.entry(key).or_default() += 1;
            let predicted = &predictions[question];
            let agreement = agreements[question];
            *self.agreements.entry((pair.crossed, agreement)).or_default() += 1;
            if matches!(seen, Seen::Loaded | Seen::Constructor { .. }) {
                let codes: BTreeSet<_> = predicted
                    .findings
                    .iter()
                    .map(|one| (one.code, one.verdict.word()))
                    .collect();
                for code in codes {
                    *self.codes.entry(code).or_default() += 1;
                }
            }
            if agreement.is_alarm() {
                self.alarms.push(alarm(state, question, seen, predicted, agreement));
            } else if agreement == Agreement::Confirmed {
                self.confirmed.push(alarm(state, question, seen, predicted, agreement));
            }
            let line = Line {
                state,
                question,
                seen,
                agreement,
                predicted,
            };
            self.lines.push_str(&serde_json::to_string(&line).unwrap());
            self.lines.push('\n');
        }
    }

    /// One JSON object a question.
    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.head);
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        for ((state, crossed, flags, class), count) in &self.counts {
            let whose = if *crossed { "crossed" } else { "own" };
            let _ = writeln!(text, "  {state:12} {whose:8} {flags:5} {class:24} {count:6}");
        }
        text.push_str("predictions\n");
        for ((crossed, agreement), count) in &self.agreements {
            let whose = if *crossed { "crossed" } else { "own" };
            let _ = writeln!(text, "  {whose:8} {:24} {count:6}", agreement.word());
        }
        text.push_str("findings where it loads\n");
        for ((code, verdict), count) in &self.codes {
            let _ = writeln!(text, "  {verdict:8} {code:30} {count:6}");
        }
        let _ = writeln!(text, "{} confirmed by the loader", self.confirmed.len());
        for confirmed in &self.confirmed {
            text.push_str(confirmed);
        }
        let _ = writeln!(text, "{} alarms", self.alarms.len());
        for alarm in self.alarms.iter().take(ALARMS_SHOWN_COUNT) {
            text.push_str(alarm);
        }
        text
    }

    #[expect(clippy::print_stdout, reason = "make corpus shows what it found")]
    pub(crate) fn print(&self) {
        println!("{}", self.text());
    }
}

/// How each prediction goes together with what was seen; of bindings that nothing shows the loader is asked again.
fn agreements(
    root: &Root,
    hosts: &Hosts,
    truth: &BTreeMap<Question, Seen>,
    predictions: &BTreeMap<Question, PairReport>,
) -> BTreeMap<Question, Agreement> {
    let one = |(question, seen): (&Question, &Seen)| {
        let at_once = Question {
            pair: question.pair.clone(),
            flags: Flags::Now,
        };
        let agreement = compare_with(&question.pair, seen, truth.get(&at_once), &predictions[question]);
        (question.clone(), agreement)
    };
    let mut all: BTreeMap<Question, Agreement> = truth.iter().map(one).collect();
    let is_doubtful = |question: &&Question| {
        let is_as_said = all[*question] == Agreement::Same && matches!(truth[*question], Seen::Loaded);
        !question.pair.crossed && is_as_said && has_interposed(&predictions[*question])
    };
    let doubtful: Vec<&Question> = truth.keys().filter(is_doubtful).take(DOUBTFUL_LIMIT_COUNT).collect();
    for (question, bindings) in truth::bindings(root, hosts, &doubtful) {
        let agreement = if is_confirmed(&predictions[&question], &bindings) {
            Agreement::Confirmed
        } else {
            Agreement::OtherBinding
        };
        all.insert(question, agreement);
    }
    all
}

/// Both sides of a disagreement.
fn alarm(state: &str, question: &Question, seen: &Seen, predicted: &PairReport, agreement: Agreement) -> String {
    let pair = &question.pair;
    let first: String = pair.first.iter().map(|path| format!("{path} ")).collect();
    let mut text = format!(
        "{}: {} {first}{} ({} {}, {state})\n  seen      {seen:?}\n  predicted {} {:?} {:?}\n",
        agreement.word(),
        pair.program,
        pair.module,
        question.flags.word(),
        pair.scope.word(),
        predicted.verdict.word(),
        predicted.predicted.phase,
        predicted.predicted.message,
    );
    for finding in predicted
        .findings
        .iter()
        .filter(|one| one.verdict > Verdict::Unknown || one.code == "interposed-symbol")
        .take(3)
    {
        let _ = writeln!(
            text,
            "    {}[{}]: {}",
            finding.verdict.word(),
            finding.code,
            finding.title
        );
    }
    text
}

fn class_of(seen: &Seen) -> String {
    match seen {
        Seen::Loaded => "loads".to_owned(),
        Seen::Failed { message } => class::of_message(message).to_owned(),
        Seen::NoSymbol { .. } => "no-contract-symbol".to_owned(),
        Seen::Constructor { .. } => "loads-then-constructor".to_owned(),
        Seen::Signal { number } => format!("signal-{number}"),
        Seen::Ended { status, .. } => format!("ended-{status}"),
        Seen::Late => "late".to_owned(),
        Seen::NoHost { .. } => "no-host".to_owned(),
    }
}
