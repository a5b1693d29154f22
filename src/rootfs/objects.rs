//! ELF files that were read already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use crate::facts::elf::{Elf, Unreadable};

/// An ELF file, or why it is none.
pub(super) type Object = Result<Arc<Elf>, Unreadable>;

/// A file that is read when it is asked for first; none if it cannot be read.
type Place = OnceLock<Option<Object>>;

/// By their IDs, so that a file that many paths lead to is read once.
#[derive(Debug, Default)]
pub(super) struct Objects {
    known: Mutex<HashMap<(u64, u64), Arc<Place>>>,
}

impl Objects {
    /// The file with this ID; `bytes` is asked for its content if it is not known yet. Who asks for a file that another thread
    /// reads waits for it, and for no other one.
    pub(super) fn get(&self, id: (u64, u64), bytes: impl FnOnce() -> Option<Bytes>) -> Option<Object> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let object = Arc::clone(known.entry(id).or_default());
        drop(known);
        let read = || bytes().map(|bytes| Elf::read(bytes).map(Arc::new));
        object.get_or_init(read).clone()
    }
}
