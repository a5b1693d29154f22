//! One of the files that the rules of Go compare.

use crate::facts::{Elf, Go};

/// A host or a plugin, as the rules of Go see it.
#[derive(Debug, Clone, Copy)]
pub struct GoSide<'a> {
    /// The path as it is given to `plugin.Open`, which is how the runtime's words name it.
    pub shown: &'a str,
    /// The absolute path without links, which is how the loader's words name it.
    pub path: &'a str,
    /// The file.
    pub elf: &'a Elf,
    /// What Go's linker left in it; none if it did not make it.
    pub go: Option<&'a Go>,
}

impl GoSide<'_> {
    /// The name in the runtime's words once the loader has opened the file: without the suffix `.so`.
    #[must_use]
    pub fn opened(&self) -> &str {
        let name = self.shown;
        name.strip_suffix(".so").filter(|rest| !rest.is_empty()).unwrap_or(name)
    }

    /// What `plugin.Open` answers for a file that the loader has opened and the runtime refuses.
    #[must_use]
    pub fn refused(&self, why: &str) -> String {
        format!("plugin.Open(\"{}\"): {why}", self.opened())
    }

    /// Whether a program is linked statically: no loader is named in it.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.elf.interpreter.is_none()
    }

    /// A setting of the build.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.go?.setting(key)
    }
}
