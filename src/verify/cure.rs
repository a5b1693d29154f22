//! What ends a difference: a table by what differs and in which language, the first line that fits.

use super::{Kind, Variation};
use crate::config::LanguageName;

/// A line of the table.
struct Line {
    /// The variation that causes it; none for every one.
    variation: Option<&'static str>,
    /// What differs; none for everything.
    kind: Option<Kind>,
    /// The language; none for every one.
    language: Option<LanguageName>,
    /// What to do.
    advice: &'static str,
}

const fn line(
    variation: Option<&'static str>,
    kind: Option<Kind>,
    language: Option<LanguageName>,
    advice: &'static str,
) -> Line {
    Line {
        variation,
        kind,
        language,
        advice,
    }
}

const RUST: Option<LanguageName> = Some(LanguageName::Rust);
const GO: Option<LanguageName> = Some(LanguageName::Go);
const C: Option<LanguageName> = Some(LanguageName::C);
const CPP: Option<LanguageName> = Some(LanguageName::Cpp);

const TABLE: &[Line] = &[
    line(
        Some("directory"),
        None,
        RUST,
        "--remap-path-prefix for what names a path (lockstep sets it for the sources; RUSTFLAGS of `env:` adds to it); no env!(\"CARGO_MANIFEST_DIR\") or current_dir() in what is compiled in",
    ),
    line(
        Some("directory"),
        None,
        GO,
        "-trimpath, as lockstep's own command has it, and no path in -ldflags=-X or in generated files",
    ),
    line(
        Some("directory"),
        None,
        C,
        "-ffile-prefix-map=$PWD=. in the command (lockstep's CFLAGS have it for /lockstep: do not replace them); no $(pwd) or $(CURDIR) in what is compiled in",
    ),
    line(
        Some("directory"),
        None,
        CPP,
        "-ffile-prefix-map=$PWD=. in the command (lockstep's CXXFLAGS have it for /lockstep: do not replace them); no $(pwd) or $(CURDIR) in what is compiled in",
    ),
    line(
        Some("time-zone"),
        None,
        None,
        "TZ=UTC in `env:` or before the command, and `date -u`",
    ),
    line(
        Some("source-times"),
        None,
        None,
        "archives with fixed times (tar --mtime=@$SOURCE_DATE_EPOCH --pax-option=delete=atime,delete=ctime, gzip -n), and no order or stamp that comes from file times",
    ),
    line(
        None,
        Some(Kind::Date),
        GO,
        "no date in -ldflags=-X or in generated files: take it from $SOURCE_DATE_EPOCH; -buildvcs=false",
    ),
    line(
        None,
        Some(Kind::Date),
        RUST,
        "in build.rs: take the time from the variable SOURCE_DATE_EPOCH, which lockstep sets, and not from the clock",
    ),
    line(
        None,
        Some(Kind::Date),
        None,
        "date -u -d @$SOURCE_DATE_EPOCH instead of date; __DATE__ and __TIME__ follow SOURCE_DATE_EPOCH with gcc 7 and clang 16; in archives tar --mtime=@$SOURCE_DATE_EPOCH, gzip -n, ar D",
    ),
    line(
        None,
        Some(Kind::HostName),
        None,
        "leave the machine's name out: no hostname, uname -n or KBUILD_BUILD_HOST of the machine in what is compiled in",
    ),
    line(
        None,
        Some(Kind::User),
        None,
        "leave whoami, id and $HOME out; in archives tar --owner=0 --group=0 --numeric-owner",
    ),
    line(
        None,
        Some(Kind::Order),
        None,
        "sort what find, ls -U, readdir or $(wildcard) list (LC_ALL=C sort), and tar --sort=name; in a makefile $(sort $(wildcard …))",
    ),
    line(
        Some("locale"),
        None,
        None,
        "LC_ALL=C before sort, ls and printf, or in `env:`",
    ),
    line(
        Some("umask"),
        None,
        None,
        "install -m MODE or chmod before files are packed; tar --mode=u=rwX,go=rX",
    ),
    line(
        Some("variables"),
        None,
        None,
        "name the variables that count in `env:`, and leave env, $USER and the like out of what is compiled in",
    ),
    line(
        Some("processors"),
        None,
        RUST,
        "-Ccodegen-units=1 in RUSTFLAGS of `env:`, and nothing that asks available_parallelism() in build.rs",
    ),
    line(
        Some("processors"),
        None,
        None,
        "a fixed number instead of nproc; -flto-partition=one where LTO is split by processors",
    ),
    line(
        Some("jobs"),
        None,
        None,
        "complete the makefile's prerequisites, so that no two jobs write one file; or make -j1",
    ),
    line(
        Some("address-layout"),
        None,
        None,
        "a generator takes addresses as keys or prints them: sort by name instead",
    ),
    line(
        Some("kernel"),
        None,
        None,
        "no uname -r or uname -a in what is compiled in",
    ),
    line(
        Some("caches"),
        None,
        None,
        "the tool's cache holds what depends on more than its key: remove it with `lockstep clean`, and see whether a flag (-toolexec, a wrapper of CC) is left out of the key",
    ),
    line(
        Some("image"),
        None,
        None,
        "have the recipe make the same image each time (dated snapshots, fixed versions, `remove:`), or take nothing from where it differs",
    ),
    line(
        None,
        Some(Kind::Random),
        RUST,
        "HashMap iterates in another order each time: BTreeMap, or sort, in build.rs and proc macros; no random numbers, and no mktemp names in what is compiled in",
    ),
    line(
        None,
        Some(Kind::Random),
        GO,
        "maps iterate in another order each time: sort the keys in what go generate writes; no random numbers, and no mktemp names",
    ),
    line(
        None,
        Some(Kind::Random),
        None,
        "no $RANDOM, uuidgen, /dev/urandom or mktemp names in what is compiled in; gcc: -frandom-seed=FILE where names are made up",
    ),
];

