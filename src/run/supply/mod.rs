//! Where the image of a lock is had when the engine has not got it: from the user's cache, from the project's registry, made
//! again; in this order, and each is a file. What none of them has cannot be had, and each says why not.

mod again;
mod cache;
mod registry;

pub(super) use registry::ask as ask_registry;

use super::RunError;
use super::error::MakeError;
use super::making::{Made, Making};
use super::recipe::Kind;
use crate::image::Tried;
use crate::lock;

/// What came of asking one of them: the image, or why it has it not.
type Asked = Result<Made, Tried>;

/// Brings the image that a lock names to the engine, which has it not.
///
/// # Errors
/// When it cannot be had anywhere, with what was tried.
pub(super) async fn supply(making: &Making<'_>, kind: Kind<'_>, locked: &lock::Image) -> Result<Made, RunError> {
    let mut tried = vec![not_there("the engine")];
    match cache::ask(making, locked).await? {
        Ok(made) => return Ok(made),
        Err(not) => tried.push(not),
    }
    match registry::ask(making, &kind, locked).await? {
        Ok(made) => return Ok(made),
        Err(not) => tried.push(not),
    }
    let error = match again::make(making, kind, locked).await {
        Err(RunError::Image(error)) if error.is_of_the_image() => error,
        made => return made,
    };
    Err(MakeError::Nowhere {
        id: locked.id.clone(),
        tried,
        cause: Box::new(error),
    }
    .into())
}

/// A place that just has not got the image.
fn not_there(place: impl Into<String>) -> Tried {
    Tried {
        place: place.into(),
        why: Some("does not have it".to_owned()),
    }
}
