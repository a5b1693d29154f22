//! `lockstep demo`: the Alpine/glibc demonstration.

use clap::Args;

use super::World;
use super::stop::Stop;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(super) struct DemoArguments {}

pub(super) fn demo(_arguments: &DemoArguments, _world: &World) -> Result<Exit, Stop> {
    todo!()
}
