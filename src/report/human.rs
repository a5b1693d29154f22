//! Progress on a terminal: running steps are redrawn at the bottom, finished stages stay as lines above.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::{measure_text_width, style, truncate_str};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Printer, elapsed};
use crate::counted::counted;
use crate::event::{Event, Events, Stage, StepId};
use crate::name::EnvironmentName;

/// How often running steps are redrawn.
const TICK_MILLISECONDS: u64 = 125;
/// How wide the middle column is, so that the right one lines up.
const TEXT_WIDTH_COLUMNS: usize = 56;
/// How wide the stages' names are.
const STAGE_WIDTH_COLUMNS: usize = 9;
/// How many steps are named with their times; more are counted.
const STEPS_NAMED_LIMIT: usize = 6;
/// The longest message of a running step.
const MESSAGE_WIDTH_COLUMNS: usize = 60;

/// The reporter for terminals.
pub(super) struct Human {
    printer: Arc<Printer>,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<StepId, Running>,
    /// What finished steps of a stage said, for its line; in the order in which they finished.
    finished: BTreeMap<(Option<EnvironmentName>, Stage), Vec<Finished>>,
    stage_started: BTreeMap<(Option<EnvironmentName>, Stage), Instant>,
}

struct Running {
    started: Instant,
    bar: ProgressBar,
}

struct Finished {
    subject: String,
    took: Duration,
    cached: bool,
}

impl Human {
    pub(super) fn new(printer: Arc<Printer>) -> Self {
        Self {
            printer,
            started: Instant::now(),
            state: Mutex::default(),
        }
    }

