//! Tars of the fake: small, in memory.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::engine::EngineError;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory, with what is below it at paths of their own.
    Directory,
    /// A file.
    File {
        /// What is in it.
        content: Vec<u8>,
        /// Whether it may be executed.
        executable: bool,
    },
    /// What a symbolic link leads to.
    Link(String),
}

impl Node {
    /// A file that may be executed.
    #[must_use]
    pub fn program(content: impl Into<Vec<u8>>) -> Self {
        Self::File {
            content: content.into(),
            executable: true,
        }
    }

    /// A file that may not.
    #[must_use]
    pub fn text(content: impl Into<Vec<u8>>) -> Self {
        Self::File {
            content: content.into(),
            executable: false,
        }
    }

    /// A file's content; none for what is none.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        match self {
            Self::File { content, .. } => Some(content),
            Self::Directory | Self::Link(_) => None,
        }
    }

    /// What a link leads to.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Link(target) => Some(target),
            Self::Directory | Self::File { .. } => None,
        }
    }
}

/// What is where.
pub type Files = BTreeMap<String, Node>;

fn malformed(error: &io::Error) -> EngineError {
    EngineError::Failed {
        action: "read a tar".to_owned(),
        cause: error.to_string(),
    }
}

/// The files of a tar, by their paths without `./` and a slash at either end. Hard links are left out.
pub(super) fn unpack(bytes: &[u8]) -> Result<Files, EngineError> {
    let read = || {
        let mut files = Files::new();
        for entry in tar::Archive::new(bytes).entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_matches('/');
            let path = if path == "." { "" } else { path }.to_owned();
            match entry.header().entry_type() {
                tar::EntryType::Directory => _ = files.insert(path, Node::Directory),
                tar::EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    files.insert(path, Node::Link(String::from_utf8_lossy(&target).into_owned()));
                }
                tar::EntryType::Regular => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    let executable = entry.header().mode().unwrap_or_default() & 0o100 != 0;
                    files.insert(path, Node::File { content, executable });
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
        for (path, node) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_uid(1000);
            header.set_gid(1000);
            header.set_size(0);
            match node {
                Node::Directory => {
                    header.set_entry_type(tar::EntryType::Directory);
                    archive.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Node::File { content, executable } => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(if *executable { 0o755 } else { 0o644 });
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, path, content.as_slice())?;
                }
                Node::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    archive.append_link(&mut header, path, target)?;
                }
            }
        }
        archive.into_inner()
    };
    write().map_err(|error| malformed(&error))
}
