//! That what is compiled reaches nothing, shown by its container itself: before a unit's command begins, the shell looks at the
//! interfaces and routes that there are, asks for a name, and tries to send; it says what came of it in its first line, and goes
//! no further if there is a network. The unit's variables are set only behind that, so nothing of a unit is there before.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::bundle::NetworkRecord;
use crate::engine::OutputStream;
use crate::name::{EnvironmentName, UnitName};

/// What the line begins with.
const MARK: &str = "lockstep-network";
/// The one interface that may be up.
const LOOPBACK: &str = "lo";
/// What is said of a question that the image has no means to ask.
const UNTRIED: &str = "untried";
/// What becomes of a question where there is no network.
const FAILED: &str = "failed";
/// What stands for routes that could not be looked at.
const UNSEEN: &str = "?";
/// Says what there is of a network, with a shell alone; a name is asked for where the C library is glibc, since musl waits for an
/// answer for seconds, and sending is tried where bash is: a datagram's socket is connected by a route alone, without a packet.
/// An interface that is down carries nothing: kernels make some of the kind in every namespace. Behind it come variables up to
/// `--`, and the command.
const SCRIPT: &str = r#"up= routes=' ?' lookup=untried connection=untried
{
  read -r rest
  read -r rest
  while read -r name rest; do
    name=${name%%:*} flags=
    if [ -r "/sys/class/net/$name/flags" ]; then read -r flags <"/sys/class/net/$name/flags"; fi
    case $flags in *[02468aAcCeE]) ;; *) up="$up $name" ;; esac
  done
} </proc/net/dev
{
  read -r rest
  routes=
  while read -r name rest; do routes="$routes $name"; done
} </proc/net/route
if [ -r /proc/net/ipv6_route ]; then
  while read -r name; do
    name=${name##* }
    if [ "$name" != lo ]; then routes="$routes $name"; fi
  done </proc/net/ipv6_route
fi
if [ "$up$routes" = " lo" ]; then
  case $(getent --version 2>/dev/null) in *GLIBC* | *"GNU libc"*)
    if getent ahosts example.com >/dev/null 2>&1; then lookup=answered; else lookup=failed; fi ;;
  esac
  if command -v bash >/dev/null 2>&1; then
    if bash -c ': >/dev/udp/192.0.2.1/53' 2>/dev/null; then connection=made; else connection=failed; fi
  fi
fi
echo "lockstep-network up$up routes$routes lookup $lookup connection $connection"
if [ "$up$routes" != " lo" ] || [ "$lookup" = answered ] || [ "$connection" = made ]; then exit 97; fi
while [ "$1" != -- ]; do
  export "$1"
  shift
done
shift
exec "$@""#;

/// A compile that is not without a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the container in which `{unit}` was to be compiled for {environment} {found}")]
pub struct NotIsolated {
    /// The unit.
    pub unit: UnitName,
    /// The environment.
    pub environment: EnvironmentName,
    /// What was found.
    pub found: FoundNetwork,
}

/// What a container has of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundNetwork {
    /// Interfaces that are up, beside the loopback.
    Interfaces(Vec<String>),
    /// Ways out.
    Routes(Vec<String>),
    /// A name has an address.
    Answer,
    /// Something can be sent.
    Connection,
    /// It said nothing of the kind.
    Nothing,
}

impl fmt::Display for FoundNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interfaces(names) => write!(formatter, "has a network: {}", names.join(", ")),
            Self::Routes(names) => write!(formatter, "has a route to a network, through {}", names.join(", ")),
            Self::Answer => formatter.write_str("was told the address of a name"),
            Self::Connection => formatter.write_str("can send to an address"),
            Self::Nothing => formatter.write_str("did not show that it has no network"),
        }
    }
}

impl FoundNetwork {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Nothing => "does the build image's `sh` read /proc/net/dev and /proc/net/route?",
            _ => {
                "lockstep asks for containers without a network (`NetworkMode: none`): look at what the engine, or what stands \
                 before it, makes of that"
            }
        }
    }
}

/// A command that begins only where there is no network, with these variables.
pub(super) fn isolated(command: Vec<String>, variables: &BTreeMap<String, String>) -> Vec<String> {
    let shell = ["sh", "-c", SCRIPT, "sh"].map(ToOwned::to_owned);
    let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
    shell
        .into_iter()
        .chain(variables)
        .chain(["--".to_owned()])
        .chain(command)
        .collect()
}

/// Reads the first line of a container's output, which is not the unit's.
#[derive(Debug, Default)]
pub(super) struct Observer(Mutex<FirstLine>);

#[derive(Debug, Default)]
enum FirstLine {
    #[default]
    Awaited,
    Read(String),
    Another,
}

impl Observer {
    /// Whether a line is the one, and no output of the unit's.
    pub(super) fn takes(&self, stream: OutputStream, line: &str) -> bool {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stream != OutputStream::Stdout || !matches!(*first, FirstLine::Awaited) {
            return false;
        }
        let is_it = line.starts_with(MARK);
        *first = match is_it {
            true => FirstLine::Read(line.to_owned()),
            false => FirstLine::Another,
        };
        is_it
    }

    /// What the container showed; the line, to be left out of what the unit said.
    pub(super) fn seen(&self) -> (Result<NetworkRecord, FoundNetwork>, Option<String>) {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            FirstLine::Read(line) => (judged(line), Some(line.clone())),
            FirstLine::Awaited | FirstLine::Another => (Err(FoundNetwork::Nothing), None),
        }
    }
}

