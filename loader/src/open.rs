//! `open`: each plugin in a process of its own, and what became of it.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::{Contract, OpenOptions};
use crate::channel::{self, Phase};
use crate::child::{ChildError, Reader, Supervisor, Wake};
use crate::event::{Event, Outcome, PluginEvent, Printer};
use crate::plugin::CHANNEL_LOST_STATUS;
use crate::scratch;
use crate::system::Ending;
use crate::testimony::Testimony;
use crate::within::PRELOAD_VARIABLE;

/// What the process of a plugin may tell, all records together.
const CHANNEL_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// How long it may take to remove the files that a plugin has left.
const CLEAR_TIMEOUT_SECONDS: u64 = 5;
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

/// Opens one plugin after the other; what one does has no effect on the next. Stops early when the loader is asked to end,
/// and when something of a plugin stays: then says what.
pub fn open(
    supervisor: &mut Supervisor,
    options: &OpenOptions,
    contract: &Contract,
    printer: &mut Printer<impl Write>,
) -> Result<Option<String>, OpenError> {
    let mut plugins = options.plugins.iter().peekable();
    while let Some(plugin) = plugins.next() {
        // Whoever reads knows who was at work, should this process not come to the next line.
        let path = plugin.to_string_lossy().into_owned();
        printer.print(&Event::Opening(path)).map_err(OpenError::Print)?;
        let Some((event, is_swept)) = observe(supervisor, options, contract, plugin)? else {
            break;
        };
        printer
            .print(&Event::Plugin(Box::new(event)))
            .map_err(OpenError::Print)?;
        if plugins.peek().is_none() {
            break;
        }
        if !is_swept {
            return Ok(Some("processes".to_owned()));
        }
        let remains = clear_scratch(supervisor, options);
        if remains.is_some() {
            return Ok(remains);
        }
    }
    Ok(None)
}

/// Removes what the last plugin has left in files, and says what is left then. A process of the plugin's user does it:
/// this one may be a root that has no power over another's files.
fn clear_scratch(supervisor: &mut Supervisor, options: &OpenOptions) -> Option<String> {
    scratch::remains(&options.scratch)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("lockstep-loader").arg("clear").args(&options.scratch);
    command.stdin(Stdio::null());
    // A process that cannot be started removes nothing, and what remains is what counts.
    if let Ok(mut running) = supervisor.spawn(command, 0) {
        let deadline = running.started() + Duration::from_secs(CLEAR_TIMEOUT_SECONDS);
        if !supervisor.wait_regardless(&mut running, deadline) {
            supervisor.kill(&mut running);
        }
        supervisor.sweep(&mut running);
    }
    scratch::remains(&options.scratch)
}

/// What became of a plugin, and whether no process of it stays. None when the loader is asked to end meanwhile.
fn observe(
    supervisor: &mut Supervisor,
    options: &OpenOptions,
    contract: &Contract,
    plugin: &OsStr,
) -> Result<Option<(PluginEvent, bool)>, OpenError> {
    let (ours, theirs) = UnixStream::pair().map_err(OpenError::Channel)?;
    let channel = Reader::start(ours, CHANNEL_LIMIT_BYTES).map_err(OpenError::Channel)?;
    let (mut command, first) = match &options.within {
        Some(within) => {
            let preloaded = std::env::var_os(PRELOAD_VARIABLE);
            (
                within.command(contract, plugin, &options.environment, preloaded),
                Phase::Start,
            )
        }
        None => (own_command(options, plugin), Phase::Open),
    };
    // The channel takes the place of standard input, which needs no number to be agreed on.
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut running = match supervisor.spawn(command, options.output_limit_bytes) {
        // A host is foreign; that it is none is seen and told like what else it may do.
        Err(error @ ChildError::Start { .. }) if first == Phase::Start => {
            let event = PluginEvent {
                message: Some(error.to_string()),
                ..PluginEvent::new(Outcome::Exited, Some(first))
            };
            return Ok(Some((event.of(plugin), true)));
        }
        other => other.map_err(OpenError::Child)?,
    };

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
    let swept = supervisor.sweep(&mut running);
    if wake == Wake::Interrupted {
        return Ok(None);
    }
    // A process that was killed for being late has not ended in a way of its own.
    let ending = running.ending().filter(|_| wake == Wake::Ended);
    let told = channel.finish();
    let (records, is_readable) = channel::decode(told.head(), contract.records_limit_count());
    let testimony = Testimony::hear(records, is_readable && !told.is_truncated(), contract);
    let event = PluginEvent {
        leftover_processes: swept.killed,
        elapsed,
        stdout: running.stdout().finish(),
        stderr: running.stderr().finish(),
        ..judge(testimony, ending, first)
    };
    Ok(Some((event.of(plugin), swept.is_complete)))
}

