//! The machine's apt, with a configuration of lockstep's: it finds packages by their hashes, and downloads them.
//!
//! Only how the machine reaches its mirrors is taken from its own configuration. What a mirror says of itself (signatures,
//! dates) does not matter here, because the hash of every package is known before it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cache::failed;
use super::child::{ChildError, Run, answer};
use super::error::ImageError;
use super::machine::{Machine, debian_architecture};
use crate::digest::Digest;
use crate::regular_file;

/// How long apt may take to print its configuration, or where its lists are.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of that is read.
const ANSWER_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// How long the lists of all sources may take.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long one run of downloads may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How many packages one run downloads: what names them must fit into a command line.
const DOWNLOADS_LIMIT_COUNT: usize = 200;
/// How much of one list of packages is read; Debian's `main` has 50 MB.
const LIST_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;
/// How many lists are read.
const LISTS_LIMIT_COUNT: usize = 1_000;
/// Which options a source has whose packages are known by their hashes (sources.list(5)).
pub(super) const BY_HASH_OPTIONS: &str = "trusted=yes check-valid-until=no check-date=no";
/// apt's own downloader.
const HELPER: &str = "/usr/lib/apt/apt-helper";

/// How the machine's own apt reaches its mirrors: proxies, certificates, time-outs.
pub(super) fn network_options(machine: &Machine, cancel: &CancellationToken) -> Result<Vec<String>, ImageError> {
    let mut command = Command::new("apt-config");
    command.arg("dump").env_clear().env("PATH", &machine.search_path);
    match answer("apt-config", command, ANSWER_TIMEOUT, ANSWER_LIMIT_BYTES, cancel) {
        Ok(text) => Ok(text
            .lines()
            .filter(|line| is_network_option(line))
            .map(str::to_owned)
            .collect()),
        Err(ChildError::Cancelled) => Err(ImageError::Cancelled),
        // Without apt-config there is no apt either, and who needs it will say so.
        Err(_) => Ok(vec![]),
    }
}

/// Whether a line of apt's configuration (`Acquire::http::Proxy "http://…";`) is about reaching mirrors.
fn is_network_option(line: &str) -> bool {
    ["Acquire::http::", "Acquire::https::"]
        .iter()
        .any(|prefix| line.starts_with(prefix))
        && line.ends_with("\";")
}

/// An apt that knows the sources it was given, and no others.
pub(super) struct Apt<'a> {
    machine: &'a Machine,
    cancel: &'a CancellationToken,
    directory: PathBuf,
}

impl<'a> Apt<'a> {
    /// Sets one up in `directory`, which it makes, for `sources` in the one-line style (sources.list(5)).
    pub(super) fn new(
        machine: &'a Machine,
        cancel: &'a CancellationToken,
        directory: &Path,
        sources: &str,
    ) -> Result<Self, ImageError> {
        let options = network_options(machine, cancel)?;
        let set_up = || -> io::Result<()> {
            for below in ["state/lists/partial", "cache/archives/partial", "etc"] {
                fs::create_dir_all(directory.join(below))?;
            }
            fs::write(directory.join("status"), "")?;
            fs::write(directory.join("sources.list"), sources)?;
            fs::write(
                directory.join("apt.conf"),
                configuration(directory, machine.architecture, &options),
            )
        };
        set_up().map_err(failed("write into", directory))?;
        Ok(Self {
            machine,
            cancel,
            directory: directory.to_owned(),
        })
    }

    /// Downloads what the sources say of their packages. A source that cannot be had is no error, for another one may have
    /// what is looked for; what apt said of those comes back.
    pub(super) fn update(&self) -> Result<Vec<String>, ImageError> {
        let mut command = self.command("apt-get");
        command.arg("update");
        let complaints = std::sync::Mutex::new(Vec::new());
        let line = |line: &str| {
            if let Some(complaint) = complaint(line) {
                complaints
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .push(complaint);
            }
        };
        match self.run("apt-get", command, UPDATE_TIMEOUT, &line) {
            Err(ChildError::Cancelled) => return Err(ImageError::Cancelled),
            Err(cause @ (ChildError::Start { .. } | ChildError::TimedOut { .. })) => {
                return Ok(vec![cause.to_string()]);
            }
            Ok(()) | Err(_) => {}
        }
        let mut complaints = complaints
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        complaints.dedup();
        Ok(complaints)
    }

    /// Where the packages with these hashes are, as far as a source has them.
    pub(super) fn find(&self, wanted: &BTreeSet<Digest>) -> Result<BTreeMap<Digest, String>, ImageError> {
        let mut command = self.command("apt-get");
        command.args([
            "indextargets",
            "--format",
            "$(FILENAME)\t$(REPO_URI)",
            "Created-By: Packages",
        ]);
        let lists = match answer("apt-get", command, ANSWER_TIMEOUT, ANSWER_LIMIT_BYTES, self.cancel) {
            Ok(lists) => lists,
            Err(ChildError::Cancelled) => return Err(ImageError::Cancelled),
            Err(_) => return Ok(BTreeMap::new()),
        };
        let mut found = BTreeMap::new();
        for (list, address) in lists
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .take(LISTS_LIMIT_COUNT)
        {
            // Those of sources that cannot be had are not there.
            let Ok(file) = regular_file::open(Path::new(list)) else {
                continue;
            };
            let reader = BufReader::new(file.take(LIST_LIMIT_BYTES));
            let places = places(reader, wanted).map_err(failed("read", Path::new(list)))?;
            for (digest, place) in places {
                let address = address.trim_end_matches('/');
                found
                    .entry(digest)
                    .or_insert_with(|| format!("{address}/{}", place.trim_start_matches("./")));
            }
        }
        Ok(found)
    }

