//! What is answered of one plugin: its findings, what follows from what, and what will happen.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use super::finding::{Cause, Finding};
use super::libc_names;
use super::process::Process;
use super::simulation::Subject;
use super::verdict::{Phase, Predicted, Verdict};

/// What is to be expected of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairReport {
    /// The host, as the user calls it.
    pub host: String,
    /// The plugin, as the user calls it.
    pub plugin: String,
    /// Whether it is no plugin but lies beside one, or beside the host, and is looked at as one that would be opened then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_companion: bool,
    /// The worst of the findings.
    pub verdict: Verdict,
    /// What will happen, for the first cause.
    pub predicted: Predicted,
    /// The findings: each root cause, followed by its consequences.
    pub findings: Vec<Finding>,
}

pub(super) fn report(host: &Subject, plugin: &Subject, findings: Vec<Finding>) -> PairReport {
    let verdict = findings
        .iter()
        .map(|finding| finding.verdict)
        .max()
        .unwrap_or(Verdict::Ok);
    PairReport {
        host: host.shown.clone(),
        plugin: plugin.shown.clone(),
        is_companion: false,
        verdict,
        predicted: predict(verdict, &findings),
        findings,
    }
}

/// Says which findings follow from which, and puts each cause before what follows from it, and what is unknown last.
pub(super) fn fold(process: &Process<'_>, findings: &mut Vec<Finding>) {
    let cause = |code: &str| {
        findings
            .iter()
            .find(|finding| finding.code == code)
            .map(Finding::as_cause)
    };
    let family = cause("libc-family");
    let missing = cause("library-missing");
    let machine = cause("wrong-machine");
    let truncated = cause("truncated");
    let invalid = cause("elf-invalid");
    let versions: Vec<Cause> = findings
        .iter()
        .filter(|finding| finding.code == "version-missing")
        .map(Finding::as_cause)
        .collect();
    for finding in findings.iter_mut() {
        let short = finding.subject.rsplit('/').next().unwrap_or_default();
        let is_of_libc = libc_names::belongs_to_other_family(process.platform.family, short);
        let version = finding.version.as_ref();
        let version = version.and_then(|version| versions.iter().find(|cause| cause.subject == *version));
        finding.because_of = match finding.code {
            "library-missing" | "symbol-not-found" | "version-missing" | "elf-invalid"
                if is_of_libc && family.is_some() =>
            {
                family.clone()
            }
            // What is behind the end of the file is not there.
            "symbol-not-found" | "contract-symbol" if truncated.is_some() => truncated.clone(),
            // What was linked against musl has no versions.
            "relocation-unsupported" | "old-symbol-version" if family.is_some() && machine.is_none() => family.clone(),
            "relocation-unsupported" | "symbol-not-found" | "static-tls-opened" if machine.is_some() => machine.clone(),
            "symbol-not-found" if version.is_some() => version.cloned(),
            "symbol-not-found" | "contract-symbol" if missing.is_some() => missing.clone(),
            "symbol-not-found" if invalid.is_some() => invalid.clone(),
            _ => None,
        };
    }
    let (mut roots, consequences): (Vec<_>, Vec<_>) = std::mem::take(findings)
        .into_iter()
        .partition(|finding| finding.because_of.is_none());
    // What decides comes first, in the order of the loader.
    roots.sort_by_key(|finding| finding.verdict <= Verdict::Unknown);
    let mut by_cause: HashMap<(&'static str, String), VecDeque<Finding>> = HashMap::new();
    for finding in consequences {
        if let Some(cause) = &finding.because_of {
            let key = (cause.code, cause.subject.clone());
            by_cause.entry(key).or_default().push_back(finding);
        }
    }
    // Each is told once, behind the first that it follows from.
    let mut pending: VecDeque<Finding> = roots.into();
    while let Some(finding) = pending.pop_front() {
        let own = by_cause.remove(&(finding.code, finding.subject.clone()));
        findings.push(finding);
        for consequence in own.into_iter().flatten().rev() {
            pending.push_front(consequence);
        }
    }
}

/// What happens first, by findings in the order in which the loader meets them within each phase; `verdict` is the worst of
/// them.
#[must_use]
pub fn predict(verdict: Verdict, findings: &[Finding]) -> Predicted {
    let told = findings
        .iter()
        .filter(|finding| finding.verdict == verdict && verdict > Verdict::Unknown)
        .filter_map(|finding| Some((finding.order, finding.predicted.clone()?)));
    let nothing = Predicted {
        phase: Phase::None,
        message: None,
    };
    told.min_by_key(|(order, predicted)| (predicted.phase, *order))
        .map_or(nothing, |(_, predicted)| predicted)
}