/// This program again, to be the process that opens the plugin.
fn own_command(options: &OpenOptions, plugin: &OsStr) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("lockstep-loader")
        .arg("open-one")
        .args(&options.flags)
        .arg("--")
        .arg(plugin);
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// What became of a plugin, from what its process told and how it ended; no ending means that it was late. What is going on
/// until something is told is the first phase. The fields that do not follow from these are left empty.
fn judge(told: Testimony, ending: Option<Ending>, first: Phase) -> PluginEvent {
    let first_problem = told
        .calls
        .iter()
        .find_map(|call| call.problem.clone().map(|problem| (call.symbol.clone(), problem)));
    let (outcome, phase, symbol, message) = match (told.refusal, told.missing.first().cloned(), first_problem) {
        (Some(refusal), ..) => {
            let phase = refusal.before.as_ref().map_or(Phase::Open, |_| Phase::Before);
            (Outcome::NotLoadable, Some(phase), refusal.before, Some(refusal.message))
        }
        (_, Some((symbol, message)), _) => (Outcome::SymbolMissing, Some(Phase::Symbol), Some(symbol), Some(message)),
        (.., Some((symbol, message))) => (Outcome::CallFailed, Some(Phase::Call), Some(symbol), Some(message)),
        _ => (Outcome::Loaded, None, None, told.not_closed),
    };
    let at_work = Some(told.phase.unwrap_or(first));
    let (outcome, phase, symbol, message) = match ending {
        Some(Ending::Status(0)) if told.is_whole => (outcome, phase, symbol, message),
        Some(Ending::Status(0)) if told.is_broken => {
            let message = "its process told what the loader does not tell there".to_owned();
            (Outcome::Exited, at_work, told.symbol, Some(message))
        }
        // The loader's refusal says more than that the process did not survive it.
        None => (Outcome::TimedOut, at_work, told.symbol, message),
        Some(Ending::Signal(_)) => (Outcome::Crashed, at_work, told.symbol, message),
        Some(Ending::Status(CHANNEL_LOST_STATUS)) if !told.is_whole => {
            let culprit = match at_work {
                Some(Phase::Start) => "host",
                _ => "plugin",
            };
            let message = format!("the loader ended: the {culprit} closed the channel on which it reports");
            (Outcome::Exited, at_work, told.symbol, Some(message))
        }
        Some(Ending::Status(_)) => (Outcome::Exited, at_work, told.symbol, message),
    };
    PluginEvent {
        symbol,
        message,
        missing: told.missing.into_iter().map(|(symbol, _)| symbol).collect(),
        ending,
        calls: told.calls,
        ..PluginEvent::new(outcome, phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Returns;
    use crate::channel::Returned;
    use crate::testimony::Refusal;

    fn check(told: Testimony, ending: Option<Ending>, expect: &str) {
        let event = judge(told, ending, Phase::Open);
        show(&event, expect);
    }

    fn show(event: &PluginEvent, expect: &str) {
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

    fn whole() -> Testimony {
        Testimony {
            phase: Some(Phase::Exit),
            is_whole: true,
            ..Testimony::default()
        }
    }

    fn until(phase: Phase, symbol: &str) -> Testimony {
        Testimony {
            phase: Some(phase),
            symbol: (!symbol.is_empty()).then(|| symbol.to_owned()),
            ..Testimony::default()
        }
    }

    fn refusal(before: Option<&str>) -> Refusal {
        Refusal {
            before: before.map(str::to_owned),
            message: "no".into(),
        }
    }

    fn returned(symbol: &str, problem: Option<&str>) -> Returned {
        Returned {
            symbol: symbol.into(),
            returns: Returns::None,
            value: None,
            problem: problem.map(str::to_owned),
        }
    }

    const CLEAN: Option<Ending> = Some(Ending::Status(0));

    #[test]
    fn a_clean_end_says_what_was_told() {
        check(whole(), CLEAN, "loaded - - - []");
        let refused = Testimony {
            refusal: Some(refusal(None)),
            ..whole()
        };
        check(refused, CLEAN, "not-loadable open - no []");
        let before = Testimony {
            refusal: Some(refusal(Some("/a.so"))),
            ..whole()
        };
        check(before, CLEAN, "not-loadable before /a.so no []");
        let missing = Testimony {
            missing: vec![("f".into(), "no f".into()), ("g".into(), "no g".into())],
            ..whole()
        };
        check(missing, CLEAN, r#"symbol-missing symbol f no f ["f", "g"]"#);
        let calls = Testimony {
            calls: vec![
                returned("f", None),
                returned("g", Some("null")),
                returned("h", Some("late")),
            ],
            ..whole()
        };
        check(calls, CLEAN, "call-failed call g null []");
        let not_closed = Testimony {
            not_closed: Some("busy".into()),
            ..whole()
        };
        check(not_closed, CLEAN, "loaded - - busy []");
    }

    #[test]
    fn an_end_before_all_was_told_is_no_clean_end() {
        check(Testimony::default(), CLEAN, "exited open - - []");
        check(until(Phase::Open, ""), Some(Ending::Status(7)), "exited open - - []");
        check(until(Phase::Call, "f"), CLEAN, "exited call f - []");
        check(
            until(Phase::Call, "f"),
            Some(Ending::Status(CHANNEL_LOST_STATUS)),
            "exited call f the loader ended: the plugin closed the channel on which it reports []",
        );
        let broken = Testimony {
            is_broken: true,
            ..until(Phase::Call, "f")
        };
        check(
            broken,
            CLEAN,
            "exited call f its process told what the loader does not tell there []",
        );
    }

    #[test]
    fn until_something_is_told_the_host_is_at_work() {
        let judged = |told, ending| judge(told, ending, Phase::Start);
        let nothing = Testimony::default;
        show(&judged(nothing(), CLEAN), "exited start - - []");
        show(&judged(nothing(), Some(Ending::Signal(11))), "crashed start - - []");
        show(&judged(nothing(), None), "timed-out start - - []");
        show(
            &judged(nothing(), Some(Ending::Status(CHANNEL_LOST_STATUS))),
            "exited start - the loader ended: the host closed the channel on which it reports []",
        );
        show(&judged(until(Phase::Open, ""), CLEAN), "exited open - - []");
    }

    #[test]
    fn signals_and_lateness_name_where_it_was() {
        check(until(Phase::Open, ""), Some(Ending::Signal(6)), "crashed open - - []");
        check(until(Phase::Call, "f"), Some(Ending::Signal(11)), "crashed call f - []");
        check(until(Phase::Call, "f"), None, "timed-out call f - []");
        let before = until(Phase::Before, "/a.so");
        check(before, Some(Ending::Signal(6)), "crashed before /a.so - []");
        let refused = Testimony {
            refusal: Some(refusal(None)),
            ..whole()
        };
        check(refused, Some(Ending::Signal(8)), "crashed exit - no []");
        check(whole(), Some(Ending::Status(3)), "exited exit - - []");
    }
}
