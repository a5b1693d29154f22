//! What lockstep says of each pair from the files alone, held against what the loader did.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lockstep::check::{
    BindingTime, Environment, Finding, PairReport, Phase, Plugin, Predicted, Request, ScopeFlag, Subject, Verdict,
    check,
};
use lockstep::config::{CheckContract, Loader};
use lockstep::rootfs::{DirectoryRoot, RootFs};
use serde::Serialize;

use crate::class;
use crate::hosts::{Flags, Hosts, Pair, Scope};
use crate::root::Root;
use crate::truth::{Bindings, Question, Seen};
use crate::workers;

/// How many questions a thread takes at once.
const BATCH_COUNT: usize = 64;

/// How a prediction and what was seen go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Agreement {
    /// It loads, and nothing above `unknown` was said; or it fails, as was said, in the same words.
    Same,
    /// It fails as was said, in other words of the same kind.
    SameClass,
    /// It loads, and was called dangerous for symbols that are missing when functions are called; with everything bound
    /// at once, the loader says so itself.
    Proven,
    /// It loads, as was said, with symbols that it takes from where nobody meant them to come from; the loader itself says that it
    /// does. Whether anything calls them there is not known.
    Confirmed,
    /// It loads, as was said, and the same modules that belong to different hosts were called dangerous together.
    Warned,
    /// It fails, and another failure was said.
    OtherFailure,
    /// It loads, and was refused.
    FalseRefusal,
    /// A host's own module loads, and was called dangerous.
    FalseDanger,
    /// It loads, and takes symbols from elsewhere than was said.
    OtherBinding,
    /// It fails, and was not refused.
    Missed,
}

impl Agreement {
    /// Whether the prediction was wrong.
    pub(crate) const fn is_alarm(self) -> bool {
        !matches!(
            self,
            Self::Same | Self::SameClass | Self::Proven | Self::Confirmed | Self::Warned
        )
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::SameClass => "same-class",
            Self::Proven => "proven",
            Self::Confirmed => "confirmed",
            Self::Warned => "warned",
            Self::OtherFailure => "other-failure",
            Self::FalseRefusal => "false-refusal",
            Self::FalseDanger => "false-danger",
            Self::OtherBinding => "other-binding",
            Self::Missed => "missed",
        }
    }
}

/// Asks lockstep for every question.
pub(crate) fn predict(root: &Root, hosts: &Hosts, questions: &[Question]) -> BTreeMap<Question, PairReport> {
    let files = DirectoryRoot::open(&root.path).unwrap();
    let told = Mutex::new(BTreeMap::new());
    workers::for_each(questions.chunks(BATCH_COUNT), |batch| {
        for question in batch {
            let report = one(&files, hosts, question);
            told.lock().unwrap().insert(question.clone(), report);
        }
    });
    told.into_inner().unwrap()
}

fn one(files: &dyn RootFs, hosts: &Hosts, question: &Question) -> PairReport {
    let pair = &question.pair;
    let environment = Environment {
        variables: hosts.environment(&pair.host).clone(),
        ..Environment::default()
    };
    let contract = |symbols: &[String]| CheckContract {
        loader: Some(Loader::Dlopen),
        abi: None,
        symbols: symbols.to_vec(),
        types: BTreeMap::new(),
        flags: Some(match question.flags {
            Flags::Now => BindingTime::Now,
            Flags::Lazy => BindingTime::Lazy,
        }),
        scope: Some(match pair.scope {
            Scope::Local => ScopeFlag::Local,
            Scope::Global => ScopeFlag::Global,
        }),
    };
    let subject = |path: &String| Subject {
        shown: path.clone(),
        path: path.clone(),
    };
    let contract = contract(&pair.symbols);
    let plugins = pair.first.iter().chain([&pair.module]).map(subject);
    let request = Request {
        root: files,
        host: subject(&pair.program),
        beside_host: vec![],
        plugins: plugins.map(|plugin| Plugin::alone(plugin, &contract)).collect(),
        environment: &environment,
        with_companions: false,
        is_root_known: true,
    };
    let mut reports = check(&request);
    let last = reports.pop().unwrap();
    // As in the probe: what fails first is the answer.
    let fails = |report: &PairReport| report.verdict == Verdict::Refuse && report.predicted.phase <= Phase::Load;
    reports.into_iter().find(fails).unwrap_or(last)
}

/// What is said of symbols that are bound to what nobody meant.
fn interposed(report: &PairReport) -> impl Iterator<Item = &Finding> {
    let is_told = |one: &&Finding| one.code == "interposed-symbol" && one.title.contains(", not its own");
    report.findings.iter().filter(is_told)
}

/// Whether something is said of bindings that only the loader can confirm.
pub(crate) fn has_interposed(report: &PairReport) -> bool {
    interposed(report).next().is_some()
}

