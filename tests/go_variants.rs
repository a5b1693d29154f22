//! Go's plugin check, predicted from files and then seen for real: hosts and plugins in many build variants, for glibc and
//! for musl, each host with each plugin, and several plugins in one host.
//!
//! What is expected is never written down here: the runtime is asked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::batch::{Batch, Failure, builtin_image, run};
use common::{Ground, TestResult, archive, on_engine};
use lockstep::check::rules::{GoProcess, GoSide};
use lockstep::check::{
    Environment, Finding, PairReport, Phase, Plugin, Predicted, Request, Subject, Verdict, check, predict,
};
use lockstep::config::{CheckContract, Loader};
use lockstep::digest::Digest;
use lockstep::facts::{Elf, Go};
use lockstep::rootfs::DirectoryRoot;

const FILES_LIMIT_COUNT: usize = 200;
/// Where the files are in the runtime image.
const DIRECTORY: &str = "/lockstep/work";
const SOURCES: &str = "tests/go_variants";
/// Why musl's loader opens none of Go's C libraries: it gives them no thread-local storage at a fixed offset.
const NO_STATIC_TLS: &str = "initial-exec TLS resolves to dynamic definition";
/// What the host looks up in each plugin; no plugin has the second.
const WANTED: [&str; 2] = ["Run", "Absent"];

/// The C libraries: the compiler for it in the build image, and the runtime image.
const LIBCS: [(&str, &str, &str); 2] = [("glibc", "gcc", "debian/runtime"), ("musl", "musl-gcc", "musl/runtime")];

/// Several plugins in one host; they fail for reasons that one alone cannot have.
const ORDERS: &[&str] = &[
    "second.so third-2.1.0.so",
    "third-2.1.0.so second.so third.so",
    "second.so third.so",
    "plug-trimpath.so copy.so third.so",
    "plug-default.so plug-trimpath.so",
    "plug-trimpath.so plug-default.so plug-dep-1.1.0.so",
    "plug-default.so plug-dep-1.1.0.so plug-default.so",
    "plug-dep-1.1.0.so plug-trimpath.so second.so",
    "second.so c.so third.so",
    "second.so c.so c.so",
    "plug-default.so c.so",
    "plug-trimpath.so c.so plug-default.so",
    "c.so second.so",
    "second.so second.so",
    "plug-default.so plug-default.so",
    "renamed.so plug-trimpath.so plug-default.so",
    "renamed-silent.so plug-trimpath.so",
    "second.so symbolic-dep-1.1.0.so plug-trimpath.so plug-dep-1.1.0.so",
    "plug-replaced-1.0.1.so second.so",
    "fewer.so unnamed.so strip.so third.so second-2.1.0.so",
];
const ORDER_HOSTS: &[&str] = &["host-trimpath", "host-default", "host-dep-1.1.0", "host-strip"];
/// It waits for its own limit, so once is enough.
const WAITING: &str = "host-trimpath renamed.so renamed.so";

/// Hosts whose pairs are predicted by the whole simulation, the dynamic loader included, as all orders are. For the others,
/// Go's rules are asked alone, which takes a tenth of the time.
const SIMULATED_HOSTS: &[&str] = &[
    "host-trimpath",
    "host-default",
    "host-race",
    "host-pie",
    "host-nocgo",
    "host-static",
    "host-unable",
];

/// What each variant differs in from `trimpath`, in the words of the cause that must be inferred.
const CAUSES: &[(&str, &str)] = &[
    ("default", "-trimpath"),
    ("race", "-race"),
    ("noopt", "-gcflags=all=-N -l"),
    ("tags", "-tags=special"),
    ("dep-1.1.0", "v1.1.0"),
    ("dep-1.0.1", "v1.0.1"),
    ("dep-1.0.2", "v1.0.2"),
    ("replaced-1.1.0", "the directory ../modules/dep@v1.1.0"),
    ("experiment", "GOEXPERIMENT=noswissmap"),
    ("covered", "-cover"),
    ("elsewhere-default", "-trimpath"),
];
/// Pairs whose builds differ in directories alone.
const MOVED: &[&str] = &["default", "elsewhere-default", "othermod-default", "vendored-default"];
/// Variants that load in others though something differs that is recorded.
const SILENT: &[&str] = &["v3", "replaced", "replaced-1.0.1", "replaced-1.1.0"];

