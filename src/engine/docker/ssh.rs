//! An engine on another machine, through ssh: a socket here leads to the engine's socket there, for all requests over one
//! connection (ssh, `-L`). The docker client runs `docker system dial-stdio` there instead, once a connection; so that both
//! reach the same engine, the docker client there is asked which one that is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::printable::printable;
use crate::temporary::{self, TemporaryDirectory};

/// How long ssh may take to connect to the machine.
const CONNECT_TIMEOUT_SECONDS: u64 = 30;
/// How long it may take until the socket is there: connecting, and proving who both are.
const START_TIMEOUT_SECONDS: u64 = 60;
/// How often ssh asks a machine that says nothing whether it is still there.
const ALIVE_INTERVAL_SECONDS: u64 = 15;
/// How often it asks without an answer before it gives up.
const ALIVE_LIMIT_COUNT: u64 = 4;
/// How often it is looked whether the socket is there.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long the last words of ssh are waited for when a connection through it has ended.
const WORDS_PAUSE: Duration = Duration::from_millis(200);
/// How much of what ssh says is kept; the last is kept.
const WORDS_LIMIT_BYTES: usize = 4096;
/// How many lines of it are told.
const WORDS_LIMIT_LINES: usize = 3;
/// The longest address of an engine that is taken from another machine.
const ADDRESS_LIMIT_BYTES: u64 = 4096;
/// The longest path of a socket (unix(7), `sun_path`, without its last zero).
const SOCKET_PATH_LIMIT_BYTES: usize = 107;
/// The length of a temporary directory's name.
const DIRECTORY_NAME_BYTES: usize = DIRECTORY_PREFIX.len() + 6;
/// What the names of the directories start with in which the sockets are.
const DIRECTORY_PREFIX: &str = "lockstep-ssh-";
/// The socket in it.
const SOCKET_NAME: &str = "engine";
/// The engine's socket on a machine that has no docker client.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// What asks the docker client there for its engine; one word to each shell.
const ASK: [&str; 5] = [
    "docker",
    "context",
    "inspect",
    "--format",
    "'{{.Endpoints.docker.Host}}'",
];
/// Runs ssh, and ends it when this script's input ends: so it does when this process ends, by whatever means. ssh itself would
/// wait for an engine that never closes a connection.
const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
ssh=$!
{ read -r _ <&3; kill "$ssh"; } >/dev/null 2>&1 &
guard=$!
wait "$ssh"
status=$?
kill "$guard" 2>/dev/null
exit "$status"
"#;
const SHELL: &str = "/bin/sh";
/// What shells end with that do not find a command (POSIX, 2.8.2).
const STATUS_NOT_FOUND: i32 = 127;

/// Where ssh leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    user: Option<String>,
    /// A name, an address, or what ssh's configuration knows.
    host: String,
    port: Option<u16>,
    /// The engine's socket there; none where the machine's docker client knows it.
    socket: Option<String>,
}

