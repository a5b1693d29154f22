//! What a file tells of the C++ in it: which standard library, which release of it, which strings, which classes.

use serde::Serialize;

use super::elf::{Binding, Elf, Symbol, Visibility};

/// No more virtual tables are listed.
const CLASS_LIMIT_COUNT: usize = 4096;

/// What is visible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cxx {
    /// Whether names of GNU's standard library are in it.
    pub uses_libstdcxx: bool,
    /// Whether names of LLVM's standard library are in it.
    pub uses_libcxx: bool,
    /// The highest `GLIBCXX_*` that is needed.
    pub needs_glibcxx: Option<String>,
    /// The highest `CXXABI_*` that is needed.
    pub needs_cxxabi: Option<String>,
    /// The strings in what it needs of others.
    pub imported_strings: Strings,
    /// The strings in what it gives to others.
    pub exported_strings: Strings,
    /// The virtual tables that it gives to others: name and size in bytes. A slot more or less is a size of its own.
    pub virtual_tables: Vec<(String, u64)>,
    /// How many type descriptions (`_ZTI*`) it gives to others.
    pub type_count: usize,
}

/// Which of GNU's two strings are in names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Strings {
    /// `std::string` as it was before GCC 5 (`Ss`).
    pub old: bool,
    /// `std::__cxx11::basic_string`.
    pub new: bool,
}

/// What is visible of C++ in a file; none if nothing is.
#[must_use]
pub fn read(elf: &Elf) -> Option<Cxx> {
    let mut cxx = Cxx::default();
    let needed = elf.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    cxx.uses_libstdcxx = needed.iter().any(|name| name.starts_with("libstdc++.so"));
    cxx.uses_libcxx = needed
        .iter()
        .any(|name| name.starts_with("libc++.so") || name.starts_with("libc++abi.so"));
    let versions = || {
        elf.needs
            .iter()
            .flat_map(|need| &need.versions)
            .map(|version| version.name.as_str())
    };
    cxx.needs_glibcxx = highest(versions(), "GLIBCXX_");
    cxx.needs_cxxabi = highest(versions(), "CXXABI_");
    let mut is_cxx = cxx.uses_libstdcxx || cxx.uses_libcxx;
    for (_, symbol) in elf.symbols() {
        if symbol.name.starts_with(b"_Z") && !is_legacy_rust(symbol.name) {
            is_cxx = true;
            cxx.add(&symbol);
        }
    }
    is_cxx.then_some(cxx)
}

impl Cxx {
    fn add(&mut self, symbol: &Symbol<'_>) {
        let words = Words::of(symbol.name);
        self.uses_libcxx |= words.has_libcxx;
        self.uses_libstdcxx |= words.strings.new;
        let strings = if symbol.is_defined() {
            &mut self.exported_strings
        } else {
            &mut self.imported_strings
        };
        strings.old |= words.strings.old;
        strings.new |= words.strings.new;
        let is_exported = symbol.is_defined()
            && symbol.binding != Binding::Local
            && matches!(symbol.visibility, Visibility::Default | Visibility::Protected);
        if is_exported && symbol.name.starts_with(b"_ZTV") && self.virtual_tables.len() < CLASS_LIMIT_COUNT {
            self.virtual_tables.push((symbol.text(), symbol.size));
        }
        self.type_count += usize::from(is_exported && symbol.name.starts_with(b"_ZTI"));
    }
}

/// The words of a mangled name that say which standard library it is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Words {
    strings: Strings,
    has_libcxx: bool,
}

