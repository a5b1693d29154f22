//! What the scripts of this module do, for the fake engine, which has no shell. That the real scripts do the same is shown
//! by the tests on the real engine.

use super::{COMMIT_SCRIPT, DISCARD_SCRIPT, TAKE_SCRIPT, TIDY_SCRIPT};
use crate::engine::Executed;
use crate::engine::fake::{FakeEngine, Files, Node};

/// The role of the containers in which the scripts run.
const ROLE: &str = "bundle";

/// An engine in which volumes change as the scripts say.
pub(crate) fn with_volumes(engine: FakeEngine) -> FakeEngine {
    engine.on_exec(ROLE, run)
}

fn run(command: &[String], files: &mut Files) -> Executed {
    let argument = |number: usize| command.get(4 + number).cloned().unwrap_or_default();
    let script = command[3].as_str();
    if script == TIDY_SCRIPT {
        tidy(files);
    } else if script == TAKE_SCRIPT {
        let release = format!("releases/{}", argument(1));
        remove(files, &release);
        rename(files, "incoming", &release);
    } else if script == COMMIT_SCRIPT {
        let release = format!("releases/{}", argument(1));
        if !files.contains_key(&format!("{release}/manifest.json")) {
            let output = format!("{release} is not there\n");
            return Executed { status: 1, output };
        }
        let before = link(files, "current");
        files.insert("instance".to_owned(), text(&argument(3)));
        files.insert(
            "publishers".to_owned(),
            text(&format!("{} {}", argument(1), argument(2))),
        );
        if before.as_ref() != Some(&release) {
            files.extend(before.map(|before| ("previous".to_owned(), Node::Link(before))));
            files.insert("current".to_owned(), Node::Link(release));
        }
        tidy(files);
    } else if script == DISCARD_SCRIPT {
        let release = format!("releases/{}", argument(1));
        remove(files, "incoming");
        if link(files, "current").as_ref() != Some(&release) && link(files, "previous").as_ref() != Some(&release) {
            remove(files, &release);
        }
    } else {
        panic!("no such script: {script}");
    }
    Executed {
        status: 0,
        output: String::new(),
    }
}

fn text(line: &str) -> Node {
    Node::text(format!("{line}\n"))
}

fn link(files: &Files, name: &str) -> Option<String> {
    match files.get(name) {
        Some(Node::Link(target)) => Some(target.clone()),
        _ => None,
    }
}

fn tidy(files: &mut Files) {
    let kept = [link(files, "current"), link(files, "previous")];
    if kept[0].is_none() {
        remove(files, "current");
    }
    remove(files, "incoming");
    files.retain(|path, _| {
        let mut steps = path.splitn(3, '/');
        let release = match (steps.next(), steps.next()) {
            (Some("releases"), Some(release)) => format!("releases/{release}"),
            _ => return true,
        };
        kept.iter().flatten().any(|kept| *kept == release)
    });
}

fn remove(files: &mut Files, path: &str) {
    files.retain(|other, _| other != path && !other.starts_with(&format!("{path}/")));
}

fn rename(files: &mut Files, from: &str, to: &str) {
    let moved: Vec<(String, Node)> = files
        .iter()
        .filter_map(|(path, node)| Some((format!("{to}{}", path.strip_prefix(from)?), node.clone())))
        .collect();
    remove(files, from);
    files.extend(moved);
}
