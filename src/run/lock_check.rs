//! `lock --check`: whether the lock fits the project, from the files alone.

use std::collections::BTreeMap;

use super::RunError;
use super::images::LockReport;
use super::making::recipe_digest;
use super::sources::scan;
use crate::config::Project;
use crate::lock::{self, Change};

/// Compares recipes and sources with what the lock says of the project's default environments and of those it has.
///
/// # Errors
/// When the lock or a file of the project cannot be read.
pub fn check_lock(project: &Project) -> Result<LockReport, RunError> {
    let lock = lock::read(&lock::lock_path(&project.file))?.unwrap_or_default();
    let sources = scan(project)?;
    let mut report = LockReport {
        schema_version: 1,
        environments: BTreeMap::new(),
    };
    for (name, environment) in &project.environments {
        let Some(entry) = lock.environments.get(name) else {
            if project.default.contains(name) {
                let missing = Change {
                    subject: format!("environment {name}"),
                    before: Some("not in the lock".to_owned()),
                    after: None,
                };
                report.environments.insert(name.clone(), vec![missing]);
            }
            continue;
        };
        let mut changes = Vec::new();
        for (role, recipe, locked) in [
            ("build", &environment.build, &entry.build),
            ("runtime", &environment.runtime, &entry.runtime),
        ] {
            let digest = recipe_digest(project, recipe)?;
            changes.extend(change(
                &format!("{role} recipe"),
                Some(locked.recipe.short()),
                Some(digest.short()),
            ));
        }
        for unit in project.units() {
            let source = sources.get(&unit.name).map(|(_, source)| source.digest.short());
            let locked = entry.units.get(&unit.name).map(|unit| unit.source.short());
            changes.extend(change(&format!("unit {} source", unit.name), locked, source));
        }
        let gone = entry.units.keys().filter(|name| !sources.contains_key(name));
        changes.extend(gone.map(|name| Change {
            subject: format!("unit {name}"),
            before: Some("locked".to_owned()),
            after: None,
        }));
        report.environments.insert(name.clone(), changes);
    }
    Ok(report)
}

fn change(subject: &str, before: Option<String>, after: Option<String>) -> Option<Change> {
    (before != after).then(|| Change {
        subject: subject.to_owned(),
        before,
        after,
    })
}
