//! A case as it is written down: what is compiled, where the files lie, who opens what, and what it shows.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Which C library, and with it which build and which runtime image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Libc {
    Glibc,
    Musl,
}

impl Libc {
    pub(crate) const ALL: [Self; 2] = [Self::Glibc, Self::Musl];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
        }
    }

    /// The recipe of the image in which things are compiled for it.
    pub(crate) const fn build_image(self) -> &'static str {
        match self {
            Self::Glibc => "debian/build",
            Self::Musl => "musl/build",
        }
    }

    /// The recipe of the image in which things are loaded.
    pub(crate) const fn runtime_image(self) -> &'static str {
        match self {
            Self::Glibc => "debian/runtime",
            Self::Musl => "musl/runtime",
        }
    }

    /// Where its own files lie in the runtime image.
    pub(crate) const fn directory(self) -> &'static str {
        match self {
            Self::Glibc => "/usr/lib/x86_64-linux-gnu",
            Self::Musl => "/usr/lib/x86_64-linux-musl",
        }
    }
}

/// One experiment. Unknown keys are errors: a misspelled one would be an experiment that shows something else.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Case {
    /// Unique, in kebab case.
    pub(crate) name: String,
    /// What it shows, in a sentence.
    pub(crate) shows: String,
    /// Only with this C library; else with both.
    pub(crate) only: Option<Libc>,
    /// A directory below `tests/faults/include` whose files are put beside the sources.
    pub(crate) include: Option<String>,
    /// More files beside the sources: headers, version scripts.
    pub(crate) sources: BTreeMap<String, String>,
    /// What is compiled, in this order.
    pub(crate) objects: Vec<Object>,
    /// The program.
    pub(crate) host: Host,
    /// What lies where in the root file system, on top of the C library and `/app/NAME` for each object.
    pub(crate) files: BTreeMap<String, Placed>,
    /// Objects that are there when others are linked, and not when the program runs.
    pub(crate) omit: Vec<String>,
    /// Whether `ldconfig` runs before the program.
    pub(crate) ldconfig: bool,
    /// What is opened, in this order: objects by name, or paths. By default, `p.so`.
    pub(crate) plugins: Vec<String>,
    /// Functions that are looked up in each plugin and called. By default, `run`.
    pub(crate) calls: Vec<String>,
    /// `now` or `lazy`.
    pub(crate) flags: Option<String>,
    /// `local` or `global`.
    pub(crate) scope: Option<String>,
    /// What the contract says beyond that, for the prediction: `abi`, `loader`.
    pub(crate) contract: BTreeMap<String, String>,
    /// Variables of the process.
    pub(crate) env: BTreeMap<String, String>,
    /// Where it starts.
    pub(crate) cwd: Option<String>,
    /// Who it runs as, a number that is the group's as well. By default, somebody without rights.
    pub(crate) user: Option<u32>,
    /// Capabilities that the container of the experiment has not, for the prediction.
    pub(crate) dropped: Vec<String>,
    /// The case whose answers are right; where this one's differ, something was silently wrong.
    pub(crate) twin: Option<String>,
    /// Why this is a danger although the answers that can be seen are right.
    pub(crate) hazard: Option<String>,
    /// Only there.
    pub(crate) hazard_on: Option<Libc>,
    /// Only for this plugin.
    pub(crate) hazard_of: Option<String>,
    /// Why no file tells of the harm that is seen: what these cases show is where predictions end.
    pub(crate) beyond: Option<String>,
    /// Why the words of the loader are left to chance here, so that only their kind is compared.
    pub(crate) loose: Option<String>,
    /// The right answers, plugin by plugin, where they are known from how the case was made. Never in a file.
    #[serde(skip)]
    pub(crate) healthy: Option<Vec<Vec<i64>>>,
}

/// Something to compile; one of the languages is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Object {
    /// The file that it becomes. One with a directory in it is not put into the root file system by itself.
    pub(crate) name: String,
    pub(crate) c: Option<String>,
    pub(crate) cpp: Option<String>,
    pub(crate) rust: Option<String>,
    pub(crate) assembly: Option<String>,
    /// A package of the module in the included directory.
    pub(crate) go: Option<String>,
    /// A shell command that makes it, where `$CC` is the compiler.
    pub(crate) shell: Option<String>,
    /// For the compiler. `-shared -fPIC` is there already, unless `bare` is set.
    pub(crate) flags: String,
    pub(crate) bare: bool,
    /// Objects that it is linked with, as `-l` does it.
    pub(crate) link: Vec<String>,
    /// For this C library, and not for the one of the run.
    pub(crate) built_for: Option<Libc>,
    /// A shell command afterwards, in the directory of the objects.
    pub(crate) post: Option<String>,
}

/// The program; without anything, the host of all cases.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Host {
    /// C that is compiled into it beside `programs/host.c`.
    pub(crate) c: Option<String>,
    /// C++ that is.
    pub(crate) cpp: Option<String>,
    /// A host of its own instead, in Go: a package of the included module.
    pub(crate) go: Option<String>,
    /// A host of its own instead, in Rust.
    pub(crate) rust: Option<String>,
    pub(crate) flags: String,
    pub(crate) link: Vec<String>,
    pub(crate) built_for: Option<Libc>,
    /// Where it lies; by default `/app/host`.
    pub(crate) path: Option<String>,
    /// How it is started, when by another path.
    pub(crate) start: Option<String>,
    pub(crate) post: Option<String>,
}

