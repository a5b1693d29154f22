//! How a matched image starts: as what was tested, unless the project says otherwise. Pure.

use std::collections::BTreeMap;

use super::container::OWNER;
use super::placed::{BUNDLE_PATH, plugins_directory};
use crate::config::{PLUGINS_PLACEHOLDER, Program, Project, Smoke};

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
    /// Where it starts.
    pub(super) directory: Option<String>,
}

/// How the matched image of a project starts.
pub(super) fn start(project: &Project) -> Start {
    let directory = BUNDLE_PATH;
    let plugins = plugins_directory(project);
    let filled = |word: &String| word.replace(PLUGINS_PLACEHOLDER, plugins);
    let all = |words: &Vec<String>| words.iter().map(filled).collect::<Vec<_>>();
    let step = project.smoke.as_ref().and_then(Smoke::started);
    let tested = match (step.map(|step| &step.invocation), &project.host.program) {
        (Some(tested), _) => {
            let mut words = tested.command.iter().map(filled);
            let program = words.next().map(|word| project.host.resolve(&word, directory));
            Start {
                entry_point: program.map(|program| vec![program]),
                command: Some(words.collect()),
                env: tested
                    .env
                    .iter()
                    .map(|(name, value)| (name.clone(), filled(value)))
                    .collect(),
                user: Some(
                    tested
                        .user
                        .clone()
                        .unwrap_or_else(|| format!("{}:{}", OWNER.uid, OWNER.gid)),
                ),
                directory: tested.cwd.clone(),
            }
        }
        (None, Program::Compiled(_) | Program::Brought(_)) => Start {
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
        directory: tested.directory,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Found, Surroundings, parse};

    const COMPILED: &str = "host: {language: c, source: ., artifacts: [app]}";
    const PRESENT: &str = "host: {from: runtime, path: /usr/sbin/nginx, install: /usr/lib/nginx/modules}";
    const SMOKE: &str = "smoke: {command: [app, -d, '{plugins}'], env: {WHERE: 'at {plugins}'}, expect: {}}";

    fn started(rest: &[&str]) -> String {
        let text = format!(
            "version: 1\nproject: x\nenvironments: {{one: {{build: {{image: a}}, runtime: {{image: b}}}}}}\n\
             plugins: [{{name: p, language: c, source: ., artifacts: [p.so]}}]\n\
             contract: {{loader: dlopen, abi: c}}\n{}\n",
            rest.join("\n")
        );
        let surroundings = Surroundings {
            file: Path::new("/x/lockstep.yaml"),
            directory: Path::new("/x"),
            shown: "lockstep.yaml",
            builtin: &[],
            architecture: "amd64",
            find: &|_| Found::Directory,
        };
        let (project, problems) = parse(text.as_bytes(), &surroundings);
        assert_eq!(problems, []);
        let Start {
            entry_point,
            command,
            env,
            user,
            directory,
        } = start(&project.unwrap());
        let words = |words: Option<Vec<String>>| words.map_or("-".to_owned(), |words| words.join(" "));
        let env: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let place = directory.map_or_else(String::new, |directory| format!(" | {directory}"));
        format!(
            "{} | {} | {} | {}{place}",
            words(entry_point),
            words(command),
            env.join(" "),
            user.unwrap_or_default()
        )
    }

    #[test]
    fn an_image_starts_what_was_tested() {
        assert_eq!(
            started(&[COMPILED, SMOKE]),
            "/bundle/current/app | -d /bundle/current | WHERE=at /bundle/current | 1000:1000"
        );
        let nginx = "smoke: {command: [nginx, -t], expect: {}}";
        assert_eq!(started(&[PRESENT, nginx]), "/usr/sbin/nginx | -t |  | 1000:1000");
        // A program that belongs to nobody is searched for as in the test.
        let shell = "smoke: {command: [sh, -c, 'ls {plugins}'], expect: {}}";
        assert_eq!(
            started(&[PRESENT, shell]),
            "sh | -c ls /usr/lib/nginx/modules |  | 1000:1000"
        );
        assert_eq!(started(&[COMPILED]), "/bundle/current/app |  |  | ");
        assert_eq!(started(&[PRESENT]), "- | - |  | ");
    }

    #[test]
    fn of_several_steps_an_image_starts_the_last_server_or_else_the_last_command() {
        let smoke = "smoke:\n  - {setup: [initdb], user: postgres}\n  \
                     - {serve: [postgres, -D, /data], user: postgres, cwd: /data, env: {A: '{plugins}'}, ready: {tcp: 1}}\n  \
                     - {run: [ls], user: '7'}\n";
        assert_eq!(
            started(&[PRESENT, smoke]),
            "postgres | -D /data | A=/usr/lib/nginx/modules | postgres | /data"
        );
        let commands = "smoke: [{run: [nginx, -t]}, {run: [nginx, -T], user: 7}, {setup: [ls]}]";
        assert_eq!(started(&[PRESENT, commands]), "/usr/sbin/nginx | -T |  | 7");
    }

    #[test]
    fn a_project_may_say_otherwise() {
        let image = "image: {entrypoint: [app, --serve], env: {MORE: '1'}, user: www}";
        assert_eq!(
            started(&[COMPILED, SMOKE, image]),
            "/bundle/current/app --serve |  | MORE=1 WHERE=at /bundle/current | www"
        );
        assert_eq!(
            started(&[COMPILED, SMOKE, "image: {cmd: [--help]}"]),
            "/bundle/current/app | --help | WHERE=at /bundle/current | 1000:1000"
        );
    }
}
