//! What is said of a bundle beside it, in `dist/<environment>.meta/`: never in it, so that no bit of the bundle depends on it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::difference::Difference;
use crate::digest::Digest;
use crate::regular_file;

/// What follows an environment's name in that of the directory.
pub const METADATA_SUFFIX: &str = ".meta";
/// Out of what the bundle was made: an in-toto statement with SLSA's provenance.
pub const PROVENANCE_FILE: &str = "provenance.json";
/// What is in the matched image: an SPDX document.
pub const SBOM_FILE: &str = "sbom.spdx.json";
/// The largest of these files that is read: an image has thousands of packages, each with some hundred bytes.
const METADATA_LIMIT_BYTES: u64 = 64 << 20;
/// How many other files in the directory are told.
const UNKNOWN_LIMIT_COUNT: usize = 100;

/// In what a directory is not as it was written: `expected` are the digests of its files. One that is not there lacks them all.
///
/// # Errors
/// When the file system refuses.
pub fn verify_metadata(directory: &Path, expected: &BTreeMap<String, Digest>) -> io::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for (name, digest) in expected {
        let name = name.clone();
        match read_metadata(directory, &name) {
            Ok(content) if Digest::of(&content) == *digest => {}
            Ok(_) => differences.push(Difference::Changed { name, what: "content" }),
            Err(error) if is_absent(&error) => differences.push(Difference::Missing { name }),
            // A link, a directory, what is too large.
            Err(error) if error.raw_os_error().is_none() => {
                differences.push(Difference::Changed { name, what: "kind" })
            }
            Err(error) => return Err(error),
        }
    }
    if regular_file::check_directory(directory).is_err() {
        return Ok(differences);
    }
    for entry in fs::read_dir(directory)?.take(UNKNOWN_LIMIT_COUNT) {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !expected.contains_key(&name) {
            differences.push(Difference::Unknown { name });
        }
    }
    Ok(differences)
}

/// One of the files.
///
/// # Errors
/// When it is not there, is no regular file, or the file system refuses.
pub fn read_metadata(directory: &Path, name: &str) -> io::Result<Vec<u8>> {
    regular_file::check_directory(directory)?;
    regular_file::read_itself(&directory.join(name), METADATA_LIMIT_BYTES)
}

fn is_absent(error: &io::Error) -> bool {
    // What is there and no directory is told apart by who has looked.
    let is_of_system = error.raw_os_error().is_some();
    is_of_system && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Staging;
    use crate::name::EnvironmentName;

    #[test]
    fn what_is_not_as_it_was_written_is_told() {
        let project = tempfile::tempdir().unwrap();
        let environment = EnvironmentName::new("glibc").unwrap();
        let directory = project.path().join("dist/glibc.meta");
        let expected = BTreeMap::from([
            ("a.json".to_owned(), Digest::of(b"a")),
            ("b.json".to_owned(), Digest::of(b"b")),
        ]);
        let told = || -> Vec<String> {
            let differences = verify_metadata(&directory, &expected).unwrap();
            differences.iter().map(ToString::to_string).collect()
        };
        assert_eq!(told(), ["a.json is missing", "b.json is missing"]);
        let staging = Staging::create_metadata(project.path(), "run", &environment).unwrap();
        staging.write("a.json", b"a").unwrap();
        staging.write("b.json", b"b").unwrap();
        staging.publish().unwrap().keep();
        assert_eq!(told(), Vec::<String>::new());
        fs::write(directory.join("a.json"), "A").unwrap();
        fs::write(directory.join("c.json"), "").unwrap();
        fs::remove_file(directory.join("b.json")).unwrap();
        std::os::unix::fs::symlink("a.json", directory.join("b.json")).unwrap();
        assert_eq!(
            told(),
            [
                "a.json has another content",
                "b.json has another kind",
                "c.json is not in the manifest"
            ]
        );
        fs::remove_dir_all(&directory).unwrap();
        std::os::unix::fs::symlink("/", &directory).unwrap();
        assert_eq!(told(), ["a.json has another kind", "b.json has another kind"]);
    }
}