impl Destination {
    /// `[user@]host[:port][/path/of/the/socket]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        if let Some(other) = rest.chars().find(|character| "?#%\\".contains(*character)) {
            return Err(format!("`{other}` is not supported in an address for ssh"));
        }
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| {
            (authority, Some(format!("/{path}")).filter(|path| path != "/"))
        });
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err("a password in an address is not supported: use a key".to_owned());
        }
        // The colons of an IPv6 address are inside brackets.
        let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None => place
                .split_once(':')
                .map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(str::parse::<u16>).transpose();
        let port = port.map_err(|_| "the port is no number up to 65535".to_owned())?;
        if host.is_empty() {
            return Err("the address has no host".to_owned());
        }
        let sound = |text: &str| !text.starts_with('-') && !text.contains(|character: char| character.is_control());
        if !sound(host) || user.as_ref().is_some_and(|user| user.is_empty() || !sound(user)) {
            return Err("the user or the host is none".to_owned());
        }
        if let Some(path) = &path {
            check_socket(path)?;
        }
        Ok(Self {
            user,
            host: host.to_owned(),
            port,
            socket: path,
        })
    }

    /// ssh with the options of every connection, up to the host. It asks nobody: nobody may be there, and the terminal has
    /// other lines to show.
    fn ssh(&self, variables: &BTreeMap<String, String>, options: &[&str]) -> Result<Command, String> {
        let path = variables.get("PATH").map(std::env::split_paths);
        let mut candidates = path.into_iter().flatten().map(|directory| directory.join("ssh"));
        let program = candidates
            .find(|program| program.is_file())
            .ok_or("there is no ssh in PATH")?;
        let mut command = Command::new(SHELL);
        // In a group of its own: Ctrl-C is for this process, which still has to remove what it made there.
        command.env_clear().envs(variables).process_group(0).kill_on_drop(true);
        command.args(["-c", GUARD, "sh"]).arg(program);
        command.args(["-T", "-a", "-x"]);
        let numbered = [
            ("ConnectTimeout", CONNECT_TIMEOUT_SECONDS),
            ("ServerAliveInterval", ALIVE_INTERVAL_SECONDS),
            ("ServerAliveCountMax", ALIVE_LIMIT_COUNT),
        ];
        for (name, number) in numbered {
            command.arg("-o").arg(format!("{name}={number}"));
        }
        // A connection that the user keeps open would keep the socket, too. What else they forward may be taken already.
        let fixed = [
            "BatchMode=yes",
            "ControlMaster=no",
            "ControlPath=none",
            "ExitOnForwardFailure=no",
        ];
        for option in fixed.iter().chain(options) {
            command.args(["-o", option]);
        }
        command.args(self.user.iter().flat_map(|user| ["-l", user]));
        if let Some(port) = self.port {
            command.arg("-p").arg(port.to_string());
        }
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// The engine's socket on that machine.
    async fn socket(&self, variables: &BTreeMap<String, String>) -> Result<String, String> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let mut command = self.ssh(variables, &["ClearAllForwardings=yes"])?;
        command.stdout(Stdio::piped());
        command.arg("--").arg(&self.host).args(ASK);
        let mut child = command.spawn().map_err(|error| start_failed(&error))?;
        let words = Words::of(&mut child);
        let output = child.stdout.take();
        let asked = timeout(Duration::from_secs(START_TIMEOUT_SECONDS), async {
            let mut address = Vec::new();
            if let Some(output) = output {
                output.take(ADDRESS_LIMIT_BYTES).read_to_end(&mut address).await?;
            }
            // Waiting alone would end its input.
            let input = child.stdin.take();
            let status = child.wait().await?;
            drop(input);
            Ok::<_, std::io::Error>((status, address))
        });
        let (status, address) = asked
            .await
            .map_err(|_| timed_out())?
            .map_err(|error| format!("failed to follow ssh: {error}"))?;
        if status.code() == Some(STATUS_NOT_FOUND) {
            return Ok(DEFAULT_SOCKET.to_owned());
        }
        if !status.success() {
            return Err(words.after("ssh ended", status).await);
        }
        let address = String::from_utf8_lossy(&address);
        let address = address.trim();
        match address.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => check_socket(path).map(|()| path.to_owned()),
            _ if address.is_empty() => Ok(DEFAULT_SOCKET.to_owned()),
            _ => Err(format!(
                "the docker client there uses the engine at {}, which is no socket there",
                printable(address)
            )),
        }
    }
}

/// What ssh takes for a path as it is: it has meanings for other characters.
fn check_socket(path: &str) -> Result<(), String> {
    let plain = |character: char| character.is_alphanumeric() || "/._-+,=@".contains(character);
    if path.chars().all(plain) && path.len() <= SOCKET_PATH_LIMIT_BYTES {
        Ok(())
    } else {
        Err(format!("a socket at {} is not supported", printable(path)))
    }
}

/// A socket here that leads to the engine there. When this is dropped, ssh ends; when this process is killed, too.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Ended when dropped; holds the input.
    _ssh: Child,
    words: Words,
    directory: TemporaryDirectory,
}

