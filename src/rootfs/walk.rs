//! Following a path inside a root, part by part, as the kernel does (path_resolution(7)): the same for every form.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FileKind, Found, LookError};
use crate::owner::Owner;

/// How many symbolic links a path may lead through.
const LINKS_LIMIT_COUNT: u32 = 40;
/// The longest path, with its null (`PATH_MAX`).
pub(super) const PATH_LIMIT_BYTES: usize = 4096;
/// The longest name in a directory (`NAME_MAX`).
const NAME_LIMIT_BYTES: usize = 255;
/// How many directories are remembered.
const DIRECTORIES_LIMIT_COUNT: usize = 100_000;

/// What is at a path itself, when its last part is not followed.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A symbolic link, with its target.
    Link(Arc<str>),
    /// Anything else.
    There(There),
}

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
pub(super) struct There {
    pub(super) id: (u64, u64),
    pub(super) kind: FileKind,
    pub(super) len: u64,
    pub(super) mode: u32,
    pub(super) owner: Owner,
}

/// A form of a root file system.
pub(super) trait Nodes {
    /// What is at a path that begins with `/` and has no link, no `.` and no `..` before its last part; `/` is the root.
    fn node(&self, path: &str) -> Result<Node, LookError>;
}

/// Follows paths, and remembers where directories lead.
#[derive(Debug, Default)]
pub(super) struct Walker {
    directories: Mutex<HashMap<String, Result<Place, LookError>>>,
}

/// Where a walk is: a path without links, empty for the root, and how many links led there.
#[derive(Debug, Clone)]
struct Place {
    path: String,
    links: u32,
}

impl Walker {
    /// What is at a path.
    pub(super) fn look(&self, nodes: &impl Nodes, path: &str) -> Result<Found, LookError> {
        check_length(path)?;
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (place, there) = if matches!(name, "" | "." | "..") {
            let start = Place {
                path: String::new(),
                links: 0,
            };
            walk(nodes, start, path)?
        } else {
            walk(nodes, self.directory(nodes, directory)?, name)?
        };
        Ok(Found {
            id: there.id,
            path: if place.path.is_empty() {
                "/".to_owned()
            } else {
                place.path
            },
            kind: there.kind,
            len: there.len,
            mode: there.mode,
            owner: there.owner,
        })
    }

    /// Where a directory leads. Loaders ask for hundreds of names in few directories.
    fn directory(&self, nodes: &impl Nodes, path: &str) -> Result<Place, LookError> {
        if let Some(known) = self.known().get(path) {
            return known.clone();
        }
        let start = Place {
            path: String::new(),
            links: 0,
        };
        let place = walk(nodes, start, path).and_then(|(place, there)| match there.kind {
            FileKind::Directory => Ok(place),
            _ => Err(LookError::NotADirectory),
        });
        let mut known = self.known();
        if known.len() < DIRECTORIES_LIMIT_COUNT {
            known.insert(path.to_owned(), place.clone());
        }
        place
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Result<Place, LookError>>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes on from a directory. What it ends at is no link.
fn walk(nodes: &impl Nodes, start: Place, path: &str) -> Result<(Place, There), LookError> {
    let Place {
        path: mut here,
        mut links,
    } = start;
    // The next part is the last one.
    let mut pending = Vec::new();
    push_parts(&mut pending, path);
    // Where a walk starts is a directory, and so is what `..` leads to.
    let mut there = None;
    while let Some(part) = pending.pop() {
        if there.is_some_and(|there: There| there.kind != FileKind::Directory) {
            return Err(LookError::NotADirectory);
        }
        match &*part {
            "." => {}
            ".." => {
                here.truncate(here.rfind('/').unwrap_or(0));
                there = None;
            }
            name if name.len() > NAME_LIMIT_BYTES => return Err(LookError::NameTooLong),
            name => {
                let directory = here.len();
                here.push('/');
                here.push_str(name);
                match nodes.node(&here)? {
                    Node::There(found) => there = Some(found),
                    Node::Link(target) => {
                        links += 1;
                        if links > LINKS_LIMIT_COUNT {
                            return Err(LookError::Loop);
                        }
                        check_length(&target)?;
                        // Above the root there is only the root: an absolute link leads there, and so does `..`.
                        here.truncate(if target.starts_with('/') { 0 } else { directory });
                        push_parts(&mut pending, &target);
                        there = None;
                    }
                }
            }
        }
    }
    let there = match there {
        Some(there) => there,
        None => match nodes.node(if here.is_empty() { "/" } else { &here })? {
            Node::There(there) => there,
            // Somebody has put a link where a directory was.
            Node::Link(_) => return Err(LookError::Denied),
        },
    };
    Ok((Place { path: here, links }, there))
}

/// Puts the parts of a path before those that wait. A slash at its end asks for a directory.
fn push_parts(pending: &mut Vec<Box<str>>, path: &str) {
    if path.len() > 1 && path.ends_with('/') {
        pending.push(".".into());
    }
    pending.extend(path.split('/').rev().filter(|part| !part.is_empty()).map(Into::into));
}

fn check_length(path: &str) -> Result<(), LookError> {
    if path.is_empty() || path.contains('\0') {
        Err(LookError::NotFound)
    } else if path.len() >= PATH_LIMIT_BYTES {
        Err(LookError::NameTooLong)
    } else {
        Ok(())
    }
}