#[test]
fn predictions_and_observations_agree() {
    on_engine(|ground| async move {
        let built = build(&ground).await?;
        let (glibc, musl) = tokio::join!(one_libc(&ground, &built, LIBCS[0]), one_libc(&ground, &built, LIBCS[1]));
        let reports = [glibc?, musl?];
        let mut text = String::new();
        for report in &reports {
            text += &report.text;
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-variants.txt");
        fs::write(&path, &text)?;
        let disagreements: Vec<&String> = reports.iter().flat_map(|report| &report.disagreements).collect();
        assert!(
            disagreements.is_empty(),
            "{} disagreements; the tables are in {}\n{}",
            disagreements.len(),
            path.display(),
            disagreements
                .iter()
                .take(40)
                .fold(String::new(), |all, one| all + one + "\n")
        );
        Ok(()) as TestResult
    });
}

/// What came of one C library.
struct Report {
    /// The table and the figures.
    text: String,
    disagreements: Vec<String>,
}

async fn one_libc(
    ground: &Ground,
    built: &Path,
    (libc, _, runtime): (&'static str, &str, &'static str),
) -> Result<Report, Failure> {
    let directory = built.join(libc);
    let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        assert!(files.len() < FILES_LIMIT_COUNT, "too many files");
        files.insert(entry.file_name().into_string().unwrap(), fs::read(entry.path())?.into());
    }
    let lines = lines(&files);
    let root = tempfile::tempdir()?;
    let observed = load(ground, libc, runtime, &files, &lines, root.path()).await?;
    Ok(tokio::task::spawn_blocking(move || compare(libc, &files, &observed, root.path())).await?)
}

/// Each host with each plugin, and the orders.
fn lines(files: &BTreeMap<String, Bytes>) -> Vec<String> {
    let hosts = || files.keys().filter(|name| name.starts_with("host-"));
    let plugins = || files.keys().filter(|name| name.ends_with(".so"));
    let pairs = hosts().flat_map(|host| plugins().map(move |plugin| format!("{host} {plugin}")));
    let orders = ORDER_HOSTS
        .iter()
        .flat_map(|host| ORDERS.iter().map(move |plugins| format!("{host} {plugins}")));
    pairs.chain(orders).chain([WAITING.to_owned()]).collect()
}

/// What a process did with one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It was opened; what was said of symbols that are missing, of the call, and of the types of all that it exports.
    Loaded {
        missing: Vec<String>,
        answer: Option<String>,
        types: BTreeSet<String>,
    },
    /// plugin.Open gave this error.
    Refused(String),
    /// The process ended with these words.
    Fatal(String),
    /// The process ended with a signal.
    Crashed,
    /// It took too long.
    Late,
    /// The host never tried.
    NotTried,
}

type Observed = Vec<(String, Vec<String>, Vec<Outcome>)>;

/// Reads what `load.sh` wrote.
fn parse(output: &[String]) -> Observed {
    let mut observed = Observed::new();
    for line in output {
        if let Some(names) = line.strip_prefix("= ") {
            let mut names = names.split(' ').map(ToOwned::to_owned);
            observed.push((names.next().unwrap(), names.collect(), vec![]));
            continue;
        }
        let (_, plugins, outcomes) = observed.last_mut().unwrap();
        let (kind, rest) = line.split_once(": ").unwrap_or((line, ""));
        match (kind, outcomes.last_mut()) {
            ("plugin", _) => outcomes.push(Outcome::Loaded {
                missing: vec![],
                answer: None,
                types: BTreeSet::new(),
            }),
            ("symbol", Some(Outcome::Loaded { types, .. })) => drop(types.insert(rest.to_owned())),
            ("lookup", Some(Outcome::Loaded { missing, .. })) => missing.push(rest.to_owned()),
            ("call", Some(Outcome::Loaded { answer, .. })) => *answer = Some(rest.to_owned()),
            ("open", Some(last)) => *last = Outcome::Refused(rest.to_owned()),
            ("fatal error", Some(last)) => *last = Outcome::Fatal(line.clone()),
            ("SIGSEGV", Some(last)) => *last = Outcome::Crashed,
            ("late", Some(last)) => *last = Outcome::Late,
            _ => {}
        }
        if line.starts_with("- ") {
            // After a process has ended early, some were not tried; a host without plugins tries none.
            outcomes.resize(plugins.len(), Outcome::NotTried);
        }
    }
    observed
}

