//! Whether a file of the root was brought by the distribution's packages: what it ships together, its users run together.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use bytes::Bytes;

use crate::facts::package_files::{
    APK_DATABASES, DPKG_LIST_END, DPKG_LISTS_DIRECTORY, apk_lists, apk_package, dpkg_lists, dpkg_package,
};
use crate::rootfs::RootFs;

/// The largest list that is read.
const LIST_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How many lists are read: more than a distribution has packages.
const LISTS_LIMIT_COUNT: usize = 100_000;

/// The packages' lists, which are read when they are asked for.
#[derive(Debug, Default)]
pub(super) struct PackagedFiles {
    lists: OnceCell<Lists>,
    known: RefCell<HashMap<String, bool>>,
}

#[derive(Debug)]
struct Lists {
    dpkg: Vec<Bytes>,
    apk: Vec<Bytes>,
}

impl PackagedFiles {
    /// Whether a package brought the file at a path, which links may lead to.
    pub(super) fn has(&self, root: &dyn RootFs, path: &str) -> bool {
        let Ok(found) = root.look(path) else { return false };
        if let Some(known) = self.known.borrow().get(&found.path) {
            return *known;
        }
        let lists = self.lists.get_or_init(|| Lists::read(root));
        let has = spellings(&found.path).any(|path| lists.have(path));
        self.known.borrow_mut().insert(found.path, has);
        has
    }
}

/// The package that brought the file at a path without links, by the distribution's own lists.
pub(crate) fn package_of(root: &dyn RootFs, path: &str) -> Option<String> {
    let read = |path: &str| root.bytes(&root.look(path).ok()?, LIST_LIMIT_BYTES);
    let lists = root.list(DPKG_LISTS_DIRECTORY);
    let lists = lists.iter().filter(|list| list.ends_with(DPKG_LIST_END));
    let owner = lists.take(LISTS_LIMIT_COUNT).find(|list| {
        let has = |list: &Bytes| spellings(path).any(|path| dpkg_lists(list, path));
        read(list).is_some_and(|list| has(&list))
    });
    if let Some(owner) = owner {
        return dpkg_package(owner).map(str::to_owned);
    }
    APK_DATABASES.iter().find_map(|database| {
        let database = read(database)?;
        let owner = spellings(path).find_map(|path| apk_package(&database, path))?;
        Some(String::from_utf8_lossy(owner).into_owned())
    })
}

/// Where `/lib` is a link to `/usr/lib`, packages still name either.
fn spellings(path: &str) -> impl Iterator<Item = &str> {
    [Some(path), path.strip_prefix("/usr")].into_iter().flatten()
}

impl Lists {
    fn read(root: &dyn RootFs) -> Self {
        let read = |path: &str| root.bytes(&root.look(path).ok()?, LIST_LIMIT_BYTES);
        let paths = root.list(DPKG_LISTS_DIRECTORY);
        let lists = paths.iter().filter(|path| path.ends_with(DPKG_LIST_END));
        Self {
            dpkg: lists.take(LISTS_LIMIT_COUNT).filter_map(|path| read(path)).collect(),
            apk: APK_DATABASES.iter().filter_map(|path| read(path)).collect(),
        }
    }

    fn have(&self, path: &str) -> bool {
        self.dpkg.iter().any(|list| dpkg_lists(list, path)) || self.apk.iter().any(|list| apk_lists(list, path))
    }
}
