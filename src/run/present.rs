//! A host that is not compiled: the program of the runtime image that the project names, as it is there.

use std::io;

use super::images::ResolvedImage;
use super::program::{Unfit, unfit};
use super::{Run, RunError};
use crate::check::package_of;
use crate::config::{Program, RuntimeProgram};
use crate::digest::Digest;
use crate::engine::{ContainerSpec, EngineError, ImageId};
use crate::lock;
use crate::name::EnvironmentName;
use crate::rootfs::{FileKind, Found, LookError, RootFs};
use crate::stream;

/// What images are asked for the cache: the digest of the file at a path.
const DIGEST_QUESTION: &str = "digest of the file 2";
/// The largest program that is read.
const PROGRAM_LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Why a program of the runtime image cannot be the host.
#[derive(Debug, thiserror::Error)]
pub enum PresentHostError {
    /// It is not there.
    #[error("the runtime image of {environment} has no `{path}`")]
    Missing {
        /// The environment.
        environment: EnvironmentName,
        /// `host.path`.
        path: String,
        /// Something of that name elsewhere in the image.
        elsewhere: Option<String>,
    },
    /// It is there, and no program that loads anything.
    #[error("`{path}` in the runtime image of {environment} is {}", unfit.what)]
    NoProgram {
        /// The environment.
        environment: EnvironmentName,
        /// `host.path`.
        path: String,
        /// What it is.
        unfit: Unfit,
    },
    /// Its content cannot be read.
    #[error("failed to read `{path}` of the runtime image of {environment}: {cause}")]
    Read {
        /// The environment.
        environment: EnvironmentName,
        /// `host.path`.
        path: String,
        /// Why.
        cause: io::Error,
    },
}

impl PresentHostError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Missing {
                elsewhere: Some(elsewhere),
                ..
            } => format!("did you mean `{elsewhere}`? It is there"),
            Self::Missing { elsewhere: None, .. } => {
                "add the package that has it to the runtime image's recipe, or correct `path:` of the host".to_owned()
            }
            Self::NoProgram { unfit, .. } => unfit.hint(),
            Self::Read { .. } => "make the image again: lockstep lock --update".to_owned(),
        }
    }
}

impl Run {
    /// The host as the runtime image has it; none for a host that is compiled.
    pub(super) async fn present_host(
        &self,
        environment: &EnvironmentName,
        runtime: &ResolvedImage,
    ) -> Result<Option<lock::Host>, RunError> {
        let Program::Runtime(program) = &self.project.host.program else {
            return Ok(None);
        };
        let question = format!("{DIGEST_QUESTION} {}", program.path);
        if let Some(known) = self.observed.answer(&runtime.id, &question) {
            return Ok(Some(known));
        }
        let root = self.runtime_root(runtime).await?;
        let found = program_in(&*root, environment, program)?;
        let digest = match root.bytes(&found, PROGRAM_LIMIT_BYTES) {
            Some(bytes) => Digest::of(&bytes),
            // Of what an engine has streamed, not all was kept.
            None => self.digest_in_image(environment, &runtime.id, &found.path).await?,
        };
        let package = package_of(&*root, &found.path).map(|name| {
            let mut packages = runtime.locked.packages.iter();
            let version = packages
                .find(|package| package.name == name)
                .map(|package| &package.version);
            version.map_or(name.clone(), |version| format!("{name} {version}"))
        });
        let host = lock::Host {
            path: program.path.clone(),
            digest,
            package,
        };
        Ok(Some(self.observed.keep(&runtime.id, &question, host)))
    }

    /// The digest of a file of an image, by a container that is never started.
    async fn digest_in_image(
        &self,
        environment: &EnvironmentName,
        image: &ImageId,
        path: &str,
    ) -> Result<Digest, RunError> {
        let name = format!("lockstep-host-{}-{}", image.short(), self.context.run_id);
        let labels = self.passing_labels(environment, "image");
        let spec = ContainerSpec::unstarted(name, image.clone(), labels, vec![]);
        let container = self.engine.create_container(&spec).await?;
        let downloaded = self.engine.download(&container, path).await;
        let digest = match downloaded {
            Ok(archive) => {
                let read = stream::read_by(archive, |reader| {
                    let mut archive = tar::Archive::new(reader);
                    let mut entries = archive.entries()?;
                    let entry = entries.next().ok_or(io::ErrorKind::UnexpectedEof)??;
                    Digest::of_reader(io::Read::take(entry, PROGRAM_LIMIT_BYTES))
                });
                let failed = |cause| PresentHostError::Read {
                    environment: environment.clone(),
                    path: path.to_owned(),
                    cause,
                };
                read.await
                    .and_then(|digest| digest)
                    .map_err(failed)
                    .map_err(RunError::from)
            }
            Err(error) => Err(EngineError::into(error)),
        };
        self.engine.remove_container(&container).await?;
        digest
    }
}

