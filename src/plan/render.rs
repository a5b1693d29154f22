//! A plan for people.

use std::fmt::Write as _;

use super::{EnvironmentPlan, Plan, UnitPlan};
use crate::config::RecipeReference;
use crate::printable::printable;

/// The whole plan as text.
#[must_use]
pub fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for environment in &plan.environments {
        render_environment(environment, &mut text);
    }
    text
}

fn render_environment(environment: &EnvironmentPlan, text: &mut String) {
    let from = |index: usize| match &environment.locked_images {
        Some((build, runtime)) => {
            let id = if index == 0 { build } else { runtime };
            format!("locked {}", id.trim_start_matches("sha256:").get(..8).unwrap_or(id))
        }
        None => "not locked yet".to_owned(),
    };
    let _ = writeln!(text, "{}", environment.name);
    let _ = writeln!(
        text,
        "  image    build    {}  {}",
        printable(&recipe(&environment.build)),
        printable(&from(0))
    );
    let _ = writeln!(
        text,
        "  image    runtime  {}  {}",
        printable(&recipe(&environment.runtime)),
        printable(&from(1))
    );
    if let Some(host) = &environment.host {
        let whence = match (&host.file, &host.image) {
            (Some(file), _) => format!("digest {} -> {}", file.digest.short(), file.place),
            (None, Some(image)) => format!("of image {image} -> {}", host.name),
            (None, None) => "in the runtime image".to_owned(),
        };
        let _ = writeln!(text, "  host     {}  {}", printable(&host.path), printable(&whence));
    }
    for compile in environment.compiles().chain([&environment.loader]) {
        render_compile(compile, text);
        for unit in environment.units_of(compile) {
            render_unit(unit, text);
        }
    }
    let publication = &environment.publication;
    let _ = writeln!(
        text,
        "  publish  {} · {} · volume {} · image {}",
        publication.directory, publication.metadata, publication.volume, publication.image
    );
}

fn render_compile(unit: &UnitPlan, text: &mut String) {
    let indented = |script: &str| {
        script
            .lines()
            .map(|line| format!("             {}\n", printable(line)))
            .collect::<String>()
    };
    if let Some(fetch) = &unit.fetch {
        let _ = write!(
            text,
            "  fetch    {}  with a network\n{}",
            unit.name,
            indented(&fetch.script)
        );
    }
    let places: Vec<String> = unit.unit.places().map(placed).collect();
    let artifacts = places.join(", ");
    let artifacts = printable(&artifacts);
    let _ = write!(
        text,
        "  compile  {}  source {} -> {artifacts}\n{}",
        unit.name,
        unit.source.short(),
        indented(&unit.compile.script)
    );
}

fn render_unit(unit: &UnitPlan, text: &mut String) {
    if let Some(build) = &unit.unit.from {
        let places: Vec<String> = unit.unit.places().map(placed).collect();
        let artifacts = places.join(", ");
        let _ = writeln!(
            text,
            "  take     {}  from {build}: {}",
            unit.name,
            printable(&artifacts)
        );
    }
    for file in &unit.files {
        let line = format!("{} as {}", file.path, file.place);
        let _ = writeln!(text, "  ship     {}  {}", unit.name, printable(&line));
    }
}

/// A file as the build leaves it, and where it lies in the bundle if that is said.
fn placed((file, place): (&str, &str)) -> String {
    if file == place {
        file.to_owned()
    } else {
        format!("{file} as {place}")
    }
}

fn recipe(reference: &RecipeReference) -> String {
    match reference {
        RecipeReference::File { path } => path.clone(),
        RecipeReference::Builtin { name } => format!("builtin {name}"),
        RecipeReference::Dockerfile { path, target, .. } => {
            format!(
                "{path}{}",
                target.as_ref().map(|target| format!(" ({target})")).unwrap_or_default()
            )
        }
        RecipeReference::Image { reference } => format!("image {reference}"),
        RecipeReference::Extended { runtime, packages } => format!("{} with {}", recipe(runtime), packages.join(", ")),
    }
}
