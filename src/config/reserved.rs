//! Names that are taken: by lockstep itself, or by what it calls things on an engine and on the disk after others.

/// Where a host comes from that is there already; no build is called so.
pub(super) const RUNTIME: &str = "runtime";

/// A name that cannot be had.
pub(super) struct Taken {
    /// What the problem says.
    pub(super) message: String,
    /// What it says beside the place.
    pub(super) label: String,
}

fn taken(name: &str, why: &str) -> Taken {
    Taken {
        message: format!("the name `{name}` is taken"),
        label: format!("choose another name: {why}"),
    }
}

/// The smoke loader, as a unit and as the file that it is compiled to: who had its name would be taken for it.
const LOADER: &str = "lockstep-loader";
/// What lies beside the artifacts in a bundle.
const MANIFEST: &str = "manifest.json";
/// The names of images that all projects share (`lockstep/environment:…`, `lockstep/recipe:…`), beside those of a project
/// of that name.
const SHARED_IMAGES: &[&str] = &["environment", "recipe"];
/// What follows an environment's name in that of the directory beside its bundle.
const METADATA_SUFFIX: &str = ".meta";
/// What a matched image's tag has until all else is published; whatever has it is removed by the next run.
const STAGED_MARK: &str = ".staged-";
/// What follows an environment's name in that of its cache volume, `lockstep-<project>-<environment>-cache`.
const CACHE_SUFFIX: &str = "-cache";
/// What follows an environment's name in the tag of its build image, `lockstep/<project>:<environment>-build`.
const BUILD_SUFFIX: &str = "-build";

/// Why a unit cannot be called so.
pub(super) fn unit(name: &str) -> Option<Taken> {
    (name == LOADER).then(|| taken(name, "it is the smoke loader's"))
}

/// Why a build cannot be called so.
pub(super) fn build(name: &str) -> Option<Taken> {
    if name == RUNTIME {
        return Some(taken(name, "`from: runtime` is a host of the runtime image"));
    }
    unit(name)
}

/// Why a project cannot be called so.
pub(super) fn project(name: &str) -> Option<Taken> {
    if SHARED_IMAGES.contains(&name) {
        Some(taken(
            name,
            "images that all projects share are called `lockstep/environment` and `lockstep/recipe`",
        ))
    } else if name.contains(STAGED_MARK) {
        Some(taken(name, "what has `.staged-` in its name is not published yet"))
    } else {
        None
    }
}

/// Why an environment cannot be called so, beside others of its project.
pub(super) fn environment(name: &str, others: &[&str]) -> Option<Taken> {
    if name == "cache" || name.ends_with(CACHE_SUFFIX) {
        return Some(taken(
            name,
            "a volume that ends in `-cache` is the cache of the environment before it",
        ));
    }
    if name.contains(STAGED_MARK) {
        return Some(taken(name, "what has `.staged-` in its name is not published yet"));
    }
    if name.ends_with(METADATA_SUFFIX) {
        return Some(taken(
            name,
            "what is said of a bundle lies beside it, in a directory that ends in `.meta`",
        ));
    }
    let other = name.strip_suffix(BUILD_SUFFIX).filter(|other| others.contains(other))?;
    Some(taken(name, &format!("the build image of `{other}` has this tag")))
}

/// Why an artifact cannot be called so. Names differ in more than their case from ours: a bundle may be copied to where
/// case does not count.
pub(super) fn artifact(name: &str) -> Option<Taken> {
    if name.eq_ignore_ascii_case(MANIFEST) {
        Some(taken(name, "the bundle's manifest lies beside the artifacts"))
    } else if name.eq_ignore_ascii_case(LOADER) {
        Some(taken(name, "it is the smoke loader's"))
    } else if name.starts_with('.') {
        Some(taken(
            name,
            "names that begin with a dot are lockstep's beside the artifacts",
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{EnvironmentName, ProjectName};
    use crate::plan::Publication;

    #[test]
    fn what_collides_is_taken_and_nothing_else() {
        let others = ["glibc", "x", "release"];
        for (refused, taken) in [
            ("units: lockstep-loader", unit("lockstep-loader").is_some()),
            ("builds: runtime", build("runtime").is_some()),
            ("builds: lockstep-loader", build("lockstep-loader").is_some()),
            ("projects: environment", project("environment").is_some()),
            ("projects: recipe", project("recipe").is_some()),
            ("projects: a.staged-b", project("a.staged-b").is_some()),
            ("environments: cache", environment("cache", &others).is_some()),
            ("environments: b-cache", environment("b-cache", &others).is_some()),
            ("environments: x-build", environment("x-build", &others).is_some()),
            ("environments: x.meta", environment("x.meta", &others).is_some()),
            ("environments: x.staged-1", environment("x.staged-1", &others).is_some()),
            ("artifacts: Manifest.JSON", artifact("Manifest.JSON").is_some()),
            ("artifacts: .artifacts.json", artifact(".artifacts.json").is_some()),
            ("artifacts: lockstep-loader", artifact("lockstep-loader").is_some()),
        ] {
            assert!(taken, "{refused}");
        }
        let fine = [
            unit("loader").is_none(),
            project("environments").is_none(),
            environment("build", &others).is_none(),
            environment("y-build", &others).is_none(),
            environment("cached", &others).is_none(),
            artifact("manifest.json.so").is_none(),
        ];
        assert_eq!(fine, [true; 6]);
    }

    /// The names on an engine that this module knows are those that are given there.
    #[test]
    fn the_names_on_an_engine_are_those_that_are_known_here() {
        let publication = Publication::new(&ProjectName::new("p").unwrap(), &EnvironmentName::new("e").unwrap());
        assert_eq!(publication.build_image, format!("{}{BUILD_SUFFIX}", publication.image));
        assert_eq!(crate::image::IMAGE_REPOSITORY, format!("lockstep/{}", SHARED_IMAGES[0]));
        assert_eq!(MANIFEST, crate::bundle::MANIFEST_FILE);
        assert_eq!(METADATA_SUFFIX, crate::bundle::METADATA_SUFFIX);
    }
}
