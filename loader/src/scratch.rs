//! What a plugin can leave where the next one would find it: files in directories that everybody may write to, and what
//! System V's calls make, which lasts longer than any process.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

/// Messages, semaphores and shared memory of this IPC namespace, each below a line of headings (proc(5)).
const SYSTEM_V_TABLES: [&str; 3] = ["/proc/sysvipc/msg", "/proc/sysvipc/sem", "/proc/sysvipc/shm"];

/// What is still there, for people; none when the next plugin finds nothing. Without directories nothing is looked at.
pub fn remains(directories: &[OsString]) -> Option<String> {
    if directories.is_empty() {
        return None;
    }
    let is_empty = |directory: &Path| match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        // An engine may have no such directory.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let files = directories.iter().map(Path::new).filter(|path| !is_empty(path));
    let mut found: Vec<String> = files.map(|path| format!("files in {}", path.display())).collect();
    let has_entries = |table: &&str| fs::read_to_string(table).is_ok_and(|text| text.lines().count() > 1);
    found.extend(
        SYSTEM_V_TABLES
            .iter()
            .filter(|table| has_entries(table))
            .map(|table| format!("objects in {table}")),
    );
    (!found.is_empty()).then(|| found.join(", "))
}

/// Removes all that is in these directories, as far as this process may: it is the one that made it. What it cannot
/// remove is still there when [`remains`] looks.
pub fn clear(directories: &[OsString]) {
    for directory in directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let _ = remove(&entry);
        }
    }
}

/// Links are removed, and not followed.
fn remove(entry: &fs::DirEntry) -> io::Result<()> {
    if entry.file_type()?.is_dir() {
        fs::remove_dir_all(entry.path())
    } else {
        fs::remove_file(entry.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_removed_and_seen_until_then() {
        let directory = std::env::temp_dir().join(format!("loader-scratch-{}", std::process::id()));
        let beside = directory.with_extension("beside");
        fs::create_dir_all(directory.join("a/b")).unwrap();
        fs::create_dir_all(&beside).unwrap();
        fs::write(directory.join("a/b/file"), "x").unwrap();
        fs::write(beside.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&beside, directory.join("link")).unwrap();
        let directories = [OsString::from(&directory)];
        let is_file = |found: Option<String>| found.is_some_and(|found| found.contains("files in"));
        assert!(is_file(remains(&directories)));
        clear(&directories);
        assert!(!is_file(remains(&directories)));
        assert!(
            beside.join("file").exists(),
            "what a link leads to is not in the directory"
        );
        assert_eq!(remains(&[]), None);
        fs::remove_dir(&directory).unwrap();
        assert!(
            !is_file(remains(&directories)),
            "where no directory is, nothing is left"
        );
        fs::write(&directory, "x").unwrap();
        assert!(is_file(remains(&directories)), "what cannot be looked at is not empty");
        fs::remove_file(&directory).unwrap();
        fs::remove_dir_all(&beside).unwrap();
    }
}
