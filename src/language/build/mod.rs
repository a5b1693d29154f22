//! Build systems: what calls them, with the options that leave nothing of the build in what they make, and where among what
//! they made the artifacts are.
//!
//! A system is one file and one line in [`system`]. As languages are, all of it is pure: a unit in, a script out.

mod apxs;
mod autotools;
mod cargo;
mod cmake;
mod go;
mod make;
mod maturin;
mod meson;
mod nginx_module;
mod pgxs;
mod phpize;
mod place;
mod setuptools;

use super::{TARGET_ROOT, quote};
use crate::config::{Build, BuildSystem, Unit};

/// What a build system is.
pub(super) struct System {
    /// The programs that it needs, and the package of Debian that has each.
    programs: &'static [(&'static str, &'static str)],
    /// Makes everything; starts in the unit's source.
    make: fn(&Unit, &Build) -> String,
    /// Where the artifacts are then looked for, in this order; as words of a shell.
    trees: &'static [&'static str],
}

/// The table of build systems.
fn system(name: BuildSystem) -> &'static System {
    match name {
        BuildSystem::Make => &make::MAKE,
        BuildSystem::Cmake => &cmake::CMAKE,
        BuildSystem::Meson => &meson::MESON,
        BuildSystem::Autotools => &autotools::AUTOTOOLS,
        BuildSystem::Cargo => &cargo::CARGO,
        BuildSystem::Go => &go::GO,
        BuildSystem::NginxModule => &nginx_module::NGINX_MODULE,
        BuildSystem::Pgxs => &pgxs::PGXS,
        BuildSystem::Phpize => &phpize::PHPIZE,
        BuildSystem::Apxs => &apxs::APXS,
        BuildSystem::Setuptools => &setuptools::SETUPTOOLS,
        BuildSystem::Maturin => &maturin::MATURIN,
    }
}

/// Where what is made outside of the sources goes.
const BUILD_ROOT: &str = "/lockstep/target/build";
/// What `make install` and the like see as the root.
const INSTALL_ROOT: &str = "/lockstep/target/install";
/// As many processes as there are processors; none of the systems makes other bits for another number.
const JOBS: &str = r#"-j"$(nproc)""#;

/// The script that makes a unit's artifacts and leaves them in `$LOCKSTEP_OUT`.
pub(super) fn script(unit: &Unit, build: &Build) -> String {
    let system = system(build.system);
    let need: String = system
        .programs
        .iter()
        .map(|(program, package)| need(build.system.name(), program, package))
        .collect();
    let place = place::script(unit, build, system.trees);
    format!("{need}{make}\n{place}", make = (system.make)(unit, build))
}

/// Whether the command is one of which it is known that it runs no code of the unit's: `go build`, unless an option says otherwise.
pub(super) fn runs_only_the_tool(build: &Build) -> bool {
    build.system == BuildSystem::Go && build.options.is_empty()
}

/// Ends the script when a program is not there.
fn need(system: &str, program: &str, package: &str) -> String {
    let lacks = lacks(system, program, &format!("the package {package} (of Debian)"));
    format!("if ! command -v {program} >/dev/null; then\n{lacks}\nfi\n")
}

/// Ends the script as a shell does when a program is not there, and says what to do.
fn lacks(system: &str, what: &str, remedy: &str) -> String {
    format!(
        "  echo 'lockstep: the build image has no {what}, which `build: {system}` needs' >&2
  echo 'lockstep: add {remedy} to the recipe of the build image' >&2
  exit 127"
    )
}

/// Words behind a command, with a blank before each.
fn words<Word: AsRef<str>>(words: impl IntoIterator<Item = Word>) -> String {
    words
        .into_iter()
        .map(|word| format!(" {}", quote(word.as_ref())))
        .collect()
}

/// `make`, and `make install` if it is asked for.
fn make_and_install(build: &Build, options: &str) -> String {
    let targets = words(&build.targets);
    let mut script = format!("make {JOBS}{options}{targets}");
    if build.install {
        script += &format!("\nmake{options} DESTDIR={INSTALL_ROOT} install");
    }
    script
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;
    use crate::config::{LanguageName, UnitRole};

    fn made(system: BuildSystem, change: impl FnOnce(&mut Build)) -> String {
        let mut build = Build::of(system);
        change(&mut build);
        script(&unit(LanguageName::C, UnitRole::Plugin, "x y.so"), &build)
    }

    /// What is said of a system in the file is in its command, as the words that were written.
    #[test]
    fn every_key_reaches_the_command() {
        let all = |build: &mut Build| {
            build.options = vec!["-DX=a b".to_owned()];
            build.targets = vec!["one".to_owned(), "two".to_owned()];
            build.install = true;
            build.package = Some("p".to_owned());
            build.features = vec!["f".to_owned(), "g".to_owned()];
            build.default_features = false;
            build.tags = vec!["t".to_owned(), "u".to_owned()];
            build.buildmode = Some("c-shared".to_owned());
            build.sources = vec!["s.c".to_owned()];
        };
        for (system, expected) in [
            (BuildSystem::Make, &["'-DX=a b' one two\n", "install"][..]),
            (BuildSystem::Cmake, &["'-DX=a b'\n", "--target one two", "--install"]),
            (
                BuildSystem::Meson,
                &["'-DX=a b'\n", "compile -C /lockstep/target/build one two"],
            ),
            (
                BuildSystem::Autotools,
                &["configure '-DX=a b'\n", "one two\n", "install"],
            ),
            (
                BuildSystem::Cargo,
                &[
                    "--package p --features f,g --no-default-features '-DX=a b'",
                    "--locked --offline",
                ],
            ),
            (
                BuildSystem::Go,
                &["-buildmode=c-shared -tags=t,u '-DX=a b'", "'x y.so' p\n"],
            ),
            (BuildSystem::NginxModule, &["'-DX=a b'"]),
            (BuildSystem::Pgxs, &["'-DX=a b' one two\n"]),
            (BuildSystem::Phpize, &["configure '-DX=a b'\n"]),
            (BuildSystem::Apxs, &["'-DX=a b' -o 'x y.la' s.c\n"]),
            (BuildSystem::Setuptools, &["'-DX=a b'\n"]),
            (BuildSystem::Maturin, &["--features f,g '-DX=a b'\n"]),
        ] {
            let script = made(system, all);
            for words in expected {
                assert!(script.contains(words), "{words} is not in {script}");
            }
        }
    }

    #[test]
    fn a_program_that_is_missing_is_named_with_its_package() {
        let script = need("cmake", "no-such-program", "cmake");
        let output = std::process::Command::new("sh")
            .args(["-eu", "-c", &script])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(127));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("has no no-such-program") && said.contains("the package cmake"),
            "{said}"
        );
    }
}
