//! Proof by experiment: what `lockstep check` predicts from the files alone is what the real loaders then do.
//!
//! Cases are data (`faults/cases/*.yaml`). Each is compiled in the real build images, laid out as a root file system,
//! run there in the real runtime image, and predicted from the same tree. Nothing that is expected is written by hand.
//! The table of a run is left in `target/faults/`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod common;

#[path = "faults/baseline.rs"]
mod baseline;
#[path = "faults/case.rs"]
mod case;
#[path = "faults/compare.rs"]
mod compare;
#[path = "faults/compile.rs"]
mod compile;
#[path = "faults/generate.rs"]
mod generate;
#[path = "faults/layout.rs"]
mod layout;
#[path = "faults/observe.rs"]
mod observe;
#[path = "faults/patch.rs"]
mod patch;
#[path = "faults/predict.rs"]
mod predict;
#[path = "faults/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use case::{Case, Libc};
use common::batch::Failure;
use common::{Ground, TestResult, on_engine};
use compare::Agreement;
use predict::Prediction;
use table::Row;

/// Fewer would mean that some were lost.
const CASES_MINIMUM: usize = 250;
/// The scenarios of a run that nobody asked to be longer.
const SCENARIOS_COUNT: usize = 150;
const SEED: u64 = 4;

/// A number from the environment.
fn number<T: std::str::FromStr>(variable: &str, otherwise: T) -> T {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

fn output() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("faults");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Only cases whose names contain this, to look at one of them.
fn is_wanted(case: &Case) -> bool {
    std::env::var("LOCKSTEP_FAULTS_ONLY").map_or(true, |part| case.name.contains(&part))
}

/// Everything from sources to rows.
async fn experiment(
    ground: &Ground,
    name: &str,
    cases: &[Case],
    mut others: Option<&mut Vec<(&'static str, baseline::Alarms)>>,
) -> Result<Vec<Row>, Failure> {
    let work = output().join(name);
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work)?;
    let compiled = compile::compile(ground, cases, &output().join("compiled")).await?;
    let mut bases = Vec::new();
    for libc in Libc::ALL {
        bases.push(layout::base(ground, libc, &work).await?);
    }
    if let Some((libc, case, log)) = compiled.failures.first() {
        let others: Vec<_> = compiled
            .failures
            .iter()
            .map(|(libc, case, _)| format!("{} {case}", libc.word()))
            .collect();
        return Err(format!(
            "failed to compile {}: {} {case}:\n{log}",
            others.join(", "),
            libc.word()
        )
        .into());
    }
    let mut rows = Vec::new();
    for (libc, base) in Libc::ALL.into_iter().zip(&bases) {
        let trees = work.join(libc.word());
        let here: Vec<(&Case, PathBuf)> = cases
            .iter()
            .filter(|case| case.runs_on(libc))
            .map(|case| {
                let artifacts = &compiled.cases[&(libc, case.name.clone())];
                (case, layout::lay_out(case, artifacts, &bases, libc, &trees))
            })
            .collect();
        let tools = observe::Tools {
            driver: &compiled.driver,
            ldconfig: &compiled.ldconfig,
        };
        let (seen, caches) = observe::observe(ground, &here, libc, base, &tools).await?;
        for (name, cache) in caches {
            std::fs::write(trees.join(name).join("etc/ld.so.cache"), cache)?;
        }
        rows.extend(judge(&here, libc, &seen, &work));
        if let Some(others) = &mut others {
            let named: Vec<_> = here
                .iter()
                .map(|(case, root)| (case.name.clone(), root.clone()))
                .collect();
            let commands = baseline::ldd_commands(&here, libc);
            let (outputs, _) = observe::run_all(ground, libc, &named, &commands, base, &tools).await?;
            others.push(("ldd -r", baseline::ldd_alarms(&here, libc, &outputs)));
            others.push(("version strings", baseline::version_alarms(&here, libc)));
            if let Some(alarms) = baseline::auditwheel_alarms(&here, libc, &output()) {
                others.push(("auditwheel", alarms));
            }
        }
    }
    Ok(rows)
}

fn judge(cases: &[(&Case, PathBuf)], libc: Libc, seen: &BTreeMap<String, observe::Seen>, work: &Path) -> Vec<Row> {
    let predictions = predict_all(cases, libc, work);
    let mut rows = Vec::new();
    for ((case, _), predictions) in cases.iter().zip(predictions) {
        let answers = |name: &String| {
            let plugins = seen.get(name)?.plugins.iter();
            Some(
                plugins
                    .map(|plugin| plugin.answers.iter().map(|(_, answer)| *answer).collect())
                    .collect::<Vec<_>>(),
            )
        };
        let twin = case.twin.as_ref().and_then(answers);
        let right = case.healthy.as_deref().or(twin.as_deref());
        let outcomes = compare::outcomes(case, libc, &seen[&case.name], right);
        for (index, (outcome, plugin)) in outcomes.into_iter().zip(case.plugin_paths()).enumerate() {
            let prediction = match &predictions {
                Ok(all) => Ok(all[index].clone()),
                Err(error) => Err(error.clone()),
            };
            let agreement = match &prediction {
                Ok(prediction) => compare::compare(case, index, &outcome, prediction),
                Err(_) => Agreement::None("no prediction"),
            };
            let (case, shows) = (case.name.clone(), case.shows.clone());
            rows.push(Row {
                libc,
                case,
                shows,
                plugin,
                outcome,
                prediction,
                agreement,
            });
        }
    }
    rows
}

/// One process for each case, as many at once as there are processors.
fn predict_all(cases: &[(&Case, PathBuf)], libc: Libc, work: &Path) -> Vec<Result<Vec<Prediction>, String>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = cases.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = cases
            .chunks(share)
            .map(|part| {
                scope.spawn(move || {
                    let one = |(case, root): &(&Case, PathBuf)| predict::predict(case, libc, root, work);
                    part.iter().map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// Keeps the table, and fails on any disagreement.
fn conclude(name: &str, rows: &[Row]) {
    let path = output().join(format!("{name}.txt"));
    std::fs::write(&path, table::render(rows, false)).unwrap();
    let short = table::render(rows, true);
    let wrong = rows.iter().filter(|row| row.is_disagreement()).count();
    assert_eq!(
        wrong,
        0,
        "prediction and observation disagree; everything is in {}\n{short}",
        path.display()
    );
}

#[test]
fn what_is_predicted_of_the_cases_happens() {
    let mut cases = case::read_all(Path::new("tests/faults/cases"));
    assert!(cases.len() >= CASES_MINIMUM, "there are only {} cases", cases.len());
    cases.retain(is_wanted);
    on_engine(|ground| async move {
        let rows = experiment(&ground, "cases", &cases, None).await?;
        conclude("cases", &rows);
        Ok(()) as TestResult
    });
}

#[test]
fn what_is_predicted_of_random_scenarios_happens() {
    let (seed, count) = (
        number("LOCKSTEP_FAULTS_SEED", SEED),
        number("LOCKSTEP_FAULTS_COUNT", SCENARIOS_COUNT),
    );
    let cases: Vec<Case> = generate::scenarios(seed, count).into_iter().filter(is_wanted).collect();
    on_engine(|ground| async move {
        let rows = experiment(&ground, "random", &cases, None).await?;
        conclude("random", &rows);
        Ok(()) as TestResult
    });
}

#[test]
#[ignore = "for the evidence: make baselines"]
fn baselines_on_the_same_pairs() {
    let (seed, count) = (
        number("LOCKSTEP_FAULTS_SEED", SEED),
        number("LOCKSTEP_FAULTS_COUNT", SCENARIOS_COUNT),
    );
    let sets = [
        ("cases", case::read_all(Path::new("tests/faults/cases"))),
        ("random", generate::scenarios(seed, count)),
    ];
    on_engine(move |ground| async move {
        for (name, cases) in sets {
            let mut others = Vec::new();
            let rows = experiment(&ground, &format!("baselines-{name}"), &cases, Some(&mut others)).await?;
            let merged = merge(others);
            let table = baseline::table(&rows, &merged);
            std::fs::write(output().join(format!("baselines-{name}.txt")), &table)?;
            println!("{name}\n{table}");
        }
        Ok(()) as TestResult
    });
}

/// One list a tool, in the order in which they came first.
fn merge(lists: Vec<(&'static str, baseline::Alarms)>) -> Vec<(&'static str, baseline::Alarms)> {
    let mut merged: Vec<(&'static str, baseline::Alarms)> = Vec::new();
    for (name, alarms) in lists {
        match merged.iter_mut().find(|(other, _)| *other == name) {
            Some((_, all)) => all.extend(alarms),
            None => merged.push((name, alarms)),
        }
    }
    merged
}
