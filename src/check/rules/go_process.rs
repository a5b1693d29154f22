//! What Go's runtime does with plugins that a host opens one after the other.
//!
//! Source: `plugin/plugin_dlopen.go` and `runtime/plugin.go` of Go 1.24; earlier versions do the same.

use std::collections::HashMap;

use super::go_side::GoSide;
use super::{
    go_amd64_level, go_dependency, go_difference, go_host_cannot_load_plugins, go_import_path, go_not_a_plugin,
    go_package_hash, go_plugin_path, go_version,
};
use crate::check::{Finding, Phase, Verdict};
use crate::facts::go::Hash;

/// A host with the plugins that it has opened so far.
#[derive(Debug, Clone)]
pub struct GoProcess<'a> {
    host: GoSide<'a>,
    /// The hashes that the dynamic linker resolves to: the first that was loaded counts, also if its plugin was refused.
    present: HashMap<&'a str, (&'a Hash, GoSide<'a>)>,
    /// The plugins that the runtime has taken, by their paths.
    taken: HashMap<String, GoSide<'a>>,
    /// What became of the files, by the loader's name for them.
    answers: HashMap<&'a str, Answer>,
    /// Whether the module that was loaded last was taken; false if there is none.
    is_last_good: bool,
}

/// What `plugin.Open` answered.
#[derive(Debug, Clone)]
enum Answer {
    Taken,
    Refused(Finding),
    /// It found no symbols, and whoever opens the file again waits for them.
    Unfinished(Finding),
}

impl<'a> GoProcess<'a> {
    /// A host that has opened nothing yet.
    #[must_use]
    pub fn new(host: GoSide<'a>) -> Self {
        let mut process = Self {
            host,
            present: HashMap::new(),
            taken: HashMap::new(),
            answers: HashMap::new(),
            is_last_good: false,
        };
        process.add_hashes(host);
        process
    }

    /// Says why the host can open no plugin at all, if it cannot; the dynamic loader is not asked then.
    #[must_use]
    pub fn unable(&self, plugin: &GoSide) -> Option<Finding> {
        go_host_cannot_load_plugins::check(&self.host, plugin)
    }

    /// Opens a plugin, and says what comes of it. The dynamic loader must have opened the file: one that it refuses is not
    /// to be given here. A plugin that would end the process counts as not opened for those after it.
    pub fn open(&mut self, plugin: GoSide<'a>) -> Vec<Finding> {
        if let Some(finding) = self.unable(&plugin) {
            return vec![finding];
        }
        if let Some(answer) = self.answers.get(plugin.path) {
            return again(&plugin, answer);
        }
        let (findings, answer) = self.first_time(plugin);
        if let Some(answer) = answer {
            self.answers.insert(plugin.path, answer);
        }
        findings
    }

    fn first_time(&mut self, plugin: GoSide<'a>) -> (Vec<Finding>, Option<Answer>) {
        if let Some(finding) = go_not_a_plugin::check(&plugin, self.is_last_good) {
            let survives = self.is_last_good;
            if survives {
                self.add_hashes(plugin);
            }
            return (vec![finding.clone()], survives.then_some(Answer::Refused(finding)));
        }
        self.add_hashes(plugin);
        let path = go_plugin_path::path(&plugin);
        let refused = match self.taken.get(&path) {
            Some(first) => Some(go_plugin_path::duplicate(&plugin, first)),
            None => {
                let differences = go_difference::compare(&plugin, |package| self.present.get(package).copied());
                go_package_hash::check(&plugin, &differences)
            }
        };
        if let Some(finding) = refused {
            self.is_last_good = false;
            return (vec![finding.clone()], Some(Answer::Refused(finding)));
        }
        self.is_last_good = true;
        let mut findings = self.silent_differences(&plugin);
        self.taken.insert(path, plugin);
        match go_plugin_path::renamed(&plugin, &self.host) {
            Some(finding) => {
                findings.insert(0, finding.clone());
                (findings, Some(Answer::Unfinished(finding)))
            }
            None => (findings, Some(Answer::Taken)),
        }
    }

    /// What differs though the runtime sees nothing: from the host, and from earlier plugins in what the host lacks.
    fn silent_differences(&self, plugin: &GoSide<'a>) -> Vec<Finding> {
        let host = &self.host;
        let mut findings: Vec<Finding> = go_version::check(host, plugin).into_iter().collect();
        findings.extend(go_amd64_level::check(host, plugin));
        findings.extend(go_dependency::check(host, plugin));
        findings.extend(go_import_path::check(host, plugin));
        // What the host has is the host's copy for all of them, so only what it lacks is between plugins.
        let is_in_host = |subject: &str| {
            let packages = host.go.into_iter().flat_map(|go| go.packages.keys());
            let mut packages = packages.filter(|package| go_dependency::is_within(package, subject));
            packages.next().is_some()
        };
        let mut earlier: Vec<&GoSide> = self.taken.values().collect();
        earlier.sort_by_key(|side| side.shown);
        for other in earlier {
            let between = go_dependency::check(other, plugin)
                .into_iter()
                .chain(go_import_path::check(other, plugin));
            for finding in between.filter(|finding| !is_in_host(&finding.subject)) {
                if findings.iter().all(|said| said.subject != finding.subject) {
                    findings.push(finding);
                }
            }
        }
        findings
    }

    fn add_hashes(&mut self, side: GoSide<'a>) {
        for (package, hash) in side.go.into_iter().flat_map(|go| &go.packages) {
            self.present.entry(package).or_insert((hash, side));
        }
    }
}

/// The answer for a file that was opened before: the runtime remembers it.
fn again(plugin: &GoSide, answer: &Answer) -> Vec<Finding> {
    match answer {
        Answer::Taken => vec![],
        Answer::Refused(first) => {
            let words = first
                .predicted
                .as_ref()
                .and_then(|predicted| predicted.message.as_deref());
            let why = words
                .and_then(|words| words.split_once("\"): "))
                .map_or("", |(_, why)| why);
            let message = format!("plugin.Open(\"{}\"): {why} (previous failure)", plugin.shown);
            vec![first.clone().predicted(Phase::Load, Some(message))]
        }
        Answer::Unfinished(first) => {
            let title = format!(
                "`{}` was opened before and never finished; opening it again waits for ever",
                plugin.shown
            );
            let mut finding = Finding::new(first.code, Verdict::Refuse, first.subject.clone(), title);
            finding.evidence = first.evidence.clone();
            finding.hint = first.hint.clone();
            vec![finding.predicted(Phase::Load, None)]
        }
    }
}
