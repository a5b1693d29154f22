//! `lockstep clean`: removes what carries the project's label, and shows it.

use std::time::Duration;

use console::style;
use serde::Serialize;

use super::schema::Format;
use super::stop::Stop;
use super::{World, runtime};
use crate::clean::{self, CleanError, Item, Scope};
use crate::config::Project;
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::report::Failure;
use crate::run::RunError;
use crate::state::{ProjectLock, STATE_DIRECTORY};

/// Who cleans up does not wait for a run that may take half an hour.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How wide kinds and names are, so that notes line up.
const KIND_WIDTH_COLUMNS: usize = 10;
const NAME_WIDTH_COLUMNS: usize = 44;

/// What `clean` takes.
#[derive(Debug, clap::Args)]
pub(super) struct CleanArguments {
    /// Only list what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Also remove what all projects share: the cache of root filesystems and packages
    #[arg(long)]
    all_cache: bool,
    /// What the list looks like
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// One thing and what became of it.
#[derive(Serialize)]
struct Outcome<'item> {
    item: &'item Item,
    removed: bool,
    error: Option<String>,
}

/// The list for scripts.
#[derive(Serialize)]
struct Report<'item> {
    schema_version: u32,
    project: String,
    dry_run: bool,
    items: Vec<Outcome<'item>>,
}

/// Removes, or lists.
pub(super) fn clean(arguments: &CleanArguments, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    runtime::block_on(|_| remove(arguments, world, &project))
}

async fn remove(arguments: &CleanArguments, world: &World, project: &Project) -> Result<Exit, Stop> {
    let scope = Scope {
        project: project.name.clone(),
        environments: project.environments.keys().cloned().collect(),
    };
    let engine = Docker::connect(&world.context.variables)
        .await
        .map_err(RunError::from)?;
    let mut items = clean::find(&engine, &scope).await.map_err(RunError::from)?;
    let of_files = |error: std::io::Error| {
        Failure::new(
            Exit::Internal,
            "file",
            format!("failed to list {}: {error}", project.directory.display()),
        )
    };
    items.extend(clean::directories(&project.directory, &scope).map_err(of_files)?);
    let cache = &world.context.cache_directory;
    if arguments.all_cache && cache.exists() {
        items.push(Item::Directory { path: cache.clone() });
    }
    if arguments.dry_run {
        let outcomes = items
            .iter()
            .map(|item| Outcome {
                item,
                removed: false,
                error: None,
            })
            .collect();
        show(arguments, world, project, outcomes);
        return Ok(Exit::Ok);
    }
    // A run that goes on would lose its containers under its feet.
    let _lock = if project.directory.join(STATE_DIRECTORY).exists() {
        let lock = ProjectLock::acquire(&project.directory, "lockstep clean", |_| {}, LOCK_TIMEOUT);
        Some(lock.await.map_err(RunError::from)?)
    } else {
        None
    };
    let mut outcomes = Vec::new();
    let mut exit = Exit::Ok;
    for item in &items {
        let error = clean::remove(&engine, item).await.err();
        exit = exit.max(match &error {
            None => Exit::Ok,
            Some(CleanError::Engine(_)) => Exit::Engine,
            Some(CleanError::File { .. }) => Exit::Internal,
        });
        outcomes.push(Outcome {
            item,
            removed: error.is_none(),
            error: error.map(|error| error.to_string()),
        });
    }
    show(arguments, world, project, outcomes);
    Ok(exit)
}

fn show(arguments: &CleanArguments, world: &World, project: &Project, outcomes: Vec<Outcome<'_>>) {
    let failures: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.error.clone()).collect();
    match arguments.format {
        Format::Json => {
            let report = Report {
                schema_version: 1,
                project: project.name.to_string(),
                dry_run: arguments.dry_run,
                items: outcomes,
            };
            let text = serde_json::to_string_pretty(&report).unwrap_or_default();
            world.printer.data(&format!("{text}\n"));
        }
        Format::Text => {
            let shown = outcomes.iter().filter(|outcome| arguments.dry_run || outcome.removed);
            let items: Vec<&Item> = shown.map(|outcome| outcome.item).collect();
            world
                .printer
                .data(&items.iter().map(|item| line(item, project)).collect::<String>());
            let count = clean::count(&items);
            world.printer.line(&match (items.is_empty(), arguments.dry_run) {
                (true, _) if failures.is_empty() => format!(" {}: nothing to remove", project.name),
                (true, _) => format!(" {}: removed nothing", project.name),
                (false, true) => format!("\n {}: would remove {count}", project.name),
                (false, false) => format!("\n {}: removed {count}", project.name),
            });
        }
    }
    for failure in failures {
        world.printer.warning(
            &failure,
            Some("what uses it must go first; then run `lockstep clean` again"),
        );
    }
}

fn line(item: &Item, project: &Project) -> String {
    let below = format!("{}/", project.directory.display());
    let name = item.name();
    let name = name.strip_prefix(&below).unwrap_or(&name);
    let line = format!(
        "   {:<KIND_WIDTH_COLUMNS$}{name:<NAME_WIDTH_COLUMNS$} {}",
        item.kind(),
        style(item.note()).dim()
    );
    format!("{}\n", line.trim_end())
}
