//! `lockstep image`: what is done with images as such. One file a command.

mod diff;

use clap::Subcommand;

use super::World;
use super::stop::Stop;
use crate::exit::Exit;

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Say in what two images, roots or tars differ, file by file
    Diff(diff::DiffArguments),
}

pub(super) fn image(command: &ImageCommand, world: &World) -> Result<Exit, Stop> {
    match command {
        ImageCommand::Diff(arguments) => diff::diff(arguments, world),
    }
}