/// What the line says; an error unless it says that there is no network.
fn judged(line: &str) -> Result<NetworkRecord, FoundNetwork> {
    let mut words = line.split(' ').skip(1).peekable();
    let mut list = |start: &str, end: &str| -> Option<Vec<String>> {
        words.next_if_eq(&start)?;
        let mut names = Vec::new();
        while let Some(name) = words.next_if(|word| *word != end) {
            names.push(name.to_owned());
        }
        words.peek()?;
        Some(names)
    };
    let interfaces = list("up", "routes").ok_or(FoundNetwork::Nothing)?;
    let mut routes = list("routes", "lookup").ok_or(FoundNetwork::Nothing)?;
    routes.dedup();
    let [_, lookup, _, connection] = words.collect::<Vec<_>>()[..] else {
        return Err(FoundNetwork::Nothing);
    };
    let others: Vec<String> = interfaces.iter().filter(|name| *name != LOOPBACK).cloned().collect();
    let is_refused = |answer: &str| [FAILED, UNTRIED].contains(&answer);
    if !others.is_empty() {
        return Err(FoundNetwork::Interfaces(others));
    }
    if routes.iter().any(|name| name == UNSEEN) {
        return Err(FoundNetwork::Nothing);
    }
    if !routes.is_empty() {
        return Err(FoundNetwork::Routes(routes));
    }
    if !is_refused(lookup) {
        return Err(FoundNetwork::Answer);
    }
    if !is_refused(connection) {
        return Err(FoundNetwork::Connection);
    }
    // Where not even that is seen, nothing was.
    if interfaces.is_empty() {
        return Err(FoundNetwork::Nothing);
    }
    Ok(NetworkRecord {
        interfaces,
        routes,
        lookup: lookup.to_owned(),
        connection: connection.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_that_shows_that_there_is_nothing_is_taken_for_that() {
        let told = |line: &str| match judged(line) {
            Ok(record) => format!("{} {}", record.lookup, record.connection),
            Err(found) => found.to_string(),
        };
        for (line, expected) in [
            (
                "lockstep-network up lo routes lookup failed connection failed",
                "failed failed",
            ),
            (
                "lockstep-network up lo routes lookup untried connection untried",
                "untried untried",
            ),
            (
                "lockstep-network up lo eth0 routes eth0 lookup untried connection untried",
                "has a network: eth0",
            ),
            (
                "lockstep-network up lo routes eth1 lookup untried connection untried",
                "has a route to a network, through eth1",
            ),
            (
                "lockstep-network up lo routes lookup answered connection failed",
                "was told the address of a name",
            ),
            (
                "lockstep-network up lo routes lookup failed connection made",
                "can send to an address",
            ),
            (
                "lockstep-network up routes lookup untried connection untried",
                "did not show that it has no network",
            ),
            (
                "lockstep-network up lo routes ? lookup untried connection untried",
                "did not show that it has no network",
            ),
            ("lockstep-network up lo", "did not show that it has no network"),
            ("lockstep-network", "did not show that it has no network"),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn what_a_unit_prints_is_not_taken_for_it() {
        let line = "lockstep-network up lo routes lookup failed connection failed";
        let seen = |lines: &[(OutputStream, &str)]| {
            let observer = Observer::default();
            let taken = lines
                .iter()
                .filter(|(stream, line)| observer.takes(*stream, line))
                .count();
            (taken, observer.seen().0.is_ok())
        };
        let (out, error) = (OutputStream::Stdout, OutputStream::Stderr);
        assert_eq!(seen(&[(error, "warning"), (out, line), (out, line)]), (1, true));
        assert_eq!(seen(&[(out, "hello"), (out, line)]), (0, false));
        assert_eq!(seen(&[(error, line)]), (0, false));
        // The second one is the unit's.
        let network = "lockstep-network up lo eth0 routes lookup failed connection failed";
        assert_eq!(seen(&[(out, network), (out, line)]), (1, false));
    }

    /// By this machine's own shell: where it has a network, that is seen, and where it is taken away, its absence is.
    #[test]
    fn a_shell_tells_what_there_is_and_goes_no_further() {
        let run = |program: &str, arguments: &[&str]| {
            let variables = BTreeMap::from([("GREETING".to_owned(), "hello  world".to_owned())]);
            let command = ["sh", "-c", "echo \"$GREETING\""].map(ToOwned::to_owned).to_vec();
            let output = std::process::Command::new(program)
                .args(arguments)
                .args(isolated(command, &variables))
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            (
                text.lines().map(str::to_owned).collect::<Vec<_>>(),
                output.status.code(),
            )
        };
        let has_network = std::fs::read_to_string("/proc/net/route").unwrap().lines().count() > 1;
        if has_network {
            let (lines, status) = run("env", &[]);
            assert_eq!((lines.len(), status), (1, Some(97)), "{lines:?}");
            assert!(judged(&lines[0]).is_err(), "{lines:?}");
        }
        let (lines, status) = run("unshare", &["--map-root-user", "--net"]);
        // A machine that gives its users no namespaces says so; the tests on an engine have them. What is down is told by
        // `/sys`, which is here that of the machine.
        if lines.is_empty() {
            return;
        }
        assert_eq!(
            (&lines[1..], status),
            (&["hello  world".to_owned()][..], Some(0)),
            "{lines:?}"
        );
        assert!(judged(&lines[0]).is_ok(), "{lines:?}");
    }
}
