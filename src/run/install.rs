//! Where in a runtime image a host looks for its plugins: `install:`.

use super::images::ResolvedEnvironment;
use super::{Run, RunError};
use crate::image::Entry;
use crate::place::directories_of;
use crate::plan::EnvironmentPlan;
use crate::rootfs::{FileKind, LookError, RootFs};

/// Why plugins cannot be put where the project says.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Something else is there, or on the way there.
    #[error("plugins cannot be put into `{install}`: `{path}` in the runtime image is no directory")]
    NoDirectory {
        /// `install:`.
        install: String,
        /// What is none.
        path: String,
    },
    /// The image has a file of that name.
    #[error("the runtime image has `{path}` already, so the plugin cannot be put there")]
    Taken {
        /// Which.
        path: String,
    },
}

impl InstallError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoDirectory { .. } => {
                "name the directory in which the host looks for plugins as `install:` of the host".to_owned()
            }
            Self::Taken { .. } => {
                "name the artifact otherwise, or leave the package that brings the file out of the runtime image"
                    .to_owned()
            }
        }
    }
}

/// What a matched image has in the directory in which its host looks for plugins: links to those of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    /// The directory, without links; absolute.
    directory: String,
    /// Those on the way to it that the runtime image does not have, in their order.
    missing: Vec<String>,
    /// The plugins' files, sorted.
    files: Vec<String>,
}

impl Installed {
    /// The same in a root, of which the last parts of `install` need not be there.
    fn in_root(root: &dyn RootFs, install: &str, files: Vec<String>) -> Result<Self, InstallError> {
        let no_directory = |path: &str| InstallError::NoDirectory {
            install: install.to_owned(),
            path: path.to_owned(),
        };
        let (mut directory, mut missing) = (String::new(), Vec::new());
        let mut parts = install.split('/').skip(1);
        for part in parts.by_ref() {
            let path = format!("{directory}/{part}");
            match root.look(&path) {
                Ok(found) if found.kind == FileKind::Directory => directory = found.path,
                Err(LookError::NotFound) => {
                    missing.push(path.clone());
                    directory = path;
                    break;
                }
                _ => return Err(no_directory(&path)),
            }
        }
        for part in parts {
            directory = format!("{directory}/{part}");
            missing.push(directory.clone());
        }
        let mut taken = files.iter().map(|file| format!("{directory}/{file}"));
        if missing.is_empty()
            && let Some(path) = taken.find(|path| root.look(path) != Err(LookError::NotFound))
        {
            return Err(InstallError::Taken { path });
        }
        for below in directories_of(files.iter().map(String::as_str)) {
            let path = format!("{directory}/{below}");
            match root.look(&path) {
                // What a link leads to is not where the host looks.
                Ok(found) if found.kind == FileKind::Directory && found.path == path => {}
                Err(LookError::NotFound) => missing.push(path),
                _ => return Err(no_directory(&path)),
            }
        }
        Ok(Self {
            directory,
            missing,
            files,
        })
    }

    /// The entries of a layer that has the bundle in `bundle`.
    pub(super) fn entries(&self, bundle: &str, mtime_seconds: u64) -> Vec<Entry> {
        let relative = |path: &str| path.trim_start_matches('/').to_owned();
        let directories = self
            .missing
            .iter()
            .map(|path| Entry::directory(&relative(path), mtime_seconds));
        let links = self.files.iter().map(|file| {
            let path = relative(&format!("{}/{file}", self.directory));
            Entry::symlink(&path, &format!("{bundle}/{file}"), mtime_seconds)
        });
        directories.chain(links).collect()
    }
}

impl Run {
    /// What the matched image has where the host looks for plugins; none for a host that is told where they are.
    pub(super) async fn installed_plugins(
        &self,
        plan: &EnvironmentPlan,
        resolved: &ResolvedEnvironment,
    ) -> Result<Option<Installed>, RunError> {
        let Some(install) = &self.project.host.install else {
            return Ok(None);
        };
        let root = self.runtime_root(&resolved.runtime).await?;
        let plugins = plan.units.iter().filter(|unit| !unit.is_host());
        let mut files: Vec<String> = plugins
            .flat_map(|plugin| {
                let yielded = plugin.unit.places().map(|(_, place)| place.to_owned());
                yielded.chain(plugin.files.iter().map(|file| file.place.to_string()))
            })
            .collect();
        files.sort();
        Ok(Some(Installed::in_root(&*root, install, files)?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::rootfs::DirectoryRoot;

    fn root(directory: &Path) -> DirectoryRoot {
        fs::create_dir_all(directory.join("usr/lib/nginx/modules")).unwrap();
        fs::write(directory.join("usr/lib/nginx/modules/ngx_echo.so"), "").unwrap();
        symlink("usr/lib", directory.join("lib")).unwrap();
        DirectoryRoot::open(directory).unwrap()
    }

    fn check(install: &str, files: &[&str], expect: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let told = match Installed::in_root(&root(directory.path()), install, files) {
            Ok(installed) => installed
                .entries("/opt/web", 1)
                .iter()
                .map(|entry| match &entry.kind {
                    crate::image::EntryKind::Symlink(target) => {
                        let [path, target] = [&entry.path, target].map(|text| String::from_utf8_lossy(text));
                        format!("{path} -> {target}")
                    }
                    _ => format!("{}/", String::from_utf8_lossy(&entry.path)),
                })
                .collect(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(told, expect);
    }

    #[test]
    fn plugins_are_linked_where_the_host_looks_and_links_of_the_image_stay() {
        check(
            "/lib/nginx/modules",
            &["a.so", "b.so"],
            &[
                "usr/lib/nginx/modules/a.so -> /opt/web/a.so",
                "usr/lib/nginx/modules/b.so -> /opt/web/b.so",
            ],
        );
        // Of what is on the way, only what is not there is made: it would get another owner and other rights.
        check(
            "/lib/other/modules",
            &["a.so"],
            &[
                "usr/lib/other/",
                "usr/lib/other/modules/",
                "usr/lib/other/modules/a.so -> /opt/web/a.so",
            ],
        );
    }

    #[test]
    fn what_the_image_has_is_not_replaced() {
        check(
            "/usr/lib/nginx/modules",
            &["ngx_echo.so"],
            &["the runtime image has `/usr/lib/nginx/modules/ngx_echo.so` already, so the plugin cannot be put there"],
        );
        check(
            "/usr/lib/nginx/modules/ngx_echo.so/more",
            &["a.so"],
            &["plugins cannot be put into `/usr/lib/nginx/modules/ngx_echo.so/more`: \
               `/usr/lib/nginx/modules/ngx_echo.so` in the runtime image is no directory"],
        );
    }
}
