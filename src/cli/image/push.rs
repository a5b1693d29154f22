//! `lockstep image push`: keeps environments in the project's registry.

use clap::Args;

use super::kept::{ImageArguments, image_run};
use crate::cli::World;
use crate::cli::format::Format;
use crate::cli::stop::Stop;
use crate::exit::Exit;
use crate::printable::printable;
use crate::run::{PushReport, Run};

#[derive(Debug, Args)]
pub(in crate::cli) struct PushArguments {
    #[command(flatten)]
    images: ImageArguments,
}

pub(super) fn push(arguments: &PushArguments, world: &World) -> Result<Exit, Stop> {
    let report = image_run(&arguments.images, world, async |run: &Run, environments| {
        run.push(environments).await
    })?;
    match arguments.images.format {
        Format::Json => world.print_json(&report)?,
        Format::Text => show(&report, world),
    }
    Ok(Exit::Ok)
}

fn show(report: &PushReport, world: &World) {
    for (environment, images) in &report.environments {
        world.printer.data(&format!("{environment}:\n"));
        for (role, image) in images {
            let line = format!("  {role:<8} {}  {}\n", image.digest.short(), printable(&image.name));
            world.printer.data(&line);
            for document in &image.referrers {
                let line = format!(
                    "    {:<16} {}  {}\n",
                    document.title,
                    document.digest.short(),
                    document.artifact_type
                );
                world.printer.data(&line);
            }
        }
    }
}
