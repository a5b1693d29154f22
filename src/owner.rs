//! Whose a file is.

use serde::Serialize;

/// The user and the group that a file belongs to, by their numbers (`st_uid` and `st_gid` of inode(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}