/// What is said of one plugin.
struct Prediction {
    /// Of its being opened.
    findings: Vec<Finding>,
    verdict: Verdict,
    predicted: Predicted,
    /// Of the symbols that are looked up in it; none where nobody was asked.
    missing: Option<Vec<String>>,
}

impl From<PairReport> for Prediction {
    fn from(report: PairReport) -> Self {
        let (of_symbols, findings): (Vec<Finding>, Vec<Finding>) = report
            .findings
            .into_iter()
            .partition(|finding| finding.code == "go-symbol");
        let verdict = findings
            .iter()
            .map(|finding| finding.verdict)
            .max()
            .unwrap_or(Verdict::Ok);
        let words = of_symbols.into_iter().filter_map(|finding| finding.predicted?.message);
        Self {
            verdict,
            predicted: predict(verdict, &findings),
            missing: Some(words.collect()),
            findings,
        }
    }
}

/// What Go's rules alone say of a pair.
fn predict_by_rules(host: &Fact, plugin: &Fact) -> Prediction {
    let findings = GoProcess::new(host.side()).open(plugin.side());
    let verdict = findings
        .iter()
        .map(|finding| finding.verdict)
        .max()
        .unwrap_or(Verdict::Ok);
    Prediction {
        verdict,
        predicted: predict(verdict, &findings),
        missing: None,
        findings,
    }
}

/// A file with its facts, and its names in the container.
struct Fact {
    shown: String,
    path: String,
    elf: Elf,
    go: Option<Go>,
}

impl Fact {
    fn read(name: &str, bytes: &Bytes) -> Self {
        let elf = Elf::read(bytes.clone()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let go = Go::read(&elf);
        Self {
            shown: format!("./{name}"),
            path: format!("{DIRECTORY}/{name}"),
            elf,
            go,
        }
    }

    fn side(&self) -> GoSide<'_> {
        GoSide {
            shown: &self.shown,
            path: &self.path,
            elf: &self.elf,
            go: self.go.as_ref(),
        }
    }
}

/// What the files say of each line.
fn predictions(files: &BTreeMap<String, Bytes>, observed: &Observed, root: &Path) -> Vec<Vec<Prediction>> {
    let facts: BTreeMap<&String, Fact> = files
        .iter()
        .map(|(name, bytes)| (name, Fact::read(name, bytes)))
        .collect();
    let root = DirectoryRoot::open(root).unwrap();
    let environment = Environment {
        directory: DIRECTORY.to_owned(),
        ..Environment::default()
    };
    let subject = |name: &String| Subject {
        shown: format!("./{name}"),
        path: format!("{DIRECTORY}/{name}"),
    };
    let predict = |host: &String, plugins: &Vec<String>| -> Vec<Prediction> {
        let contract = CheckContract {
            loader: Some(Loader::Go),
            symbols: WANTED.map(ToOwned::to_owned).to_vec(),
            ..CheckContract::default()
        };
        let plugins = plugins.iter().map(subject);
        let request = Request {
            root: &root,
            host: subject(host),
            beside_host: vec![],
            plugins: plugins.map(|plugin| Plugin::alone(plugin, &contract)).collect(),
            environment: &environment,
            with_companions: false,
            is_root_known: true,
        };
        check(&request).into_iter().map(Prediction::from).collect()
    };
    let lines = observed.iter().map(|(host, plugins, _)| match plugins.as_slice() {
        [plugin] if !SIMULATED_HOSTS.contains(&host.as_str()) => vec![predict_by_rules(&facts[host], &facts[plugin])],
        _ => predict(host, plugins),
    });
    lines.collect()
}