impl Words {
    /// Reads the name as the mangling has it: a number and so many letters are a name, everything else are marks.
    fn of(name: &[u8]) -> Self {
        let mut words = Self::default();
        // `_ZTSs` is the name of `short`.
        let Some(mut rest) = name.strip_prefix(b"_ZTS").or_else(|| name.strip_prefix(b"_Z")) else {
            return words;
        };
        let (mut is_in_std, mut is_tag) = (false, false);
        while let Some((byte, tail)) = rest.split_first() {
            if byte.is_ascii_digit() {
                let (word, after) = identifier(rest);
                // A function that returns such a string has a tag (`_ZN1D1fB5cxx11Ev`).
                words.strings.new |= (is_in_std && word == b"__cxx11") || (is_tag && word == b"cxx11");
                words.has_libcxx |= is_in_std && [&b"__1"[..], b"__2", b"__Cr", b"__ndk1"].contains(&word);
                rest = after;
                (is_in_std, is_tag) = (false, false);
            } else if *byte == b'S' {
                is_tag = false;
                match tail.first() {
                    Some(b's' | b'b') => words.strings.old = true,
                    Some(b't') => {
                        is_in_std = true;
                        rest = &tail[1..];
                        continue;
                    }
                    _ => {}
                }
                is_in_std = false;
                rest = tail.get(1..).unwrap_or_default();
            } else {
                (is_in_std, is_tag) = (false, *byte == b'B');
                rest = tail;
            }
        }
        words
    }
}

/// Splits `3foo…` after the name; a number that is too large takes all.
fn identifier(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let len = number.iter().fold(0_usize, |len, digit| {
        len.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    });
    rest.split_at_checked(len).unwrap_or((rest, &[]))
}

/// Rust's old mangling looks like C++ but for its last word.
fn is_legacy_rust(name: &[u8]) -> bool {
    let hash = name
        .strip_suffix(b"E")
        .and_then(|name| name.split_at_checked(name.len().checked_sub(19)?));
    hash.is_some_and(|(_, hash)| hash.starts_with(b"17h") && hash[3..].iter().all(u8::is_ascii_hexdigit))
}

/// The highest of the versions that have a prefix; one with other than numbers behind it is lower than any.
fn highest<'a>(versions: impl Iterator<Item = &'a str>, prefix: &str) -> Option<String> {
    let numbers = |version: &str| -> Vec<u32> {
        let parts = version.strip_prefix(prefix).unwrap_or_default().split('.');
        parts.map_while(|part| part.parse().ok()).collect()
    };
    versions
        .filter(|version| version.starts_with(prefix))
        .max_by_key(|version| numbers(version))
        .map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_found_in_mangled_names() {
        for (name, old, new) in [
            ("_Z3apiRKSs", true, false),
            (
                "_Z3apiRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
                false,
                true,
            ),
            ("_Z3apii", false, false),
            ("_ZN1D1fB5cxx11Ev", false, true),
            ("_ZN1B5cxx11Ev", false, false),
            // `Ss` and `__cxx11` within names mean nothing.
            ("_ZN5CSsl4initEv", false, false),
            ("_ZN7__cxx113fooEv", false, false),
            ("_ZTSs", false, false),
            ("_ZNSsC1ERKSs", true, false),
            (
                "_ZNKSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE5c_strEv",
                false,
                true,
            ),
            ("_Z4wideRKSbIwSt11char_traitsIwESaIwEE", true, false),
            ("_Z1fS_s", false, false),
            ("_Z99999999999999999999999x", false, false),
        ] {
            let words = Words::of(name.as_bytes());
            assert_eq!(words.strings, Strings { old, new }, "{name}");
        }
        assert!(Words::of(b"_Z3apiRKNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEEE").has_libcxx);
    }

    #[test]
    fn versions_are_compared_by_number() {
        let versions = [
            "GLIBCXX_3.4.9",
            "GLIBCXX_3.4.30",
            "GLIBCXX_3.4",
            "CXXABI_1.3",
            "GLIBCXX_LDBL",
        ];
        assert_eq!(
            highest(versions.into_iter(), "GLIBCXX_").as_deref(),
            Some("GLIBCXX_3.4.30")
        );
        assert_eq!(highest(versions.into_iter(), "CXXABI_").as_deref(), Some("CXXABI_1.3"));
        assert_eq!(highest(versions.into_iter(), "GCC_"), None);
    }

    #[test]
    fn rust_is_no_cxx() {
        assert!(is_legacy_rust(b"_ZN12panic_unwind3imp6CANARY17hd43221fa016f3207E"));
        assert!(!is_legacy_rust(b"_ZN3foo3barEv"));
    }
}
