//! One project with all cases and their twins: what `verify` says of each, and whether that is true.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use lockstep::plan::Command;
use lockstep::verify::{IMAGE, VARIATIONS};
use serde_json::Value;

use crate::case::Case;
use crate::experiment::{Outcome, Question, Step, ask};
use crate::sample::{GOOD, Sample, said, with_sample};

/// How often it is asked what comes out when nothing is varied.
const REPEATS: usize = 3;
/// Where the table is kept, below `target/tmp`.
const TABLE: &str = "nondeterminism";

/// What was asked so far.
struct Truth<'a> {
    image: &'static str,
    sample: &'a Sample,
    steps: Vec<Step>,
    known: BTreeMap<Question, Outcome>,
}

impl Truth<'_> {
    /// Asks the questions that are asked of all units, and those of single ones.
    fn learn(&mut self, of_all: Vec<Question>, of_units: Vec<(Question, &str)>) {
        let mut asked: BTreeMap<Question, Vec<Step>> = BTreeMap::new();
        for question in of_all {
            asked.insert(question, self.steps.clone());
        }
        for (question, unit) in of_units {
            let steps = asked.entry(question).or_default();
            let is_new = !steps.iter().any(|step| step.name == unit);
            steps.extend(self.steps.iter().find(|step| is_new && step.name == unit).cloned());
        }
        self.known.extend(ask(self.image, self.sample.path(), asked));
    }

    fn differs(&self, unit: &str, one: &Question, other: &Question) -> bool {
        let of = |question: &Question| {
            let outcome = self.known.get(question).and_then(|outcome| outcome.get(unit));
            outcome.unwrap_or_else(|| panic!("nobody asked {question:?} of {unit}"))
        };
        of(one) != of(other)
    }

    fn is_reproducible(&self, unit: &str) -> bool {
        let repeats = (1..REPEATS).map(plain).chain([(vec![], all(), 0)]);
        let is_known = |one: &Question| self.known.get(one).is_some_and(|outcome| outcome.contains_key(unit));
        let asked = singles().filter(is_known);
        let mut others = repeats.chain(asked);
        !others.any(|other| self.differs(unit, &plain(0), &other))
    }
}

fn plain(repeat: usize) -> Question {
    (vec![], vec![], repeat)
}

/// All but the image: there is one.
fn all() -> Vec<&'static str> {
    let names = VARIATIONS.iter().map(|variation| variation.name);
    names.filter(|name| *name != IMAGE.name).collect()
}

/// Each variation by itself.
fn singles() -> impl Iterator<Item = Question> {
    all().into_iter().map(|name| (vec![], vec![name], 0))
}

fn holdable() -> Vec<&'static str> {
    let held = VARIATIONS.iter().filter(|variation| variation.hold.is_some());
    held.map(|variation| variation.name).collect()
}

/// What `verify` says of one unit.
#[derive(Debug)]
struct Said {
    equal: bool,
    causes: Vec<SaidCause>,
}

#[derive(Debug)]
struct SaidCause {
    manner: String,
    variations: Vec<&'static str>,
    kind: Option<String>,
}

