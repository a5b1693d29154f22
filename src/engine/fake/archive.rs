//! Tars of the fake: small, in memory.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::engine::EngineError;

/// Files by path; a directory has no content.
pub(super) type Files = BTreeMap<String, Option<Vec<u8>>>;

fn malformed(error: &io::Error) -> EngineError {
    EngineError::Failed {
        action: "read a tar".to_owned(),
        cause: error.to_string(),
    }
}

/// The files of a tar, by their paths without `./` and a slash at either end. Links are left out.
pub(super) fn unpack(bytes: &[u8]) -> Result<Files, EngineError> {
    let read = || {
        let mut files = Files::new();
        for entry in tar::Archive::new(bytes).entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_matches('/');
            let path = if path == "." { "" } else { path }.to_owned();
            match entry.header().entry_type() {
                tar::EntryType::Directory => _ = files.insert(path, None),
                tar::EntryType::Regular => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    files.insert(path, Some(content));
                }
                _ => {}
            }
        }
        Ok(files)
    };
    read().map_err(|error: io::Error| malformed(&error))
}

/// A tar of these files.
pub(super) fn pack(files: &Files) -> Result<Vec<u8>, EngineError> {
    let write = || {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            let content = match content {
                Some(content) => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(0o755);
                    content.as_slice()
                }
                None => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(0o755);
                    &[]
                }
            };
            header.set_size(content.len() as u64);
            header.set_uid(1000);
            header.set_gid(1000);
            let path = if files[path].is_none() {
                format!("{path}/")
            } else {
                path.clone()
            };
            archive.append_data(&mut header, path, content)?;
        }
        archive.into_inner()
    };
    write().map_err(|error| malformed(&error))
}