    fn start(&self, state: &mut State, step: StepId) {
        let bar = self.printer.bars().add(ProgressBar::new_spinner());
        // A template that does not parse would be a defect of ours; the default one still shows the message.
        if let Ok(template) = ProgressStyle::with_template("   {prefix} {wide_msg} {elapsed:>5}  {spinner} ") {
            bar.set_style(template.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
        }
        bar.set_prefix(format!("{:<STAGE_WIDTH_COLUMNS$}", step.stage.to_string()));
        bar.set_message(subject(&step));
        bar.enable_steady_tick(Duration::from_millis(TICK_MILLISECONDS));
        let now = Instant::now();
        state
            .stage_started
            .entry((step.environment.clone(), step.stage))
            .or_insert(now);
        state.running.insert(step, Running { started: now, bar });
    }

    fn end(&self, state: &mut State, step: &StepId, cached: Option<bool>) {
        let Some(running) = state.running.remove(step) else {
            return;
        };
        running.bar.finish_and_clear();
        self.printer.bars().remove(&running.bar);
        if let Some(cached) = cached {
            let finished = Finished {
                subject: subject(step),
                took: running.started.elapsed(),
                cached,
            };
            state
                .finished
                .entry((step.environment.clone(), step.stage))
                .or_default()
                .push(finished);
        }
    }

    fn stage_line(&self, state: &mut State, environment: EnvironmentName, stage: Stage, text: String, note: String) {
        let key = (Some(environment), stage);
        let text = if text.is_empty() {
            steps_text(state.finished.get(&key).map_or(&[], Vec::as_slice))
        } else {
            text
        };
        let took = state
            .stage_started
            .remove(&key)
            .map(|started| elapsed(started.elapsed()));
        let note = if note.is_empty() {
            took.unwrap_or_default()
        } else {
            note
        };
        let padding = " ".repeat(TEXT_WIDTH_COLUMNS.saturating_sub(measure_text_width(&text)));
        let line = format!(
            "   {:<STAGE_WIDTH_COLUMNS$}{text}{padding} {}",
            stage.to_string(),
            style(note).for_stderr().dim()
        );
        self.printer.line(line.trim_end());
    }
}

/// `greeter 4.1s · shout 2.3s · reverse cached`; many are counted.
fn steps_text(steps: &[Finished]) -> String {
    let compiled = steps.iter().filter(|step| !step.cached).count();
    if steps.len() > STEPS_NAMED_LIMIT {
        let slowest = steps.iter().filter(|step| !step.cached).max_by_key(|step| step.took);
        let slowest = slowest
            .map(|step| format!(" · slowest {} {}", step.subject, elapsed(step.took)))
            .unwrap_or_default();
        return format!("{compiled} compiled · {} from cache{slowest}", steps.len() - compiled);
    }
    let said = |step: &Finished| {
        let took = if step.cached {
            "cached".to_owned()
        } else {
            elapsed(step.took)
        };
        format!("{} {took}", step.subject)
    };
    steps.iter().map(said).collect::<Vec<_>>().join(" · ")
}

fn subject(step: &StepId) -> String {
    step.subject.clone().unwrap_or_default()
}

impl Events for Human {
    fn emit(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::RunStarted {
                project,
                environments,
                units,
            } => {
                let each = if environments.len() == 1 { "" } else { " each" };
                self.printer.line(&format!(
                    " {} · {} · {}{each}",
                    style(project).for_stderr().bold(),
                    counted(environments.len(), "environment"),
                    counted(units.len(), "unit")
                ));
                self.printer.line("");
            }
            Event::StepStarted { step } => self.start(&mut state, step),
            Event::StepProgress {
                step,
                message,
                fraction,
            } => {
                if let Some(running) = state.running.get(&step) {
                    let share = fraction
                        .filter(|(_, all)| *all > 0)
                        .map(|(done, all)| format!(" {}%", done * 100 / all));
                    let message = format!("{} {message}{}", subject(&step), share.unwrap_or_default());
                    running
                        .bar
                        .set_message(truncate_str(message.trim(), MESSAGE_WIDTH_COLUMNS, "…").into_owned());
                }
            }
            Event::StepOutput { step, line } => {
                if let Some(running) = state.running.get(&step) {
                    let message = format!("{}  {line}", subject(&step));
                    running
                        .bar
                        .set_message(truncate_str(message.trim(), MESSAGE_WIDTH_COLUMNS, "…").into_owned());
                }
            }
            Event::StepFinished { step, cached, .. } => self.end(&mut state, &step, Some(cached)),
            Event::StepFailed { step, summary } => {
                self.end(&mut state, &step, None);
                let stage = style(format!("{:<STAGE_WIDTH_COLUMNS$}", step.stage.to_string()))
                    .for_stderr()
                    .red();
                self.printer
                    .line(&format!("   {stage}{}", format!("{} {summary}", subject(&step)).trim()));
            }
            Event::EnvironmentDescribed {
                environment,
                description,
            } => {
                self.printer
                    .line(&format!(" {}  {description}", style(environment).for_stderr().bold()));
            }
            Event::StageSummary {
                environment,
                stage,
                text,
                note,
            } => self.stage_line(&mut state, environment, stage, text, note),
            Event::RunFinished {
                environments,
                compiled,
                cached,
                next,
            } => {
                let took = elapsed(self.started.elapsed());
                let built = counted(environments, "environment");
                self.printer.line(&format!(
                    "\n built {built} in {took} · {compiled} compiled, {cached} from cache"
                ));
                if !next.is_empty() {
                    self.printer.line(&format!(" next: {}", next.join(" · ")));
                }
            }
            Event::Stopping { message } => self.printer.line(&format!(" {message}")),
            Event::Unknown { environment, lines } => self.printer.unknown(&environment, &lines),
            Event::Warning { message, hint } => self.printer.warning(&message, hint.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_steps_are_named_and_many_are_counted() {
        let step = |subject: &str, cached| Finished {
            subject: subject.to_owned(),
            took: Duration::from_millis(4100),
            cached,
        };
        assert_eq!(
            steps_text(&[step("greeter", false), step("shout", true)]),
            "greeter 4.1s · shout cached"
        );
        let many: Vec<Finished> = (0..7).map(|number| step(&number.to_string(), number > 1)).collect();
        assert_eq!(steps_text(&many), "2 compiled · 5 from cache · slowest 1 4.1s");
    }
}
