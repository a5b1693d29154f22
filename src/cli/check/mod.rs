//! `lockstep check`: static verdicts, for any files.

mod arguments;
mod files;
mod home;
mod project;
mod script;

use std::collections::BTreeSet;

use super::World;
use super::format::Format;
use super::stop::Stop;
use crate::check::Verdict;
use crate::exit::Exit;
use crate::report::{CheckReport, Progress, fit, render_check};

pub(super) use arguments::CheckArguments;

pub(super) fn check(arguments: &CheckArguments, world: &World) -> Result<Exit, Stop> {
    let allowed: BTreeSet<String> = arguments.allow.iter().cloned().collect();
    let pairs = match arguments.files.split_first() {
        Some((host, plugins)) if !plugins.is_empty() => files::judge((host, plugins), arguments, world)?,
        Some(_) => {
            let hint = "name the host, then its plugins";
            return Err(arguments::usage("there is no plugin to check", hint).into());
        }
        None => project::judge(arguments, world)?,
    };
    show(&CheckReport::new(pairs, &allowed), arguments, world)
}

/// Prints a report; what the program ends with.
fn show(report: &CheckReport, arguments: &CheckArguments, world: &World) -> Result<Exit, Stop> {
    match arguments.format {
        Format::Json => world.print_json(report)?,
        Format::Text if world.progress == Progress::Quiet && report.verdict == Verdict::Ok => {}
        Format::Text => {
            let text = render_check(report);
            let columns = world.printer.columns();
            world
                .printer
                .data(&columns.map_or_else(|| text.clone(), |columns| fit(&text, columns)));
        }
    }
    let limit = if arguments.strict {
        Verdict::Unknown
    } else {
        Verdict::Danger
    };
    Ok(if report.verdict >= limit {
        Exit::Findings
    } else {
        Exit::Ok
    })
}
