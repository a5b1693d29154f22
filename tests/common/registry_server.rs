//! A registry on loopback: the distribution's, unpacked and not installed, which would leave a daemon behind.

#![allow(clippy::unwrap_used, reason = "a registry that does not start fails the test")]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::second_engine::SecondEngine;
use super::unpacked::unpacked_program;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// The Debian package that has it.
const PACKAGE: &str = "docker-registry";
const PROGRAM: &str = "usr/bin/docker-registry";
/// A line of `htpasswd -B` for [`USER`] and [`PASSWORD`].
const PASSWORDS: &str = "builder:$2y$04$RYBg2ZwpQqjGQkelxPU7/O1GY3i4ilg6glDkIm57lFX9DdgXpcsIm\n";
pub(crate) const USER: &str = "builder";
pub(crate) const PASSWORD: &str = "a secret";

/// A running registry, which ends with this.
pub(crate) struct RegistryServer {
    directory: tempfile::TempDir,
    port: u16,
    is_guarded: bool,
    daemon: Daemon,
}

impl RegistryServer {
    /// One that takes everything from everybody.
    pub(crate) fn open() -> Self {
        Self::start(|_| String::new())
    }

    /// One that speaks TLS, with a certificate that nobody has signed, and wants a password.
    pub(crate) fn guarded() -> Self {
        Self::start(|directory| {
            let at = |name: &str| directory.join(name);
            let made = Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "rsa:2048",
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=localhost",
                ])
                .args(["-addext", "subjectAltName=IP:127.0.0.1"])
                .arg("-keyout")
                .arg(at("key.pem"))
                .arg("-out")
                .arg(at("certificate.pem"))
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            std::fs::write(at("passwords"), PASSWORDS).unwrap();
            format!(
                "  tls: {{certificate: {0}/certificate.pem, key: {0}/key.pem}}\nauth:\n  htpasswd: {{realm: test, path: {0}/passwords}}\n",
                directory.display()
            )
        })
    }

    fn start(more: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Held no longer, or it would answer itself when the registry is waited for.
        let port = {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            free.local_addr().unwrap().port()
        };
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:{port}\n{}",
            directory.path().join("data").display(),
            more(directory.path()),
        );
        std::fs::write(directory.path().join("config.yml"), config).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let daemon = unpacked_program(PACKAGE, PROGRAM)
            .arg("serve")
            .arg(directory.path().join("config.yml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self {
            is_guarded: directory.path().join("passwords").exists(),
            directory,
            port,
            daemon: Daemon(daemon),
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
            let ended = server.daemon.0.try_wait().unwrap();
            assert!(Instant::now() < until && ended.is_none(), "{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// The same registry once more, under the same address in the network of another engine.
    pub(crate) fn also_beside(&self, engine: &SecondEngine) -> impl Drop + use<> {
        let raised = engine
            .in_network(Path::new("ip"))
            .args(["link", "set", "lo", "up"])
            .status()
            .unwrap();
        assert!(raised.success(), "no loopback");
        let program = unpacked_program(PACKAGE, PROGRAM);
        let mut command = engine.in_network(Path::new(program.get_program()));
        let command = command.arg("serve").arg(self.directory.path().join("config.yml"));
        Daemon(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Where it answers, with how.
    pub(crate) fn address(&self) -> String {
        let scheme = if self.is_guarded { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// A process that ends with this.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