/// What is at a path.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Placed {
    /// An object of the case.
    pub(crate) object: Option<String>,
    /// A file of the runtime image of this C library: `musl:/usr/lib/x86_64-linux-musl/libc.so`.
    pub(crate) image: Option<String>,
    /// A symbolic link's target.
    pub(crate) link: Option<String>,
    pub(crate) text: Option<String>,
    /// Only with this C library.
    pub(crate) only: Option<Libc>,
    pub(crate) directory: bool,
    /// Nothing, where there would be something.
    pub(crate) absent: bool,
    /// Permission bits, octal. Set-user-ID and set-group-ID of the host are what the driver does instead of the kernel, which may not.
    pub(crate) mode: Option<String>,
    /// File capabilities: `NAME=FLAGS`, one name and flags as `setcap` has them.
    pub(crate) capabilities: Option<String>,
    /// Changes to the bytes; see `patch.rs`.
    pub(crate) patch: Vec<String>,
}

impl Placed {
    /// Its permission bits.
    pub(crate) fn mode(&self) -> u32 {
        self.mode
            .as_deref()
            .map_or(0o755, |mode| u32::from_str_radix(mode, 8).unwrap())
    }

    /// The attribute `security.capability`, in its second version.
    pub(crate) fn attribute(&self) -> Option<Vec<u8>> {
        let (name, flags) = self.capabilities.as_deref()?.split_once('=').unwrap();
        let number = NAMES.iter().position(|known| *known == name).unwrap();
        let set = |flag: char| if flags.contains(flag) { 1_u32 << number } else { 0 };
        let words = [0x0200_0000 | u32::from(flags.contains('e')), set('p'), set('i'), 0, 0];
        Some(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }
}

/// The first capabilities, in the kernel's order.
const NAMES: [&str; 13] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
];

impl Case {
    pub(crate) fn runs_on(&self, libc: Libc) -> bool {
        self.only.is_none_or(|only| only == libc)
    }

    pub(crate) fn host_path(&self) -> &str {
        self.host.path.as_deref().unwrap_or("/app/host")
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        if self.calls.is_empty() {
            vec!["run".to_owned()]
        } else {
            self.calls.clone()
        }
    }

    pub(crate) fn flags(&self) -> &str {
        self.flags.as_deref().unwrap_or("now")
    }

    pub(crate) fn scope(&self) -> &str {
        self.scope.as_deref().unwrap_or("local")
    }

    pub(crate) fn user(&self) -> u32 {
        self.user.unwrap_or(1000)
    }

    pub(crate) fn cwd(&self) -> &str {
        self.cwd.as_deref().unwrap_or("/app")
    }

    /// The paths that the host opens.
    pub(crate) fn plugin_paths(&self) -> Vec<String> {
        if self.plugins.is_empty() {
            return vec!["/app/p.so".to_owned()];
        }
        let path = |plugin: &String| match plugin.contains('/') {
            true => plugin.clone(),
            false => format!("/app/{plugin}"),
        };
        self.plugins.iter().map(path).collect()
    }

    /// The host as it is put there, if the case says so.
    fn placed_host(&self) -> Option<&Placed> {
        self.files.get(self.host_path())
    }

    /// Whether a file has capabilities.
    pub(crate) fn has_capabilities(&self) -> bool {
        self.files.values().any(|file| file.capabilities.is_some())
    }

    /// The user and the group that the host's mode gives it, when its file is of this user and group.
    pub(crate) fn effective(&self, (owner, group): (u32, u32)) -> (u32, u32) {
        let mode = self.placed_host().map_or(0, Placed::mode);
        let has = |bits: u32| mode & bits == bits;
        (
            if has(0o4000) { owner } else { self.user() },
            if has(0o2010) { group } else { self.user() },
        )
    }

    /// The variables of its process.
    pub(crate) fn variables(&self, libc: Libc) -> Vec<String> {
        self.env
            .iter()
            .map(|(name, value)| format!("{name}={}", Self::fill(value, libc)))
            .collect()
    }

    /// Whether the hazard is one of this plugin, with this C library.
    pub(crate) fn has_hazard(&self, libc: Libc, plugin: usize) -> bool {
        let is_of_it = |of: &String| self.plugins.get(plugin) == Some(of);
        self.hazard_on.is_none_or(|only| only == libc) && self.hazard_of.as_ref().is_none_or(is_of_it)
    }

    /// Words in braces that differ between the C libraries.
    pub(crate) fn fill(text: &str, libc: Libc) -> String {
        text.replace("{lib}", libc.directory()).replace("{origin}", "'$ORIGIN'")
    }
}

/// Reads every case below a directory, sorted by name.
pub(crate) fn read_all(directory: &Path) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
    {
        let text = std::fs::read_to_string(file).unwrap();
        let read: Vec<Case> = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        cases.extend(read);
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    for pair in cases.windows(2) {
        assert!(pair[0].name != pair[1].name, "two cases are called `{}`", pair[0].name);
    }
    for case in &cases {
        assert!(!case.shows.is_empty(), "`{}` does not say what it shows", case.name);
        let twin = case.twin.as_ref();
        assert!(
            twin.is_none_or(|twin| cases.iter().any(|other| other.name == *twin)),
            "`{}`: no such twin",
            case.name
        );
    }
    cases
}
