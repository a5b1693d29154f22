//! The report of `check`: its form for scripts, and for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use console::style;
use serde::Serialize;

use crate::check::{Cause, Finding, PairReport, Phase, Predicted, Rule, Verdict, readable_symbol};
use crate::counted::counted;
use crate::printable::printable;

/// The version of the form for scripts.
const SCHEMA_VERSION: u32 = 1;
/// How many lines of evidence are shown for people; scripts get all.
const EVIDENCE_LIMIT_LINES: usize = 12;
/// How many findings of one rule are shown of a plugin for people.
const SAME_LIMIT_COUNT: usize = 5;
/// Of how many more things the same is said in one line.
const SUBJECTS_LIMIT_COUNT: usize = 8;
/// The width of explanations.
const WIDTH_COLUMNS: usize = 100;

/// What was found, as scripts rely on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The version of this form.
    pub schema_version: u32,
    /// The worst of the pairs.
    pub verdict: Verdict,
    /// Every host with every plugin.
    pub pairs: Vec<PairRecord>,
}

/// A host with a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairRecord {
    /// The host, as it was given.
    pub host: String,
    /// The plugin, as it was given.
    pub plugin: String,
    /// Whether it is no plugin but lies beside one, or beside the host.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_companion: bool,
    /// The worst of the findings.
    pub verdict: Verdict,
    /// What will happen, for the first cause.
    pub predicted: Predicted,
    /// The findings: each root, followed by its consequences.
    pub findings: Vec<FindingRecord>,
    /// The codes of what was found, but is allowed, and so counts for nothing; what follows from it does not count either.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed: BTreeSet<&'static str>,
    /// What was found of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_findings: Vec<FindingRecord>,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingRecord {
    /// The rule.
    pub code: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What it is about.
    pub subject: String,
    /// What is wrong, in one sentence.
    pub title: String,
    /// What was seen where.
    pub evidence: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The code of the finding of which this is a consequence.
    pub because_of: Option<&'static str>,
    /// Whether it is the host that is wrong, whatever is opened.
    #[serde(skip)]
    pub is_of_host: bool,
}

impl CheckReport {
    /// Leaves out what is allowed.
    #[must_use]
    pub fn new(pairs: Vec<PairReport>, allowed: &BTreeSet<String>) -> Self {
        let pairs: Vec<PairRecord> = pairs.into_iter().map(|pair| PairRecord::new(pair, allowed)).collect();
        Self {
            schema_version: SCHEMA_VERSION,
            verdict: pairs.iter().map(|pair| pair.verdict).max().unwrap_or(Verdict::Ok),
            pairs,
        }
    }

    /// What was looked at: `3 plugins`, or `3 plugins and 2 files beside`.
    #[must_use]
    pub fn subjects(&self) -> String {
        let companions = self.pairs.iter().filter(|pair| pair.is_companion).count();
        let plugins = counted(self.pairs.len() - companions, "plugin");
        match companions {
            0 => plugins,
            companions => format!("{plugins} and {} beside", counted(companions, "file")),
        }
    }
}

impl PairRecord {
    fn new(pair: PairReport, allowed: &BTreeSet<String>) -> Self {
        // Who allows a danger has not allowed a refusal that follows from it.
        let allowed_causes: Vec<(&str, Verdict)> = pair
            .findings
            .iter()
            .filter(|finding| allowed.contains(finding.code))
            .map(|finding| (finding.code, finding.verdict))
            .collect();
        let is_allowed = |finding: &Finding| {
            let follows = |cause: &Cause| {
                let mut causes = allowed_causes.iter();
                causes.any(|(code, verdict)| *code == cause.code && finding.verdict <= *verdict)
            };
            allowed.contains(finding.code) || finding.because_of.as_ref().is_some_and(follows)
        };
        let (left_out, findings): (Vec<Finding>, Vec<Finding>) = pair.findings.into_iter().partition(is_allowed);
        Self {
            host: pair.host,
            plugin: pair.plugin,
            is_companion: pair.is_companion,
            verdict: findings
                .iter()
                .map(|finding| finding.verdict)
                .max()
                .unwrap_or(Verdict::Ok),
            // It happens all the same.
            predicted: pair.predicted,
            findings: findings
                .into_iter()
                .map(FindingRecord::from)
                .map(|finding| FindingRecord {
                    // A cause that is allowed is not told with the others.
                    because_of: finding.because_of.filter(|code| !allowed.contains(*code)),
                    ..finding
                })
                .collect(),
            allowed: left_out.iter().map(|finding| finding.code).collect(),
            allowed_findings: left_out.into_iter().map(FindingRecord::from).collect(),
        }
    }
}

