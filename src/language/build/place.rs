//! Finding artifacts among what a build made.

use std::fmt::Write as _;

use super::{INSTALL_ROOT, quote};
use crate::config::{Build, Unit, UnitRole};

/// Puts the file of the name `$1` (as a pattern of `find`: `$2`) into `$LOCKSTEP_OUT`; the first of the trees that follow
/// that has one decides. Beside a program that it has made, libtool leaves a script of its name. A file that tells where it was
/// built, as a search path for libraries, would look there where it runs.
const PLACE: &str = r#"lockstep_place() {
  name=$1 pattern=$2 chosen=
  shift 2
  for tree do
    if ! [ -d "$tree" ]; then continue; fi
    find "$tree" -name "$pattern" \( -type f -o -type l \) | sort > "$TMPDIR/lockstep-found"
    while IFS= read -r path; do
      if ! [ -f "$path" ]; then continue; fi
      case $path in
        */.libs/*) ;;
        *) if [ -f "${path%/*}/.libs/$name" ]; then continue; fi ;;
      esac
      if [ -z "$chosen" ]; then
        chosen=$path
      elif ! cmp -s "$chosen" "$path"; then
        echo "lockstep: two files that differ are called $name: $chosen and $path" >&2
        exit 1
      fi
    done < "$TMPDIR/lockstep-found"
    if [ -n "$chosen" ]; then break; fi
  done
  if [ -z "$chosen" ]; then
    made=$(for tree do
      if [ -d "$tree" ]; then lockstep_made "$tree"; fi
    done | sed 's|.*/||' | sort -u | head -n 20 | tr '\n' ' ')
    echo "lockstep: the build made no $name; what it made: ${made:-nothing of that kind}" >&2
    exit 1
  fi
  if command -v readelf >/dev/null && readelf -d "$chosen" 2>/dev/null | grep -E '\((RPATH|RUNPATH)\)' | grep /lockstep/ >&2; then
    echo "lockstep: $chosen looks for libraries where it was built, which is nowhere when it runs" >&2
    HINT
    exit 1
  fi
  cp "$chosen" "$LOCKSTEP_OUT/$name"
}
"#;
/// Lists what could be an artifact of a plugin, and of a host.
const MADE_BY_PLUGIN: &str = r#"find "$1" -type f \( -name '*.so' -o -name '*.so.*' \)"#;
const MADE_BY_HOST: &str = r#"find "$1" -type f -perm -100 ! -name '*.so' ! -name '*.so.*' ! -name '*.sh'"#;
/// The same of a build that several units take from, of which one may be the host.
const MADE_BY_BUILD: &str = r#"find "$1" -type f \( -perm -100 -o -name '*.so' -o -name '*.so.*' \) ! -name '*.sh'"#;

/// The end of a script that made artifacts in `trees`.
pub(super) fn script(unit: &Unit, build: &Build, trees: &[&str]) -> String {
    let made = match (&unit.from, unit.role) {
        (Some(_), _) => MADE_BY_BUILD,
        (None, UnitRole::Host) => MADE_BY_HOST,
        (None, UnitRole::Plugin) => MADE_BY_PLUGIN,
    };
    let hint = match build.knows_install() && !build.install {
        true => "echo 'lockstep: with `install: true`, what the build installs is taken instead' >&2",
        false => "echo 'lockstep: an option of the build may leave it out' >&2",
    };
    let mut script = format!(
        "lockstep_made() {{\n  {made}\n}}\n{place}",
        place = PLACE.replace("HINT", hint)
    );
    let installed = build.install.then_some(INSTALL_ROOT);
    let trees: Vec<&str> = installed.into_iter().chain(trees.iter().copied()).collect();
    for artifact in &unit.artifacts {
        let _ = writeln!(
            script,
            "lockstep_place {} {} {}",
            quote(artifact),
            quote(&as_pattern(artifact)),
            trees.join(" ")
        );
    }
    script
}

/// A name as a pattern that matches it alone.
fn as_pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::super::super::tests::unit;
    use super::*;
    use crate::config::{BuildSystem, LanguageName};

    /// What the script says, and what it put where artifacts belong, with these files (path and content) in the tree.
    fn place(role: UnitRole, artifact: &str, files: &[(&str, &str)]) -> (bool, String, Option<String>) {
        place_of(&unit(LanguageName::C, role, artifact), files)
    }

    fn place_of(unit: &Unit, files: &[(&str, &str)]) -> (bool, String, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["tree", "out", "tmp"] {
            fs::create_dir(path(name)).unwrap();
        }
        for (name, content) in files {
            let file = path("tree").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            match content.strip_prefix("-> ") {
                Some(target) => std::os::unix::fs::symlink(target, file).unwrap(),
                None => fs::write(file, content).unwrap(),
            }
        }
        let script = script(unit, &Build::of(BuildSystem::Make), &["missing", "."]);
        let output = Command::new("sh")
            .args(["-eu", "-c", &script])
            .current_dir(path("tree"))
            .env("LOCKSTEP_OUT", path("out"))
            .env("TMPDIR", path("tmp"))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let placed = |path: &Path| fs::symlink_metadata(path).map(|metadata| metadata.is_file());
        let out = path("out").join(&unit.artifacts[0]);
        let content = placed(&out)
            .is_ok_and(|is_file| is_file)
            .then(|| fs::read_to_string(out).unwrap());
        (output.status.success(), said, content)
    }

    #[test]
    fn an_artifact_is_found_by_its_name() {
        for (artifact, files) in [
            ("x.so", &[("a/b/x.so", "good"), ("a/y.so", "bad")][..]),
            ("x.so", &[("x.so", "good"), ("copy/x.so", "good")]),
            ("x.so", &[("x.so", "-> x.so.1"), ("x.so.1", "good")]),
            ("x.so", &[("x.so", "wrapper"), (".libs/x.so", "good")]),
            (
                "x.so",
                &[("x.so/other", "bad"), ("a/x.so", "good"), ("b/x.so", "-> nowhere")],
            ),
            ("a [1]*.so", &[("dir ectory/a [1]*.so", "good"), ("a 1x.so", "bad")]),
        ] {
            let (success, said, content) = place(UnitRole::Plugin, artifact, files);
            assert!(success, "{files:?}: {said}");
            assert_eq!(content.as_deref(), Some("good"), "{files:?}");
        }
    }

    #[test]
    fn two_of_one_name_and_none_say_what_there_is() {
        let (success, said, content) = place(UnitRole::Plugin, "x.so", &[("a/x.so", "one"), ("b/x.so", "two")]);
        assert!(!success && content.is_none(), "{said}");
        assert!(said.contains("./a/x.so and ./b/x.so"), "{said}");
        let (success, said, _) = place(
            UnitRole::Plugin,
            "x.so",
            &[("a/y.so", ""), ("libz.so.1", ""), ("x.c", "")],
        );
        assert!(!success, "{said}");
        assert!(said.contains("made no x.so; what it made: libz.so.1 y.so"), "{said}");
        let (_, said, _) = place(UnitRole::Host, "x", &[("y.so", "")]);
        assert!(said.contains("nothing of that kind"), "{said}");
        // A build that units of both kinds take from.
        let mut shared = unit(LanguageName::C, UnitRole::Host, "x");
        shared.from = Some(shared.name.clone());
        let (_, said, _) = place_of(&shared, &[("y.so", ""), ("y.c", "")]);
        assert!(said.contains("what it made: y.so"), "{said}");
    }
}
