//! `lockstep image pull`: has environments out of the project's registry.

use clap::Args;

use super::kept::{ImageArguments, image_run};
use crate::cli::World;
use crate::cli::format::Format;
use crate::cli::stop::Stop;
use crate::exit::Exit;
use crate::run::{PullReport, Run};

#[derive(Debug, Args)]
pub(in crate::cli) struct PullArguments {
    #[command(flatten)]
    images: ImageArguments,
}

pub(super) fn pull(arguments: &PullArguments, world: &World) -> Result<Exit, Stop> {
    let report = image_run(&arguments.images, world, async |run: &Run, environments| {
        run.pull(environments).await
    })?;
    match arguments.images.format {
        Format::Json => world.print_json(&report)?,
        Format::Text => show(&report, world),
    }
    Ok(Exit::Ok)
}

fn show(report: &PullReport, world: &World) {
    for (environment, images) in &report.environments {
        world.printer.data(&format!("{environment}:\n"));
        for (role, image) in images {
            let note = if image.was_there { "was there" } else { "pulled" };
            world
                .printer
                .data(&format!("  {role:<8} {}  {note}\n", image.id.short()));
        }
    }
}