impl From<Finding> for FindingRecord {
    fn from(finding: Finding) -> Self {
        Self {
            code: finding.code,
            verdict: finding.verdict,
            subject: finding.subject,
            title: finding.title,
            evidence: finding.evidence,
            hint: finding.hint,
            because_of: finding.because_of.map(|cause| cause.code),
            is_of_host: finding.is_of_host,
        }
    }
}

/// The report for people: every finding with its evidence, then a line for what is well.
#[must_use]
pub fn render_check(report: &CheckReport) -> String {
    let mut text = render_findings(report);
    let is_well = |pair: &&PairRecord| pair.findings.is_empty() && pair.allowed.is_empty();
    let well = report.pairs.iter().filter(is_well).count();
    if well == report.pairs.len() {
        let _ = writeln!(text, "{}: {} will load", style("ok").green().bold(), report.subjects());
    } else {
        let mut words: Vec<String> = vec![];
        let is_allowed = |pair: &&PairRecord| pair.findings.is_empty() && !pair.allowed.is_empty();
        for verdict in [Verdict::Refuse, Verdict::Danger, Verdict::Unknown, Verdict::Ok] {
            let of_verdict = report.pairs.iter().filter(|pair| pair.verdict == verdict);
            let count = of_verdict.filter(|pair| !is_allowed(pair)).count();
            if count > 0 {
                words.push(format!("{count} {}", verdict.word()));
            }
        }
        let allowed = report.pairs.iter().filter(is_allowed).count();
        if allowed > 0 {
            words.push(format!("{allowed} allowed"));
        }
        let _ = writeln!(text, "{}: {}", report.subjects(), words.join(" · "));
    }
    text
}

/// Every finding with its evidence.
#[must_use]
pub fn render_findings(report: &CheckReport) -> String {
    let mut text = String::new();
    let mut last: Option<&PairRecord> = None;
    for pair in &report.pairs {
        if pair.findings.is_empty() && pair.allowed.is_empty() {
            continue;
        }
        // What is wrong with the host is said once, not of each plugin.
        if last.is_some_and(|last| is_the_same_of_host(last, pair)) {
            continue;
        }
        last = Some(pair);
        let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
        for group in groups(&pair.findings) {
            let count = shown.entry(group.roots[0].code).or_default();
            *count += 1;
            if *count <= SAME_LIMIT_COUNT {
                finding(&mut text, pair, &group);
            }
        }
        for (code, count) in shown.iter().filter(|(_, count)| **count > SAME_LIMIT_COUNT) {
            let _ = writeln!(
                text,
                "… and {} more {code}: --format json has all",
                count - SAME_LIMIT_COUNT
            );
        }
        for finding in pair.allowed_findings.iter().take(SAME_LIMIT_COUNT) {
            let _ = writeln!(text, "allowed[{}]: {}", finding.code, printable(&finding.title));
            let _ = writeln!(text, "  --> {}", printable(&pair.plugin));
        }
        if pair.allowed_findings.len() > SAME_LIMIT_COUNT {
            let more = pair.allowed_findings.len() - SAME_LIMIT_COUNT;
            let _ = writeln!(text, "… and {more} more that are allowed: --format json has all");
        }
        if let Some(message) = &pair.predicted.message {
            let _ = writeln!(
                text,
                "  = {} will say: {}",
                speaker(pair.predicted.phase),
                printable(message)
            );
        } else if pair.verdict == Verdict::Refuse {
            let _ = writeln!(
                text,
                "  = nothing will be said: the process ends by a signal, or the message is not fixed"
            );
        }
        text.push('\n');
    }
    text
}

/// Whether two pairs have the same to say, and it is about their host alone.
fn is_the_same_of_host(one: &PairRecord, other: &PairRecord) -> bool {
    let is_of_host = one.findings.iter().all(|finding| finding.is_of_host);
    is_of_host
        && one.allowed.is_empty()
        && (&one.host, &one.findings, &one.predicted, &one.allowed)
            == (&other.host, &other.findings, &other.predicted, &other.allowed)
}

/// A root cause, or several of which the same is said but for the subject, and what follows from them.
struct Group<'a> {
    roots: Vec<&'a FindingRecord>,
    consequences: Vec<&'a FindingRecord>,
}