impl Tunnel {
    /// Connects to the machine.
    ///
    /// # Errors
    /// What is in the way, in ssh's own words where it has some.
    pub(super) async fn open(destination: &Destination, variables: &BTreeMap<String, String>) -> Result<Self, String> {
        let there = destination.socket(variables).await?;
        let parent = parent_of_sockets(variables);
        // What a process left that was killed. What cannot be removed is in nobody's way.
        let _ = temporary::sweep(&parent, &[DIRECTORY_PREFIX]);
        let directory = TemporaryDirectory::new_in(&parent, DIRECTORY_PREFIX)
            .map_err(|error| format!("failed to make a directory in {}: {error}", parent.display()))?;
        let here = directory.path().join(SOCKET_NAME);
        let mut command = destination.ssh(variables, &["ClearAllForwardings=no", "StreamLocalBindMask=0177"])?;
        command.stdout(Stdio::null());
        command.arg("-N").arg("-L").arg(format!("{}:{there}", here.display()));
        command.arg("--").arg(&destination.host);
        let mut ssh = command.spawn().map_err(|error| start_failed(&error))?;
        let words = Words::of(&mut ssh);
        let until_ready = timeout(Duration::from_secs(START_TIMEOUT_SECONDS), async {
            while UnixStream::connect(&here).await.is_err() {
                match ssh.try_wait() {
                    Ok(None) => sleep(POLL_INTERVAL).await,
                    Ok(Some(status)) => return Err(words.after("ssh ended", status).await),
                    Err(error) => return Err(format!("failed to follow ssh: {error}")),
                }
            }
            Ok(())
        });
        match until_ready.await {
            Ok(ready) => ready?,
            Err(_) => return Err(with_words(timed_out(), &words.last())),
        }
        Ok(Self {
            _ssh: ssh,
            words,
            directory,
        })
    }

    /// The socket of this machine.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join(SOCKET_NAME)
    }

    /// `cause` with what ssh said last.
    pub(super) fn explain(&self, cause: String) -> String {
        with_words(cause, &self.words.last())
    }

    /// Lets ssh say why a connection through it has ended.
    pub(super) async fn settle(&self) {
        sleep(WORDS_PAUSE).await;
    }
}

/// What ssh says while it runs.
#[derive(Debug, Clone, Default)]
struct Words(Arc<Mutex<Vec<u8>>>);

impl Words {
    /// Follows the standard error of `child`.
    fn of(child: &mut Child) -> Self {
        let words = Self::default();
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(words.clone().follow(errors));
        }
        words
    }

    async fn follow(self, mut errors: impl AsyncRead + Unpin) {
        let mut piece = [0; 1024];
        while let Ok(count @ 1..) = errors.read(&mut piece).await {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&piece[..count]);
            let surplus = kept.len().saturating_sub(WORDS_LIMIT_BYTES);
            kept.drain(..surplus);
        }
    }

    /// The last lines, as one.
    fn last(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8_lossy(&kept).into_owned();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(WORDS_LIMIT_LINES)..];
        printable(&last.join("; ")).into_owned()
    }

    /// What is said of an ssh that has ended: its words, and only where it has none how it ended.
    async fn after(&self, what: &str, status: ExitStatus) -> String {
        // The last words may still be on their way.
        sleep(WORDS_PAUSE).await;
        let last = self.last();
        if last.is_empty() {
            format!("{what} ({status}) and said nothing")
        } else {
            last
        }
    }
}

fn with_words(cause: String, words: &str) -> String {
    if words.is_empty() {
        cause
    } else {
        format!("{cause}; ssh says: {words}")
    }
}

fn start_failed(error: &std::io::Error) -> String {
    format!("failed to start ssh: {error}")
}

fn timed_out() -> String {
    format!("ssh was not ready within {START_TIMEOUT_SECONDS} s")
}

