//! What objects of a process are called.

/// The place of an object in the list of those that are loaded.
pub(super) type ObjectId = usize;
