//! The commands and their arguments.

use clap::{CommandFactory as _, Parser, Subcommand};

use super::global::Global;
use super::project_run::EnvironmentArguments;
use super::stop::Stop;
use super::{
    World, build, check, clean, demo, doctor, explain, image, init, inspect, lock, matrix, plan, shell, smoke, verify,
};
use crate::exit::Exit;

/// What `--help` ends with: the exit codes.
const EXIT_CODES: &str = "Exit codes:
  0    ok
  1    findings at error level
  2    usage, configuration, or this machine's files (not permitted, disk full)
  3    engine unreachable or failing
  4    a build failed inside its container
  5    smoke test failed
  6    not reproducible, or the lock has drifted
  70   internal
  130  interrupted";

/// Builds a host program and its plugins in one pinned image, proves that they load, and can do it again bit for bit.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, after_help = EXIT_CODES, propagate_version = true, disable_help_subcommand = true)]
pub struct CommandLine {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a build would do, without touching the engine
    Plan(plan::PlanArguments),
    /// Write, refresh or verify lockstep.lock
    Lock(lock::LockArguments),
    /// Build host and plugins in one image, load them for real, publish them
    Build(build::BuildArguments),
    /// Load what was built, for real
    Smoke(EnvironmentArguments),
    /// Compile again what the lock has, as it was and otherwise, and compare every bit
    Verify(verify::VerifyArguments),
    /// Predict from the files what loading them will come to
    Check(check::CheckArguments),
    /// Say what a file or an image was built with
    Inspect(inspect::InspectArguments),
    /// Compare images, keep them in a registry and have them again
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Say what a finding means and what to do
    Explain(explain::ExplainArguments),
    /// Load every host with every plugin of every environment
    Matrix(EnvironmentArguments),
    /// Build, cross and serve the sample projects
    Demo(demo::DemoArguments),
    /// Write a commented lockstep.yaml from what is there
    Init(init::InitArguments),
    /// Look whether everything is there that a build needs
    Doctor(doctor::DoctorArguments),
    /// Remove every container, volume and image of this project, its bundles and its state
    Clean(clean::CleanArguments),
    /// Print a shell's completion script
    Completions(shell::CompletionsArguments),
    /// Print a manual page
    Man(shell::ManArguments),
}

/// The whole command line, for completions and tests.
#[must_use]
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// Runs the command that was given.
pub(super) fn dispatch(line: CommandLine, world: &World) -> Result<Exit, Stop> {
    match line.command {
        Command::Plan(arguments) => plan::plan(&arguments, world),
        Command::Lock(arguments) => lock::lock(&arguments, world),
        Command::Build(arguments) => build::build(&arguments, world),
        Command::Smoke(arguments) => smoke::smoke(&arguments, world),
        Command::Verify(arguments) => verify::verify(&arguments, world),
        Command::Check(arguments) => check::check(&arguments, world),
        Command::Inspect(arguments) => inspect::inspect(&arguments, world),
        Command::Image(command) => image::image(&command, world),
        Command::Explain(arguments) => explain::explain(&arguments, world),
        Command::Matrix(arguments) => matrix::matrix(&arguments, world),
        Command::Demo(arguments) => demo::demo(&arguments, world),
        Command::Init(arguments) => init::init(&arguments, world),
        Command::Doctor(arguments) => doctor::doctor(&arguments, world),
        Command::Clean(arguments) => clean::clean(&arguments, world),
        Command::Completions(arguments) => Ok(shell::completions(&arguments, self::command(), world)),
        Command::Man(arguments) => shell::man(&arguments, self::command(), world),
    }
}
