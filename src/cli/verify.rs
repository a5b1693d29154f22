//! `lockstep verify`: do the same bits come out again, whatever is changed that must not count?

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::World;
use super::format::Format;
use super::project_run::with_run;
use super::stop::Stop;
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::report::{Progress, render_verification};
use crate::run::{Options, OtherEngine, Run, RunError, VerifyRequest};

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// Which environments [default: those of `default:`]
    #[arg(value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    /// What is compared with: a bundle's directory, a shared volume or a matched image that somebody published, instead of the
    /// lock
    #[arg(long, value_name = "DIRECTORY|VOLUME|IMAGE", value_parser = NonEmptyStringValueParser::new())]
    against: Option<String>,
    /// Another engine, as DOCKER_HOST names one: it compiles everything too, and must give the same bits
    #[arg(long, value_name = "HOST", value_parser = NonEmptyStringValueParser::new())]
    engine: Option<String>,
    /// Make the images again too, though they are there: from their Dockerfile, or from exactly their locked packages
    #[arg(long)]
    images: bool,
    /// Where diffoscope leaves a page for each artifact that differs
    #[arg(long, value_name = "DIRECTORY", value_parser = clap::value_parser!(PathBuf))]
    diffoscope: Option<PathBuf>,
    /// How many containers compile side by side [default: the number of processors]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// What is printed on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn verify(arguments: &VerifyArguments, world: &World) -> Result<Exit, Stop> {
    let project = world.project()?;
    let environments = match (&arguments.against, arguments.environments.is_empty()) {
        // Which one it is, is for the bundle to say.
        (Some(_), true) => project.environments.keys().cloned().collect(),
        _ => crate::plan::select(&project, &arguments.environments)?,
    };
    let options = Options {
        jobs: arguments.jobs.map_or(world.context.processors, usize::from),
        locked: true,
        check: false,
        allowed: BTreeSet::new(),
        only_looks: false,
        offline: false,
    };
    let verification = with_run(project, options, world, async |run: &Run| {
        let request = VerifyRequest {
            environments,
            against: arguments.against.clone(),
            engine: match &arguments.engine {
                Some(address) => Some(other_engine(address, &world.context.variables).await?),
                None => None,
            },
            makes_images: arguments.images,
            diffoscope: arguments
                .diffoscope
                .as_ref()
                .map(|path| world.context.working_directory.join(path)),
        };
        run.verify(&request).await
    })?;
    match arguments.format {
        Format::Json => world.print_json(&verification)?,
        Format::Text if world.progress == Progress::Quiet && verification.equal => {}
        Format::Text => world.printer.data(&render_verification(&verification)),
    }
    Ok(if verification.equal { Exit::Ok } else { Exit::Drift })
}

/// Connects to another engine than the one that DOCKER_HOST names.
async fn other_engine(address: &str, variables: &BTreeMap<String, String>) -> Result<OtherEngine, RunError> {
    let mut variables = variables.clone();
    variables.insert("DOCKER_HOST".to_owned(), address.to_owned());
    Ok(OtherEngine {
        address: address.to_owned(),
        engine: Arc::new(Docker::connect(&variables).await?),
    })
}
