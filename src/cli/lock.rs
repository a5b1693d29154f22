//! `lockstep lock`: writes, refreshes or verifies the lock.

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::format::Format;
use super::project_run::with_run;
use super::stop::Stop;
use crate::config::Project;
use crate::counted::{counted, size};
use crate::exit::Exit;
use crate::printable::printable;
use crate::run::{LockReport, Options, Run, check_lock};

#[derive(Debug, Args)]
pub(super) struct LockArguments {
    /// Look at the world again: all environments, or the one named
    #[arg(long, value_name = "ENVIRONMENT", num_args = 0..=1, conflicts_with = "check")]
    update: Option<Option<String>>,
    /// Only say whether the lock fits the project: exit 6 if it does not
    #[arg(long)]
    check: bool,
    /// Also put every package of the lock into this directory, from which `archives:` has them again
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "check")]
    keep: Option<PathBuf>,
    /// What is printed on standard output in the end
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn lock(arguments: &LockArguments, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    if arguments.check {
        return check(project, arguments.format, world);
    }
    let asked: Vec<String> = arguments.update.clone().flatten().into_iter().collect();
    let environments = crate::plan::select(&project, &asked)?;
    let options = Options::without_compiles();
    let update = arguments.update.is_some();
    let report = with_run(project, options, world, async |run: &Run| {
        let mut report = run.lock(&environments, update).await?;
        if let Some(directory) = &arguments.keep {
            report.kept = Some(run.keep(&environments, directory).await?);
        }
        Ok(report)
    })?;
    show(&report, arguments.format, world)?;
    Ok(Exit::Ok)
}

/// What the files tell needs no engine; what they do not tell does.
fn check(project: Project, format: Format, world: &World) -> Result<Exit, Stop> {
    let mut report = check_lock(&project)?;
    if !report.has_changes() {
        let options = Options {
            locked: true,
            only_looks: true,
            ..Options::without_compiles()
        };
        report = with_run(project, options, world, Run::check_lock)?;
    }
    show(&report, format, world)?;
    Ok(if report.is_current() { Exit::Ok } else { Exit::Drift })
}

fn show(report: &LockReport, format: Format, world: &World) -> Result<(), Stop> {
    if format == Format::Json {
        return world.print_json(report);
    }
    for (environment, changes) in &report.environments {
        let unchecked = report.unchecked.get(environment).into_iter().flatten();
        if changes.is_empty() && !report.unchecked.contains_key(environment) {
            world.printer.data(&format!("{environment}: as locked\n"));
        } else {
            world.printer.data(&format!("{environment}:\n"));
        }
        for change in changes {
            world.printer.data(&format!("  {change}\n"));
        }
        for reason in unchecked {
            world
                .printer
                .data(&format!("  not checked: {}\n", printable(&reason.to_string())));
        }
    }
    if let Some(kept) = &report.kept {
        let (packages, size) = (counted(kept.packages, "package"), size(kept.size_bytes));
        let directory = printable(&kept.directory.to_string_lossy()).into_owned();
        let line = format!("{directory}: {packages} · {size} · {} added\n", kept.added);
        world.printer.data(&line);
        for image in &kept.images {
            let line = format!("  not kept: {} is not made from packages\n", printable(image));
            world.printer.data(&line);
        }
    }
    Ok(())
}
