//! What a language keeps from one compile to the next, and who may add to it.
//!
//! Units are written by different people, and one must not be able to change the bits of another. So what is kept is shared
//! to read, and only commands of lockstep's own add to it, with which the tool runs no code of the unit's. Any other command
//! has what is kept before it, and an upper part of its own that is gone with its container.

use super::{CACHE_ROOT, TARGET_ROOT, build};
use crate::config::Unit;

/// A cache of a language: a directory whose files nothing but their content names.
pub struct Cache {
    /// The variable that tells the tool where it is.
    pub variable: &'static str,
    /// Its name below [`CACHE_ROOT`].
    pub directory: &'static str,
    /// Where a build image may have a first filling.
    pub bundled: &'static str,
    /// Whether a variable of a unit's own leaves the tool as it is: whether it can make it run something else, or not.
    pub is_harmless: fn(&str, &str) -> bool,
}

/// What a unit's compile may do with what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheAccess {
    /// The language keeps nothing.
    None,
    /// It sees what is kept, and what it adds is its own.
    Read,
    /// It adds to what is kept.
    Write,
}

impl Cache {
    /// What `unit` may do.
    #[must_use]
    pub fn access(&self, unit: &Unit) -> CacheAccess {
        let is_ours = unit.command.is_none()
            && unit.build.as_ref().is_none_or(build::runs_only_the_tool)
            && unit.env.iter().all(|(name, value)| (self.is_harmless)(name, value));
        if is_ours { CacheAccess::Write } else { CacheAccess::Read }
    }

    /// Where a compile with this access finds it.
    #[must_use]
    pub fn path(&self, access: CacheAccess) -> String {
        let root = match access {
            CacheAccess::Write => CACHE_ROOT,
            CacheAccess::Read | CacheAccess::None => TARGET_ROOT,
        };
        format!("{root}/{}", self.directory)
    }

    /// What is done before the unit's command: the cache is filled with what there is. Units run side by side, so the shared
    /// one appears complete or not at all. One of a unit's own consists of links, which cost nothing.
    #[must_use]
    pub fn prepare(&self, access: CacheAccess) -> String {
        let Self { directory, bundled, .. } = self;
        let cache = self.path(access);
        match access {
            CacheAccess::None => String::new(),
            CacheAccess::Write => format!(
                r#"if [ -d {bundled} ] && [ ! -d {cache} ]; then
  seed=$(mktemp -d {CACHE_ROOT}/seed.XXXXXX)
  cp -R {bundled}/. "$seed"
  mv -T "$seed" {cache} 2>/dev/null || rm -rf "$seed"
fi
"#
            ),
            CacheAccess::Read => format!(
                r#"mkdir {cache}
for kept in {CACHE_ROOT}/{directory} {bundled}; do
  if [ -d "$kept" ]; then cp -Rs "$kept/." {cache}; break; fi
done
"#
            ),
        }
    }
}
