//! What of a project is on disk.

use std::path::{Path, PathBuf};

use super::{Item, Scope};
use crate::plan::Publication;
use crate::state::STATE_DIRECTORY;

/// Where bundles are published.
const BUNDLE_DIRECTORY: &str = "dist";
/// What marks a directory there as a bundle, also of an environment that the project has no more.
const MANIFEST: &str = "manifest.json";
/// What marks one as what is said of a bundle.
const PROVENANCE: &str = "provenance.json";

/// The directories that lockstep made in the project's; `dist/` itself only when nothing else is in it.
///
/// # Errors
/// When the file system refuses.
pub fn directories(directory: &Path, scope: &Scope) -> std::io::Result<Vec<Item>> {
    let dist = directory.join(BUNDLE_DIRECTORY);
    let ours: Vec<PathBuf> = scope
        .environments
        .iter()
        .map(|environment| Publication::new(&scope.project, environment))
        .flat_map(|publication| [publication.directory, publication.metadata])
        .map(|published| directory.join(published))
        .collect();
    // Lockstep publishes through no link, so what is behind one is somebody else's.
    let is_link = dist.is_symlink();
    let entries: Vec<PathBuf> = match std::fs::read_dir(&dist) {
        _ if is_link => vec![],
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => vec![],
        Err(error) => return Err(error),
    };
    let (mut bundles, others): (Vec<PathBuf>, Vec<PathBuf>) = entries.into_iter().partition(|path| {
        let has = |name: &str| path.join(name).is_file();
        ours.contains(path) || has(MANIFEST) || has(PROVENANCE)
    });
    if others.is_empty() && dist.exists() && !is_link {
        bundles = vec![dist];
    }
    bundles.sort();
    bundles.extend(
        [directory.join(STATE_DIRECTORY)]
            .into_iter()
            .filter(|path| std::fs::symlink_metadata(path).is_ok()),
    );
    Ok(bundles.into_iter().map(|path| Item::Directory { path }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{EnvironmentName, ProjectName};

    #[test]
    fn only_bundles_are_taken_from_a_directory_that_others_use() {
        let project = tempfile::tempdir().unwrap();
        let scope = Scope {
            project: ProjectName::new("greeter").unwrap(),
            environments: vec![EnvironmentName::new("glibc").unwrap()],
            owner: None,
        };
        let found = || -> Vec<String> {
            let items = directories(project.path(), &scope).unwrap();
            let relative = |item: &Item| item.name().replace(&format!("{}/", project.path().display()), "");
            items.iter().map(relative).collect()
        };
        assert_eq!(found(), Vec::<String>::new());
        for path in [
            "dist/glibc/greeter",
            "dist/glibc.meta/sbom.spdx.json",
            "dist/old/manifest.json",
            "dist/old.meta/provenance.json",
            ".lockstep/lock",
        ] {
            let path = project.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        assert_eq!(found(), ["dist", ".lockstep"]);
        std::fs::write(project.path().join("dist/index.html"), "").unwrap();
        assert_eq!(
            found(),
            [
                "dist/glibc",
                "dist/glibc.meta",
                "dist/old",
                "dist/old.meta",
                ".lockstep"
            ]
        );
        let elsewhere = project.path().join("elsewhere");
        std::fs::rename(project.path().join("dist"), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, project.path().join("dist")).unwrap();
        assert_eq!(found(), [".lockstep"]);
    }
}
