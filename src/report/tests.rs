//! Hostile text in everything that is printed for people: only plain characters, colours of our own and as many lines
//! as for harmless text come out.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::human::Human;
use super::plain::Plain;
use super::shown::Shown;
use super::{CheckReport, Failure, Printer, Quiet, render_check, render_findings};
use crate::check::{Finding, PairReport, Phase, Predicted, Verdict};
use crate::event::{Event, Events, Stage, StepId};
use crate::exit::Exit;
use crate::name::EnvironmentName;
use crate::printable::is_plain;
use crate::problem::{Excerpt, Problem};

/// What attacks on terminals are made of.
const PIECES: &[&str] = &[
    "\u{1b}[2J",
    "\u{1b}]0;title\u{7}",
    "\u{1b}[31m",
    "\u{1b}[8m",
    "\u{9b}1A",
    "\u{8}\u{8}",
    "\r",
    "\nok: 5 plugins will load",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{7f}",
    "\0",
    "\t",
    "\u{1b}",
    "plain",
];

fn hostile() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 1..6).prop_map(|pieces| pieces.concat())
}

fn events(text: &str) -> Vec<Event> {
    let environment = EnvironmentName::new("glibc").unwrap();
    let step = StepId {
        environment: Some(environment.clone()),
        stage: Stage::Compile,
        subject: Some(text.to_owned()),
    };
    let text = || text.to_owned();
    vec![
        Event::RunStarted {
            project: text(),
            environments: vec![environment.clone()],
            units: vec![],
        },
        Event::StepStarted { step: step.clone() },
        Event::StepProgress {
            step: step.clone(),
            message: text(),
            fraction: Some((1, 2)),
        },
        Event::StepOutput {
            step: step.clone(),
            line: text(),
        },
        Event::StepFinished {
            step: step.clone(),
            summary: text(),
            cached: true,
        },
        Event::StepStarted { step: step.clone() },
        Event::StepFailed { step, summary: text() },
        Event::EnvironmentDescribed {
            environment: environment.clone(),
            description: text(),
        },
        Event::StageSummary {
            environment: environment.clone(),
            stage: Stage::Compile,
            text: text(),
            note: text(),
        },
        Event::StageSummary {
            environment: environment.clone(),
            stage: Stage::Compile,
            text: String::new(),
            note: String::new(),
        },
        Event::RunFinished {
            environments: 1,
            compiled: 1,
            cached: 0,
            next: vec![text(), text()],
        },
        Event::Stopping { message: text() },
        Event::Unknown {
            environment: environment.clone(),
            lines: render_findings(&check_report(&text()))
                .lines()
                .map(str::to_owned)
                .collect(),
        },
        Event::Warning {
            message: text(),
            hint: Some(text()),
        },
    ]
}

fn problem(text: &str) -> Problem {
    Problem {
        code: "config",
        message: text.to_owned(),
        file: text.to_owned(),
        excerpt: Some(Excerpt::new(1, text, 0, 1, text)),
        hint: Some(text.to_owned()),
    }
}

fn check_report(text: &str) -> CheckReport {
    let finding = |code: &'static str, is_of_host| Finding {
        code,
        verdict: Verdict::Refuse,
        subject: text.to_owned(),
        title: text.to_owned(),
        evidence: vec![text.to_owned(), text.to_owned()],
        hint: Some(text.to_owned()),
        because_of: None,
        is_of_host,
        predicted: None,
        order: 0,
        version: Some(text.to_owned()),
    };
    let pair = |code: &'static str, is_of_host| PairReport {
        is_companion: false,
        host: text.to_owned(),
        plugin: text.to_owned(),
        verdict: Verdict::Refuse,
        predicted: Predicted {
            phase: Phase::Load,
            message: Some(text.to_owned()),
        },
        findings: vec![finding(code, is_of_host)],
    };
    CheckReport::new(
        vec![pair("missing-library", false), pair("libc-family", true)],
        &BTreeSet::from(["libc-family".to_owned()]),
    )
}

/// Everything that is printed of `text`, by everything that prints for people, each apart.
fn printed(text: &str) -> Vec<String> {
    let reporter = |new: fn(Arc<Printer>) -> Arc<dyn Events>| {
        let printer = Arc::new(Printer::capturing());
        let reporter = new(Arc::clone(&printer));
        events(text).into_iter().for_each(|event| reporter.emit(event));
        printer.captured()
    };
    let direct = |print: &dyn Fn(&Printer)| {
        let printer = Printer::capturing();
        print(&printer);
        printer.captured()
    };
    vec![
        reporter(|printer| Arc::new(Shown(Human::new(printer)))),
        reporter(|printer| Arc::new(Shown(Plain::new(printer)))),
        reporter(|printer| Arc::new(Shown(Quiet(printer)))),
        direct(&|printer| printer.warning(text, Some(text))),
        direct(&|printer| printer.problems(&[problem(text), problem(text)])),
        direct(&|printer| printer.data(&render_check(&check_report(text)))),
    ]
}

/// Colours are of our own making where there are any; all else is plain.
fn is_harmless(text: &str) -> bool {
    let bare = console::strip_ansi_codes(text);
    bare.chars().all(|character| is_plain(character) || character == '\n')
}

fn lines(text: &str) -> usize {
    text.matches('\n').count()
}

proptest! {
    #[test]
    fn nothing_hostile_reaches_a_terminal_and_no_line_is_forged(text in hostile()) {
        for (hostile, harmless) in printed(&text).iter().zip(printed("plain")) {
            prop_assert!(is_harmless(hostile), "{:?}", hostile);
            prop_assert_eq!(lines(hostile), lines(&harmless), "{:?}", hostile);
        }
    }

    /// Its message and notes may have several lines: each begins as evidence does.
    #[test]
    fn what_a_failure_quotes_stays_evidence(text in hostile()) {
        let failure = Failure::new(Exit::Build, "compile", format!("failed: {text}"))
            .at(text.clone())
            .with_notes([text.clone()])
            .with_hint(text.clone());
        let printer = Printer::capturing();
        printer.failure(&failure);
        let captured = printer.captured();
        prop_assert!(is_harmless(&captured), "{:?}", captured);
        for line in console::strip_ansi_codes(&captured).lines() {
            let known = ["error[compile]: failed:", "  --> ", "   |  ", "  hint: "];
            prop_assert!(known.iter().any(|start| line.starts_with(start)), "{:?}", line);
        }
    }

    /// Whoever forgets to make a text printable has the printer behind him.
    #[test]
    fn the_printer_lets_nothing_through(text in hostile()) {
        let printer = Printer::capturing();
        printer.line(&text);
        printer.data(&text);
        prop_assert!(is_harmless(&printer.captured()));
    }
}

/// For programs the bytes stay what they were.
#[test]
fn documents_and_records_are_left_as_they_are() {
    let printer = Printer::capturing();
    printer.document("\u{202e}\u{9b}");
    printer.record("{}");
    assert_eq!(printer.captured(), "\u{202e}\u{9b}{}\n");
}
