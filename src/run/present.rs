//! A host that is in an image already: the program that the project names, as it is there.

use std::fs::File;
use std::io::{self, Seek as _};

use serde::{Deserialize, Serialize};

use super::error::{PresentHostError, Whence};
use super::program::{Unfit, unfit};
use super::resolved::ResolvedImage;
use super::{Run, RunError};
use crate::check::package_of;
use crate::config::Program;
use crate::digest::Digest;
use crate::engine::{ContainerSpec, EngineError};
use crate::lock;
use crate::name::EnvironmentName;
use crate::rootfs::{FileKind, Found, LookError, RootFs};
use crate::stream;

/// What images are asked for the cache: the digest of the file at a path.
const DIGEST_QUESTION: &str = "digest of the file 3";
/// The same, where a program without an interpreter is one too.
const STATIC_QUESTION: &str = ", static or not";
/// The largest program that is read.
const PROGRAM_LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// A program in an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProgramInImage<'a> {
    pub(super) image: &'a ResolvedImage,
    pub(super) whence: &'a Whence,
    /// Absolute.
    pub(super) path: &'a str,
    /// Whether it may be one that opens nothing itself.
    pub(super) may_be_static: bool,
}

impl Run {
    /// The host as the runtime image has it; none for a host that is not there.
    pub(super) async fn present_host(
        &self,
        environment: &EnvironmentName,
        runtime: &ResolvedImage,
    ) -> Result<Option<lock::Host>, RunError> {
        let Program::Runtime(program) = &self.project.host.program else {
            return Ok(None);
        };
        let whence = Whence::Runtime(environment.clone());
        let program = ProgramInImage {
            image: runtime,
            whence: &whence,
            path: &program.path,
            may_be_static: false,
        };
        Ok(Some(self.host_in_image(environment, program).await?))
    }

    /// What the lock says of a host that is in an image, without that.
    pub(super) async fn host_in_image(
        &self,
        environment: &EnvironmentName,
        program: ProgramInImage<'_>,
    ) -> Result<lock::Host, RunError> {
        let id = &program.image.id;
        let kind = if program.may_be_static { STATIC_QUESTION } else { "" };
        let question = format!("{DIGEST_QUESTION}{kind} {}", program.path);
        if let Some(HostAnswer { digest, package }) = self.observed.answer(id, &question) {
            return Ok(program.locked(digest, package));
        }
        let root = self.runtime_root(program.image).await?;
        let found = program.found_in(&*root)?;
        let digest = match root.bytes(&found, PROGRAM_LIMIT_BYTES) {
            Some(bytes) => Digest::of(&bytes),
            // Of what an engine has streamed, not all was kept.
            None => {
                let digest = |reader: &mut dyn io::Read| Digest::of_reader(reader);
                self.read_in_image(environment, &program, &found.path, digest).await?
            }
        };
        let package = package_of(&*root, &found.path).map(|name| {
            let mut packages = program.image.locked.packages.iter();
            let version = packages
                .find(|package| package.name == name)
                .map(|package| &package.version);
            version.map_or(name.clone(), |version| format!("{name} {version}"))
        });
        let answer = HostAnswer { digest, package };
        let HostAnswer { digest, package } = self.observed.keep(id, &question, answer);
        Ok(program.locked(digest, package))
    }

    /// Copies a program out of its image, links followed, and gives the digest of what came.
    pub(super) async fn copy_from_image(
        &self,
        environment: &EnvironmentName,
        program: &ProgramInImage<'_>,
        mut to: File,
    ) -> Result<Digest, RunError> {
        let root = self.runtime_root(program.image).await?;
        let found = program.found_in(&*root)?;
        self.read_in_image(environment, program, &found.path, move |reader| {
            io::copy(reader, &mut to)?;
            to.rewind()?;
            Digest::of_reader(to)
        })
        .await
    }

    /// What `read` makes of a file of an image, by a container that is never started.
    async fn read_in_image<T: Send + 'static>(
        &self,
        environment: &EnvironmentName,
        program: &ProgramInImage<'_>,
        path: &str,
        read: impl FnOnce(&mut dyn io::Read) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RunError> {
        let image = &program.image.id;
        let name = format!("lockstep-host-{}-{}", image.short(), self.context.run_id);
        let labels = self.passing_labels(environment, "image");
        let spec = ContainerSpec::unstarted(name, image.clone(), labels, vec![]);
        let container = self.engine.create_container(&spec).await?;
        let downloaded = self.engine.download(&container, path).await;
        let result = match downloaded {
            Ok(archive) => {
                let read = stream::read_by(archive, |reader| {
                    let mut archive = tar::Archive::new(reader);
                    let mut entries = archive.entries()?;
                    let entry = entries.next().ok_or(io::ErrorKind::UnexpectedEof)??;
                    read(&mut io::Read::take(entry, PROGRAM_LIMIT_BYTES))
                });
                let failed = |cause| PresentHostError::Read {
                    whence: program.whence.clone(),
                    path: path.to_owned(),
                    cause,
                };
                read.await.and_then(|read| read).map_err(failed).map_err(RunError::from)
            }
            Err(error) => Err(EngineError::into(error)),
        };
        self.engine.remove_container(&container).await?;
        result
    }
}

/// What an image was once found to say of a program.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostAnswer {
    digest: Digest,
    package: Option<String>,
}

impl ProgramInImage<'_> {
    fn found_in(&self, root: &dyn RootFs) -> Result<Found, PresentHostError> {
        program_in(root, self.whence, self.path, self.may_be_static)
    }

    fn locked(&self, digest: Digest, package: Option<String>) -> lock::Host {
        lock::Host {
            path: self.path.to_owned(),
            digest,
            package,
            image: None,
        }
    }
}

/// The program's file in a root: an ELF file that an interpreter loads, or may be one that none does.
fn program_in(root: &dyn RootFs, whence: &Whence, path: &str, may_be_static: bool) -> Result<Found, PresentHostError> {
    let no_program = |unfit: Unfit| PresentHostError::NoProgram {
        whence: whence.clone(),
        path: path.to_owned(),
        unfit,
    };
    let found = match root.look(path) {
        Ok(found) if found.kind == FileKind::File => found,
        Ok(found) if found.kind == FileKind::Directory => return Err(no_program(Unfit::new("a directory"))),
        Ok(_) => return Err(no_program(Unfit::new("no file"))),
        Err(LookError::Denied) => return Err(no_program(Unfit::new("hidden from this user"))),
        Err(_) => {
            return Err(PresentHostError::Missing {
                whence: whence.clone(),
                path: path.to_owned(),
                elsewhere: elsewhere(root, path.rsplit('/').next().unwrap_or_default()),
            });
        }
    };
    match unfit(root, &found, may_be_static) {
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
    use crate::rootfs::DirectoryRoot;

    fn told(root: &Path, path: &str) -> String {
        let whence = Whence::Runtime(EnvironmentName::new("web").unwrap());
        match program_in(&DirectoryRoot::open(root).unwrap(), &whence, path, false) {
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
