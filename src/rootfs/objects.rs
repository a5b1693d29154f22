//! ELF files that were read already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::facts::elf::{Elf, Unreadable};

/// An ELF file, or why it is none.
pub(super) type Object = Result<Arc<Elf>, Unreadable>;

/// By their IDs, so that a file that many paths lead to is read once.
#[derive(Debug, Default)]
pub(super) struct Objects {
    known: Mutex<HashMap<(u64, u64), Option<Object>>>,
}

impl Objects {
    /// The file with this ID; `bytes` is asked for its content if it is not known yet.
    pub(super) fn get(&self, id: (u64, u64), bytes: impl FnOnce() -> Option<Bytes>) -> Option<Object> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let object = known
            .entry(id)
            .or_insert_with(|| bytes().map(|bytes| Elf::read(bytes).map(Arc::new)));
        object.clone()
    }
}