/// What ends it when a unit does not compile at all with another one.
const FAILURES: [(&str, &str); 3] = [
    (
        "directory",
        "a path is written out: take $PWD, $LOCKSTEP_OUT, $LOCKSTEP_DEPS and relative paths",
    ),
    (
        "jobs",
        "complete the makefile's prerequisites: a job starts before what it needs is there",
    ),
    ("umask", "give what is read by others its mode: install -m, chmod"),
];

/// What ends it when a unit does not compile at all because of `variations`.
#[must_use]
pub fn cure_of_failure(variations: &[&Variation]) -> Option<&'static str> {
    let has_variation = |name| variations.iter().any(|variation| variation.name == name);
    let fitting = FAILURES.iter().find(|(name, _)| has_variation(*name));
    fitting.map(|(_, advice)| *advice)
}

/// What ends it: for what `variations` made differ (nothing: it differs from build to build) in a unit of this language.
#[must_use]
pub fn cure(variations: &[&Variation], kind: Option<Kind>, language: LanguageName) -> Option<&'static str> {
    let fits = |line: &&Line| {
        let has_variation = |name| variations.iter().any(|variation| variation.name == name);
        line.variation.is_none_or(has_variation)
            && line.kind.is_none_or(|of_line| kind == Some(of_line))
            && line.language.is_none_or(|of_line| language == of_line)
    };
    TABLE.iter().find(fits).map(|line| line.advice)
}

#[cfg(test)]
mod tests {
    use super::super::VARIATIONS;
    use super::*;

    #[test]
    fn every_variation_and_every_kind_has_a_cure_in_every_language() {
        for language in [LanguageName::Rust, LanguageName::Go, LanguageName::C, LanguageName::Cpp] {
            for variation in VARIATIONS {
                let advice = cure(&[variation], variation.kind, language);
                assert!(advice.is_some(), "{} in {language:?}", variation.name);
            }
            for kind in [Kind::Date, Kind::Order, Kind::Random] {
                assert!(cure(&[], Some(kind), language).is_some(), "{kind:?} in {language:?}");
            }
        }
    }

    #[test]
    fn every_line_names_what_there_is_and_none_is_behind_another() {
        for (place, line) in TABLE.iter().enumerate() {
            let is_known = |name| VARIATIONS.iter().any(|variation| variation.name == name);
            assert!(line.variation.is_none_or(is_known), "{}", line.advice);
            let covers = |earlier: &Line| {
                (earlier.variation.is_none() || earlier.variation == line.variation)
                    && (earlier.kind.is_none() || earlier.kind == line.kind)
                    && (earlier.language.is_none() || earlier.language == line.language)
            };
            assert!(!TABLE[..place].iter().any(covers), "{}", line.advice);
        }
    }
}
