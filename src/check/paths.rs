//! Where the loader of an image looks for libraries, apart from what objects and variables say.

use crate::facts::elf::{Elf, Machine};
use crate::facts::ld_cache::{LD_CACHE_LIMIT_BYTES, LdCache, Processor, ld_cache_flags};
use crate::facts::ld_conf::{LD_CONF_LIMIT_BYTES, ld_conf_directories};
use crate::facts::musl_path::{musl_path_directories, musl_path_file};
use crate::rootfs::{FileKind, Found, RootFs};

/// How many directories a loader has built in; real ones have two to four.
const BUILT_IN_LIMIT_COUNT: usize = 16;

/// The directories and the cache of an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct SystemPaths {
    /// The default directories, in order, without a slash at the end.
    pub defaults: Vec<String>,
    /// `/etc/ld.so.cache`, for glibc.
    pub cache: Option<LdCache>,
    /// The flags of the cache's entries that the loader uses.
    pub cache_flags: &'static [i32],
    /// The directories of `/etc/ld.so.conf`, which only count once `ldconfig` has run; for hints.
    pub configured: Vec<String>,
    /// What `$LIB` stands for in glibc.
    pub lib: String,
    /// Whether musl has no directories, since it may not read the file that lists them.
    pub is_denied: bool,
}

impl SystemPaths {
    /// Reads what glibc's loader goes by: what is built into it, and its cache.
    #[must_use]
    pub(crate) fn of_glibc(root: &dyn RootFs, interpreter: &Elf, may_read: impl Fn(&Found) -> bool) -> Self {
        let mut defaults = built_in(interpreter.bytes());
        if defaults.is_empty() {
            defaults = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned).to_vec();
        }
        let lib = defaults
            .first()
            .map_or("lib64", |first| first.trim_start_matches('/'))
            .to_owned();
        let cache = root
            .look("/etc/ld.so.cache")
            .ok()
            .filter(|found| may_read(found))
            .and_then(|found| root.bytes(&found, LD_CACHE_LIMIT_BYTES))
            .and_then(|bytes| LdCache::read(bytes, interpreter.header.layout.data).ok());
        let mut read = |path: &str| {
            let found = root.look(path).ok().filter(|found| found.kind == FileKind::File)?;
            Some(root.bytes(&found, LD_CONF_LIMIT_BYTES)?.to_vec())
        };
        Self {
            defaults,
            cache,
            cache_flags: ld_cache_flags(&interpreter.header),
            configured: ld_conf_directories("/etc/ld.so.conf", &mut read, &mut |directory: &str| {
                root.list(directory)
            }),
            lib,
            is_denied: false,
        }
    }

    /// Where the cache has a library, for a processor of which nothing is known but its machine; and otherwise where it has it for
    /// the newest.
    #[must_use]
    pub(super) fn cached(&self, name: &str) -> Option<(&str, bool)> {
        let cache = self.cache.as_ref()?;
        let find = |processor: &Processor| cache.look_up(name, self.cache_flags, processor);
        match find(&Processor::baseline()) {
            Some(path) => Some((path, false)),
            None => find(&Processor::x86_64(4)).map(|path| (path, true)),
        }
    }

    /// Reads what musl's loader goes by.
    #[must_use]
    pub(crate) fn of_musl(
        root: &dyn RootFs,
        interpreter: &str,
        machine: Machine,
        may_read: impl Fn(&Found) -> bool,
    ) -> Self {
        let file = musl_path_file(interpreter, machine).and_then(|path| root.look(&path).ok());
        if file.as_ref().is_some_and(|found| !may_read(found)) {
            // Only one that is not there leaves the built-in directories.
            return Self {
                is_denied: true,
                ..Self::default()
            };
        }
        let listed = file.and_then(|found| root.bytes(&found, LD_CONF_LIMIT_BYTES));
        let defaults = match listed {
            Some(bytes) => musl_path_directories(&bytes),
            None => ["/lib", "/usr/local/lib", "/usr/lib"].map(str::to_owned).to_vec(),
        };
        Self {
            defaults,
            ..Self::default()
        }
    }
}

/// The directories that are built into glibc's loader: a run of strings that begin and end with a slash, the first of which
/// is `/lib/` or begins so (`system_dirs` in `elf/dl-load.c`).
fn built_in(bytes: &[u8]) -> Vec<String> {
    let finder = |from: usize| {
        bytes[from..]
            .windows(6)
            .position(|window| window[0] == 0 && &window[1..5] == b"/lib")
            .map(|at| from + at + 1)
    };
    let mut from = 0;
    while let Some(start) = finder(from) {
        let found: Vec<String> = bytes[start..]
            .split(|byte| *byte == 0)
            .take(BUILT_IN_LIMIT_COUNT)
            .take_while(|text| text.len() > 2 && text.starts_with(b"/") && text.ends_with(b"/"))
            .map(|text| String::from_utf8_lossy(&text[..text.len() - 1]).into_owned())
            .collect();
        if found.len() >= 2 {
            return found;
        }
        from = start;
    }
    vec![]
}

#[cfg(test)]
mod tests {
    use super::built_in;

    #[test]
    fn the_loaders_own_directories_are_found_in_its_bytes() {
        let bytes = b"junk\0/lib/x\0more\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0\0x";
        let expected = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
        assert_eq!(built_in(bytes), expected);
        assert!(built_in(b"\0/lib/only/\0x").is_empty());
    }
}
