//! How a layer says that something of a lower one is gone (image specification, layer.md, "Whiteouts").

use super::entry::{Entry, split_path};

/// How a layer says that a path of a lower one is gone.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// How a layer says that all that a lower one has in a directory is gone.
pub const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// What an entry says is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whiteout {
    /// What is at a path.
    Of(Vec<u8>),
    /// All that is below one.
    Below(Vec<u8>),
}

/// What a path in a layer says is gone; none for one that is itself meant.
pub(super) fn whiteout(path: &[u8]) -> Option<Whiteout> {
    let (directory, name) = split_path(path);
    if name == OPAQUE_WHITEOUT {
        return Some(Whiteout::Below(directory.to_vec()));
    }
    let name = name.strip_prefix(WHITEOUT_PREFIX)?;
    Some(Whiteout::Of(joined(directory, name)))
}

/// The entry that says that a path is gone.
pub(super) fn whiteout_of(path: &[u8], mtime_seconds: u64) -> Entry {
    let (directory, name) = split_path(path);
    Entry {
        path: joined(directory, &[WHITEOUT_PREFIX, name].concat()),
        ..Entry::file("", 0, 0o644, mtime_seconds)
    }
}

/// A name in a directory, which may be the root.
fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, separator, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for path in ["a", "a/b", "a/b/c"] {
            let written = whiteout_of(path.as_bytes(), 7);
            assert_eq!(whiteout(&written.path), Some(Whiteout::Of(path.into())));
        }
        assert_eq!(whiteout(b"a/.wh..wh..opq"), Some(Whiteout::Below(b"a".to_vec())));
        assert_eq!(whiteout(b".wh..wh..opq"), Some(Whiteout::Below(vec![])));
        assert_eq!(whiteout(b"a/.who"), None);
    }
}
