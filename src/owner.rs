//! Whose a file is.

/// The user and the group that a file belongs to, by their numbers (`st_uid` and `st_gid` of inode(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}
