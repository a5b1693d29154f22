//! What a project is, once its file has been read and found right.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::build::Build;
use super::language_name::LanguageName;
use super::unit_role::UnitRole;
use crate::image::PackageArchive;
use crate::name::{ContractName, EnvironmentName, ProjectName, UnitName};
use crate::place::Place;
use crate::repository::Repository;

/// Stands for the directory that holds the plugins, in commands and variables.
pub const PLUGINS_PLACEHOLDER: &str = "{plugins}";

/// A directory with `lockstep.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Project {
    /// `project:`, else the host's name.
    pub name: ProjectName,
    /// The directory that holds the file; absolute.
    pub directory: PathBuf,
    /// The file itself; absolute.
    pub file: PathBuf,
    /// `environments:`.
    pub environments: BTreeMap<EnvironmentName, Environment>,
    /// `default:`: what `build` builds when nothing is named, in the order given; else all, in order of their names.
    pub default: Vec<EnvironmentName>,
    /// `builds:`, each with all artifacts that units take from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<Unit>,
    /// `host:`.
    pub host: Host,
    /// `plugins:`, in the order given, which is the order in which they are loaded.
    pub plugins: Vec<Unit>,
    /// `contract:` and `contracts:`.
    pub contracts: Contracts,
    /// `smoke:`.
    pub smoke: Option<Smoke>,
    /// `image:`.
    pub image: ImageStart,
    /// `source_date_epoch:`: seconds; the time that all files and images carry.
    pub source_date_epoch: u64,
    /// `limits:`.
    pub limits: Limits,
    /// `archives:`: where packages of a lock may be had again, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<PackageArchive>,
    /// `registry:`: where environments are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<Repository>,
}

impl Project {
    /// What is compiled: the host, unless it is there already, and the plugins, host first.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.host.unit().into_iter().chain(&self.plugins)
    }
}

/// A named pair of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// The image in which host and plugins are compiled.
    pub build: RecipeReference,
    /// The image in which they run.
    pub runtime: RecipeReference,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RecipeReference {
    /// A bootstrap recipe's file in the project (`images/debian/build.yaml`).
    File {
        /// Relative to the project's directory.
        path: String,
    },
    /// A recipe that comes with lockstep (`builtin: debian/build`).
    Builtin {
        /// Its name: its path below `images/` without `.yaml`.
        name: String,
    },
    /// A Dockerfile in the project.
    Dockerfile {
        /// Relative to the project's directory; its directory is the build context.
        path: String,
        /// The stage to stop at.
        target: Option<String>,
        /// Patterns of paths that are left out of the image, with all below them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        remove: Vec<String>,
    },
    /// The environment's runtime image with more packages (`extends: runtime`); for build images.
    Extended {
        /// The runtime's recipe.
        runtime: Box<RecipeReference>,
        /// The packages.
        packages: Vec<String>,
    },
    /// A registry's reference (`image: "alpine:3.22"`).
    Image {
        /// As given.
        reference: String,
    },
}

/// The program that loads plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Where it comes from.
    pub program: Program,
    /// `install:`: the directory of the runtime image in which it looks for plugins; none when it is told where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
}

/// Where a host comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// It is compiled with its plugins.
    Compiled(Box<Unit>),
    /// It is in the runtime image already.
    Runtime(RuntimeProgram),
    /// Somebody else has built it, and it is shipped with the plugins.
    Brought(BroughtProgram),
}

/// A program of the runtime image (`{from: runtime, path: /usr/sbin/nginx}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuntimeProgram {
    /// `name:`, else the last part of its path.
    pub name: UnitName,
    /// `path:`; absolute.
    pub path: String,
}

impl RuntimeProgram {
    /// The last part of its path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        last_part(&self.path)
    }
}

/// A program that is not compiled, and lies in the bundle under its name (`{file: vendor/server}`,
/// `{image: "registry.example/server:1.2", path: /usr/bin/server}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BroughtProgram {
    /// `name:`, else the last part of its path.
    pub name: UnitName,
    /// Where it comes from.
    pub source: BroughtSource,
    /// Where the project's file names it: `lockstep.yaml:7:12`.
    #[serde(skip)]
    pub place: String,
}

/// Where a program comes from that is brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BroughtSource {
    /// `file:`: relative to the project's directory, `/`-separated.
    File(String),
    /// `image:`: in an image of which nothing else is taken.
    Image {
        /// As for `docker pull`.
        reference: String,
        /// `path:`; absolute.
        path: String,
    },
}

impl BroughtProgram {
    /// Where it is there.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.source {
            BroughtSource::File(path) | BroughtSource::Image { path, .. } => path,
        }
    }

    /// The image that it is in; none for a file of the project.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        match &self.source {
            BroughtSource::File(_) => None,
            BroughtSource::Image { reference, .. } => Some(reference),
        }
    }

    /// What it is called there.
    #[must_use]
    pub fn file_name(&self) -> &str {
        last_part(self.path())
    }
}

