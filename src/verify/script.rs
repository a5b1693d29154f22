//! The command of a rebuild: a unit's own, with what a setting changes before it.

use std::collections::BTreeMap;

use super::{Clock, Setting, SourcePlace};
use crate::language::{ROOT, quote};
use crate::plan::Command;

/// What a line begins with by which a container tells that something could not be varied: then the variations' names, a colon
/// and why.
pub const NOT_VARIED: &str = "lockstep: not varied: ";
/// What programs are told that ask for the time of day; preloaded.
const CLOCK: &str = include_str!("clock.c");

/// Brings the sources from where they were uploaded into memory, in the order that `$1` says (an option of sort).
const COPY_SOURCES: &str = r"copy_sources() {
  cd /lockstep/staged
  find . -mindepth 1 -print0 | LC_ALL=C sort -z ${1-} | tar --null --no-recursion --files-from=- -cf - |
    tar -C /lockstep/src -xf - || {
      echo 'lockstep: not varied: entry-order: the image has no tar, find and sort that can do it'
      cp -pR . /lockstep/src
    }
}
(copy_sources $SOURCES_ORDER)
find /lockstep/staged -mindepth 1 -delete 2>/dev/null || rm -rf /lockstep/staged/*
";
/// Compiles [`CLOCK`] with the macro `$MACRO`, and has it preloaded into all that is started.
const SET_CLOCK: &str = r#"if cc -shared -fPIC -O1 -w -fno-stack-protector -fno-builtin -nostdlib -DSINCE="$(date +%s)" "-D$CLOCK_MACRO" \
  -o /lockstep/varied/clock.so /lockstep/varied/clock.c 2>/dev/null
then export LD_PRELOAD="/lockstep/varied/clock.so${LD_PRELOAD:+ $LD_PRELOAD}"
else echo 'lockstep: not varied: time-of-day: the image has no cc that compiles for it'
fi
unset CLOCK_MACRO
"#;
/// Runs the script `$1` with the options of setarch that follow, if it can.
const SET_PERSONALITY: &str = r#"script=$1
shift
machine=$(uname -m)
if setarch "$machine" "$@" true 2>/dev/null; then exec setarch "$machine" "$@" sh -eu -c "$script"; fi
echo 'lockstep: not varied: address-layout, kernel: the image has no setarch that may do it'
exec sh -eu -c "$script"
"#;

/// `command` as a rebuild runs it. `own` are the variables that the unit sets itself, `now_seconds` is when the run began.
#[must_use]
pub fn rebuilt(command: &Command, own: &BTreeMap<String, String>, setting: &Setting, now_seconds: u64) -> Command {
    let mut variables = command.variables.clone();
    let varied = setting.variables.iter().filter(|(name, _)| !own.contains_key(**name));
    variables.extend(varied.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let mut script = String::new();
    let order = match setting.sources {
        SourcePlace::Volume => None,
        SourcePlace::Memory => Some(""),
        SourcePlace::MemoryReversed => Some("-r"),
    };
    if let Some(order) = order {
        script.push_str(&COPY_SOURCES.replace("$SOURCES_ORDER", order));
        // The working directory did not have its files when the container was started.
        script.push_str(&format!("cd {}\n", quote(&command.working_directory)));
    }
    if let Some(clock) = setting.clock {
        let definition = match clock {
            Clock::Later(seconds) => format!("LATER={seconds}"),
            Clock::Stopped => format!("STOPPED={now_seconds}"),
        };
        script.push_str(&format!(
            "cat > /lockstep/varied/clock.c <<'END_OF_CLOCK'\n{CLOCK}END_OF_CLOCK\nCLOCK_MACRO={definition}\n{SET_CLOCK}"
        ));
    }
    for line in &setting.first {
        script.push_str(line);
        script.push('\n');
    }
    if setting.personality.is_empty() {
        script.push_str(&command.script);
    } else {
        let words: Vec<String> = [command.script.as_str()]
            .iter()
            .chain(&setting.personality)
            .map(|word| quote(word))
            .collect();
        script.push_str(&format!("set -- {}\n{SET_PERSONALITY}", words.join(" ")));
    }
    let root = setting.root.unwrap_or(ROOT);
    for value in variables.values_mut() {
        *value = moved(value, root);
    }
    Command {
        script: moved(&script, root),
        variables,
        working_directory: moved(&command.working_directory, root),
    }
}

/// `text` with `root` for every path that begins with `/lockstep`.
#[must_use]
pub fn moved(text: &str, root: &str) -> String {
    let is_of_name = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '/' | '}');
    let mut moved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(ROOT) {
        let (before, found) = rest.split_at(at);
        let (found, after) = found.split_at(ROOT.len());
        moved.push_str(before);
        // `share` of `/usr/share/lockstep`, or `-I` of `-I/lockstep`.
        let word = moved
            .rsplit(|character| !is_of_name(character))
            .next()
            .unwrap_or_default();
        let is_option = word.starts_with('-') && !word.contains('/');
        let is_inside = !word.is_empty() && !is_option;
        let goes_on = after.chars().next().is_some_and(|next| next != '/' && is_of_name(next));
        moved.push_str(if is_inside || goes_on { found } else { root });
        rest = after;
    }
    moved.push_str(rest);
    moved
}

#[cfg(test)]
mod tests {
    use super::super::VARIATIONS;
    use super::*;

    #[test]
    fn only_paths_below_the_root_are_moved() {
        for (text, expected) in [
            ("cd /lockstep/src && cc -I/lockstep", "cd /x/src && cc -I/x"),
            (
                "${HOME}/lockstep share/lockstep -L/a/lockstep",
                "${HOME}/lockstep share/lockstep -L/a/lockstep",
            ),
            ("-ffile-prefix-map=/lockstep=/", "-ffile-prefix-map=/x=/"),
            ("A='/lockstep/out/a b'", "A='/x/out/a b'"),
            ("/lockstep:/lockstep/src", "/x:/x/src"),
            ("/usr/share/lockstep/go-build", "/usr/share/lockstep/go-build"),
            ("/lockstep-kept /lockstep.d", "/lockstep-kept /lockstep.d"),
        ] {
            assert_eq!(moved(text, "/x"), expected);
        }
    }

    #[test]
    fn what_a_unit_sets_itself_stays() {
        let command = Command {
            script: "make".to_owned(),
            variables: [("TZ", "UTC"), ("HOME", "/lockstep/home")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            working_directory: "/lockstep/src".to_owned(),
        };
        let own = BTreeMap::from([("TZ".to_owned(), "UTC".to_owned())]);
        let everything = rebuilt(&command, &own, &Setting::of(&[], VARIATIONS), 7);
        assert_eq!(everything.variables["TZ"], "UTC");
        assert!(everything.variables["HOME"].ends_with("/home/of-somebody-else"));
        assert!(!everything.script.contains(" /lockstep") && !everything.working_directory.starts_with(ROOT));
        assert_eq!(rebuilt(&command, &own, &Setting::default(), 7), command);
    }
}
