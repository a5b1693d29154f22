//! `lockstep image`: what is done with images as such. One file a command.

mod diff;
mod kept;
mod load;
mod pull;
mod push;
mod save;

use clap::Subcommand;

use super::World;
use super::stop::Stop;
use crate::exit::Exit;

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Say in what two images, roots or tars differ, file by file
    Diff(diff::DiffArguments),
    /// Put build, runtime and matched images into the project's registry, what is said of these, and their digests into the lock
    Push(push::PushArguments),
    /// Bring the images of the lock out of the project's registry
    Pull(pull::PullArguments),
    /// Put images and fetched dependencies into one file, for a machine without a network
    Save(save::SaveArguments),
    /// Bring what `image save` wrote to this machine
    Load(load::LoadArguments),
}

pub(super) fn image(command: &ImageCommand, world: &World) -> Result<Exit, Stop> {
    match command {
        ImageCommand::Diff(arguments) => diff::diff(arguments, world),
        ImageCommand::Push(arguments) => push::push(arguments, world),
        ImageCommand::Pull(arguments) => pull::pull(arguments, world),
        ImageCommand::Save(arguments) => save::save(arguments, world),
        ImageCommand::Load(arguments) => load::load(arguments, world),
    }
}