/// The last part of a path.
fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl Host {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &UnitName {
        match &self.program {
            Program::Compiled(unit) => &unit.name,
            Program::Runtime(program) => &program.name,
            Program::Brought(program) => &program.name,
        }
    }

    /// The unit that it is compiled from; none for one that is not compiled.
    #[must_use]
    pub fn unit(&self) -> Option<&Unit> {
        match &self.program {
            Program::Compiled(unit) => Some(unit),
            Program::Runtime(_) | Program::Brought(_) => None,
        }
    }

    /// The program that is brought, if it is.
    #[must_use]
    pub fn brought(&self) -> Option<&BroughtProgram> {
        match &self.program {
            Program::Brought(program) => Some(program),
            Program::Compiled(_) | Program::Runtime(_) => None,
        }
    }

    /// The place of the program in the bundle; none for one that is in the runtime image.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        match &self.program {
            Program::Compiled(unit) => Some(unit.main_place()),
            Program::Brought(program) => Some(program.name.as_str()),
            Program::Runtime(_) => None,
        }
    }

    /// Where the program is, with its own files in `directory`.
    #[must_use]
    pub fn path_in(&self, directory: &str) -> String {
        match &self.program {
            Program::Compiled(unit) => format!("{directory}/{}", unit.main_place()),
            Program::Brought(program) => format!("{directory}/{}", program.name),
            Program::Runtime(program) => program.path.clone(),
        }
    }

    /// The program that the first word of a command means: a file of the host's in `directory`, the host itself, or whatever
    /// the runtime image has of that name.
    #[must_use]
    pub fn resolve(&self, word: &str, directory: &str) -> String {
        match &self.program {
            Program::Compiled(unit) if unit.places().any(|(name, place)| name == word || place == word) => {
                format!("{directory}/{}", unit.place(word))
            }
            Program::Runtime(program) if program.file_name() == word => program.path.clone(),
            Program::Brought(program) if program.name.as_str() == word || program.file_name() == word => {
                self.path_in(directory)
            }
            _ => word.to_owned(),
        }
    }
}

/// How the matched image starts; what is none follows from the smoke test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImageStart {
    /// `entrypoint:`.
    pub entrypoint: Option<Vec<String>>,
    /// `cmd:`.
    pub cmd: Option<Vec<String>>,
    /// `env:`, beside the smoke test's.
    pub env: BTreeMap<String, String>,
    /// `user:`.
    pub user: Option<String>,
}

/// Something to compile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// `name:`; for the host, when it has none, its first artifact's name.
    pub name: UnitName,
    /// Host or plugin.
    pub role: UnitRole,
    /// `from:`: the build that it takes its artifacts from; what says how they are made is then that build's. A build has its
    /// own name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<UnitName>,
    /// `language:`.
    pub language: LanguageName,
    /// `source:`: the directory it is compiled in, relative to the project's, `/`-separated, `.` for the project itself.
    pub source: String,
    /// `inputs:`: what else of the project it reads (files or directories, relative to the project's).
    pub inputs: Vec<String>,
    /// `package:`: which Go package of the module (`./plugins/match`).
    pub package: Option<String>,
    /// `contract:`: the name of the contract that it is held to; none for the one without a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractName>,
    /// `artifacts:`: the file names that it yields, at least one, each once.
    pub artifacts: Vec<String>,
    /// Where in the bundle those lie that do not lie at its top under their own names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<String, Place>,
    /// `install:` of those that the host looks for in another directory of the image than its plugins, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub installs: BTreeMap<String, String>,
    /// `files:`: what else of the project is shipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ShippedFile>,
    /// `build:`: a build system in place of the language's compile command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// `command:`: a shell script in place of the language's compile command.
    pub command: Option<String>,
    /// `fetch:`: a shell script in place of the language's fetch command.
    pub fetch: Option<String>,
    /// `env:`: variables for its commands.
    pub env: BTreeMap<String, String>,
}

impl Unit {
    /// Where in the bundle a file lies that it yields.
    #[must_use]
    pub fn place<'a>(&'a self, artifact: &'a str) -> &'a str {
        self.places.get(artifact).map_or(artifact, Place::as_str)
    }

    /// The files that it yields, each with its place in the bundle.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        self.artifacts
            .iter()
            .map(|artifact| (artifact.as_str(), self.place(artifact)))
    }

    /// The place of its first artifact: of the program, or of what the host loads.
    #[must_use]
    pub fn main_place(&self) -> &str {
        self.artifacts.first().map_or("", |artifact| self.place(artifact))
    }
}