fn compare(libc: &str, files: &BTreeMap<String, Bytes>, observed: &Observed, root: &Path) -> Report {
    let mut report = Report {
        text: String::new(),
        disagreements: vec![],
    };
    let mut figures: BTreeMap<&str, u64> = BTreeMap::new();
    let mut cells: BTreeMap<(&str, &str), String> = BTreeMap::new();
    let started = std::time::Instant::now();
    let predictions = predictions(files, observed, root);
    let exported = exported_types(files);
    let mut types_count = 0;
    let seconds = started.elapsed().as_secs_f64();
    for ((host, plugins, outcomes), predictions) in observed.iter().zip(&predictions) {
        assert_eq!(predictions.len(), plugins.len());
        for ((plugin, outcome), prediction) in plugins.iter().zip(outcomes).zip(predictions) {
            *figures.entry(kind(outcome)).or_default() += 1;
            let mut problems = disagreements(host, plugin, outcome, prediction);
            // The runtime of the host says what the types are, and the file alone has said it before.
            if let Outcome::Loaded { types, .. } = outcome {
                types_count += types.len();
                if *types != exported[plugin] {
                    problems.push(format!("read the types {:?}, seen {types:?}", exported[plugin]));
                }
            }
            if let [plugin] = plugins.as_slice() {
                problems.extend(wrong_cause(host, plugin, outcome, prediction));
                cells.insert((host, plugin), short(outcome, prediction));
            }
            let told = problems
                .iter()
                .map(|problem| format!("{libc}: {host} {plugins:?} at {plugin}: {problem}"));
            report.disagreements.extend(told);
            if matches!(outcome, Outcome::Fatal(_) | Outcome::Crashed | Outcome::Late) {
                break;
            }
        }
    }
    let pairs = observed.iter().filter(|(_, plugins, _)| plugins.len() == 1).count();
    let _ = writeln!(
        report.text,
        "{libc}: {pairs} pairs of {} hosts and {} plugins, {} orders of loading, {} disagreements",
        files.keys().filter(|name| name.starts_with("host-")).count(),
        files.keys().filter(|name| name.ends_with(".so")).count(),
        observed.len() - pairs,
        report.disagreements.len()
    );
    let _ = writeln!(report.text, "  predicted in {seconds:.1} s");
    for (kind, count) in &figures {
        let _ = writeln!(report.text, "  {count:>5} {kind}");
    }
    let _ = writeln!(report.text, "  {types_count:>5} types of symbols");
    assert!(types_count > 1000, "{libc}: {types_count} types");
    report.text += &table(&cells);
    // A run in which nothing is accepted, or nothing refused, would prove nothing.
    for kind in ["loaded", "refused by Go", "ended the host"] {
        assert!(
            figures.get(kind).is_some_and(|count| *count > 10),
            "{libc}: {figures:?}"
        );
    }
    report
}

/// The types that the files tell of what they export.
fn exported_types(files: &BTreeMap<String, Bytes>) -> BTreeMap<&String, BTreeSet<String>> {
    let plugins = files.iter().filter(|(name, _)| name.ends_with(".so"));
    let types = plugins.map(|(name, bytes)| {
        let exports = Fact::read(name, bytes).go.map(|go| go.exports).unwrap_or_default();
        let shown = exports.into_iter().map(|export| {
            let exported = export
                .exported_type
                .map_or_else(|| "?".to_owned(), |exported| exported.text);
            format!("{} {exported}", export.name)
        });
        (name, shown.collect())
    });
    types.collect()
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Loaded { .. } => "loaded",
        Outcome::Refused(words) if words.contains(NO_STATIC_TLS) => "refused by the dynamic loader",
        Outcome::Refused(_) => "refused by Go",
        Outcome::Fatal(_) | Outcome::Crashed => "ended the host",
        Outcome::Late => "never finished",
        Outcome::NotTried => "not tried by the host",
    }
}

/// What Go says of a plugin of whose symbols it finds none, without the name: it begins with any, in no order.
fn any_symbol(words: &str) -> String {
    let Some((before, rest)) = words.split_once("could not find symbol ") else {
        return words.to_owned();
    };
    let (name, cause) = rest.split_once(": ").unwrap_or((rest, ""));
    let cause = cause.strip_suffix(name).unwrap_or(cause);
    format!("{before}could not find symbol: {cause}")
}

