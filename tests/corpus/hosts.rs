//! The hosts as data: `hosts.yaml`, and what its patterns find in a root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How many directories below `**` are looked at; a link in a circle would end here.
const DEPTH_LIMIT_COUNT: usize = 12;

/// `hosts.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hosts {
    pub(crate) release: String,
    ground: Vec<String>,
    links: BTreeMap<String, String>,
    others: Others,
    pub(crate) hosts: Vec<Host>,
}

/// Files that are no modules.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Others {
    packages: Vec<String>,
    files: Vec<String>,
}

/// Programs, the modules that each of them opens, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) packages: Vec<String>,
    #[serde(default)]
    pub(crate) apart: bool,
    #[serde(default)]
    sample: bool,
    #[serde(default)]
    bench: bool,
    pub(crate) programs: Vec<String>,
    modules: Vec<String>,
    pub(crate) flags: Flags,
    pub(crate) scope: Scope,
    #[serde(default)]
    symbols: Vec<String>,
    #[serde(default)]
    after: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flags {
    Now,
    Lazy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scope {
    Local,
    Global,
}

impl Flags {
    pub(crate) const BOTH: [Self; 2] = [Self::Now, Self::Lazy];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Lazy => "lazy",
        }
    }
}

impl Scope {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
        }
    }
}

/// A module that is opened in a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Pair {
    /// The name in `hosts.yaml` of what opens it.
    pub(crate) host: String,
    /// The program's path in the root.
    pub(crate) program: String,
    /// What it opens before, in this order.
    pub(crate) first: Vec<String>,
    /// The module's path.
    pub(crate) module: String,
    pub(crate) scope: Scope,
    /// How the host would bind it; both ways are asked for.
    pub(crate) flags: Flags,
    /// What the host looks up.
    pub(crate) symbols: Vec<String>,
    /// Whether the module is another host's: something that nobody does, for failures of every kind.
    pub(crate) crossed: bool,
}

pub(crate) fn read() -> Hosts {
    serde_yaml::from_str(include_str!("hosts.yaml")).unwrap()
}

impl Hosts {
    /// The hosts of the small corpus alone.
    pub(crate) fn sample(mut self) -> Self {
        self.hosts.retain(|host| host.sample);
        self
    }

    /// The hosts of the benchmark alone.
    pub(crate) fn bench(mut self) -> Self {
        self.hosts.retain(|host| host.sample || host.bench);
        self
    }

    pub(crate) fn environment(&self, host: &str) -> &BTreeMap<String, String> {
        &self.hosts.iter().find(|one| one.name == host).unwrap().env
    }

    /// The links that a configured root has, as paths in it, and where they lead.
    pub(crate) fn links(&self, root: &Path) -> Vec<(String, String)> {
        let library_directory = library_directory(root);
        let full = |path: &String| path.replace("{libdir}", &library_directory);
        self.links.iter().map(|(link, to)| (full(link), full(to))).collect()
    }

    /// The packages that every root has.
    pub(crate) fn ground(&self) -> impl Iterator<Item = &String> {
        self.ground.iter().chain(&self.others.packages)
    }

    /// Every program with each of its modules, also after those that it needs, and with `crossed_count` modules of other hosts.
    pub(crate) fn pairs(&self, root: &Path, crossed_count: usize) -> Vec<Pair> {
        let library_directory = library_directory(root);
        let others: Vec<String> = self
            .others
            .files
            .iter()
            .map(|path| path.replace("{libdir}", &library_directory))
            .collect();
        let found: Vec<(&Host, Vec<String>)> = self.hosts.iter().map(|host| (host, host.modules(root))).collect();
        let mut pairs = BTreeSet::new();
        for (host, modules) in &found {
            for program in host.programs(root) {
                pairs.extend(modules.iter().map(|module| host.pair(&program, module, false)));
                pairs.extend(modules.iter().filter_map(|module| host.chain(&program, module)));
                pairs.extend(others.iter().map(|module| host.pair(&program, module, true)));
                let own: BTreeSet<&String> = modules.iter().collect();
                let crossed: Vec<&String> = found
                    .iter()
                    .flat_map(|(_, modules)| modules)
                    .filter(|module| !own.contains(module))
                    .collect();
                // Evenly spread over the others, and starting elsewhere for each program.
                let stride = (crossed.len() / crossed_count.max(1)).max(1);
                let start = program.bytes().map(usize::from).sum::<usize>() % stride;
                let picked = crossed.iter().skip(start).step_by(stride).take(crossed_count);
                pairs.extend(picked.map(|module| host.pair(&program, module, true)));
            }
        }
        pairs.into_iter().collect()
    }
}