/// What the project ships beside what it compiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShippedFile {
    /// `file:`: a file, or a directory with all that is in it; relative to the project's directory, `/`-separated.
    pub path: String,
    /// Where it lies in the bundle.
    pub place: Place,
    /// `install:`: the directory of the image in which it is looked for, where that is another one than the plugins'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
    /// `fill:`: whether `{plugins}` in it stands for the directory that holds the plugins.
    pub fill: bool,
}

/// What the host expects of its plugins: of all of them, or of each kind; at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contracts {
    first: NamedContract,
    others: Vec<NamedContract>,
}

/// A contract, by its name; none for the one of `contract:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedContract {
    /// The key in `contracts:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<ContractName>,
    /// What it says.
    #[serde(flatten)]
    pub contract: Contract,
}

impl Contracts {
    /// Several, which name the same `loader:`; none if there are none.
    #[must_use]
    pub fn new(contracts: Vec<NamedContract>) -> Option<Self> {
        let mut contracts = contracts.into_iter();
        Some(Self {
            first: contracts.next()?,
            others: contracts.collect(),
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &NamedContract> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The one of this name; none is the name of the one of `contract:`.
    #[must_use]
    pub fn named(&self, name: Option<&str>) -> Option<&Contract> {
        let is_it = |named: &&NamedContract| named.name.as_ref().map(ContractName::as_str) == name;
        self.iter().find(is_it).map(|named| &named.contract)
    }

    /// The one that a plugin is held to.
    #[must_use]
    pub fn of(&self, plugin: &Unit) -> &Contract {
        let name = plugin.contract.as_ref().map(ContractName::as_str);
        // Which names there are was seen when the file was read.
        self.named(name).unwrap_or(&self.first.contract)
    }

    /// How the host loads, which is the same for all plugins.
    #[must_use]
    pub fn loader(&self) -> Loader {
        self.first.contract.loader
    }
}

/// What the host expects of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contract {
    /// `loader:`.
    pub loader: Loader,
    /// `abi:`.
    pub abi: Abi,
    /// `symbols:` that every plugin must export.
    pub symbols: Vec<String>,
    /// The types of those of them of which one is said, as `reflect.Type.String()` has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// `calls:` that the smoke test makes, in order.
    pub calls: Vec<Call>,
    /// `flags:`; none for what hosts of the language do.
    pub flags: Option<BindingTime>,
    /// `scope:`; none for what hosts of the language do.
    pub scope: Option<ScopeFlag>,
    /// `opened_by:`; none for the host if that can be, else the loader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<OpenedBy>,
    /// `into:`: the directory of the bundle in which its plugins lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub into: Option<Place>,
}

/// In whose process the smoke test opens each plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpenedBy {
    /// In one of the host: it has what the host and its libraries define.
    Host,
    /// In one of the smoke loader.
    Loader,
    /// In none: only the host's own smoke test shows that it loads.
    Nobody,
}

/// When functions are bound (dlopen(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindingTime {
    /// `RTLD_NOW`.
    Now,
    /// `RTLD_LAZY`.
    Lazy,
}

/// Who sees a plugin's symbols (dlopen(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeFlag {
    /// `RTLD_LOCAL`: the plugin and its own libraries.
    Local,
    /// `RTLD_GLOBAL`: everything that is loaded later.
    Global,
}

/// How the host loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// `dlopen`.
    Dlopen,
    /// Go's `plugin.Open`.
    Go,
}

/// What host and plugin exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abi {
    /// C functions and types only.
    C,
    /// C++ classes.
    Cxx,
    /// Rust types.
    Rust,
    /// Go values.
    Go,
}

/// A call that the smoke test makes on every plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// `symbol:`.
    pub symbol: String,
    /// `args:`.
    pub args: Vec<Argument>,
    /// `returns:`.
    pub returns: Returns,
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Argument {
    /// Passed as a NUL-terminated string.
    String(String),
    /// Passed as a 64-bit integer.
    Integer(i64),
}

/// What a call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Returns {
    /// A string: NUL-terminated for `dlopen`, a Go string for `go`.
    String,
    /// A 64-bit integer.
    Integer,
    /// Nothing that is looked at.
    None,
}

/// The host's own smoke test: steps in one container, each with what the ones before it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Smoke {
    /// At least one.
    pub steps: Vec<Step>,
}

impl Smoke {
    /// The step that the matched image starts: the last server, else the last command that is tested.
    #[must_use]
    pub fn started(&self) -> Option<&Step> {
        let last = |is_meant: fn(&Step) -> bool| self.steps.iter().rev().find(|step| is_meant(step));
        last(|step| matches!(step.kind, StepKind::Server(_))).or_else(|| last(|step| step.kind != StepKind::Setup))
    }

