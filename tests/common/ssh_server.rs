//! A machine that is reached through ssh: the distribution's server on loopback, unpacked and not installed, with accounts,
//! keys and a `/run` of its own. It takes root.

#![allow(clippy::unwrap_used, reason = "a server that does not start fails the test")]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::unpacked::unpacked;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Gives the server what it looks for at fixed places, where nobody else sees it.
const START: &str = "
mount --make-rprivate /
mount --bind \"$1/passwd\" /etc/passwd
mount --bind \"$1/shadow\" /etc/shadow
mount -t tmpfs tmpfs /run
mkdir -m 0755 /run/sshd
ln -s \"$2\" /run/docker.sock
exec \"$3\" -D -e -f \"$1/sshd_config\"
";

/// A running one, which ends with this.
pub(crate) struct SshServer {
    directory: tempfile::TempDir,
    port: u16,
    daemon: Child,
}

impl SshServer {
    /// Starts one whose default socket is this engine's, and whose sessions have these variables.
    pub(crate) fn start(engine: &Path, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        // Let go at once: what is connected to below must be the server.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = free.unwrap().port();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(at(key))
                .status();
            assert!(made.unwrap().success(), "ssh-keygen failed");
        }
        let home = directory.path().display();
        let mut config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/user.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        );
        let set: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !set.is_empty() {
            let _ = writeln!(config, "SetEnv {}", set.join(" "));
        }
        let passwd = format!("root:x:0:0::{home}:/bin/sh\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n");
        let host_key = std::fs::read_to_string(at("host.pub")).unwrap();
        let client = format!(
            "IdentityFile {home}/user\nIdentitiesOnly yes\nUserKnownHostsFile {home}/known\nStrictHostKeyChecking yes\n"
        );
        let ssh = found("ssh");
        for (name, text) in [
            ("sshd_config", config),
            ("passwd", passwd),
            ("shadow", "root:*:19000:0:99999:7:::\nsshd:*:19000::::::\n".to_owned()),
            ("known", format!("[127.0.0.1]:{port} {host_key}")),
            ("config", client),
            (
                "bin/ssh",
                format!("#!/bin/sh\nexec {} -F {home}/config \"$@\"\n", ssh.display()),
            ),
        ] {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), text).unwrap();
        }
        std::fs::set_permissions(at("bin/ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = unpacked("openssh-server");
        let log = std::fs::File::create(at("log")).unwrap();
        let daemon = Command::new("unshare")
            .args(["--mount", "sh", "-euc", START, "sh"])
            .arg(directory.path())
            .arg(engine)
            .arg(root.join("usr/sbin/sshd"))
            .env("LD_LIBRARY_PATH", libraries(&root))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self {
            directory,
            port,
            daemon,
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = server.daemon.try_wait().unwrap();
            assert!(Instant::now() < until && ended.is_none(), "{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// `ssh://root@127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("ssh://root@127.0.0.1:{}", self.port)
    }

    /// The variable with which `ssh` is one that knows this machine and its key.
    pub(crate) fn search_path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.directory.path().join("bin").display())
    }

    /// Has this machine known no more.
    pub(crate) fn forget(&self) {
        std::fs::write(self.directory.path().join("known"), "").unwrap();
    }

    /// What the server said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Where a program is.
pub(crate) fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let all = std::env::split_paths(&path).map(|directory| directory.join(program));
    all.into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("this test needs {program}"))
}

/// The directory of the distribution's libraries for this machine.
fn libraries(root: &Path) -> PathBuf {
    let directories = ["usr/lib", "lib"].map(|directory| std::fs::read_dir(root.join(directory)));
    let mut below = directories.into_iter().flatten().flatten().flatten();
    let own = below.find(|entry| entry.path().join("libwrap.so.0").exists());
    own.unwrap_or_else(|| panic!("no libwrap.so.0 below {}", root.display()))
        .path()
}
