//! What a fetch brought, by what of it can reach a compile: the archives that lock files name, not what a registry says of its
//! whole stock meanwhile.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::digest::{Digest, Hasher};

/// The bit of a file's mode that lets its owner execute it.
const EXECUTABLE: u32 = 0o100;

/// The digest of the files in a tar whose names end in one of `endings`, or of all if there is none: paths, modes and contents.
pub(super) fn digest_of_fetched(tar: impl Read, endings: &[&str]) -> io::Result<Digest> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let counts = endings.is_empty() || endings.iter().any(|ending| path.ends_with(ending.as_bytes()));
        if !entry.header().entry_type().is_file() || !counts {
            continue;
        }
        let is_executable = entry.header().mode()? & EXECUTABLE != 0;
        files.insert(path, (is_executable, Digest::of_reader(&mut entry)?));
    }
    let mut hasher = Hasher::new();
    for (path, (is_executable, digest)) in files {
        hasher.field(&path);
        hasher.field(&[u8::from(is_executable)]);
        hasher.field(digest.to_string().as_bytes());
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(files: &[(&str, u32, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, mode, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            archive.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn what_can_reach_a_compile_counts_and_nothing_else() {
        let digest =
            |files: &[(&str, u32, &str)], endings: &[&str]| digest_of_fetched(&packed(files)[..], endings).unwrap();
        let crates: &[(&str, u32, &str)] = &[("deps/a.crate", 0o644, "a"), ("deps/b.crate", 0o644, "b")];
        let index = ("deps/index/a", 0o644, "today");
        let with_index = [crates[1], index, crates[0]];
        assert_eq!(digest(crates, &[".crate"]), digest(&with_index, &[".crate"]));
        assert_ne!(digest(crates, &[]), digest(&with_index, &[]));
        for other in [
            [crates[0], ("deps/b.crate", 0o644, "B")],
            [crates[0], ("deps/c.crate", 0o644, "b")],
            [crates[0], ("deps/b.crate", 0o755, "b")],
        ] {
            assert_ne!(digest(crates, &[".crate"]), digest(&other, &[".crate"]));
        }
    }
}
