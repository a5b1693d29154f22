//! Files of this machine put into a root: those that are checked, as if they had been copied in beside each other.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{DirectoryRoot, Found, LookError, ProcessDefaults, RootFs};
use crate::facts::elf::{Elf, Unreadable};

/// The directory in the root that stands for the directory of a file outside of it.
pub const FILES_DIRECTORY: &str = "/lockstep/files";
/// What the device of the files that are put in is called; no file system has it.
const DEVICE: u64 = u64::MAX;

/// A root with files put in.
pub struct OverlayRoot {
    base: Option<Box<dyn RootFs>>,
    /// This machine, from its top.
    machine: DirectoryRoot,
    /// Files that were put in: the path in the root, the path on this machine.
    files: BTreeMap<String, String>,
}

impl OverlayRoot {
    /// Takes a root, or none.
    ///
    /// # Errors
    /// When this machine's own root cannot be opened.
    pub fn new(base: Option<Box<dyn RootFs>>) -> io::Result<Self> {
        Ok(Self {
            base,
            machine: DirectoryRoot::open(Path::new("/"))?,
            files: BTreeMap::new(),
        })
    }

    /// Where a file of this machine is in the root. A file inside the root's own directory is at its path there; its last part may
    /// be a link, which is left as it is. Others are put beside each other, by directory if names would collide.
    pub fn put(&mut self, file: &Path) -> String {
        let file = normalised(file);
        if let Some(inside) = self.base.as_ref().and_then(|base| base.seen_at(&file)) {
            return inside;
        }
        let on_machine = file.to_string_lossy().into_owned();
        if let Some((placed, _)) = self.files.iter().find(|(_, known)| **known == on_machine) {
            return placed.clone();
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.put_below(on_machine, &name)
    }

    /// The same for a file that lies at a place in a bundle, so that each finds the others of its bundle where they are there.
    pub fn put_at(&mut self, file: &Path, place: &str) -> String {
        self.put_below(normalised(file).to_string_lossy().into_owned(), place)
    }

    fn put_below(&mut self, on_machine: String, place: &str) -> String {
        let mut path = format!("{FILES_DIRECTORY}/{place}");
        let mut number = 1_u64;
        while self.files.get(&path).is_some_and(|known| *known != on_machine) {
            number += 1;
            path = format!("{FILES_DIRECTORY}/{number}/{place}");
        }
        self.files.insert(path.clone(), on_machine);
        path
    }

    /// Whether there is a root below the files.
    #[must_use]
    pub fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// The file that was put in at a path.
    fn put_in(&self, path: &str) -> Option<Result<Found, LookError>> {
        let on_machine = self.files.get(path)?;
        let place = self.files.keys().position(|known| known == path)?;
        let found = self.machine.look(on_machine).map(|found| Found {
            id: (DEVICE, place as u64),
            path: path.to_owned(),
            // Whoever copies it in makes it executable.
            mode: found.mode | 0o555,
            ..found
        });
        Some(found)
    }

    fn on_machine(&self, found: &Found) -> Option<Found> {
        (found.id.0 == DEVICE).then_some(())?;
        self.machine.look(self.files.get(&found.path)?).ok()
    }
}

impl RootFs for OverlayRoot {
    fn look(&self, path: &str) -> Result<Found, LookError> {
        let path = lexical(path);
        if let Some(found) = self.put_in(&path) {
            return found;
        }
        match &self.base {
            Some(base) => base.look(&path),
            None => Err(LookError::NotFound),
        }
    }

    fn object(&self, found: &Found) -> Option<Result<Arc<Elf>, Unreadable>> {
        match self.on_machine(found) {
            Some(found) => self.machine.object(&found),
            None => self.base.as_ref()?.object(found),
        }
    }

    fn bytes(&self, found: &Found, limit: u64) -> Option<Bytes> {
        match self.on_machine(found) {
            Some(found) => self.machine.bytes(&found, limit),
            None => self.base.as_ref()?.bytes(found, limit),
        }
    }

    fn capabilities(&self, found: &Found) -> Option<Vec<u8>> {
        match self.on_machine(found) {
            Some(found) => self.machine.capabilities(&found),
            None => self.base.as_ref()?.capabilities(found),
        }
    }

    fn list(&self, directory: &str) -> Vec<String> {
        self.base.as_ref().map_or_else(Vec::new, |base| base.list(directory))
    }

    fn defaults(&self) -> &ProcessDefaults {
        match &self.base {
            Some(base) => base.defaults(),
            None => self.machine.defaults(),
        }
    }
}

/// A path without `.` and doubled slashes, for files that were put in; `..` is left where links decide what it means, which
/// is not so below the directory of these files.
fn lexical(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let is_inside = path.starts_with(FILES_DIRECTORY);
    let depth = FILES_DIRECTORY.matches('/').count();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if is_inside && parts.len() > depth => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// An absolute path without `.`; the caller has made it absolute.
fn normalised(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

impl std::fmt::Debug for OverlayRoot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OverlayRoot")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileKind;
    use super::*;

    #[test]
    fn files_are_beside_each_other_and_those_inside_stay_where_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir_all(root.join("opt")).unwrap();
        std::fs::create_dir_all(directory.path().join("other")).unwrap();
        for file in ["root/opt/host", "a.so", "other/a.so"] {
            std::fs::write(directory.path().join(file), file).unwrap();
        }
        let base: Box<dyn RootFs> = Box::new(DirectoryRoot::open(&root).unwrap());
        let mut overlay = OverlayRoot::new(Some(base)).unwrap();
        assert_eq!(overlay.put(&root.join("opt/host")), "/opt/host");
        assert_eq!(overlay.put(&directory.path().join("a.so")), "/lockstep/files/a.so");
        assert_eq!(
            overlay.put(&directory.path().join("other/a.so")),
            "/lockstep/files/2/a.so"
        );
        let first = overlay.look("/lockstep/files/./a.so").unwrap();
        let second = overlay.look("/lockstep/files/2/a.so").unwrap();
        assert_eq!(first.kind, FileKind::File);
        assert_ne!(first.id, second.id);
        assert_eq!(overlay.bytes(&second, 100).unwrap().as_ref(), b"other/a.so");
        assert_eq!(overlay.look("/opt/host").unwrap().len, 13);
        assert_eq!(overlay.look("/lockstep/files/none"), Err(LookError::NotFound));
    }
}
