//! A root file system that is an index of tars: of one, or of an image's layers.

use bytes::Bytes;

use super::index::Index;
use super::objects::{Object, Objects};
use super::walk::Walker;
use super::{FileKind, Found, LookError, ProcessDefaults, RootFs};

/// A root that was read from tars.
#[derive(Debug, Default)]
pub struct IndexedRoot {
    index: Index,
    walker: Walker,
    objects: Objects,
    defaults: ProcessDefaults,
}

impl IndexedRoot {
    pub(super) fn new(index: Index, defaults: ProcessDefaults) -> Self {
        Self {
            index,
            walker: Walker::default(),
            objects: Objects::default(),
            defaults,
        }
    }
}

impl RootFs for IndexedRoot {
    fn look(&self, path: &str) -> Result<Found, LookError> {
        self.walker.look(&self.index, path)
    }

    fn object(&self, found: &Found) -> Option<Object> {
        self.objects.get(found.id, || self.index.content(&found.path)?.object())
    }

    fn bytes(&self, found: &Found, limit: u64) -> Option<Bytes> {
        self.index.content(&found.path)?.whole(limit)
    }

    fn capabilities(&self, found: &Found) -> Option<Vec<u8>> {
        self.index.capabilities(&found.path).map(<[u8]>::to_vec)
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let found = self
            .look(directory)
            .ok()
            .filter(|found| found.kind == FileKind::Directory);
        let names = found.map(|found| self.index.names(&found.path)).unwrap_or_default();
        let base = directory.trim_end_matches('/');
        names.into_iter().map(|name| format!("{base}/{name}")).collect()
    }

    fn defaults(&self) -> &ProcessDefaults {
        &self.defaults
    }
}
