//! `open`: each plugin in a process of its own, and what became of it.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::OpenOptions;
use crate::channel::{self, Phase, Record};
use crate::child::{ChildError, Reader, Supervisor, Wake};
use crate::event::{Event, Outcome, PluginEvent, Printer};
use crate::plugin::CHANNEL_LOST_STATUS;
use crate::system::Ending;

/// What the process of a plugin may tell, all records together.
const CHANNEL_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// How long the process of a plugin may take to end after the loader was asked to.
const INTERRUPT_TIMEOUT_SECONDS: u64 = 1;

/// Why plugins could not be opened, through no fault of theirs.
#[derive(Debug)]
pub enum OpenError {
    /// There is no way to talk to the plugin's process.
    Channel(io::Error),
    /// There is no such process.
    Child(ChildError),
    /// Nobody listens.
    Print(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Channel(cause) => write!(formatter, "failed to make a channel: {cause}"),
            OpenError::Child(cause) => write!(formatter, "{cause}"),
            OpenError::Print(cause) => write!(formatter, "failed to write to standard output: {cause}"),
        }
    }
}

/// Opens one plugin after the other; what one does has no effect on the next. Stops early only when the loader is
/// asked to end.
pub fn open(
    supervisor: &mut Supervisor,
    options: &OpenOptions,
    printer: &mut Printer<impl Write>,
) -> Result<(), OpenError> {
    for plugin in &options.plugins {
        match observe(supervisor, options, plugin)? {
            Some(event) => printer
                .print(&Event::Plugin(Box::new(event)))
                .map_err(OpenError::Print)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// None when the loader is asked to end meanwhile.
fn observe(
    supervisor: &mut Supervisor,
    options: &OpenOptions,
    plugin: &OsStr,
) -> Result<Option<PluginEvent>, OpenError> {
    let (ours, theirs) = UnixStream::pair().map_err(OpenError::Channel)?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("lockstep-loader")
        .arg("open-one")
        .args(&options.flags)
        .arg("--")
        .arg(plugin);
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    // The channel takes the place of standard input, which needs no number to be agreed on.
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut running = supervisor
        .spawn(command, options.output_limit_bytes)
        .map_err(OpenError::Child)?;
    let channel = Reader::start(Some(ours), CHANNEL_LIMIT_BYTES).map_err(OpenError::Channel)?;

    let deadline = running.started() + options.timeout;
    let wake = supervisor.wait(&mut running, deadline);
    match (wake, supervisor.interrupt()) {
        (Wake::Interrupted, Some(signal)) => {
            running.signal_group(signal);
            let deadline = Instant::now() + Duration::from_secs(INTERRUPT_TIMEOUT_SECONDS);
            if !supervisor.wait_regardless(&mut running, deadline) {
                supervisor.kill(&mut running);
            }
        }
        (Wake::TimedOut, _) => supervisor.kill(&mut running),
        _ => {}
    }
    let elapsed = running.started().elapsed();
    let leftover_processes = supervisor.sweep(&mut running);
    if wake == Wake::Interrupted {
        return Ok(None);
    }
    // A process that was killed for being late has not ended in a way of its own.
    let ending = running.ending().filter(|_| wake == Wake::Ended);
    let judgement = judge(channel::decode(channel.finish().head()), ending);
    Ok(Some(PluginEvent {
        path: plugin.to_string_lossy().into_owned(),
        leftover_processes,
        elapsed,
        stdout: running.stdout().finish(),
        stderr: running.stderr().finish(),
        ..judgement
    }))
}

/// What became of a plugin, from what its process told and how it ended; no ending means that it was late. The fields
/// that do not follow from these are left empty.
fn judge(records: Vec<Record>, ending: Option<Ending>) -> PluginEvent {
    let mut phase = Phase::Open;
    let mut symbol = None;
    let mut done = false;
    let mut refusal = None;
    let mut not_closed = None;
    let mut missing = Vec::new();
    let mut calls = Vec::new();
    for record in records {
        match record {
            Record::Phase(new_phase, new_symbol) => (phase, symbol) = (new_phase, new_symbol),
            Record::NotLoadable(message) => refusal = Some(message),
            Record::Missing(symbol, message) => missing.push((symbol, message)),
            Record::Returned(returned) => calls.push(returned),
            Record::NotClosed(message) => not_closed = Some(message),
            Record::Done => done = true,
        }
    }
    let first_problem = calls
        .iter()
        .find_map(|call| call.problem.clone().map(|problem| (call.symbol.clone(), problem)));
    let told = match (refusal, missing.first().cloned(), first_problem) {
        (Some(message), ..) => (Outcome::NotLoadable, Some(Phase::Open), None, Some(message)),
        (_, Some((symbol, message)), _) => (Outcome::SymbolMissing, Some(Phase::Symbol), Some(symbol), Some(message)),
        (.., Some((symbol, message))) => (Outcome::CallFailed, Some(Phase::Call), Some(symbol), Some(message)),
        _ => (Outcome::Loaded, None, None, not_closed),
    };
    let (outcome, phase, symbol, message) = match ending {
        Some(Ending::Status(0)) if done => told,
        // The loader's refusal says more than that the process did not survive it.
        None => (Outcome::TimedOut, Some(phase), symbol, told.3),
        Some(Ending::Signal(_)) => (Outcome::Crashed, Some(phase), symbol, told.3),
        Some(Ending::Status(CHANNEL_LOST_STATUS)) if !done => {
            let message = "the loader ended: the plugin closed the channel on which it reports".to_owned();
            (Outcome::Exited, Some(phase), symbol, Some(message))
        }
        Some(Ending::Status(_)) => (Outcome::Exited, Some(phase), symbol, told.3),
    };
    PluginEvent {
        path: String::new(),
        outcome,
        phase,
        symbol,
        message,
        missing: missing.into_iter().map(|(symbol, _)| symbol).collect(),
        ending,
        calls,
        leftover_processes: 0,
        elapsed: Duration::ZERO,
        stdout: crate::capture::Capture::of_head(0),
        stderr: crate::capture::Capture::of_head(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Returns;
    use crate::channel::Returned;

    fn check(records: &[Record], ending: Option<Ending>, expect: &str) {
        let event = judge(records.to_vec(), ending);
        let phase = event.phase.map_or("-", Phase::name);
        let symbol = event.symbol.as_deref().unwrap_or("-");
        let message = event.message.as_deref().unwrap_or("-");
        let seen = format!(
            "{} {phase} {symbol} {message} {:?}",
            event.outcome.name(),
            event.missing
        );
        assert_eq!(seen, expect);
    }

    fn phase(phase: Phase, symbol: &str) -> Record {
        Record::Phase(phase, (!symbol.is_empty()).then(|| symbol.to_owned()))
    }

    fn returned(symbol: &str, problem: Option<&str>) -> Record {
        let problem = problem.map(str::to_owned);
        Record::Returned(Returned {
            symbol: symbol.into(),
            returns: Returns::None,
            value: None,
            problem,
        })
    }

    const CLEAN: Option<Ending> = Some(Ending::Status(0));

    #[test]
    fn a_clean_end_says_what_was_told() {
        let open = phase(Phase::Open, "");
        let exit = [Record::Done, phase(Phase::Exit, "")];
        let whole = |middle: &[Record]| [std::slice::from_ref(&open), middle, &exit].concat();
        check(&whole(&[]), CLEAN, "loaded - - - []");
        check(
            &whole(&[Record::NotLoadable("no".into())]),
            CLEAN,
            "not-loadable open - no []",
        );
        let missing = [
            Record::Missing("f".into(), "no f".into()),
            Record::Missing("g".into(), "no g".into()),
        ];
        check(&whole(&missing), CLEAN, r#"symbol-missing symbol f no f ["f", "g"]"#);
        let calls = [
            returned("f", None),
            returned("g", Some("null")),
            returned("h", Some("late")),
        ];
        check(&whole(&calls), CLEAN, "call-failed call g null []");
        check(&whole(&[Record::NotClosed("busy".into())]), CLEAN, "loaded - - busy []");
    }

    #[test]
    fn an_end_before_all_was_told_is_no_clean_end() {
        check(&[], CLEAN, "exited open - - []");
        check(&[phase(Phase::Open, "")], Some(Ending::Status(7)), "exited open - - []");
        check(&[phase(Phase::Call, "f")], CLEAN, "exited call f - []");
        check(
            &[phase(Phase::Call, "f")],
            Some(Ending::Status(CHANNEL_LOST_STATUS)),
            "exited call f the loader ended: the plugin closed the channel on which it reports []",
        );
    }

    #[test]
    fn signals_and_lateness_name_where_it_was() {
        check(
            &[phase(Phase::Open, "")],
            Some(Ending::Signal(6)),
            "crashed open - - []",
        );
        check(
            &[phase(Phase::Call, "f")],
            Some(Ending::Signal(11)),
            "crashed call f - []",
        );
        check(&[phase(Phase::Call, "f")], None, "timed-out call f - []");
        let refused = [
            phase(Phase::Open, ""),
            Record::NotLoadable("no".into()),
            Record::Done,
            phase(Phase::Exit, ""),
        ];
        check(&refused, Some(Ending::Signal(8)), "crashed exit - no []");
        check(
            &[Record::Done, phase(Phase::Exit, "")],
            Some(Ending::Status(3)),
            "exited exit - - []",
        );
    }
}
