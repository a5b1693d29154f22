//! How a matched image starts: as what was tested, unless the project says otherwise. Pure.

use std::collections::BTreeMap;

use super::container::OWNER;
use crate::config::{PLUGINS_PLACEHOLDER, Program, Project};

/// What containers of a matched image start with; what is none stays as the runtime image has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// The program.
    pub(super) entry_point: Option<Vec<String>>,
    /// Its arguments when the user gives none.
    pub(super) command: Option<Vec<String>>,
    /// Variables that are added or replaced.
    pub(super) env: BTreeMap<String, String>,
    /// Who it runs as.
    pub(super) user: Option<String>,
}

/// How the matched image of a project starts in which the bundle is in `directory`.
pub(super) fn start(project: &Project, directory: &str) -> Start {
    let plugins = project.host.install.as_deref().unwrap_or(directory);
    let filled = |word: &String| word.replace(PLUGINS_PLACEHOLDER, plugins);
    let all = |words: &Vec<String>| words.iter().map(filled).collect::<Vec<_>>();
    let tested = match (&project.smoke, &project.host.program) {
        (Some(smoke), _) => {
            let mut words = smoke.command.iter().map(filled);
            let program = words.next().map(|word| project.host.resolve(&word, directory));
            Start {
                entry_point: program.map(|program| vec![program]),
                command: Some(words.collect()),
                env: smoke
                    .env
                    .iter()
                    .map(|(name, value)| (name.clone(), filled(value)))
                    .collect(),
                user: Some(format!("{}:{}", OWNER.uid, OWNER.gid)),
            }
        }
        (None, Program::Compiled(_)) => Start {
            entry_point: Some(vec![project.host.path_in(directory)]),
            command: Some(vec![]),
            ..Start::default()
        },
        // What the runtime image starts is likely to be the host, with the arguments that it needs.
        (None, Program::Runtime(_)) => Start::default(),
    };
    let said = &project.image;
    let entry_point = said.entrypoint.as_ref().map(|words| {
        let mut words = all(words);
        if let Some(program) = words.first_mut() {
            *program = project.host.resolve(program, directory);
        }
        words
    });
    Start {
        // Arguments that were meant for another program are none for this one.
        command: match (&said.cmd, &entry_point) {
            (Some(words), _) => Some(all(words)),
            (None, Some(_)) => Some(vec![]),
            (None, None) => tested.command,
        },
        entry_point: entry_point.or(tested.entry_point),
        env: tested
            .env
            .into_iter()
            .chain(said.env.iter().map(|(name, value)| (name.clone(), filled(value))))
            .collect(),
        user: said.user.clone().or(tested.user),
    }
}
