//! `lockstep clean`: removes what carries the project's label, and shows it.

use std::time::Duration;

use console::style;
use serde::Serialize;

use super::format::Format;
use super::stop::Stop;
use super::{World, runtime};
use crate::checkout;
use crate::clean::{self, CleanError, Found, Item, Removed, Remover, Scope};
use crate::config::Project;
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::image::ImageCache;
use crate::printable::printable;
use crate::report::of_machine;
use crate::run::{RunError, cache_leftovers};
use crate::state::{ProjectLock, STATE_DIRECTORY, leftovers_beside};

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
    /// Also remove what other checkouts of this project made and published, even if they are using it
    #[arg(long)]
    all_checkouts: bool,
    /// Also remove images of environments (lockstep/environment:*, lockstep/recipe:*) that nothing uses any more: made from this user's cache
    /// more than a day ago, in no lock of this project, used by no container, and neither named by a built project nor
    /// below an image of one. A project that was locked but not built has them loaded again from the cache
    #[arg(long)]
    images: bool,
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
    /// Whether it stays because another checkout published it.
    kept: bool,
    error: Option<String>,
}

/// The list for scripts.
#[derive(Serialize)]
struct Report<'item> {
    schema_version: u32,
    project: String,
    dry_run: bool,
    items: Vec<Outcome<'item>>,
    /// How many things of other checkouts stay.
    others: usize,
}

/// Removes, or lists.
pub(super) fn clean(arguments: &CleanArguments, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    runtime::block_on_or_stop(&world.events(), remove(arguments, world, &project))
}

async fn remove(arguments: &CleanArguments, world: &World, project: &Project) -> Result<Exit, Stop> {
    let scope = Scope {
        project: project.name.clone(),
        environments: project.environments.keys().cloned().collect(),
        owner: (!arguments.all_checkouts)
            .then(|| checkout::owner(&world.context.machine_id, &project.directory).short()),
    };
    let engine = Docker::connect(&world.context.variables)
        .await
        .map_err(RunError::from)?;
    let Found { mut items, others } = clean::find(&engine, &scope).await.map_err(RunError::from)?;
    let of_files = |error: std::io::Error| {
        of_machine(
            "file",
            format!("failed to list {}: {error}", project.directory.display()),
            &error,
            &project.directory,
        )
    };
    items.extend(clean::directories(&project.directory, &scope).map_err(of_files)?);
    let cache = &world.context.cache_directory;
    // What is of no project is in the way of all: it goes with the first that is cleaned up.
    let beside = leftovers_beside(&project.directory).map_err(of_files)?;
    items.extend(
        beside
            .into_iter()
            .chain(cache_leftovers(cache))
            .map(|path| Item::Leftover { path }),
    );
    if arguments.images {
        let (images, locked) = (ImageCache::below(cache), clean::locked_images(project));
        let unused = clean::unused_images(&engine, &images, world.context.started_at_seconds, &locked);
        items.extend(unused.await.map_err(RunError::from)?.items);
    }
    if arguments.all_cache && cache.exists() {
        items.push(Item::Directory { path: cache.clone() });
    }
    if arguments.dry_run {
        let outcomes = items
            .iter()
            .map(|item| Outcome {
                item,
                removed: false,
                kept: false,
                error: None,
            })
            .collect();
        show(arguments, world, project, outcomes, others);
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
    let remover = Remover {
        engine: &engine,
        scope,
        run_id: world.context.run_id.clone(),
    };
    for item in &items {
        let removed = remover.remove(item).await;
        exit = exit.max(match &removed {
            Ok(_) => Exit::Ok,
            Err(CleanError::Engine(_) | CleanError::Volume(_)) => Exit::Engine,
            Err(CleanError::File { path, cause }) => of_machine("file", "", cause, path).exit,
        });
        outcomes.push(Outcome {
            item,
            removed: matches!(removed, Ok(Removed::Gone)),
            kept: matches!(removed, Ok(Removed::Kept)),
            error: removed.err().map(|error| error.to_string()),
        });
    }
    show(arguments, world, project, outcomes, others);
    Ok(exit)
}

fn show(arguments: &CleanArguments, world: &World, project: &Project, outcomes: Vec<Outcome<'_>>, others: usize) {
    let failures: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.error.clone()).collect();
    match arguments.format {
        Format::Json => {
            let report = Report {
                schema_version: 1,
                project: project.name.to_string(),
                dry_run: arguments.dry_run,
                items: outcomes,
                others,
            };
            let text = serde_json::to_string_pretty(&report).unwrap_or_default();
            world.printer.document(&format!("{text}\n"));
        }
        Format::Text => {
            for kept in outcomes.iter().filter(|outcome| outcome.kept) {
                world.printer.line(&format!(
                    "   {} stays: another checkout published what is current there (--all-checkouts removes it)",
                    kept.item.name()
                ));
            }
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
            if others > 0 {
                world.printer.line(&format!(
                    " {others} containers, volumes and images of other checkouts stay: lockstep clean --all-checkouts"
                ));
            }
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
    let name = printable(name.strip_prefix(&below).unwrap_or(&name));
    let line = format!(
        "   {:<KIND_WIDTH_COLUMNS$}{name:<NAME_WIDTH_COLUMNS$} {}",
        item.kind(),
        style(printable(item.note())).dim()
    );
    format!("{}\n", line.trim_end())
}
