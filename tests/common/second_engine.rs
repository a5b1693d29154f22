//! An engine of a test's own: another store of images than the machine's, on another disk if need be. It takes root.

#![allow(clippy::unwrap_used, reason = "an engine that does not start fails the test")]
#![allow(dead_code, reason = "no test file uses all of it")]

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running one, which ends with this.
pub(crate) struct SecondEngine {
    /// Its sockets, whose paths have 107 bytes at most.
    run: tempfile::TempDir,
    daemon: Child,
}

impl SecondEngine {
    /// Starts one that keeps its images in a directory, by this driver; what it said, where that cannot be.
    pub(crate) fn start(data: &Path, storage: Option<&str>) -> Result<Self, String> {
        Self::start_with(data, storage, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(data: &Path, storage: Option<&str>, more: &[String]) -> Result<Self, String> {
        let run = tempfile::tempdir().unwrap();
        let at = |name: &str| run.path().join(name);
        std::fs::write(at("config.json"), "{}").unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        // Without a network of its own it would change the first engine's.
        let daemon = Command::new("unshare")
            .args(["-n", "dockerd", "--iptables=false"])
            .args(storage.iter().flat_map(|storage| ["--storage-driver", storage]))
            .arg("--config-file")
            .arg(at("config.json"))
            .arg("--data-root")
            .arg(data)
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("engine").display()))
            .args(more)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut engine = Self { run, daemon };
        let until = Instant::now() + PATIENCE;
        while !engine.run.path().join("engine").exists() {
            let log = std::fs::read_to_string(engine.run.path().join("log")).unwrap();
            if Instant::now() > until || engine.daemon.try_wait().unwrap().is_some() {
                return Err(log);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(engine)
    }

    /// Runs a command in its network, which has a loopback interface of its own.
    pub(crate) fn in_network(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.daemon.id()))
            .arg(program);
        command
    }

    /// Where it is reached, as `DOCKER_HOST` has it.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.run.path().join("engine").display())
    }
}

impl Drop for SecondEngine {
    fn drop(&mut self) {
        let daemon = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(daemon, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
    }
}