/// The first of the user's runtime directory and the temporary one in which the path of a socket is short and plain
/// enough.
fn parent_of_sockets(variables: &BTreeMap<String, String>) -> PathBuf {
    let fits = |directory: &&Path| {
        let directory_bytes = directory.as_os_str().len();
        let path_bytes = directory_bytes + DIRECTORY_NAME_BYTES + SOCKET_NAME.len() + 2;
        let is_plain = directory.to_str().is_some_and(|text| check_socket(text).is_ok());
        directory.is_absolute() && directory.is_dir() && is_plain && path_bytes <= SOCKET_PATH_LIMIT_BYTES
    };
    let named = ["XDG_RUNTIME_DIR", "TMPDIR"].map(|name| variables.get(name).map(Path::new));
    let first = named.into_iter().flatten().find(fits);
    first.unwrap_or_else(|| Path::new("/tmp")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(user: Option<&str>, host: &str, port: Option<u16>, socket: Option<&str>) -> Destination {
        Destination {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            socket: socket.map(str::to_owned),
        }
    }

    #[test]
    fn an_address_for_ssh_is_taken_apart() {
        for (rest, expected) in [
            ("box", destination(None, "box", None, None)),
            ("box/", destination(None, "box", None, None)),
            ("me@box:22", destination(Some("me"), "box", Some(22), None)),
            ("me@there@box", destination(Some("me@there"), "box", None, None)),
            ("[::1]", destination(None, "::1", None, None)),
            ("me@[::1]:22/x", destination(Some("me"), "::1", Some(22), Some("/x"))),
            (
                "box/run/user/1000/docker.sock",
                destination(None, "box", None, Some("/run/user/1000/docker.sock")),
            ),
        ] {
            assert_eq!(Destination::parse(rest), Ok(expected), "{rest}");
        }
    }

    #[test]
    fn an_address_that_leads_nowhere_is_refused() {
        for (rest, expected) in [
            ("", "no host"),
            ("me@", "no host"),
            ("/x", "no host"),
            ("me:secret@box", "password"),
            ("@box", "the user or the host is none"),
            ("-oProxyCommand=x", "the user or the host is none"),
            ("-l@box", "the user or the host is none"),
            ("box:ssh", "port"),
            ("box:65536", "port"),
            ("[::1]x", "port"),
            ("box?x=1", "`?`"),
            ("box#x", "`#`"),
            ("box/%2f", "`%`"),
            ("box/a:b", "/a:b is not supported"),
            ("box/$HOME", "/$HOME is not supported"),
        ] {
            let cause = Destination::parse(rest).unwrap_err();
            assert!(cause.contains(expected), "{rest}: {cause} does not say {expected}");
        }
    }

    #[test]
    fn sockets_are_where_their_paths_are_short_enough() {
        let directory = tempfile::tempdir().unwrap();
        let short = directory.path().display().to_string();
        let (long, odd) = (directory.path().join("x".repeat(100)), directory.path().join("a:b"));
        for made in [&long, &odd] {
            std::fs::create_dir(made).unwrap();
        }
        let parent = |runtime: &str, temporary: &str| {
            let variables = [("XDG_RUNTIME_DIR", runtime), ("TMPDIR", temporary)];
            parent_of_sockets(
                &variables
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            )
        };
        let (long, odd) = (long.display().to_string(), odd.display().to_string());
        assert_eq!(parent(&short, &long), directory.path());
        assert_eq!(parent(&long, &short), directory.path());
        assert_eq!(parent(&odd, "relative"), Path::new("/tmp"));
        assert_eq!(parent_of_sockets(&BTreeMap::new()), Path::new("/tmp"));
    }

    #[tokio::test]
    async fn of_many_words_the_last_are_told() {
        let words = Words::default();
        let text = format!("{}\r\n\nfirst\n second\nthird\u{1b}\nlast", "x".repeat(10_000));
        words.clone().follow(text.as_bytes()).await;
        assert_eq!(words.last(), "second; third\\u{1b}; last");
        assert!(words.0.lock().unwrap().len() <= WORDS_LIMIT_BYTES);
        assert_eq!(with_words("cause".to_owned(), ""), "cause");
    }
}