/// The program's file in a root: an ELF file that an interpreter loads.
fn program_in(
    root: &dyn RootFs,
    environment: &EnvironmentName,
    program: &RuntimeProgram,
) -> Result<Found, PresentHostError> {
    let path = &program.path;
    let no_program = |unfit: Unfit| PresentHostError::NoProgram {
        environment: environment.clone(),
        path: path.clone(),
        unfit,
    };
    let found = match root.look(path) {
        Ok(found) if found.kind == FileKind::File => found,
        Ok(found) if found.kind == FileKind::Directory => return Err(no_program(Unfit::new("a directory"))),
        Ok(_) => return Err(no_program(Unfit::new("no file"))),
        Err(LookError::Denied) => return Err(no_program(Unfit::new("hidden from this user"))),
        Err(_) => {
            return Err(PresentHostError::Missing {
                environment: environment.clone(),
                path: path.clone(),
                elsewhere: elsewhere(root, program.file_name()),
            });
        }
    };
    match unfit(root, &found, false) {
        None => Ok(found),
        Some(unfit) => Err(no_program(unfit)),
    }
}

/// Where programs usually are, for a hint.
const PROGRAM_DIRECTORIES: [&str; 5] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/libexec",
];

/// A program of that name in one of the usual directories.
fn elsewhere(root: &dyn RootFs, name: &str) -> Option<String> {
    let mut paths = PROGRAM_DIRECTORIES
        .iter()
        .map(|directory| format!("{directory}/{name}"));
    paths.find(|path| root.look(path).is_ok_and(|found| found.kind == FileKind::File))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::name::UnitName;
    use crate::rootfs::DirectoryRoot;

    fn told(root: &Path, path: &str) -> String {
        let program = RuntimeProgram {
            name: UnitName::new("host").unwrap(),
            path: path.to_owned(),
        };
        let environment = EnvironmentName::new("web").unwrap();
        match program_in(&DirectoryRoot::open(root).unwrap(), &environment, &program) {
            Ok(found) => format!("ok {}", found.path),
            Err(error) => format!("{error}; {}", error.hint()),
        }
    }

    #[test]
    fn only_a_program_that_an_interpreter_loads_can_be_a_host() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir_all(root.join("usr/sbin")).unwrap();
        let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
        write("main.c", "int main(void) { return 0; }\n");
        let cc = |arguments: &[&str]| {
            let status = Command::new("cc").current_dir(root).args(arguments).status();
            assert!(status.unwrap().success());
        };
        cc(&["-o", "usr/bin/host", "main.c"]);
        cc(&["-static", "-o", "usr/bin/static", "main.c"]);
        cc(&["-shared", "-fPIC", "-o", "usr/bin/shared", "main.c"]);
        std::os::unix::fs::symlink("host", root.join("usr/bin/link")).unwrap();
        write("usr/bin/script", "#!/usr/bin/host -x\n");
        write("usr/bin/text", "hello\n");
        let mut foreign = fs::read(root.join("usr/bin/host")).unwrap();
        // e_machine: 183 is AArch64 (elf.h).
        foreign[18] = 183;
        fs::write(root.join("usr/bin/foreign"), foreign).unwrap();
        cc(&["-c", "-o", "usr/bin/main.o", "main.c"]);
        write("usr/bin/damaged", "\x7fELF\x09\x01\x01 and no more than this");
        for (path, expect) in [
            ("/usr/bin/host", "ok /usr/bin/host"),
            ("/usr/bin/link", "ok /usr/bin/host"),
            (
                "/usr/sbin/host",
                "has no `/usr/sbin/host`; did you mean `/usr/bin/host`? It is there",
            ),
            ("/usr/bin/nothing", "add the package that has it"),
            ("/usr/bin/static", "is linked statically"),
            ("/usr/bin/shared", "is a shared object without an interpreter"),
            ("/usr/bin/main.o", "is no program but what a linker takes"),
            ("/usr/bin/foreign", "is for aarch64, and what runs here is "),
            ("/usr/bin", "is a directory"),
            (
                "/usr/bin/script",
                "is a script; name the program that loads plugins: `/usr/bin/host`",
            ),
            ("/usr/bin/text", "is no ELF file"),
            ("/usr/bin/damaged", "is a damaged ELF file"),
        ] {
            let told = told(root, path);
            assert!(told.contains(expect), "{path}: {told}");
        }
    }
}