/// The root causes: what to do about one of a group is what to do about all. A root's consequences come right behind it.
fn groups(findings: &[FindingRecord]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = vec![];
    let mut places: BTreeMap<(&str, Verdict, Option<&str>, String), usize> = BTreeMap::new();
    let mut current = 0;
    for finding in findings {
        if finding.because_of.is_some()
            && let Some(group) = groups.get_mut(current)
        {
            group.consequences.push(finding);
            continue;
        }
        let said = finding.title.replace(&finding.subject, "");
        let key = (finding.code, finding.verdict, finding.hint.as_deref(), said);
        current = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(current) {
            Some(group) => group.roots.push(finding),
            None => groups.push(Group {
                roots: vec![finding],
                consequences: vec![],
            }),
        }
    }
    groups
}

/// A root cause with its evidence and what follows from it, and of what else the same is said.
fn finding(text: &mut String, pair: &PairRecord, group: &Group<'_>) {
    let root = group.roots[0];
    let head = paint(root.verdict, &format!("{}[{}]", root.verdict.word(), root.code));
    let _ = writeln!(text, "{head}: {}", printable(&root.title));
    let place = if root.is_of_host { &pair.host } else { &pair.plugin };
    let _ = writeln!(text, "  --> {}", printable(place));
    for line in root.evidence.iter().take(EVIDENCE_LIMIT_LINES) {
        let _ = writeln!(text, "   |  {}", printable(line));
    }
    if root.evidence.len() > EVIDENCE_LIMIT_LINES {
        let _ = writeln!(text, "   |  … and {} more", root.evidence.len() - EVIDENCE_LIMIT_LINES);
    }
    if let Some(others) = others(&group.roots) {
        let _ = writeln!(text, "   |  the same of {others}");
    }
    let mut by_code: Vec<Vec<&FindingRecord>> = vec![];
    for consequence in &group.consequences {
        let is_same = |known: &&mut Vec<&FindingRecord>| {
            (known[0].code, known[0].verdict) == (consequence.code, consequence.verdict)
        };
        match by_code.iter_mut().find(is_same) {
            Some(known) => known.push(consequence),
            None => by_code.push(vec![consequence]),
        }
    }
    for consequences in by_code {
        let first = consequences[0];
        let head = format!("{}[{}]", first.verdict.word(), first.code);
        let _ = writeln!(text, "   +  {head}: {}", printable(&first.title));
        if let Some(others) = others(&consequences) {
            let _ = writeln!(text, "   +  {head} of {others} as well");
        }
    }
    if let Some(hint) = &root.hint {
        let _ = writeln!(text, "  hint: {}", printable(hint));
    }
}

/// The subjects of all but the first; none if they have no other.
fn others(findings: &[&FindingRecord]) -> Option<String> {
    let first = findings.first()?;
    let subjects = findings.iter().map(|finding| finding.subject.as_str());
    let others: BTreeSet<&str> = subjects.filter(|subject| *subject != first.subject).collect();
    let named: Vec<String> = others
        .iter()
        .take(SUBJECTS_LIMIT_COUNT)
        .map(|subject| readable_symbol(subject).unwrap_or_else(|| (*subject).to_owned()))
        .map(|subject| format!("`{}`", printable(&subject)))
        .collect();
    let more = match others.len().saturating_sub(SUBJECTS_LIMIT_COUNT) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
}

fn paint(verdict: Verdict, head: &str) -> String {
    let head = style(head).bold();
    match verdict {
        Verdict::Refuse => head.red(),
        Verdict::Danger => head.magenta(),
        Verdict::Unknown => head.yellow(),
        Verdict::Ok => head.green(),
    }
    .to_string()
}

fn speaker(phase: Phase) -> &'static str {
    match phase {
        Phase::Exec => "starting the host",
        Phase::Load => "opening the plugin",
        Phase::Symbol => "looking up the symbol",
        Phase::Call => "the call",
        Phase::None => "nobody",
    }
}

/// One rule at length.
#[must_use]
pub fn explain_rule(rule: &Rule) -> String {
    let mut text = format!("{}: {}\n", style(rule.code).bold(), rule.description);
    for paragraph in rule.explanation.split("\n\n") {
        text.push('\n');
        for line in wrap(paragraph) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// All rules, a line each.
#[must_use]
pub fn list_rules(rules: &[Rule]) -> String {
    let width = rules.iter().map(|rule| rule.code.len()).max().unwrap_or(0);
    let mut text = String::new();
    for rule in rules {
        let _ = writeln!(text, "{:<width$}  {}", rule.code, rule.description);
    }
    text
}

fn wrap(paragraph: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in paragraph.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + 1 + word.chars().count() > WIDTH_COLUMNS {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}
