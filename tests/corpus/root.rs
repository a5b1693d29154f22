//! A root filesystem of packages that are unpacked, but not installed: no script of theirs has run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lockstep::digest::Digest;
use lockstep::image::Machine;

use crate::common::batch::context;
use crate::hosts::Hosts;
use crate::workers;

/// How long apt may take: the whole corpus has some 700 MB.
const APT_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// How long one package may take to be unpacked.
const UNPACK_TIMEOUT: Duration = Duration::from_secs(120);
/// What no loader looks at; most of what packages weigh.
const LEFT_OUT: &[&str] = &["./usr/share/[!r]*", "./usr/include", "./usr/libexec/gcc", "*.a"];
/// The directories that packages share, and the links that lead to them.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib64"];
/// Another form of a root is made anew.
const FORM: &str = "3";

/// A root, and what it was made of.
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    /// How many packages.
    pub(crate) package_count: usize,
    /// Nobody else may change it meanwhile.
    _lock: File,
}

impl Root {
    /// The root of these hosts, made when it is not there. `name` tells it from others in the cache.
    pub(crate) fn of(hosts: &Hosts, name: &str) -> Self {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .parent()
            .unwrap()
            .join("corpus")
            .join(name);
        fs::create_dir_all(&cache).unwrap();
        let lock = File::create(cache.join("lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let path = cache.join("root");
        let stamp = cache.join("made-of");
        let wanted = wanted(hosts);
        let made_of = fs::read_to_string(&stamp).unwrap_or_default();
        let mut lines = made_of.lines();
        if lines.next() != Some(&wanted) {
            let _ = fs::remove_file(&stamp);
            let packages = make(hosts, &cache, &path);
            fs::write(&stamp, format!("{wanted}\n{packages}\n")).unwrap();
            return Self {
                path,
                package_count: packages,
                _lock: lock,
            };
        }
        let package_count = lines.next().unwrap().parse().unwrap();
        Self {
            path,
            package_count,
            _lock: lock,
        }
    }

    /// Runs a program in the root, in namespaces of its own: without network, and nothing is left of it afterwards.
    pub(crate) fn run(&self, environment: &BTreeMap<String, String>, words: &[&str], limit: Duration) -> Output {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "chroot"]);
        command.arg(&self.path).args(["/usr/bin/env", "-i"]);
        command
            .args(environment.iter().map(|(name, value)| format!("{name}={value}")))
            .args(words);
        // The machine's own PATH may have no sbin.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        run(command, limit)
    }

    /// As it is when nothing but the packages' files is there.
    pub(crate) fn unconfigure(&self, links: &[(String, String)]) {
        let _ = fs::remove_file(self.path.join("etc/ld.so.cache"));
        for (link, _) in links {
            let _ = fs::remove_file(self.inside(link));
        }
    }

