//! `lockstep demo`: both sample projects, built, crossed and run from their matched images.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use console::style;

use super::World;
use super::project_run::{RunArguments, with_run};
use super::stop::Stop;
use crate::exit::Exit;
use crate::matrix::{Matrix, render};
use crate::name::EnvironmentName;
use crate::printable::printable;
use crate::report::Failure;
use crate::run::{Run, RunError, Served};

/// The samples: where their files are in the checkout, and what there is to see.
const SAMPLES: &[(&str, &str)] = &[
    ("lockstep.yaml", "a Rust host that loads plugins in Rust, C and C++"),
    (
        "gateway/lockstep.yaml",
        "a Go HTTP server that loads its handlers and middlewares",
    ),
];
/// The image that the environment `alpine` begins with, and which only a registry has.
const ALPINE_IMAGE: &str = "alpine:3.22";
/// How much of a body is shown.
const BODY_SHOWN_CHARACTERS: usize = 72;

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// A checkout of lockstep, which has the samples
    #[arg(value_name = "DIRECTORY", default_value = ".")]
    directory: PathBuf,
    #[command(flatten)]
    run: RunArguments,
}

/// What was seen of one sample.
struct Seen {
    matrix: Matrix,
    served: Vec<Served>,
    /// Why the environment `alpine` was left out.
    without_alpine: Option<String>,
}

pub(super) fn demo(arguments: &DemoArguments, world: &World) -> Result<Exit, Stop> {
    let root = world.context.working_directory.join(&arguments.directory);
    let mut all_well = true;
    for (number, (file, what)) in SAMPLES.iter().enumerate() {
        let title = format!("{}/{}  {file}: {what}", number + 1, SAMPLES.len());
        world
            .printer
            .line(&format!("\n {}\n", style(title).for_stderr().bold()));
        let seen = see(&root.join(file), arguments, world)?;
        all_well &= seen.matrix.broken().next().is_none();
        all_well &= seen.served.iter().all(|served| served.mismatches.is_empty());
        world.printer.data(&format!("\n{}", show(&seen)));
    }
    world.printer.data(&next_steps(&root, world));
    Ok(if all_well { Exit::Ok } else { Exit::Smoke })
}

fn see(file: &Path, arguments: &DemoArguments, world: &World) -> Result<Seen, Stop> {
    if !file.is_file() {
        let message = format!("failed to find the sample {}", file.display());
        let hint = "run it in a checkout of lockstep, or name one: lockstep demo DIRECTORY";
        return Err(Failure::new(Exit::Usage, "demo", message).with_hint(hint).into());
    }
    let project = world.project_at(file)?;
    let mut environments = project.default.clone();
    let alpine = project
        .environments
        .keys()
        .find(|name| name.as_str() == "alpine")
        .cloned();
    with_run(project, arguments.run.options(world), world, async |run: &Run| {
        let mut without_alpine = None;
        if let Some(alpine) = alpine {
            match run.can_have(ALPINE_IMAGE).await? {
                Ok(()) => environments.push(alpine),
                Err(reason) => without_alpine = Some(reason),
            }
        }
        let matrix = run.matrix(&environments).await?;
        let served = serve_all(run, &environments).await?;
        Ok(Seen {
            matrix,
            served,
            without_alpine,
        })
    })
}

async fn serve_all(run: &Run, environments: &[EnvironmentName]) -> Result<Vec<Served>, RunError> {
    let mut all = Vec::new();
    for environment in environments {
        all.extend(run.serve(environment).await?);
    }
    Ok(all)
}

fn show(seen: &Seen) -> String {
    let mut text = render(&seen.matrix);
    if let Some(reason) = &seen.without_alpine {
        let _ = writeln!(
            text,
            "\n alpine is left out: {ALPINE_IMAGE} is not in the engine and cannot be pulled here\n   {}",
            printable(reason)
        );
    }
    for served in &seen.served {
        let _ = writeln!(text, "\n {} answers", style(&served.image).bold());
        for response in &served.host.responses {
            let body = response.body.shown();
            let body: String = body.trim_end().chars().take(BODY_SHOWN_CHARACTERS).collect();
            let body = printable(&body);
            let path = response.url.splitn(4, '/').nth(3).unwrap_or_default();
            let _ = writeln!(
                text,
                "   {:<34} {}  {body}",
                printable(&format!("{} /{path}", response.method)),
                response.status
            );
        }
        if let (true, Some(ended)) = (served.host.responses.is_empty(), &served.host.ended) {
            for line in ended.stdout.shown().lines() {
                let _ = writeln!(text, "   {}", printable(line));
            }
        }
        for mismatch in &served.mismatches {
            let _ = writeln!(
                text,
                "   {}: expected {}, got {}",
                printable(&mismatch.subject),
                printable(&mismatch.expected),
                printable(&mismatch.got)
            );
        }
    }
    text
}

/// What to try next, as commands that work from here.
fn next_steps(root: &Path, world: &World) -> String {
    let inside = root == world.context.working_directory.join(".") || root == world.context.working_directory;
    let program = &world.program;
    let steps = [
        (
            format!("{program} build"),
            "again: nothing changed, so nothing is compiled",
        ),
        (
            format!("{program} build --locked"),
            "as CI runs it: any drift is an error",
        ),
        (
            "$EDITOR plugins/reverse/reverse.c".to_owned(),
            "break a plugin, then build: the old bundle stays",
        ),
        ("docker run --rm lockstep/greeter:musl".to_owned(), "the matched image"),
        (
            "docker run --rm -p 8080:8080 lockstep/gateway:glibc".to_owned(),
            "then: curl '127.0.0.1:8080/hello?name=Ada'",
        ),
        (
            "docker-compose up -d".to_owned(),
            "deploy the gateway: plugins compiled into a shared volume",
        ),
        (format!("{program} clean"), "remove what this project made"),
    ];
    let mut text = "\n what to try next\n".to_owned();
    if !inside {
        let _ = writeln!(text, "   cd {}", root.display());
    }
    for (command, what) in steps {
        let _ = writeln!(text, "   {command:<52} {what}");
    }
    text
}
