//! The recipe of the image that a known host runs in.

use std::fmt::Write as _;

use super::tree::Tree;
use crate::known_hosts::{KnownHost, SUITE, SmokeFile};

/// Where recipes go.
const DIRECTORY: &str = "images";
/// What the recipe of a host that is compiled is called.
const OWN_NAME: &str = "runtime";
/// How many names are tried before one that is surely free is taken for granted.
const NAMES_LIMIT_COUNT: usize = 1000;

/// A recipe to be written beside `lockstep.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Where, relative to the project's directory.
    pub path: String,
    /// What.
    pub text: String,
    /// Whether it is there already, as it would be written.
    pub is_there: bool,
}

/// The runtime image of a known host with the files of its smoke test, and with these packages on top.
pub(super) fn runtime(tree: &Tree, host: &KnownHost, packages: &[&str], files: &[SmokeFile]) -> Recipe {
    at_free_place(tree, host.name, text(host, packages, files))
}

/// The runtime image of a host that is compiled with a build system, and needs these packages.
pub(super) fn runtime_of_own(tree: &Tree, packages: &[&str]) -> Recipe {
    let mut text = "\
# Where the host runs: lockstep's own runtime image, and the libraries that its build files name. What compiles it stands on
# this image, so that headers are of the version that runs (`extends: runtime` in lockstep.yaml).
bootstrap:
  base: {builtin: debian/runtime}
"
    .to_owned();
    if !packages.is_empty() {
        let _ = writeln!(text, "  packages: [{}]", packages.join(", "));
    }
    at_free_place(tree, OWN_NAME, text)
}

/// A recipe where nothing else is.
fn at_free_place(tree: &Tree, name: &str, text: String) -> Recipe {
    let path = |number: usize| match number {
        1 => format!("{DIRECTORY}/{name}.yaml"),
        number => format!("{DIRECTORY}/{name}-{number}.yaml"),
    };
    let is_same = |path: &str| tree.text(path) == Some(text.as_str());
    let fits = |path: &String| !tree.contains(path) || is_same(path);
    let path = (1..=NAMES_LIMIT_COUNT)
        .map(path)
        .find(fits)
        .unwrap_or_else(|| path(NAMES_LIMIT_COUNT + 1));
    Recipe {
        is_there: is_same(&path),
        path,
        text,
    }
}

/// The skeleton is that of `debian/runtime`, without what only lockstep's own samples need.
fn text(host: &KnownHost, more: &[&str], files: &[SmokeFile]) -> String {
    let mut text = format!(
        "\
# Where {name} runs: its packages, unpacked only, and a static shell. What compiles its plugins stands on this image, so
# that their headers are of the version that runs (`extends: runtime` in lockstep.yaml).
bootstrap:
  distribution: debian
  suite: {SUITE}
  variant: extract
  packages: [base-files, busybox-static, libc6, libgcc-s1, {packages}]
  links:
    usr/bin/sh: busybox
",
        name = host.name,
        packages = [host.runtime_packages, more].concat().join(", "),
    );
    for (link, target) in host.links {
        let _ = writeln!(text, "    {link}: {target}");
    }
    text.push_str(
        r#"  files:
    - content: |
        root:x:0:0:root:/root:/bin/sh
        lockstep:x:1000:1000:lockstep:/home/lockstep:/bin/sh
        nobody:x:65534:65534:nobody:/nonexistent:/bin/false
      to: /etc/passwd
    - content: |
        root:x:0:
        lockstep:x:1000:
        nogroup:x:65534:
      to: /etc/group
    - {content: "hosts: files dns\n", to: /etc/nsswitch.conf}
    - {directory: /home/lockstep, owner: 1000}
"#,
    );
    let own = host.files.iter().copied();
    for (path, content) in own.chain(files.iter().map(|file| (file.path.as_str(), file.content.as_str()))) {
        let content = serde_json::Value::from(content);
        let _ = writeln!(text, "    - {{content: {content}, to: {path}}}");
    }
    let directory = host
        .program_directory
        .map(|directory| format!(":{directory}"))
        .unwrap_or_default();
    let _ = write!(
        text,
        "  setup:
    # One link an applet, where there is no program of that name: `cat` is what files are fetched from a volume with.
    - busybox --install -s /usr/bin
  remove: [usr/share/doc, usr/share/lintian, usr/share/man]
config:
  user: \"1000:1000\"
  env:
    LANG: C.UTF-8
    PATH: /usr/local/bin:/usr/bin{directory}
"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Recipe as ImageRecipe, RecipeFiles};
    use crate::known_hosts::KNOWN_HOSTS;

    struct One(String);

    impl RecipeFiles for One {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(self.0.clone().into_bytes())
        }
    }

    #[test]
    fn every_known_host_has_a_recipe_that_can_be_read() {
        for host in KNOWN_HOSTS {
            let recipe = runtime(&Tree::default(), host, &[], &[]);
            let read = ImageRecipe::read(&One(recipe.text.clone()), &recipe.path);
            let recipe = read.unwrap_or_else(|problems| panic!("{problems:?}\n{}", recipe.text));
            assert!(recipe.is_unpacked_only());
            assert!(
                host.runtime_packages
                    .iter()
                    .all(|package| recipe.packages.iter().any(|name| name == package))
            );
        }
    }

    #[test]
    fn what_is_there_is_kept_or_passed_by() {
        let host = KNOWN_HOSTS[0];
        let first = runtime(&Tree::default(), host, &[], &[]);
        let again = runtime(&Tree::of(&[(&first.path, &first.text)]), host, &[], &[]);
        assert!(again.is_there && again.path == first.path);
        let other = runtime(&Tree::of(&[(&first.path, "mine")]), host, &[], &[]);
        assert!(!other.is_there && other.path == "images/nginx-2.yaml");
    }
}
