//! What a host can look up in a plugin: `<path of the main package>.<Name>`.

use super::build_info::BuildInfo;
use super::exported_type::ExportedType;
use super::identifier::is_exported;
use super::module_data::ModuleData;
use crate::facts::Elf;
use crate::facts::elf::SymbolKind;

/// A function or a variable of a plugin's main package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Export {
    /// Its name in the source.
    pub name: String,
    /// Whether it is a function.
    pub is_function: bool,
    /// The type of what a lookup yields; none where it cannot be read.
    pub exported_type: Option<Box<ExportedType>>,
}

/// The form that an import path has in the names of symbols: in its last element dots are escaped, and bytes that are no
/// printable ASCII, `%` and `"` are everywhere.
#[must_use]
pub fn escape(path: &str) -> String {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    let mut escaped = String::with_capacity(path.len());
    for (at, byte) in path.bytes().enumerate() {
        let is_plain = byte > b' ' && byte < 0x7f && byte != b'%' && byte != b'"' && (byte != b'.' || at < last);
        if is_plain {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02x}"));
        }
    }
    escaped
}

/// The exported symbols, and what they begin with: the plugin's path, unless the linker was told another one than the
/// compiler.
pub(super) fn read(elf: &Elf, module: &ModuleData, build: Option<&BuildInfo>) -> (Option<String>, Vec<Export>) {
    let compiled = build.and_then(|build| build.path.as_deref()).map(escape);
    let prefixes = [module.plugin_path.clone(), compiled];
    for prefix in prefixes.into_iter().flatten() {
        let mut exports: Vec<Export> = elf
            .symbols()
            .filter(|(_, symbol)| symbol.is_defined())
            .filter_map(|(_, symbol)| {
                let name = symbol.name.strip_prefix(prefix.as_bytes())?.strip_prefix(b".")?;
                let is_function = match symbol.kind {
                    SymbolKind::Function => true,
                    SymbolKind::Object => false,
                    _ => return None,
                };
                let name = std::str::from_utf8(name)
                    .ok()
                    .filter(|name| is_exported(name))?
                    .to_owned();
                let exported_type = module.exported.get(&name).cloned().map(Box::new);
                Some(Export {
                    name,
                    is_function,
                    exported_type,
                })
            })
            .collect();
        exports.sort();
        exports.dedup();
        if !exports.is_empty() {
            return (Some(prefix), exports);
        }
    }
    (None, vec![])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_of_the_last_element_are_escaped() {
        assert_eq!(escape("example.com/app/third.v2"), "example.com/app/third%2ev2");
        assert_eq!(escape("example.com/app"), "example.com/app");
        assert_eq!(escape("plain"), "plain");
        assert_eq!(escape("a b/é%"), "a%20b/%c3%a9%25");
    }

    #[test]
    fn only_whole_identifiers_with_a_capital_are_exported() {
        assert!(is_exported("Run") && is_exported("Größe_2") && is_exported("Émile"));
        for name in ["run", "Run.func1", "(*T).Run", "Run·f", "", "Map[int]"] {
            assert!(!is_exported(name), "{name}");
        }
    }
}
