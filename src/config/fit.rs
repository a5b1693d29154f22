//! Whether the contract and the units' languages go together.

use crate::yaml::{Decoded, Reported, Value};

use super::language_name::LanguageName;
use super::project::{Abi, Loader};
use super::scope::Spoken;
use super::unit_role::UnitRole;

/// Reports each place where they do not; `place` is the abi's.
pub(super) fn check<'a>(
    loader: Loader,
    abi: Abi,
    place: Value<'_>,
    languages: impl Iterator<Item = &'a Spoken<'a>>,
) -> Decoded<()> {
    match (loader, abi) {
        (Loader::Go, Abi::Go) => all(languages, speaks_plugin_open),
        (Loader::Go, _) => {
            let label = "write `abi: go`, or `loader: dlopen`";
            Err(place.report("`loader: go` hands over Go values, so `abi` can only be `go`", label))
        }
        (Loader::Dlopen, Abi::Go) => {
            let label = "write `loader: go`, or `abi: c` for plugins that export C functions";
            Err(place.report("Go values cannot be handed over through `loader: dlopen`", label))
        }
        (Loader::Dlopen, abi) => all(languages, |spoken| speaks_abi(spoken, abi)),
    }
}

fn all<'a>(languages: impl Iterator<Item = &'a Spoken<'a>>, check: impl Fn(&Spoken<'_>) -> Decoded<()>) -> Decoded<()> {
    let checked: Vec<_> = languages.map(check).collect();
    checked.into_iter().collect()
}

/// `plugin.Open` exists in Go programs only and takes nothing but what Go's plugin mode made.
fn speaks_plugin_open(spoken: &Spoken<'_>) -> Decoded<()> {
    if spoken.language == LanguageName::Go {
        return Ok(());
    }
    let message = match spoken.role {
        UnitRole::Host => "only a Go host can load with `loader: go`",
        UnitRole::Plugin => "`loader: go` loads only plugins in Go",
    };
    Err(spoken
        .place
        .report(message, "write `language: go`, or `loader: dlopen` in the contract"))
}

/// A command of the unit's own may do what the language's cannot, such as wrap one language in another.
fn speaks_abi(spoken: &Spoken<'_>, abi: Abi) -> Decoded<()> {
    let speaks = match abi {
        Abi::C => true,
        Abi::Cxx => spoken.language == LanguageName::Cpp,
        Abi::Rust => spoken.language == LanguageName::Rust,
        Abi::Go => spoken.language == LanguageName::Go,
    };
    if spoken.has_command {
        return Ok(());
    }
    if !speaks {
        return Err(report_abi(spoken, abi));
    }
    if spoken.language == LanguageName::Go && spoken.role == UnitRole::Plugin {
        let label = "write `build: {system: go, buildmode: c-shared}`, or `loader: go` in the contract";
        return Err(spoken
            .place
            .report("what Go's plugin mode makes cannot be loaded by dlopen", label));
    }
    Ok(())
}

fn report_abi(spoken: &Spoken<'_>, abi: Abi) -> Reported {
    let (abi, types) = match abi {
        Abi::C => ("c", "C functions"),
        Abi::Cxx => ("cxx", "C++ classes"),
        Abi::Rust => ("rust", "Rust types"),
        Abi::Go => ("go", "Go values"),
    };
    let message = format!("a unit in this language cannot exchange {types} (`abi: {abi}`)");
    spoken.place.report(
        message,
        "write `abi: c` in the contract, or give the unit a `command:` of its own",
    )
}