impl Host {
    fn pair(&self, program: &str, module: &str, crossed: bool) -> Pair {
        let name = module.rsplit('/').next().unwrap();
        let stem = name.split('.').next().unwrap();
        let tail = stem.split_once('_').map_or(stem, |(_, tail)| tail);
        let symbol = |name: &String| name.replace("{stem}", stem).replace("{tail}", tail);
        Pair {
            host: self.name.clone(),
            program: program.to_owned(),
            first: vec![],
            module: module.to_owned(),
            scope: self.scope,
            flags: self.flags,
            symbols: if crossed {
                vec![]
            } else {
                self.symbols.iter().map(symbol).collect()
            },
            crossed,
        }
    }

    /// The pair once more, after the modules that it needs.
    fn chain(&self, program: &str, module: &str) -> Option<Pair> {
        let (directory, name) = module.rsplit_once('/')?;
        let (_, first) = self.after.iter().find(|(pattern, _)| fits(name, pattern))?;
        if first.iter().any(|earlier| earlier == name) {
            return None;
        }
        let mut pair = self.pair(program, module, false);
        pair.first = first.iter().map(|earlier| format!("{directory}/{earlier}")).collect();
        Some(pair)
    }

    fn programs(&self, root: &Path) -> Vec<String> {
        let of = |pattern: &String| {
            let found = matches(root, pattern);
            assert!(!found.is_empty(), "{}: no program is {pattern}", self.name);
            found
        };
        self.programs.iter().flat_map(of).collect()
    }

    fn modules(&self, root: &Path) -> Vec<String> {
        let found: BTreeSet<String> = self.modules.iter().flat_map(|pattern| matches(root, pattern)).collect();
        assert!(
            self.modules.is_empty() || !found.is_empty(),
            "{}: no module is {:?}",
            self.name,
            self.modules
        );
        found.into_iter().collect()
    }
}

/// The directory of the C library, which is named after the architecture.
fn library_directory(root: &Path) -> String {
    fs::read_dir(root.join("usr/lib"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| root.join("usr/lib").join(name).join("libc.so.6").exists())
        .map(|name| format!("/usr/lib/{name}"))
        .unwrap()
}

/// The files of a pattern in a root, as paths in it, sorted.
fn matches(root: &Path, pattern: &str) -> Vec<String> {
    let pattern = if pattern.contains("{libdir}") {
        pattern.replace("{libdir}", &library_directory(root))
    } else {
        pattern.to_owned()
    };
    let parts: Vec<&str> = pattern.trim_start_matches('/').split('/').collect();
    let mut found = BTreeSet::new();
    descend(root, "", &parts, DEPTH_LIMIT_COUNT, &mut found);
    found.into_iter().collect()
}

fn descend(root: &Path, at: &str, parts: &[&str], depth: usize, found: &mut BTreeSet<String>) {
    let Some((part, rest)) = parts.split_first() else {
        return;
    };
    let here = root.join(at.trim_start_matches('/'));
    if depth == 0 || !here.is_dir() {
        return;
    }
    if *part == "**" {
        descend(root, at, rest, depth, found);
    }
    for entry in fs::read_dir(&here).unwrap().map(Result::unwrap) {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{at}/{name}");
        // A link to a directory may lead out of the root.
        let is_directory = entry.file_type().unwrap().is_dir();
        if *part == "**" {
            if is_directory {
                descend(root, &path, parts, depth - 1, found);
            }
        } else if fits(&name, part) {
            if rest.is_empty() {
                if !is_directory {
                    found.insert(path);
                }
            } else if is_directory {
                descend(root, &path, rest, depth - 1, found);
            }
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any part of it.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|tail| (0..=tail.len()).any(|at| tail.get(at..).is_some_and(|tail| fits(tail, rest)))),
    }
}

#[test]
fn patterns_find_files() {
    let root = tempfile::tempdir().unwrap();
    for file in [
        "usr/lib/q-linux-gnu/libc.so.6",
        "usr/lib/a/x.so",
        "usr/lib/a/b/y.so",
        "usr/lib/a/b/y.txt",
    ] {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let check = |pattern: &str, expected: &[&str]| assert_eq!(matches(root.path(), pattern), expected, "{pattern}");
    check("/usr/lib/a/*.so", &["/usr/lib/a/x.so"]);
    check("/usr/lib/a/**/*.so", &["/usr/lib/a/b/y.so", "/usr/lib/a/x.so"]);
    check("/usr/lib/*/b/*", &["/usr/lib/a/b/y.so", "/usr/lib/a/b/y.txt"]);
    check("{libdir}/libc.so.*", &["/usr/lib/q-linux-gnu/libc.so.6"]);
    check("/usr/lib/a", &[]);
    check("/usr/none/*", &[]);
}