/// Whether the loader says of each of them that it binds so.
pub(crate) fn is_confirmed(report: &PairReport, bindings: &Bindings) -> bool {
    interposed(report).all(|one| {
        let parts = one
            .title
            .strip_prefix('`')
            .and_then(|title| title.split_once("` uses the `"));
        let parts = parts.and_then(|(object, rest)| Some((object, rest.rsplit_once(" of ")?.1.split_once(", ")?.0)));
        parts.is_some_and(|(object, provider)| {
            bindings.contains(&(object.to_owned(), provider.to_owned(), one.subject.clone()))
        })
    })
}

/// The same as [`compare`], with what was seen when everything was bound at once.
pub(crate) fn compare_with(pair: &Pair, seen: &Seen, at_once: Option<&Seen>, report: &PairReport) -> Agreement {
    let agreement = compare(pair, seen, report);
    let dangers = || report.findings.iter().filter(|one| one.verdict == Verdict::Danger);
    let is_late = report.predicted.phase == Phase::Call && dangers().all(|one| one.code == "symbol-not-found");
    match at_once {
        Some(Seen::Failed { message })
            if agreement == Agreement::FalseDanger
                && is_late
                && dangers().any(|one| message.ends_with(&format!("undefined symbol: {}", one.subject))) =>
        {
            Agreement::Proven
        }
        _ => agreement,
    }
}

/// Holds a prediction against what was seen.
pub(crate) fn compare(pair: &Pair, seen: &Seen, report: &PairReport) -> Agreement {
    let refused = report.verdict == Verdict::Refuse;
    let (phase, message) = match seen {
        Seen::Loaded | Seen::Constructor { .. } => {
            return match report.verdict {
                Verdict::Refuse => Agreement::FalseRefusal,
                Verdict::Danger if !pair.crossed => Agreement::FalseDanger,
                Verdict::Danger => Agreement::Warned,
                Verdict::Ok | Verdict::Unknown => Agreement::Same,
            };
        }
        Seen::NoHost { message } => (Phase::Exec, Some(message)),
        Seen::Failed { message } => (Phase::Load, Some(message)),
        Seen::NoSymbol { message } => (Phase::Symbol, Some(message)),
        Seen::Ended { message, .. } => (Phase::Load, Some(message)),
        Seen::Signal { .. } | Seen::Late => (Phase::Load, None),
    };
    if !refused {
        return Agreement::Missed;
    }
    let predicted = &report.predicted;
    if predicted.phase != phase {
        return Agreement::OtherFailure;
    }
    match (message, &predicted.message) {
        (None, None) => Agreement::Same,
        (Some(said), Some(expected)) if said.trim_end() == expected => Agreement::Same,
        // A program says on standard error who it is, and what follows from it.
        (Some(said), Some(expected)) if !matches!(seen, Seen::Failed { .. }) && said.contains(expected.as_str()) => {
            Agreement::Same
        }
        (Some(said), Some(expected)) if class::of_message(said) == class::of_message(expected) => Agreement::SameClass,
        _ => Agreement::OtherFailure,
    }
}

#[test]
fn what_disagrees_is_an_alarm() {
    let failed = |message: &str| Seen::Failed {
        message: message.to_owned(),
    };
    let check = |seen: &Seen, crossed: bool, verdict: Verdict, message: Option<&str>, expected: Agreement| {
        let pair = Pair {
            host: String::new(),
            program: String::new(),
            first: vec![],
            module: String::new(),
            scope: Scope::Local,
            flags: Flags::Now,
            symbols: vec![],
            crossed,
        };
        let message = message.map(str::to_owned);
        let phase = if verdict == Verdict::Refuse {
            Phase::Load
        } else {
            Phase::None
        };
        let report = PairReport {
            host: String::new(),
            plugin: String::new(),
            is_companion: false,
            verdict,
            predicted: Predicted { phase, message },
            findings: vec![],
        };
        assert_eq!(compare(&pair, seen, &report), expected, "{seen:?} {report:?}");
    };
    let symbol = failed("a.so: undefined symbol: f");
    check(&Seen::Loaded, false, Verdict::Unknown, None, Agreement::Same);
    check(&Seen::Loaded, false, Verdict::Danger, None, Agreement::FalseDanger);
    check(&Seen::Loaded, true, Verdict::Danger, None, Agreement::Warned);
    check(&Seen::Loaded, true, Verdict::Refuse, None, Agreement::FalseRefusal);
    check(
        &Seen::Constructor { number: 11 },
        true,
        Verdict::Refuse,
        None,
        Agreement::FalseRefusal,
    );
    check(&symbol, false, Verdict::Danger, None, Agreement::Missed);
    check(
        &symbol,
        false,
        Verdict::Refuse,
        Some("a.so: undefined symbol: f"),
        Agreement::Same,
    );
    check(
        &symbol,
        false,
        Verdict::Refuse,
        Some("a.so: undefined symbol: g"),
        Agreement::SameClass,
    );
    check(
        &symbol,
        false,
        Verdict::Refuse,
        Some("a.so: file too short"),
        Agreement::OtherFailure,
    );
    check(&symbol, false, Verdict::Refuse, None, Agreement::OtherFailure);
    let exec = Seen::NoHost { message: String::new() };
    check(&exec, false, Verdict::Refuse, Some("x"), Agreement::OtherFailure);
}
