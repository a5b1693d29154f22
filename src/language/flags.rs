//! The flags that make output reproducible, as the variables that compilers and build systems read.
//!
//! They are set for every command of a unit, whoever wrote it: for a makefile as for what a language calls by itself. Paths
//! are the same in every container; what is left is that none of them is in the output, and no date.

use std::collections::BTreeMap;

use super::{go, rust};
use crate::config::{LanguageName, Unit};

/// What compilers of C and C++ get. Mapped is lockstep's directory, whose files are then named as from the top. That a source
/// has a date in it (which is then that of `source_date_epoch`) is said, and is no error where warnings are.
const COMPILE_FLAGS: &str = "-O2 -g -ffile-prefix-map=/lockstep=/ -Wdate-time -Wno-error=date-time";
/// What linkers get: the build ID is a digest of the content.
const LINK_FLAGS: &str = "-Wl,--build-id=sha1";

/// Variables of every unit, whatever its language: a crate may compile C, and a makefile may call anything.
const VARIABLES: &[(&str, &str)] = &[
    // Archives without times and owners: what make's own rules, automake and libtool call `ar` with.
    ("ARFLAGS", "rcD"),
    ("AR_FLAGS", "rcD"),
    // What is compiled in parts differs with the number of parts and with what was there before.
    ("CARGO_INCREMENTAL", "0"),
    ("CFLAGS", COMPILE_FLAGS),
    ("CXXFLAGS", COMPILE_FLAGS),
    ("GOFLAGS", go::FLAGS),
    ("LDFLAGS", LINK_FLAGS),
    // Python's sets come in an order of their own in every process.
    ("PYTHONHASHSEED", "0"),
];
/// Those that hold a list of flags, which a unit's own value is added to instead of replacing it.
const JOINED: &[&str] = &["CFLAGS", "CXXFLAGS", "GOFLAGS", "LDFLAGS"];
/// The machines for which a bare `cargo build` gets the flags that lockstep's has. Cargo joins what these variables say with
/// the configuration that the image has, which `RUSTFLAGS` would replace.
const CARGO_VARIABLES: &[&str] = &[
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS",
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS",
];

/// The variables of `unit` that are flags; those of its own are in them.
pub(super) fn variables(unit: &Unit) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = VARIABLES
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    // What calls cargo as lockstep does has them on its command line.
    if unit.language == LanguageName::Rust && (unit.command.is_some() || unit.build.is_some()) {
        let flags = rust::FLAGS.join(" ");
        variables.extend(CARGO_VARIABLES.iter().map(|name| ((*name).to_owned(), flags.clone())));
    }
    for (name, own) in &unit.env {
        match variables.get_mut(name).filter(|_| JOINED.contains(&name.as_str())) {
            Some(flags) => *flags = format!("{flags} {own}"),
            None if name == "RUSTFLAGS" => {
                variables.insert(name.clone(), format!("{} {own}", rust::FLAGS.join(" ")));
            }
            None => {
                variables.insert(name.clone(), own.clone());
            }
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;
    use crate::config::UnitRole;

    #[test]
    fn a_units_own_flags_come_after_lockstep_s() {
        let mut unit = unit(LanguageName::C, UnitRole::Plugin, "x.so");
        unit.env = [("CFLAGS", "-O3"), ("ARFLAGS", "crs"), ("RUSTFLAGS", "-Cdebuginfo=1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let variables = variables(&unit);
        assert_eq!(variables["CFLAGS"], format!("{COMPILE_FLAGS} -O3"));
        assert_eq!(variables["ARFLAGS"], "crs");
        assert!(
            variables["RUSTFLAGS"].ends_with(" -Cdebuginfo=1")
                && variables["RUSTFLAGS"].contains("--remap-path-prefix")
        );
    }

    #[test]
    fn a_bare_cargo_gets_the_flags_and_keeps_those_of_the_image() {
        let mut unit = unit(LanguageName::Rust, UnitRole::Plugin, "x.so");
        assert_eq!(variables(&unit).get(CARGO_VARIABLES[0]), None);
        unit.command = Some("cargo build".to_owned());
        let variables = variables(&unit);
        assert!(variables[CARGO_VARIABLES[0]].contains("--remap-path-prefix"));
        assert_eq!(variables.get("RUSTFLAGS"), None);
    }
}
