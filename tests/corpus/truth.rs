//! What the real loader says of each pair: the module is opened in the host's own process, in the root.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;

use crate::hosts::{Flags, Hosts, Pair};
use crate::root::{Root, run};
use crate::workers;

/// How long one host may take with all of its modules.
const HOST_TIMEOUT: Duration = Duration::from_secs(300);
const COMPILE_TIMEOUT: Duration = Duration::from_secs(60);
/// Where the probe and its files are in the root.
const PLACE: &str = "/.probe";

/// One pair, opened in one way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Question {
    pub(crate) pair: Pair,
    pub(crate) flags: Flags,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "seen", rename_all = "kebab-case")]
pub(crate) enum Seen {
    /// It was opened, and has every symbol of the contract.
    Loaded,
    /// `dlopen` failed with this message.
    Failed { message: String },
    /// It was opened, and `dlsym` failed with this message.
    NoSymbol { message: String },
    /// The loader did its part, and a constructor died of this signal, or ended the process (0): the host's `main` has
    /// not prepared what it needs.
    Constructor { number: i32 },
    /// The process died of a signal in the loader.
    Signal { number: i32 },
    /// The process ended in `dlopen`, with this on standard error.
    Ended { status: i32, message: String },
    /// It did not return in time.
    Late,
    /// The host itself did not start, with this on standard error.
    NoHost { message: String },
}

/// Asks for all pairs: as their hosts open them and with everything bound at once, and with `both_flags` late too.
pub(crate) fn ask(root: &Root, hosts: &Hosts, pairs: &[Pair], both_flags: bool) -> BTreeMap<Question, Seen> {
    compile(&root.path);
    let mut programs: BTreeMap<(&str, &str), Vec<Question>> = BTreeMap::new();
    for pair in pairs {
        let key = (pair.host.as_str(), pair.program.as_str());
        let questions = Flags::BOTH
            .into_iter()
            // What is bound late is asked for at once too: the loader then says what would happen at a call.
            .filter(|flags| both_flags || *flags == pair.flags || *flags == Flags::Now)
            .map(|flags| Question {
                pair: pair.clone(),
                flags,
            });
        programs.entry(key).or_default().extend(questions);
    }
    let told = Mutex::new(BTreeMap::new());
    workers::for_each(
        programs.into_iter().enumerate(),
        |(number, ((host, program), questions))| {
            let environment = hosts.environment(host);
            let seen = ask_host(root, number, program, environment, &questions);
            told.lock().unwrap().extend(questions.into_iter().zip(seen));
        },
    );
    fs::remove_dir_all(root.path.join(PLACE.trim_start_matches('/'))).unwrap();
    told.into_inner().unwrap()
}

/// What the loader says that it bound: object, provider and symbol.
pub(crate) type Bindings = BTreeSet<(String, String, String)>;

/// Asks the loader to tell every binding (ld.so(8), LD_DEBUG), with everything bound at once.
pub(crate) fn bindings(root: &Root, hosts: &Hosts, questions: &[&Question]) -> BTreeMap<Question, Bindings> {
    compile(&root.path);
    let place = root.path.join(PLACE.trim_start_matches('/'));
    let mut told = BTreeMap::new();
    for question in questions {
        let mut environment = hosts.environment(&question.pair.host).clone();
        environment.insert("LD_DEBUG".to_owned(), "bindings".to_owned());
        environment.insert("LD_DEBUG_OUTPUT".to_owned(), format!("{PLACE}/bindings"));
        let at_once = Question {
            flags: Flags::Now,
            ..(*question).clone()
        };
        ask_host(root, 0, &question.pair.program, &environment, &[at_once]);
        let mut bindings = Bindings::new();
        for entry in fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.file_stem().is_some_and(|name| name == "bindings") {
                let text = fs::read(&entry).unwrap();
                bindings.extend(String::from_utf8_lossy(&text).lines().filter_map(binding));
                fs::remove_file(entry).unwrap();
            }
        }
        told.insert((*question).clone(), bindings);
    }
    fs::remove_dir_all(place).unwrap();
    told
}

