//! Where in a runtime image a host looks for its plugins: `install:`.

use std::collections::BTreeMap;

use super::error::InstallError;
use super::placed::PlacedFile;
use super::resolved::ResolvedEnvironment;
use super::{Run, RunError};
use crate::config::Host;
use crate::image::Entry;
use crate::place::directories_of;
use crate::plan::UnitPlan;
use crate::rootfs::{FileKind, LookError, RootFs};

/// What is looked for in directories of the image, by directory: there by its name, and its place in the bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Installs(BTreeMap<String, BTreeMap<String, String>>);

impl Installs {
    /// What the plugins among `units` ship that is looked for somewhere: where that says, or where the host looks for plugins.
    pub(super) fn of(host: &Host, units: &[UnitPlan]) -> Result<Self, InstallError> {
        let mut installs = Self::default();
        for plugin in units.iter().filter(|unit| !unit.is_host()) {
            for (name, place) in plugin.unit.places() {
                installs.add(host, plugin.unit.installs.get(name), place)?;
            }
            for file in &plugin.files {
                installs.add(host, file.install.as_ref(), file.place.as_str())?;
            }
        }
        Ok(installs)
    }

    /// Adds what lies at a place of the bundle. In a directory of its own it is there by its name alone.
    fn add(&mut self, host: &Host, own: Option<&String>, place: &str) -> Result<(), InstallError> {
        let (directory, name) = match (own, &host.install) {
            (Some(own), _) => (own, place.rsplit('/').next().unwrap_or(place)),
            (None, Some(install)) => (install, place),
            (None, None) => return Ok(()),
        };
        let files = self.0.entry(directory.clone()).or_default();
        match files.insert(name.to_owned(), place.to_owned()) {
            Some(other) if other != place => Err(InstallError::Twice {
                path: format!("{directory}/{name}"),
                one: other,
                other: place.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The directories.
    pub(super) fn directories(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Those of `files` that are looked for, by directory, each by its name there.
    pub(super) fn placed<'a>(
        &'a self,
        files: &'a [PlacedFile],
    ) -> impl Iterator<Item = (&'a str, Vec<PlacedFile>)> + 'a {
        let path_of: BTreeMap<&str, &PlacedFile> = files.iter().map(|file| (file.place.as_str(), file)).collect();
        self.0.iter().map(move |(directory, names)| {
            let placed = names.iter().filter_map(|(name, place)| {
                Some(PlacedFile {
                    path: path_of.get(place.as_str())?.path.clone(),
                    place: name.clone(),
                })
            });
            (directory.as_str(), placed.collect())
        })
    }
}

/// What a matched image has in a directory in which its host looks for something: links to what the bundle has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    /// The directory, without links; absolute.
    directory: String,
    /// Those on the way to it that the runtime image does not have, in their order.
    missing: Vec<String>,
    /// What is there, by its name, and its place in the bundle.
    files: BTreeMap<String, String>,
}

impl Installed {
    /// The same in a root, of which the last parts of `install` need not be there.
    fn in_root(root: &dyn RootFs, install: &str, files: BTreeMap<String, String>) -> Result<Self, InstallError> {
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
        let mut taken = files.keys().map(|name| format!("{directory}/{name}"));
        if missing.is_empty()
            && let Some(path) = taken.find(|path| root.look(path) != Err(LookError::NotFound))
        {
            return Err(InstallError::Taken { path });
        }
        for below in directories_of(files.keys().map(String::as_str)) {
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
        let links = self.files.iter().map(|(name, place)| {
            let path = relative(&format!("{}/{name}", self.directory));
            Entry::symlink(&path, &format!("{bundle}/{place}"), mtime_seconds)
        });
        directories.chain(links).collect()
    }
}

impl Run {
    /// What the matched image has where its host looks for things.
    pub(super) async fn installed_files(
        &self,
        installs: &Installs,
        resolved: &ResolvedEnvironment,
    ) -> Result<Vec<Installed>, RunError> {
        if installs.0.is_empty() {
            return Ok(vec![]);
        }
        let root = self.runtime_root(&resolved.runtime).await?;
        let directories = installs.0.iter();
        let installed = directories.map(|(directory, files)| Installed::in_root(&*root, directory, files.clone()));
        Ok(installed.collect::<Result<_, _>>()?)
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

    fn host(install: Option<&str>) -> Host {
        let program = crate::config::RuntimeProgram {
            name: crate::name::UnitName::new("web").unwrap(),
            path: "/usr/bin/web".to_owned(),
        };
        Host {
            program: crate::config::Program::Runtime(program),
            install: install.map(str::to_owned),
        }
    }

    /// What is looked for where: `directory/name <- place`.
    fn installs(install: Option<&str>, shipped: &[(Option<&str>, &str)]) -> Result<Vec<String>, InstallError> {
        let mut installs = Installs::default();
        for (own, place) in shipped {
            installs.add(&host(install), own.map(str::to_owned).as_ref(), place)?;
        }
        let directories = installs.0.iter();
        let told = directories.flat_map(|(directory, files)| {
            let files = files.iter();
            files.map(move |(name, place)| format!("{directory}/{name} <- {place}"))
        });
        Ok(told.collect())
    }

    #[test]
    fn what_is_shipped_is_looked_for_where_it_says_or_where_plugins_are() {
        let (own, place) = (Some("/usr/share/web"), "handlers/a.conf");
        let shipped = [(None, "handlers/a.so"), (own, place)];
        assert_eq!(
            installs(Some("/usr/lib/web"), &shipped).unwrap(),
            [
                "/usr/lib/web/handlers/a.so <- handlers/a.so",
                "/usr/share/web/a.conf <- handlers/a.conf",
            ]
        );
        assert_eq!(
            installs(None, &shipped).unwrap(),
            ["/usr/share/web/a.conf <- handlers/a.conf"]
        );
        let error = installs(None, &[(own, place), (own, "middlewares/a.conf")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`handlers/a.conf` and `middlewares/a.conf` are both to be `/usr/share/web/a.conf` in the runtime image"
        );
    }

    fn check(install: &str, files: &[&str], expect: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let files = files
            .iter()
            .map(|file| ((*file).to_owned(), (*file).to_owned()))
            .collect();
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
