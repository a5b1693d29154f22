//! `lockstep doctor`: one line a check.

use console::{Style, style};
use serde::Serialize;

use super::format::Format;
use super::stop::Stop;
use super::{World, runtime};
use crate::checkout;
use crate::clean::locked_images;
use crate::config::{Project, RecipeReference};
use crate::doctor::{self, Line, LockState, Observed, ProjectState, Status};
use crate::engine::docker::Docker;
use crate::engine::{Engine, Labels};
use crate::exit::Exit;
use crate::lock;
use crate::printable::printable;
use crate::run::{check_lock, labels};

/// What the subjects of changed recipes end with, in the lock's differences.
const RECIPE_SUBJECT: &str = " recipe";
/// How wide the checks' names are.
const NAME_WIDTH_COLUMNS: usize = 13;

/// What `doctor` takes.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    /// What the report looks like
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// The report for scripts.
#[derive(Serialize)]
struct Report<'lines> {
    schema_version: u32,
    checks: &'lines [Line],
}

/// Looks, and says what was found.
pub(super) fn doctor(arguments: &DoctorArguments, world: &World) -> Result<Exit, Stop> {
    runtime::block_on_or_stop(&world.events(), async {
        let lines = doctor::examine(&observe(world).await);
        match arguments.format {
            Format::Text => world.printer.data(&lines.iter().map(render).collect::<String>()),
            Format::Json => world.print_json(&Report {
                schema_version: 1,
                checks: &lines,
            })?,
        }
        Ok(doctor::exit(&lines))
    })
}

async fn observe(world: &World) -> doctor::Facts {
    let engine = Docker::connect(&world.context.variables).await;
    let project = world.project();
    let file = world
        .file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let state = match &project {
        _ if !world.file.exists() => ProjectState::Absent { file },
        Ok(project) => read_well(project),
        Err(Stop::Failure(failure)) => ProjectState::Broken {
            file,
            first: failure.message.clone(),
            count: 1,
        },
        Err(Stop::Problems(problems)) => ProjectState::Broken {
            first: problems
                .first()
                .map(|problem| problem.message.clone())
                .unwrap_or_default(),
            count: problems.len(),
            file,
        },
    };
    let project = project.ok();
    let owner = |project: &Project| checkout::owner(&world.context.machine_id, &project.directory).short();
    let observed = Observed {
        context: &world.context,
        engine: engine
            .as_ref()
            .map(|engine| engine as &dyn Engine)
            .map_err(Clone::clone),
        directory: world.file.parent().unwrap_or(&world.context.working_directory),
        project: state,
        lock: project.as_ref().map_or(LockState::Absent, lock_state),
        locked_images: project.as_ref().map(locked_images).unwrap_or_default(),
        labels: project
            .as_ref()
            .map(|project| Labels::from([(labels::OWNER.to_owned(), owner(project))])),
    };
    doctor::observe(observed).await
}

fn read_well(project: &Project) -> ProjectState {
    let is_made = |recipe: &RecipeReference| {
        !matches!(
            recipe,
            RecipeReference::Dockerfile { .. } | RecipeReference::Image { .. }
        )
    };
    ProjectState::Read {
        name: project.name.to_string(),
        environments: project.environments.keys().map(ToString::to_string).collect(),
        needs_bootstrap: project
            .environments
            .values()
            .any(|one| is_made(&one.build) || is_made(&one.runtime)),
        plugins: project.plugins.len(),
    }
}

fn lock_state(project: &Project) -> LockState {
    let lock = match lock::read(&lock::lock_path(&project.file)) {
        Ok(Some(lock)) => lock,
        Ok(None) => return LockState::Absent,
        Err(error) => {
            return LockState::Broken {
                cause: error.to_string(),
            };
        }
    };
    let (locked, unknown): (Vec<_>, Vec<_>) = lock
        .environments
        .keys()
        .partition(|name| project.environments.contains_key(*name));
    // A file that cannot be read is told with the project, or by the build.
    let changes = check_lock(project)
        .map(|report| report.environments)
        .unwrap_or_default();
    let changed = changes.iter().flat_map(|(name, changes)| {
        let recipes = changes.iter().filter(|change| change.subject.ends_with(RECIPE_SUBJECT));
        recipes.map(move |change| format!("{name} {}", change.subject.trim_end_matches(RECIPE_SUBJECT)))
    });
    LockState::Read {
        changed: changed.collect(),
        locked: locked.into_iter().map(ToString::to_string).collect(),
        unknown: unknown.into_iter().map(ToString::to_string).collect(),
    }
}

/// `ok   engine       Docker Engine 20.10.24, …`, and the hint on a line of its own.
fn render(line: &Line) -> String {
    let (word, colour) = match line.status {
        Status::Ok => ("ok", Style::new().green()),
        Status::Warn => ("warn", Style::new().yellow().bold()),
        Status::Fail => ("fail", Style::new().red().bold()),
    };
    let hint = line
        .hint
        .iter()
        .map(|hint| format!("  {}: {}\n", style("hint").bold(), printable(hint)))
        .collect::<String>();
    format!(
        "{} {:<NAME_WIDTH_COLUMNS$}{}\n{hint}",
        colour.apply_to(format!("{word:<4}")),
        line.check,
        printable(&line.text)
    )
}