/// Reads ``  12: binding file A [0] to B [0]: normal symbol `f' [V]``.
fn binding(line: &str) -> Option<(String, String, String)> {
    let (object, rest) = line.split_once("binding file ")?.1.split_once(" [0] to ")?;
    let (provider, rest) = rest.split_once(" [0]: normal symbol `")?;
    let (symbol, _) = rest.split_once('\'')?;
    Some((object.to_owned(), provider.to_owned(), symbol.to_owned()))
}

#[test]
fn bindings_are_read() {
    let line = "      7:\tbinding file /lib/a.so [0] to /app/host [0]: normal symbol `f' [V1]";
    let expected = ["/lib/a.so", "/app/host", "f"].map(str::to_owned);
    assert_eq!(binding(line), Some(expected.into()));
    assert_eq!(binding("      7:\tcalling init: /lib/a.so"), None);
}

fn compile(root: &Path) {
    let place = root.join(PLACE.trim_start_matches('/'));
    fs::create_dir_all(&place).unwrap();
    let source = place.join("probe.c");
    fs::write(&source, include_str!("probe.c")).unwrap();
    let mut command = Command::new("cc");
    command.args([
        "-shared",
        "-fPIC",
        "-O2",
        "-fvisibility=hidden",
        "-U_FORTIFY_SOURCE",
        "-o",
    ]);
    command.arg(place.join("probe.so")).arg(source);
    let output = run(command, COMPILE_TIMEOUT);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn ask_host(
    root: &Root,
    number: usize,
    program: &str,
    environment: &BTreeMap<String, String>,
    questions: &[Question],
) -> Vec<Seen> {
    let mut text = String::new();
    for (id, question) in questions.iter().enumerate() {
        let pair = &question.pair;
        let (flags, scope) = (question.flags.word(), pair.scope.word());
        let _ = write!(text, "{id}\t{flags}\t{scope}\t");
        for earlier in &pair.first {
            let _ = write!(text, "{earlier}:");
        }
        text.push_str(&pair.module);
        for symbol in &pair.symbols {
            let _ = write!(text, "\t{symbol}");
        }
        text.push('\n');
    }
    let inside = |name: &str| format!("{PLACE}/{number}.{name}");
    let outside = |name: &str| root.path.join(inside(name).trim_start_matches('/'));
    fs::write(outside("questions"), text).unwrap();
    fs::write(outside("answers"), "").unwrap();
    let mut environment = environment.clone();
    environment.insert("LD_PRELOAD".to_owned(), format!("{PLACE}/probe.so"));
    environment.insert("LOCKSTEP_PROBE_QUESTIONS".to_owned(), inside("questions"));
    environment.insert("LOCKSTEP_PROBE_ANSWERS".to_owned(), inside("answers"));
    let output = root.run(&environment, &[program], HOST_TIMEOUT);
    let answers = fs::read(outside("answers")).unwrap();
    let answers = String::from_utf8_lossy(&answers);
    if answers.is_empty() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return questions
            .iter()
            .map(|_| Seen::NoHost {
                message: message.clone(),
            })
            .collect();
    }
    let (last, answers) = answers
        .lines()
        .collect::<Vec<_>>()
        .split_last()
        .map(|(last, all)| (*last, all.to_vec()))
        .unwrap();
    assert!(
        last == "end\t\t" && answers.len() == questions.len(),
        "{program} ended early, after {last:?}"
    );
    answers
        .iter()
        .enumerate()
        .map(|(id, line)| {
            let mut fields = line.splitn(3, '\t');
            assert_eq!(fields.next(), Some(id.to_string().as_str()), "{line}");
            of_answer(fields.next().unwrap(), fields.next().unwrap())
        })
        .collect()
}

fn of_answer(kind: &str, text: &str) -> Seen {
    let message = text.to_owned();
    match kind {
        "loaded" => Seen::Loaded,
        "failed" => Seen::Failed { message },
        "symbol" => Seen::NoSymbol { message },
        "constructor" => Seen::Constructor {
            number: text.parse().unwrap(),
        },
        "signal" => Seen::Signal {
            number: text.split(' ').next().unwrap().parse().unwrap(),
        },
        "exit" => {
            let (status, message) = text.split_once(' ').unwrap_or((text, ""));
            Seen::Ended {
                status: status.parse().unwrap(),
                message: message.trim().to_owned(),
            }
        }
        "late" => Seen::Late,
        _ => panic!("the probe said {kind} {text}"),
    }
}
