//! `lockstep inspect`: what was this built with?

use std::io::Read as _;
use std::path::Path;

use clap::Args;

use super::format::Format;
use super::stop::Stop;
use super::{World, runtime};
use crate::engine::docker::Docker;
use crate::exit::Exit;
use crate::inspect::{Facts, HEAD_BYTES, Inspection, inspect_file, inspect_object, inspect_root};
use crate::regular_file;
use crate::report::{Failure, render_inspection};
use crate::rootfs::{DirectoryRoot, RootFs, RootFsError};
use crate::run::{OpenRootError, open_rootfs};

#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// A program or library; or a root file system: a directory, a tar, a saved image, an image in the engine
    #[arg(value_name = "FILE|IMAGE")]
    name: String,
    /// What is printed on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

pub(super) fn inspect(arguments: &InspectArguments, world: &World) -> Result<Exit, Stop> {
    let name = &arguments.name;
    let path = world.context.working_directory.join(name);
    let facts = if path.is_file() {
        facts_of_file(&path, name, world)?
    } else {
        let root = open(name, world)?.map_err(|error| failure(&error))?;
        Facts::Root(Box::new(inspect_root(root.as_ref())))
    };
    let inspection = Inspection::new(name, facts);
    match arguments.format {
        Format::Json => world.print_json(&inspection)?,
        Format::Text => world.printer.data(&render_inspection(&inspection)),
    }
    Ok(Exit::Ok)
}

/// An ELF file, else an archive of a root file system, else what it is.
fn facts_of_file(path: &Path, name: &str, world: &World) -> Result<Facts, Stop> {
    let failed = |cause: std::io::Error| {
        Failure::new(Exit::Usage, "inspect", format!("failed to read {name}: {cause}"))
            .with_hint("check the permissions")
    };
    let file = regular_file::open(path).map_err(failed)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    let mut head = vec![];
    file.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
    if head.starts_with(b"\x7fELF") {
        let machine = DirectoryRoot::open(Path::new("/")).map_err(failed)?;
        let found = machine.look(&path.to_string_lossy()).ok();
        if let Some(Ok(elf)) = found.and_then(|found| machine.object(&found)) {
            return Ok(Facts::Elf(Box::new(inspect_object(&elf))));
        }
    }
    let told = inspect_file(&head, size_bytes);
    // A tar has nothing at its beginning but a name.
    if matches!(told.form, "gzip" | "data") {
        match open(name, world)? {
            Ok(root) if !root.list("/").is_empty() => return Ok(Facts::Root(Box::new(inspect_root(root.as_ref())))),
            Ok(_) | Err(OpenRootError::Root(RootFsError::NoTar { .. })) => {}
            Err(error) => return Err(failure(&error).into()),
        }
    }
    Ok(Facts::File(told))
}

fn open(name: &str, world: &World) -> Result<Result<Box<dyn RootFs>, OpenRootError>, Stop> {
    runtime::block_on_or_stop(&world.events(), async {
        let engine = Docker::connect(&world.context.variables);
        Ok(open_rootfs(name, &world.context.working_directory, engine).await)
    })
}

fn failure(error: &OpenRootError) -> Failure {
    let failure = error.failure();
    match failure.hint {
        Some(_) => failure,
        None => failure.with_hint("name a file, a directory, or an image of the engine"),
    }
}
