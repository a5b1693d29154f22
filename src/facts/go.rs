//! What Go's compiler and linker left in a file: how it was built, which packages are in it, and what Go's runtime will
//! compare when the file is opened as a plugin.
//!
//! Source: `cmd/link/internal/ld/symtab.go`, `runtime/plugin.go` and `debug/buildinfo` of Go; the tables are where the
//! runtime finds them, so a file that was stripped says as much as one that was not.

mod build_info;
mod export;
mod exported_type;
mod identifier;
mod module_data;
mod package;

use std::collections::BTreeMap;

use memchr::memmem;

pub use build_info::{BuildInfo, Module};
pub use export::{Export, escape};
pub use exported_type::{ExportedType, NamedType};
pub use module_data::ModuleData;
pub use package::{Hash, PackageHash};

use super::Elf;
use super::elf::{Segment, SegmentKind};

/// More segments of a kind than a linker makes.
const SEGMENTS_LIMIT_COUNT: usize = 64;

/// What is known of one file that Go's linker made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Go {
    /// How it was built; none if the record was taken out, or is older than Go 1.13.
    pub build: Option<BuildInfo>,
    /// The hash of each package, as other files see it through the dynamic symbols. Programs that cannot load plugins, and
    /// C libraries written in Go, have none.
    pub packages: BTreeMap<String, Hash>,
    /// What the runtime learns of a plugin when it is loaded.
    pub module: ModuleData,
    /// Functions and variables of the main package that a host can look up, by name.
    pub exports: Vec<Export>,
    /// What the main package's symbols begin with, without the dot; none if it exports nothing.
    pub symbol_prefix: Option<String>,
    /// What is there of the package `plugin`.
    pub plugin_package: PluginPackage,
}

/// What a file has of the package `plugin`, by which Go programs load plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginPackage {
    /// Nothing: the program never loads any.
    Absent,
    /// The part that only says `plugin: not implemented`, which is compiled without cgo.
    Stub,
    /// All of it.
    Whole,
}

impl Go {
    /// Reads what Go left in a file; none if Go's linker did not make it.
    #[must_use]
    pub fn read(elf: &Elf) -> Option<Self> {
        let build = build_info::read(elf);
        let packages = package::read(elf);
        if build.is_none() && packages.is_empty() && !has_go_note(elf) {
            return None;
        }
        let module = module_data::read(elf, &packages);
        let (symbol_prefix, exports) = export::read(elf, &module, build.as_ref());
        // Whoever shares packages says by them whether this one is there; only programs that share none are searched.
        let plugin_package = match packages.contains_key("plugin") {
            true => PluginPackage::Whole,
            false if packages.is_empty() => plugin_package(elf),
            false => PluginPackage::Absent,
        };
        Some(Self {
            build,
            packages,
            module,
            exports,
            symbol_prefix,
            plugin_package,
        })
    }

    /// The version of Go, as `runtime.Version()` gives it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.build.as_ref().map(|build| build.version.as_str())
    }

    /// A setting of the build, such as `-race` or `GOAMD64`.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.build.as_ref()?.settings.get(key).map(String::as_str)
    }

    /// How the linker was told to link: `exe`, `plugin`, `c-shared` and so on. Before Go 1.18 it was not recorded, and what
    /// has the runtime's table of packages is a plugin.
    #[must_use]
    pub fn build_mode(&self) -> Option<&str> {
        let found = (!self.module.checked.is_empty()).then_some("plugin");
        self.setting("-buildmode").or(found)
    }

    /// Whether C code can be in it: all that needs cgo, plugins among them. None if nothing says so.
    #[must_use]
    pub fn has_cgo(&self) -> Option<bool> {
        if self.packages.contains_key("runtime/cgo") {
            return Some(true);
        }
        self.setting("CGO_ENABLED").map(|value| value == "1")
    }
}

/// Whether a symbol is one of Go's: it has its package before it, or cgo made it for one package. C has no such names.
///
/// Plugins share these on purpose: the runtime makes sure that the packages are the same.
#[must_use]
pub fn is_own_symbol(name: &str) -> bool {
    name.contains(['.', ':', '/']) || name.starts_with("_cgo_") || name.starts_with("_cgoexp_")
}

/// Whether there is a note of Go's own (`.note.go.buildid`), which the linker always writes.
fn has_go_note(elf: &Elf) -> bool {
    // The size of the name, the size of the text, the type, and the name. Other notes may come before it.
    let is_note = |words: &[u8]| {
        let is_four = |word: &[u8]| matches!(word, [4, 0, 0, 0] | [0, 0, 0, 4]);
        is_four(&words[0..4]) && is_four(&words[8..12]) && words[12..16] == *b"Go\0\0"
    };
    segments(elf, SegmentKind::Note)
        .filter_map(|segment| contents(elf, segment))
        .any(|notes| notes.windows(16).step_by(4).any(is_note))
}

/// The names of functions are in a table that stripping leaves, each between two nulls.
fn plugin_package(elf: &Elf) -> PluginPackage {
    if !has_text(elf, b"\0plugin.Open\0") {
        PluginPackage::Absent
    } else if has_text(elf, b"plugin: not implemented") && !has_text(elf, b"\0plugin.lastmoduleinit\0") {
        PluginPackage::Stub
    } else {
        PluginPackage::Whole
    }
}

/// Whether the part of a file that is loaded has these bytes anywhere. It takes time in proportion to the file.
#[must_use]
pub fn has_text(elf: &Elf, wanted: &[u8]) -> bool {
    segments(elf, SegmentKind::Load)
        .filter_map(|segment| contents(elf, segment))
        .any(|bytes| memmem::find(bytes, wanted).is_some())
}

/// The segments of a kind, as far as a linker would make them: in a file that was made to, thousands of them cover each other.
fn segments(elf: &Elf, kind: SegmentKind) -> impl Iterator<Item = &Segment> {
    let segments = elf.segments.iter().filter(move |segment| segment.kind == kind);
    segments.take(SEGMENTS_LIMIT_COUNT)
}

/// The part of a segment that is in the file, cut off where the file ends.
fn contents<'a>(elf: &'a Elf, segment: &Segment) -> Option<&'a [u8]> {
    let bytes: &[u8] = elf.bytes();
    let start = usize::try_from(segment.offset).ok()?;
    let len = usize::try_from(segment.file_size).ok()?;
    let end = start.saturating_add(len).min(bytes.len());
    bytes.get(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_go_have_a_package_before_them() {
        for name in [
            "runtime.mallocgc",
            "go:link.pkghash.fmt",
            "type:int",
            "example.com/dep.Name",
            "_cgo_0a1b_Cfunc_free",
            "main.Run·f",
        ] {
            assert!(is_own_symbol(name), "{name}");
        }
        for name in ["crosscall2", "x_cgo_init", "malloc", "_ZN3foo3barEv", "helper"] {
            assert!(!is_own_symbol(name), "{name}");
        }
    }
}
