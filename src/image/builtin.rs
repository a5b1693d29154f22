//! The recipes that come with the program: the files of `images/`.

use super::recipe_files::RecipeFiles;

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../images/", $path)))),*]
    };
}

/// Every file of `images/` that a recipe may name, by its path there.
const FILES: &[(&str, &[u8])] = embedded![
    "debian/build.yaml",
    "debian/group",
    "debian/passwd",
    "debian/runtime.yaml",
    "debian/warm_go.sh",
    "musl/build.yaml",
    "musl/ctype_base.h",
    "musl/find_object.c",
    "musl/glibc_names.c",
    "musl/musl-g++",
    "musl/os_defines.h",
    "musl/runtime.yaml",
    "musl/setup.sh",
];

/// A builtin name that stands for a stage of a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltinDockerfile {
    /// The Dockerfile's text; it needs nothing else in its build context.
    pub text: &'static str,
    /// The stage.
    pub target: &'static str,
}

const ALPINE: &str = include_str!("../../images/alpine/Dockerfile");

const DOCKERFILES: &[(&str, BuiltinDockerfile)] = &[
    (
        "alpine/build",
        BuiltinDockerfile {
            text: ALPINE,
            target: "build",
        },
    ),
    (
        "alpine/runtime",
        BuiltinDockerfile {
            text: ALPINE,
            target: "runtime",
        },
    ),
];

/// The recipes that come with the program; their paths are the builtin names and `.yaml`.
#[derive(Debug, Clone, Copy)]
pub struct Builtin;

impl Builtin {
    /// The names that a project may use (`builtin: debian/build`).
    pub fn names() -> impl Iterator<Item = &'static str> {
        let stages = DOCKERFILES.iter().map(|(name, _)| *name);
        stages.chain(FILES.iter().filter_map(|(path, _)| path.strip_suffix(".yaml")))
    }

    /// The stage of a Dockerfile that a name stands for; none when it stands for a bootstrap recipe, or for nothing.
    #[must_use]
    pub fn dockerfile(name: &str) -> Option<BuiltinDockerfile> {
        DOCKERFILES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, stage)| *stage)
    }
}

impl RecipeFiles for Builtin {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        FILES
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, content)| content.to_vec())
            .ok_or_else(|| {
                let names: Vec<&str> = Self::names().collect();
                format!("lockstep brings no such file; its recipes are {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::recipe::Recipe;
    use super::*;

    #[test]
    fn every_builtin_recipe_is_one() {
        let names: Vec<&str> = Builtin::names().collect();
        let expected = [
            "alpine/build",
            "alpine/runtime",
            "debian/build",
            "debian/runtime",
            "musl/build",
            "musl/runtime",
        ];
        assert_eq!(names, expected);
        for name in names {
            if let Some(stage) = Builtin::dockerfile(name) {
                assert!(stage.text.contains(&format!(" AS {}\n", stage.target)), "{name}");
                continue;
            }
            let recipe = Recipe::read(&Builtin, &format!("{name}.yaml")).unwrap();
            assert_eq!(recipe.suite(), "trixie");
            assert_eq!(recipe.merged_defaults().user, "1000:1000", "{name}");
        }
    }

    #[test]
    fn every_file_of_the_recipes_is_embedded() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        for directory in ["debian", "musl"] {
            for entry in std::fs::read_dir(root.join(directory)).unwrap() {
                let name = entry.unwrap().file_name();
                let path = format!("{directory}/{}", name.to_string_lossy());
                assert!(FILES.iter().any(|(embedded, _)| *embedded == path), "{path}");
            }
        }
    }
}