/// Where a prediction and what happened are not the same.
fn disagreements(host: &str, plugin: &str, outcome: &Outcome, prediction: &Prediction) -> Vec<String> {
    let mut problems = Vec::new();
    let (verdict, predicted) = (prediction.verdict, &prediction.predicted);
    let message = predicted.message.as_deref();
    let is_refused = verdict == Verdict::Refuse && predicted.phase == Phase::Load;
    let agrees = match outcome {
        Outcome::Loaded { .. } => verdict != Verdict::Refuse && predicted.phase == Phase::None,
        // What musl names there is what its stack happens to hold, and Go's rules alone know nothing of the loader.
        Outcome::Refused(words) if words.contains(NO_STATIC_TLS) => {
            is_refused
                && (prediction.missing.is_none() || message.is_some_and(|message| message.contains(NO_STATIC_TLS)))
        }
        Outcome::Refused(words) | Outcome::Fatal(words) => {
            is_refused && message.map(any_symbol) == Some(any_symbol(words))
        }
        Outcome::Crashed | Outcome::Late | Outcome::NotTried => is_refused && message.is_none(),
    };
    if !agrees {
        problems.push(format!("predicted {verdict:?} {predicted:?}, seen {outcome:?}"));
    }
    if let Outcome::Loaded { missing, answer, .. } = outcome {
        if prediction
            .missing
            .as_ref()
            .is_some_and(|predicted| predicted != missing)
        {
            problems.push(format!("predicted {:?}, seen {missing:?}", prediction.missing));
        }
        let variants = [host.strip_prefix("host-").unwrap(), variant(plugin)];
        let is_silent = variants.iter().any(|name| SILENT.contains(name));
        if verdict != Verdict::Ok && !is_silent {
            problems.push(format!("a false alarm: {:?}", prediction.findings));
        }
        // The host's and the plugin's half of the answer come from one function of a shared package.
        let halves: Option<(&str, &str)> = answer.as_deref().and_then(|answer| {
            let (ours, theirs) = answer.strip_prefix("host ")?.split_once(" plugin ")?;
            Some((ours, theirs))
        });
        // Of two directories nothing is recorded that could tell them apart, and that is what must be said.
        let are_directories = variants.iter().all(|name| name.starts_with("replaced"));
        let expected = if are_directories {
            Verdict::Unknown
        } else {
            Verdict::Danger
        };
        if halves.is_some_and(|(ours, theirs)| ours != theirs) && verdict != expected {
            problems.push(format!("two behaviours in one process, and no word of it: {answer:?}"));
        }
    }
    problems
}

/// Whether a refused pair of which one side is the reference names what the other side differs in.
fn wrong_cause(host: &str, plugin: &str, outcome: &Outcome, prediction: &Prediction) -> Option<String> {
    let finding = prediction
        .findings
        .first()
        .filter(|finding| finding.code == "go-package-hash")?;
    if !matches!(outcome, Outcome::Refused(_)) || !plugin.starts_with("plug-") {
        return None;
    }
    let (ours, theirs) = (host.strip_prefix("host-")?, variant(plugin));
    let expected = match (ours, theirs) {
        ("trimpath", other) | (other, "trimpath") => {
            CAUSES.iter().find(|(name, _)| *name == other).map(|(_, words)| *words)
        }
        _ if MOVED.contains(&ours) && MOVED.contains(&theirs) => Some("other directories"),
        _ => None,
    }?;
    (!finding.title.contains(expected)).then(|| format!("the cause is {expected}, not: {}", finding.title))
}

fn variant(plugin: &str) -> &str {
    let name = plugin.strip_suffix(".so").unwrap_or(plugin);
    name.strip_prefix("plug-").unwrap_or(name)
}