impl SaidCause {
    /// What must be asked to know whether it is true; the first two differ, each of the pairs that follow is equal.
    fn questions(&self, held: &[&'static str]) -> ((Question, Question), Vec<(Question, Question)>) {
        match self.manner.as_str() {
            "build-to-build" if self.variations.is_empty() => ((holds(&holdable(), 0), holds(&holdable(), 1)), vec![]),
            "build-to-build" => {
                let still = (holds(&self.variations, 0), holds(&self.variations, 1));
                ((plain(0), plain(1)), vec![still])
            }
            _ => {
                let base = holds(held, 0);
                let varied = |names: Vec<&'static str>| (held.to_vec(), names, 0);
                let less = (0..self.variations.len()).map(|left_out| {
                    let mut names = self.variations.clone();
                    names.remove(left_out);
                    (base.clone(), varied(names))
                });
                ((base.clone(), varied(self.variations.clone())), less.collect())
            }
        }
    }
}

fn holds(names: &[&'static str], repeat: usize) -> Question {
    (names.to_vec(), vec![], repeat)
}

/// Builds all cases and their twins in one environment, verifies them, and compares with what is true.
/// Only thoroughly, each variation is tried by itself, whatever `verify` says.
pub(crate) fn run(environment: &'static str, images: &'static str, cases: &[Case], is_thorough: bool) {
    let image = match images {
        "musl" => "musl/build",
        _ => "debian/build",
    };
    with_sample(&format!("nondeterminism-{environment}"), |sample| {
        write(sample, environment, images, cases);
        let output = sample.command(&["build", "--no-check"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        // Containers mostly wait for the engine.
        let verified = sample.command(&["verify", "--jobs", "6", "--format", "json"]).output();
        let output = verified.unwrap();
        assert_eq!(output.status.code(), Some(6), "{}", said(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let units = of_units(&report);
        let mut truth = Truth {
            image,
            sample,
            steps: planned(sample),
            known: BTreeMap::new(),
        };
        let mut questions: Vec<Question> = (0..REPEATS).map(plain).collect();
        questions.push((vec![], all(), 0));
        if is_thorough {
            questions.extend(singles());
        }
        let mut of_units = Vec::new();
        for (unit, cause, held) in causes(&units) {
            let ((one, other), equal) = cause.questions(&held);
            let all = [one, other]
                .into_iter()
                .chain(equal.into_iter().flat_map(|(one, other)| [one, other]));
            of_units.extend(all.map(|question| (question, unit)));
        }
        truth.learn(questions, of_units);
        let table = Table::of(environment, cases, &units, &truth);
        table.keep();
        assert!(table.wrong.is_empty(), "{}{}", table.text, table.wrong);
    });
}

/// All causes with their units, and what is held while they show.
fn causes(units: &BTreeMap<String, Said>) -> Vec<(&str, &SaidCause, Vec<&'static str>)> {
    let mut all = Vec::new();
    for (unit, said) in units {
        let mut held = vec![];
        for cause in &said.causes {
            all.push((unit.as_str(), cause, held.clone()));
            if cause.manner == "build-to-build" {
                held = cause.variations.clone();
            }
        }
    }
    all
}

fn of_units(report: &Value) -> BTreeMap<String, Said> {
    let strings = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let cause = |value: &Value| {
        let names = strings(&value["variations"]);
        let variations = VARIATIONS.iter().map(|variation| variation.name);
        SaidCause {
            manner: value["manner"].as_str().unwrap().to_owned(),
            variations: variations
                .filter(|name| names.iter().any(|said| said == name))
                .collect(),
            kind: value["kind"].as_str().map(str::to_owned),
        }
    };
    let units = report["environments"][0]["units"].as_array().unwrap().iter();
    let unit = |unit: &Value| {
        let said = Said {
            equal: unit["equal"].as_bool().unwrap(),
            causes: unit["causes"].as_array().into_iter().flatten().map(cause).collect(),
        };
        (unit["name"].as_str().unwrap().to_owned(), said)
    };
    units.map(unit).collect()
}

fn planned(sample: &Sample) -> Vec<Step> {
    let output = sample.run(&["plan", "--format", "json"]);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let units = plan["environments"][0]["units"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let step = |unit: &Value| Step {
        name: text(&unit["name"]),
        command: Command {
            script: text(&unit["compile"]["script"]),
            variables: serde_json::from_value(unit["compile"]["variables"].clone()).unwrap(),
            working_directory: text(&unit["compile"]["working_directory"]),
        },
    };
    units.map(step).filter(|step| step.name != "tiny").collect()
}

fn write(sample: &Sample, environment: &str, images: &str, cases: &[Case]) {
    let mut plugins = String::new();
    for case in cases {
        for (name, script) in [
            (case.name.clone(), &case.script),
            (format!("{}-cured", case.name), &case.cured),
        ] {
            sample.write(&format!("{name}/answer.c"), GOOD);
            for (file, text) in &case.files {
                sample.write(&format!("{name}/{file}"), text);
            }
            let command = format!(
                "export OUT=$LOCKSTEP_OUT/{name}.out\n{script}\n${{CC:-cc}} -shared -fPIC -o $LOCKSTEP_OUT/{name}.so /lockstep/src/{name}/answer.c\n"
            );
            let _ = writeln!(
                plugins,
                "  - {{name: {name}, language: {}, source: {name}, artifacts: [{name}.so, {name}.out], command: {}}}",
                case.language,
                serde_json::to_string(&command).unwrap()
            );
        }
    }
    let first = &cases[0].name;
    let text = format!(
        "version: 1
project: {}
environments:
  {environment}: {{build: {{builtin: {images}/build}}, runtime: {{builtin: {images}/runtime}}}}
host: {{language: c, source: host, artifacts: [tiny]}}
plugins:
{plugins}contract: {{loader: dlopen, abi: c, symbols: [plugin_answer], calls: [{{symbol: plugin_answer, returns: integer}}]}}
smoke:
  command: [tiny, '{{plugins}}/{first}.so']
  expect: {{status: 0, stdout: [answer 42]}}
",
        sample.name
    );
    sample.write("lockstep.yaml", &text);
}

/// What is told in the end.
struct Table {
    environment: &'static str,
    text: String,
    wrong: String,
}

impl Table {
    fn of(environment: &'static str, cases: &[Case], units: &BTreeMap<String, Said>, truth: &Truth<'_>) -> Self {
        let (mut rows, mut wrong) = (String::new(), String::new());
        let (mut found, mut right_set, mut right_kind, mut kinds, mut false_alarms) = (0, 0, 0, 0, 0);
        for case in cases {
            let told = &units[&case.name];
            let is_true = |cause: &SaidCause, held: &[&'static str]| {
                let ((one, other), equal) = cause.questions(held);
                truth.differs(&case.name, &one, &other)
                    && !equal.iter().any(|(one, other)| truth.differs(&case.name, one, other))
            };
            let mine: Vec<_> = causes(units)
                .into_iter()
                .filter(|(unit, ..)| *unit == case.name)
                .collect();
            let are_true = mine
                .iter()
                .all(|(_, cause, held)| cause.manner == "elsewhere" || is_true(cause, held));
            let kinds_told: Vec<&str> = mine.iter().filter_map(|(_, cause, _)| cause.kind.as_deref()).collect();
            let has_kind = case.kind.as_deref().is_none_or(|kind| kinds_told.contains(&kind));
            let is_found = !told.equal;
            found += usize::from(is_found);
            right_set += usize::from(is_found && are_true);
            kinds += usize::from(case.kind.is_some());
            right_kind += usize::from(case.kind.is_some() && has_kind);
            let sets: Vec<String> = mine
                .iter()
                .map(|(_, cause, _)| format!("{} {}", cause.manner, cause.variations.join("+")))
                .collect();
            let _ = writeln!(
                rows,
                "{:<26} {:<10} {}",
                case.name,
                kinds_told.join(","),
                sets.join("; ")
            );
            if truth.is_reproducible(&case.name) {
                let _ = writeln!(wrong, "{}: reproducible all the same", case.name);
            } else if !is_found || !are_true || !has_kind {
                let _ = writeln!(
                    wrong,
                    "{}: found {is_found}, true {are_true}, kind {has_kind}: {told:?}",
                    case.name
                );
            }
            let cured = format!("{}-cured", case.name);
            if !truth.is_reproducible(&cured) {
                let _ = writeln!(wrong, "{cured}: not cured: {:?}", units[&cured]);
            } else if !units[&cured].equal {
                false_alarms += 1;
                let _ = writeln!(wrong, "{cured}: a false alarm: {:?}", units[&cured]);
            }
        }
        let text = format!(
            "{environment}: {} cases, {found} found, {right_set} with a set that is true, {right_kind} of {kinds} with the right kind, \
             {false_alarms} false alarms\n\n{rows}",
            cases.len()
        );
        Self {
            environment,
            text,
            wrong,
        }
    }

    fn keep(&self) {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(TABLE);
        std::fs::create_dir_all(&directory).unwrap();
        let text = format!("{}\n{}", self.text, self.wrong);
        std::fs::write(directory.join(format!("{}.txt", self.environment)), text).unwrap();
    }
}