    /// Everything that is started, in order.
    pub fn invocations(&self) -> impl Iterator<Item = &Invocation> {
        self.steps.iter().flat_map(|step| {
            let clients = step
                .kind
                .questions()
                .unwrap_or_default()
                .iter()
                .filter_map(|question| match question {
                    Question::Client(client) => Some(&client.invocation),
                    Question::Request(_) => None,
                });
            std::iter::once(&step.invocation).chain(clients)
        })
    }
}

/// A step of the smoke test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is started, and how.
    pub invocation: Invocation,
    /// `writable:`: directories of its user's, empty at first.
    pub writable: Vec<String>,
    /// `exec:`: whether programs may be started from these.
    pub exec: bool,
    /// Whether it prepares, runs to its end, or serves.
    pub kind: StepKind,
}

/// A program that the smoke test starts, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invocation {
    /// A file of the host's or a program of the runtime image, and its arguments; `{plugins}` stands for the directory that
    /// holds the plugins.
    pub command: Vec<String>,
    /// `env:`; `{plugins}` stands for the same in its values.
    pub env: BTreeMap<String, String>,
    /// `user:`, a name or a number; none for the one that everything runs as.
    pub user: Option<String>,
    /// `cwd:`; none for lockstep's own directory.
    pub cwd: Option<String>,
    /// `stdin:`; `{plugins}` stands for the same in it.
    pub stdin: Option<String>,
    /// `timeout:` for all of it, 30 s when not given.
    pub timeout: Duration,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StepKind {
    /// It prepares what is tested, and must end well.
    Setup,
    /// It runs to its end.
    Command(Expectation),
    /// It serves until it is stopped.
    Server(Server),
}

impl StepKind {
    /// The status that it must end with.
    #[must_use]
    pub fn status(&self) -> i32 {
        match self {
            Self::Setup => 0,
            Self::Command(expectation) => expectation.status,
            Self::Server(server) => server.stop.status,
        }
    }

    /// What is asked while it is there; none for what does not serve.
    #[must_use]
    pub fn questions(&self) -> Option<&[Question]> {
        match self {
            Self::Setup | Self::Command(_) => None,
            Self::Server(server) => Some(&server.requests),
        }
    }
}

/// `expect:` of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// `status:`, 0 when not given.
    pub status: i32,
    /// `stdout:`: texts that must appear, in this order.
    pub stdout: Vec<String>,
    /// `stderr:`: texts that must appear, in this order.
    pub stderr: Vec<String>,
}

/// A server's smoke test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// `ready:`.
    pub ready: Ready,
    /// `requests:`, in order.
    pub requests: Vec<Question>,
    /// `stop:`.
    pub stop: Stop,
}

/// What a server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// This, over HTTP.
    Request(Request),
    /// What a command beside it makes of it.
    Client(Client),
}

/// A command beside a server (`{run: [psql, -c, "select 1"]}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Client {
    /// What is started, and how; what it does not say itself is as its server's.
    pub invocation: Invocation,
    /// `expect:`.
    pub expect: Expectation,
}

/// When a server is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// `http:`: this URL answers with a status below 400.
    Http(String),
    /// `tcp:`: this port of the loopback address accepts a connection.
    Tcp(u16),
    /// `stdout:`: this text was printed.
    Stdout(String),
}

/// A request to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// `method:`, GET when not given.
    pub method: String,
    /// `url:`; or `path:`, which is taken on the address that `ready:` names. Always
    /// `http://`, on a loopback address, with a path.
    pub url: String,
    /// `headers:`.
    pub headers: BTreeMap<String, String>,
    /// `body:`.
    pub body: Option<String>,
    /// `expect:`.
    pub expect: ResponseExpectation,
}

/// `expect:` of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResponseExpectation {
    /// `status:`, 200 when not given.
    pub status: u16,
    /// `headers:` that must be there with these values; names in any case.
    pub headers: BTreeMap<String, String>,
    /// `body:`: texts that must appear, in this order.
    pub body: Vec<String>,
}

/// How a server is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// `signal:`, TERM when not given.
    pub signal: String,
    /// `status:` that it must then end with, 0 when not given.
    pub status: i32,
}

/// What containers of this project may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// `memory:`, in bytes (`4GiB` in the file).
    pub memory_bytes: u64,
    /// `cpus:`; none for as many as the engine has.
    pub cpus: Option<u32>,
    /// `processes:`.
    pub processes: u64,
    /// `timeout:` of one fetch or compile.
    pub timeout: Duration,
    /// `disk:`: how much one fetch or compile may write, in bytes.
    pub disk_bytes: u64,
    /// `artifact:`: the largest artifact, in bytes.
    pub artifact_bytes: u64,
}