/// A cell of the table.
fn short(outcome: &Outcome, prediction: &Prediction) -> String {
    let what = match outcome {
        Outcome::Loaded { .. } if prediction.verdict == Verdict::Ok => "ok".to_owned(),
        Outcome::Loaded { .. } => prediction.verdict.word().to_owned(),
        Outcome::Refused(words) => {
            let package = words
                .split_once("different version of package ")
                .map(|(_, package)| package);
            match package {
                Some(package) => package.rsplit('/').next().unwrap().to_owned(),
                None => prediction
                    .findings
                    .first()
                    .map_or("?", |finding| finding.code)
                    .replace("go-", ""),
            }
        }
        Outcome::Fatal(_) => "fatal".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    what.chars().take(8).collect()
}

fn table(cells: &BTreeMap<(&str, &str), String>) -> String {
    let hosts: BTreeSet<&str> = cells.keys().map(|(host, _)| *host).collect();
    let plugins: BTreeSet<&str> = cells.keys().map(|(_, plugin)| *plugin).collect();
    let mut text = format!("{:24}", "");
    for plugin in &plugins {
        let name: String = variant(plugin).chars().take(8).collect();
        let _ = write!(text, " {name:8}");
    }
    text.push('\n');
    for host in hosts {
        let _ = write!(text, "{host:24}");
        for plugin in &plugins {
            let _ = write!(text, " {:8}", cells.get(&(host, *plugin)).map_or("", String::as_str));
        }
        text.push('\n');
    }
    text
}

/// Builds all variants for both C libraries in one container, so that they share a build cache. What was built before from
/// the same image and the same sources is taken as it is.
async fn build(ground: &Ground) -> Result<PathBuf, Failure> {
    let image = builtin_image(ground, "musl/build").await?;
    let sources = sources()?;
    let script = LIBCS.iter().fold(
        "cd work; export WORK=$PWD GOCACHE=$PWD/cache; cp -R /usr/share/lockstep/go-build cache\n".to_owned(),
        |script, (libc, compiler, _)| format!("{script}CC={compiler} sh build.sh $WORK/variants/{libc}\n"),
    );
    let mut key = Digest::of(&sources).hex().to_owned();
    key += &format!("{}{script}", image.0);
    let key = Digest::of(key.as_bytes()).hex()[..16].to_owned();
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let finished = tmp.join(format!("go-variants-{key}"));
    if finished.is_dir() {
        return Ok(finished);
    }
    let batch = Batch {
        name: "build",
        image,
        script: &script,
        files: sources,
        changes_root: false,
        wanted: &["/lockstep/work/variants"],
    };
    let variants = &run(ground, batch).await?.archives[0];
    // Those of earlier sources are of no use any more.
    for entry in fs::read_dir(tmp)? {
        let path = entry?.path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("go-variants-") && path.is_dir() {
            fs::remove_dir_all(path)?;
        }
    }
    let staged = tempfile::tempdir_in(tmp)?;
    tar::Archive::new(variants.as_slice()).unpack(staged.path())?;
    fs::rename(staged.path().join("variants"), &finished)?;
    Ok(finished)
}

/// Runs the hosts in the runtime image, and copies all of its files below `root`.
async fn load(
    ground: &Ground,
    libc: &str,
    runtime: &'static str,
    files: &BTreeMap<String, Bytes>,
    lines: &[String],
    root: &Path,
) -> Result<Observed, Failure> {
    let list = lines.join("\n") + "\n";
    let script = fs::read(Path::new(SOURCES).join("load.sh"))?;
    let mut entries: Vec<(String, u32, &[u8])> = vec![
        ("work/load.sh".to_owned(), 0o644, &script),
        ("work/list".to_owned(), 0o644, list.as_bytes()),
    ];
    for (name, content) in files {
        entries.push((format!("work/{name}"), 0o755, content));
    }
    let entries: Vec<(&str, u32, &[u8])> = entries
        .iter()
        .map(|(path, mode, content)| (path.as_str(), *mode, *content))
        .collect();
    let batch = Batch {
        name: libc,
        image: builtin_image(ground, runtime).await?,
        script: "cd work; sh ./load.sh < list",
        files: archive(&entries)?,
        changes_root: false,
        wanted: &["/"],
    };
    let done = run(ground, batch).await?;
    tar::Archive::new(done.archives[0].as_slice()).unpack(root)?;
    let observed = parse(&done.lines);
    assert_eq!(observed.len(), lines.len(), "not every line was answered");
    Ok(observed)
}

/// A tar of the sources.
fn sources() -> std::io::Result<Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut pending = vec![PathBuf::from(SOURCES)];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            assert!(files.len() < FILES_LIMIT_COUNT, "too many files");
            let name = format!("work/{}", path.strip_prefix(SOURCES).unwrap().display());
            if path.is_dir() {
                files.insert(format!("{name}/"), vec![]);
                pending.push(path);
            } else {
                files.insert(name, fs::read(&path)?);
            }
        }
    }
    let entries: Vec<(&str, u32, &[u8])> = files
        .iter()
        .map(|(path, content)| {
            let mode = if path.ends_with('/') { 0o755 } else { 0o644 };
            (path.as_str(), mode, content.as_slice())
        })
        .collect();
    archive(&entries)
}
