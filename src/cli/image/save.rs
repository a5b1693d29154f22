//! `lockstep image save`: environments in one file, for a machine without a network.

use std::path::PathBuf;

use clap::Args;

use super::kept::{ImageArguments, image_run};
use crate::cli::World;
use crate::cli::format::Format;
use crate::cli::stop::Stop;
use crate::counted::{counted, size};
use crate::exit::Exit;
use crate::printable::printable;
use crate::run::Run;

#[derive(Debug, Args)]
pub(in crate::cli) struct SaveArguments {
    /// The file that is written: an OCI image layout, as a tar
    #[arg(value_name = "FILE")]
    archive: PathBuf,
    #[command(flatten)]
    images: ImageArguments,
}

pub(super) fn save(arguments: &SaveArguments, world: &World) -> Result<Exit, Stop> {
    let report = image_run(&arguments.images, world, async |run: &Run, environments| {
        run.save(environments, &arguments.archive).await
    })?;
    match arguments.images.format {
        Format::Json => world.print_json(&report)?,
        Format::Text => {
            let file = arguments.archive.to_string_lossy();
            let (parts, size) = (counted(report.items.len(), "part"), size(report.size_bytes));
            world.printer.data(&format!("{}: {parts} · {size}\n", printable(&file)));
            for item in &report.items {
                world.printer.data(&format!("  {}\n", printable(item)));
            }
        }
    }
    Ok(Exit::Ok)
}
