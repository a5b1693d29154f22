//! `lockstep explain`: what a finding means.

use clap::Args;

use super::World;
use super::code::bare_code;
use super::stop::Stop;
use crate::check::{RULES, rule};
use crate::exit::Exit;
use crate::nearest::nearest;
use crate::report::{Failure, explain_rule, list_rules};

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// The code of a finding, as in `danger[libc-family]` [default: lists all codes]
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn explain(arguments: &ExplainArguments, world: &World) -> Result<Exit, Stop> {
    let Some(code) = &arguments.code else {
        world.printer.data(&list_rules(RULES));
        return Ok(Exit::Ok);
    };
    let Some(rule) = rule(bare_code(code)) else {
        let hint = match nearest(code, RULES.iter().map(|rule| rule.code)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`lockstep explain` lists the codes".to_owned(),
        };
        let message = format!("no finding has the code `{code}`");
        return Err(Failure::new(Exit::Usage, "explain", message).with_hint(hint).into());
    };
    world.printer.data(&explain_rule(rule));
    Ok(Exit::Ok)
}
