//! `lockstep image diff`: in what do two differ?

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::cli::format::Format;
use crate::cli::stop::Stop;
use crate::cli::{World, runtime};
use crate::comparison::{CompareError, Side, compare};
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::report::{Failure, Progress, render_comparison};
use crate::run::open_two_contents;

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArguments {
    /// An image in the engine, by name or ID; a saved image or an OCI layout; a root file system as a directory or a tar
    #[arg(value_name = "A", value_parser = NonEmptyStringValueParser::new())]
    a: String,
    /// Another one, of any of these
    #[arg(value_name = "B", value_parser = NonEmptyStringValueParser::new())]
    b: String,
    /// Tell every file, those of packages that differ as well
    #[arg(long)]
    all: bool,
    /// What is printed on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn diff(arguments: &DiffArguments, world: &World) -> Result<Exit, Stop> {
    let (a, b) = (arguments.a.as_str(), arguments.b.as_str());
    let [one, other] = runtime::block_on_or_stop(&world.events(), async {
        let engine = Docker::connect(&world.context.variables);
        let opened = open_two_contents([a, b], &world.context, engine).await;
        opened.map_err(|error| error.failure().into())
    })?;
    let (one, other) = (
        Side {
            name: a,
            contents: &one,
        },
        Side {
            name: b,
            contents: &other,
        },
    );
    let comparison = compare(one, other, arguments.all).map_err(|error| failure(&error))?;
    match arguments.format {
        Format::Json => world.print_json(&comparison)?,
        Format::Text if world.progress == Progress::Quiet && comparison.same => {}
        Format::Text => world.printer.data(&render_comparison(&comparison, arguments.all)),
    }
    Ok(if comparison.same { Exit::Ok } else { Exit::Findings })
}

fn failure(error: &CompareError) -> Failure {
    Failure::new(Exit::Usage, "image-diff", error.to_string())
        .at(error.name.clone())
        .with_hint("check the permissions; what changes meanwhile cannot be compared")
}