    /// Does what the packages' scripts would have done for the loader: links, and the cache, by the distribution's own
    /// program.
    pub(crate) fn configure(&self, links: &[(String, String)]) {
        self.unconfigure(links);
        for (link, to) in links.iter().filter(|(_, to)| self.inside(to).exists()) {
            symlink(to, self.inside(link)).unwrap();
        }
        let output = self.run(&BTreeMap::new(), &["/usr/sbin/ldconfig"], UNPACK_TIMEOUT);
        assert!(
            output.status.success(),
            "ldconfig: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Root {
    /// Where a path of the root is on this machine.
    fn inside(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }
}

/// What a root must be made of, in a word.
fn wanted(hosts: &Hosts) -> String {
    let mut text = format!("{FORM} {}", hosts.release);
    for package in packages(hosts).into_iter().flatten() {
        let _ = write!(text, " {package}");
    }
    Digest::of(text.as_bytes()).to_string()
}

/// What to ask the resolver for: once for all, and once for each host that excludes others.
fn packages(hosts: &Hosts) -> Vec<BTreeSet<String>> {
    let mut together: BTreeSet<String> = hosts.ground().cloned().collect();
    let mut sets = vec![];
    for host in &hosts.hosts {
        if host.apart {
            sets.push(host.packages.iter().chain(hosts.ground()).cloned().collect());
        } else {
            together.extend(host.packages.iter().cloned());
        }
    }
    sets.insert(0, together);
    sets
}

fn make(hosts: &Hosts, cache: &Path, root: &Path) -> usize {
    let apt = Apt::new(&hosts.release, &cache.join("apt"));
    let chosen: BTreeSet<String> = packages(hosts).iter().flat_map(|set| apt.resolve(set)).collect();
    let directory = apt.download(&chosen);
    if root.exists() {
        fs::remove_dir_all(root).unwrap();
    }
    for name in MERGED {
        fs::create_dir_all(root.join("usr").join(name)).unwrap();
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    for name in ["etc", "tmp", "dev", "proc"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    // Libraries of hosts open these before anything else; a file will do.
    for name in ["dev/null", "dev/urandom"] {
        fs::write(root.join(name), "").unwrap();
    }
    let files: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let count = files.len();
    fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
    workers::for_each(files.into_iter(), |file| {
        unpack(&file, root);
        list(&file, root);
    });
    fs::remove_dir_all(cache.join("apt")).unwrap();
    count
}

fn unpack(package: &Path, root: &Path) {
    let mut command = Command::new("sh");
    // A failure of either must be seen.
    let script = "set -eu; tar=$1; root=$2; shift 2; dpkg-deb --fsys-tarfile \"$tar\" | \
                  tar -x -C \"$root\" --no-same-owner --keep-directory-symlink --wildcards --anchored \"$@\"";
    command.args(["-c", script, "sh"]).arg(package).arg(root);
    command.args(LEFT_OUT.iter().map(|pattern| format!("--exclude={pattern}")));
    let output = run(command, UNPACK_TIMEOUT);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("dpkg-deb: error"),
        "{}: {said}",
        package.display()
    );
}

/// Writes which files a package has, as dpkg does when it unpacks one.
fn list(package: &Path, root: &Path) {
    let mut command = Command::new("sh");
    command
        .args(["-c", "set -eu; dpkg-deb --fsys-tarfile \"$1\" | tar -t", "sh"])
        .arg(package);
    let output = run(command, UNPACK_TIMEOUT);
    assert!(output.status.success(), "{}", package.display());
    let paths = String::from_utf8_lossy(&output.stdout);
    let lines: String = paths
        .lines()
        .map(|path| format!("{}\n", path.trim_start_matches('.').trim_end_matches('/')))
        .collect();
    let file = package.file_name().unwrap().to_string_lossy();
    let name = file.split('_').next().unwrap();
    fs::write(root.join(format!("var/lib/dpkg/info/{name}.list")), lines).unwrap();
}

/// apt for another release than the machine's, in a directory of its own: its mirrors and its way to them are the
/// machine's.
struct Apt {
    directory: PathBuf,
    configuration: PathBuf,
}

impl Apt {
    fn new(release: &str, directory: &Path) -> Self {
        if directory.exists() {
            fs::remove_dir_all(directory).unwrap();
        }
        for below in ["state/lists/partial", "cache/archives/partial", "etc", "packages"] {
            fs::create_dir_all(directory.join(below)).unwrap();
        }
        let machine = Machine::from_context(&context());
        let keyring = machine.debian_keyring().unwrap();
        let sources = machine
            .debian()
            .unwrap()
            .sources_list(release, &format!("signed-by={}", keyring.display()));
        fs::write(directory.join("etc/sources.list"), sources).unwrap();
        fs::write(directory.join("state/status"), "").unwrap();
        let at = directory.display();
        let configuration = directory.join("apt.conf");
        // Read last, so that what the machine's administrator wrote about proxies and certificates stays.
        let text = format!(
            "Dir::Etc::sourcelist \"{at}/etc/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             Dir::State \"{at}/state\";\nDir::State::status \"{at}/state/status\";\nDir::Cache \"{at}/cache\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nAPT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
             #clear Acquire::IndexTargets::deb::DEP-11;\n"
        );
        fs::write(&configuration, text).unwrap();
        let apt = Self {
            directory: directory.to_owned(),
            configuration,
        };
        apt.run(&["update"], &[]);
        apt
    }

    /// What is to be downloaded for a set of packages, as `name:architecture=version`. Those for all architectures
    /// are not: they have nothing to load.
    fn resolve(&self, packages: &BTreeSet<String>) -> Vec<String> {
        let names: Vec<&str> = packages.iter().map(String::as_str).collect();
        let listed = self.run(&["install", "--print-uris", "--assume-yes"], &names);
        let chosen: Vec<String> = listed.lines().filter_map(of_uri).collect();
        assert!(chosen.len() >= packages.len() / 2, "apt listed {listed}");
        chosen
    }

    fn download(&self, packages: &BTreeSet<String>) -> PathBuf {
        let names: Vec<&str> = packages.iter().map(String::as_str).collect();
        self.run(&["download"], &names);
        self.directory.join("packages")
    }

    fn run(&self, words: &[&str], names: &[&str]) -> String {
        let mut command = Command::new("apt-get");
        command
            .arg("-c")
            .arg(&self.configuration)
            .arg("-q")
            .args(words)
            .args(names);
        command
            .current_dir(self.directory.join("packages"))
            .env("LC_ALL", "C.UTF-8");
        let output = run(command, APT_TIMEOUT);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "apt-get {words:?} failed: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// `'uri' name_version_architecture.deb size hash`, with `%3a` for the colon of a version.
fn of_uri(line: &str) -> Option<String> {
    let file = line
        .strip_prefix('\'')?
        .split_whitespace()
        .nth(1)?
        .strip_suffix(".deb")?;
    let mut parts = file.splitn(3, '_');
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
    let version = version.replace("%3a", ":");
    (architecture != "all").then(|| format!("{name}:{architecture}={version}"))
}

/// Runs a command that has a limited time; both streams are taken.
pub(crate) fn run(mut command: Command, limit: Duration) -> Output {
    let what = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let id = child.id();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let start = Instant::now();
        let late = matches!(
            wait.recv_timeout(limit),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        );
        if late && let Some(id) = rustix::process::Pid::from_raw(id.cast_signed()) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
        (late, start.elapsed())
    });
    let output = Child::wait_with_output(child).unwrap();
    drop(done);
    let (late, elapsed) = watch.join().unwrap();
    let shown: String = what.chars().take(400).collect();
    assert!(!late, "killed after {elapsed:?}: {shown}");
    output
}

#[test]
fn only_what_can_be_loaded_is_downloaded() {
    let check = |line: &str, expected: Option<&str>| assert_eq!(of_uri(line).as_deref(), expected, "{line}");
    check(
        "'http://m.example/x' a_1%3a2-3_amd64.deb 10 SHA256:0",
        Some("a:amd64=1:2-3"),
    );
    check("'http://m.example/x' a_1_all.deb 10 SHA256:0", None);
    check("Reading package lists...", None);
}