    /// Downloads files into `to`, each under its hash. Some of them may not be there afterwards.
    pub(super) fn download(&self, places: &BTreeMap<Digest, String>, to: &Path) -> Result<(), ImageError> {
        let all: Vec<(&Digest, &String)> = places.iter().collect();
        for some in all.chunks(DOWNLOADS_LIMIT_COUNT) {
            let mut command = self.command(HELPER);
            command.arg("download-file");
            for (digest, place) in some {
                command.arg(place).arg(to.join(digest.hex()));
                command.arg(format!("SHA256:{}", digest.hex()));
            }
            // One that cannot be had does not keep the others from coming; which came is seen by who looks.
            if let Err(ChildError::Cancelled) = self.run("apt-helper", command, DOWNLOAD_TIMEOUT, &|_| {}) {
                return Err(ImageError::Cancelled);
            }
        }
        Ok(())
    }

    /// Runs a program of which only what it complains of counts, which `line` takes.
    fn run(
        &self,
        program: &'static str,
        command: Command,
        limit: Duration,
        line: &(dyn Fn(&str) + Sync),
    ) -> Result<(), ChildError> {
        let run = Run {
            program,
            input: b"",
            log: &self.directory.join(format!("{program}.log")),
            limit,
            cancel: self.cancel,
            ends_gracefully: false,
            line,
        };
        run.run(command, |_| Ok(()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.machine.network.proxies);
        command
            .env("PATH", &self.machine.search_path)
            .env("LC_ALL", "C.UTF-8")
            .env("APT_CONFIG", self.directory.join("apt.conf"));
        command
    }
}

/// apt.conf(5): everything it reads or writes is in one directory, and it does what lockstep needs it for.
fn configuration(directory: &Path, architecture: &str, network: &[String]) -> String {
    let directory = directory.to_string_lossy();
    let architecture = debian_architecture(architecture);
    let mut text = format!(
        "Dir::State \"{directory}/state\";\nDir::State::status \"{directory}/status\";\nDir::Cache \"{directory}/cache\";\n\
         Dir::Etc \"{directory}/etc\";\nDir::Etc::sourcelist \"{directory}/sources.list\";\n\
         APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n"
    );
    for option in network {
        text.push_str(option);
        text.push('\n');
    }
    text
}

/// What apt says of a source that it could not use, in one line.
fn complaint(line: &str) -> Option<String> {
    let text = line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: "))?;
    text.starts_with("Failed to fetch").then(|| text.trim_end().to_owned())
}

/// Where, relative to their mirror, the packages of a list are that have one of these hashes (deb822(5): paragraphs of
/// `Key: value`, with an empty line between them).
fn places(list: impl BufRead, wanted: &BTreeSet<Digest>) -> io::Result<Vec<(Digest, String)>> {
    let mut places = Vec::new();
    let (mut digest, mut place) = (None, None);
    for line in list.split(b'\n').chain([Ok(vec![])]) {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            if let (Some(digest), Some(place)) = (digest.take(), place.take()) {
                places.push((digest, place));
            }
            (digest, place) = (None, None);
        } else if let Some(hash) = line.strip_prefix("SHA256: ") {
            let hash = format!("sha256:{}", hash.trim()).parse().ok();
            digest = hash.filter(|digest| wanted.contains(digest));
        } else if let Some(name) = line.strip_prefix("Filename: ") {
            place = Some(name.trim().to_owned());
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_how_to_reach_mirrors_is_taken_from_apt() {
        for (line, expected) in [
            ("Acquire::http::Proxy \"http://p.example:3128\";", true),
            ("Acquire::https::CaInfo \"/etc/ca.crt\";", true),
            ("Acquire::http \"\";", false),
            ("Acquire::Changelogs::URI::Origin::Debian \"https://c.example\";", false),
            ("DPkg::Post-Invoke:: \"rm -rf /\";", false),
            ("", false),
        ] {
            assert_eq!(is_network_option(line), expected, "{line}");
        }
    }

    #[test]
    fn packages_of_a_list_are_found_by_their_hashes() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let list = format!(
            "Package: a\nFilename: pool/a.deb\nSize: 1\nSHA256: {}\n\nPackage: b\nSHA256: {}\nFilename: ./b.deb\n\n\
             Package: c\nSHA256: {}\nFilename: c.deb\n\nPackage: d\nSHA256: nonsense\n",
            one.hex(),
            two.hex(),
            Digest::of(b"3").hex(),
        );
        let found = places(list.as_bytes(), &BTreeSet::from([one, two])).unwrap();
        assert_eq!(found, [(one, "pool/a.deb".to_owned()), (two, "./b.deb".to_owned())]);
        // What stands in one paragraph is not taken for another's.
        let torn = format!("Filename: x.deb\n\nSHA256: {}\n", one.hex());
        assert_eq!(places(torn.as_bytes(), &BTreeSet::from([one])).unwrap(), []);
    }

    #[test]
    fn what_apt_complains_of_is_kept_in_one_line() {
        for (line, expected) in [
            (
                "W: Failed to fetch http://m.example/dists/x/InRelease  Could not resolve 'm.example'",
                Some("Failed to fetch http://m.example/dists/x/InRelease  Could not resolve 'm.example'"),
            ),
            ("W: Some index files failed to download.", None),
            ("Get:1 http://m.example x InRelease", None),
        ] {
            assert_eq!(complaint(line).as_deref(), expected, "{line}");
        }
    }
}
