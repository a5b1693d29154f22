//! The root file system that a user names: what is at a path on this machine, else an image of the engine.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use super::error::OpenRootError;
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::image::{ImageCache, LayerError};
use crate::rootfs::{
    Contents, IndexedRoot, RootFs, RootFsError, open_contents, open_root, read_image_contents, read_image_stream,
};
use crate::stream;

/// No reference of an image is longer: 255 characters of a name, 128 of a tag, and a digest.
const REFERENCE_LIMIT_BYTES: usize = 512;

/// Opens what `name` stands for. `engine` is connected to only if there is nothing at `name`, seen from `directory`.
///
/// An image is streamed once, to its end, and only what loaders read of it is kept, in memory.
///
/// # Errors
/// [`OpenRootError`].
pub async fn open_rootfs<E: Engine>(
    name: &str,
    directory: &Path,
    engine: impl Future<Output = Result<E, EngineError>>,
) -> Result<Box<dyn RootFs>, OpenRootError> {
    if let Some(path) = path_of(name, directory) {
        let what = name.to_owned();
        // An archive that is compressed takes a while.
        return blocking(name, move || open_root(&path, &what)).await;
    }
    let engine = engine.await.map_err(no_engine(name))?;
    Ok(Box::new(stream_image(&engine, name).await?))
}

/// Opens what two names stand for, with all that is in it. What can be read only once is kept in files of the user's cache until
/// both are closed.
///
/// # Errors
/// [`OpenRootError`].
pub async fn open_two_contents<E: Engine>(
    names: [&str; 2],
    context: &Context,
    engine: impl Future<Output = Result<E, EngineError>>,
) -> Result<[Contents; 2], OpenRootError> {
    let directory = &context.working_directory;
    let engine = match names.iter().find(|name| path_of(name, directory).is_none()) {
        Some(name) => Some(engine.await.map_err(no_engine(name))?),
        None => None,
    };
    let open = async |name: &str| match (path_of(name, directory), &engine) {
        (Some(path), _) => {
            let (what, cache) = (name.to_owned(), ImageCache::below(&context.cache_directory));
            let new_file = move || cache.temporary_file().map_err(LayerError::Write);
            blocking(name, move || open_contents(&path, &what, &new_file)).await
        }
        (None, Some(engine)) => image_contents(engine, context, name).await,
        (None, None) => Err(OpenRootError::NoImage { name: name.to_owned() }),
    };
    Ok([open(names[0]).await?, open(names[1]).await?])
}

/// Reads an image of the engine, by name or ID, with all that is in it.
pub(super) async fn image_contents(
    engine: &dyn Engine,
    context: &Context,
    name: &str,
) -> Result<Contents, OpenRootError> {
    let (what, cache) = (name.to_owned(), ImageCache::below(&context.cache_directory));
    let new_file = move || cache.temporary_file().map_err(LayerError::Write);
    read_image(engine, name, move |reader| {
        read_image_contents(reader, &what, &new_file)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    name: &str,
    open: impl FnOnce() -> Result<T, RootFsError> + Send + 'static,
) -> Result<T, OpenRootError> {
    let opened = tokio::task::spawn_blocking(open).await;
    let opened = opened.map_err(|cause| OpenRootError::Stream {
        name: name.to_owned(),
        cause: io::Error::other(cause),
    })?;
    Ok(opened?)
}

fn no_engine(name: &str) -> impl FnOnce(EngineError) -> OpenRootError {
    let name = name.to_owned();
    move |cause| OpenRootError::NoEngine { name, cause }
}

/// Reads an image of the engine, by name or ID.
pub(super) async fn stream_image(engine: &dyn Engine, name: &str) -> Result<IndexedRoot, OpenRootError> {
    let what = name.to_owned();
    read_image(engine, name, move |reader| read_image_stream(reader, &what)).await
}

/// Hands an image of the engine to who reads it.
async fn read_image<T: Send + 'static>(
    engine: &dyn Engine,
    name: &str,
    read: impl FnOnce(&mut dyn io::Read) -> Result<T, RootFsError> + Send + 'static,
) -> Result<T, OpenRootError> {
    let image = engine.image(name).await.map_err(OpenRootError::Engine)?;
    let image = image.ok_or_else(|| OpenRootError::NoImage { name: name.to_owned() })?;
    // By its ID: a name without a tag would be all images of a repository.
    let archive = engine.save_image(&image.id.0).await.map_err(OpenRootError::Engine)?;
    let read = stream::read_by(archive, read).await;
    let broken = |cause: io::Error| OpenRootError::Stream {
        name: name.to_owned(),
        cause,
    };
    match read.map_err(broken)? {
        Ok(root) => Ok(root),
        Err(RootFsError::Read { cause, .. }) => Err(broken(cause)),
        Err(error) => Err(error.into()),
    }
}

/// The path that a name stands for, seen from `directory`; none for an image of the engine.
fn path_of(name: &str, directory: &Path) -> Option<PathBuf> {
    let path = directory.join(name);
    (is_path(name) || std::fs::symlink_metadata(&path).is_ok()).then_some(path)
}

/// Whether a name can be no image's: images have a host, a path, a tag and a digest at most.
fn is_path(name: &str) -> bool {
    let is_of_reference = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    name.is_empty()
        || name == "."
        || name == ".."
        || name.len() > REFERENCE_LIMIT_BYTES
        || ["/", "./", "../"].iter().any(|start| name.starts_with(start))
        || !name.bytes().all(is_of_reference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::docker::Docker;
    use crate::engine::fake::FakeEngine;
    use crate::exit::Exit;
    use crate::report::Failure;

    async fn nobody() -> Result<Docker, EngineError> {
        Err(EngineError::NotFound {
            what: "engine".to_owned(),
        })
    }

    async fn failure(name: &str, directory: &Path) -> Failure {
        match open_rootfs(name, directory, nobody()).await {
            Ok(_) => panic!("{name} was opened"),
            Err(error) => error.failure(),
        }
    }

    #[tokio::test]
    async fn the_engine_is_asked_only_for_what_is_no_path() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::write(directory.path().join("text"), "text").unwrap();
        std::os::unix::fs::symlink("nowhere", directory.path().join("dangling")).unwrap();
        assert!(open_rootfs("root", directory.path(), nobody()).await.is_ok());
        for (name, exit, words) in [
            ("text", Exit::Usage, "is no directory, no tar and no saved image"),
            ("dangling", Exit::Usage, "failed to read dangling: No such file"),
            ("./alpine", Exit::Usage, "failed to read ./alpine: No such file"),
            ("/nothing/at:all", Exit::Usage, "No such file"),
            (
                "alpine:3.22",
                Exit::Engine,
                "no engine to ask for an image of this name",
            ),
        ] {
            let failure = failure(name, directory.path()).await;
            assert_eq!(
                (failure.exit, failure.code),
                (exit, "rootfs"),
                "{name}: {}",
                failure.message
            );
            assert!(failure.message.contains(words), "{name}: {}", failure.message);
        }
    }

    #[tokio::test]
    async fn an_image_that_the_engine_has_not_is_the_users_mistake() {
        let directory = tempfile::tempdir().unwrap();
        let engine = async { Ok(FakeEngine::default()) };
        let error = open_rootfs("alpine:3.22", directory.path(), engine)
            .await
            .err()
            .unwrap();
        let failure = error.failure();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.hint.unwrap().contains("docker pull alpine:3.22"));
    }
}
