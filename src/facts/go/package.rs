//! The hashes of packages, as other files see them.

use std::collections::BTreeMap;

use crate::facts::Elf;

/// The prefixes of the symbols whose bytes are the hash of the package that the rest of the name says, since Go 1.20 and
/// before it.
const BYTES_PREFIXES: [&[u8]; 2] = [b"go:link.pkghashbytes.", b"go.link.pkghashbytes."];
/// A hash was the hexadecimal form of a SHA-1 once, and is 8 bytes now.
const HASH_LIMIT_BYTES: u64 = 64;

/// What others are compiled against: the hash of a package's export data, of which the bodies of functions that can be
/// inlined are a part, and those of other functions are not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub Box<[u8]>);

impl std::fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A package and the hash that it had when a plugin was linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageHash {
    /// Its import path.
    pub package: String,
    /// The hash; none if the file's table does not lead to one.
    pub hash: Option<Hash>,
}

/// Reads the hashes that the dynamic symbols lead to.
pub(super) fn read(elf: &Elf) -> BTreeMap<String, Hash> {
    elf.symbols()
        .filter(|(_, symbol)| symbol.is_defined() && symbol.size <= HASH_LIMIT_BYTES)
        .filter_map(|(_, symbol)| {
            let package = BYTES_PREFIXES
                .iter()
                .find_map(|prefix| symbol.name.strip_prefix(*prefix))?;
            let bytes = elf.at(symbol.value, symbol.size)?;
            Some((String::from_utf8_lossy(package).into_owned(), Hash(bytes.into())))
        })
        .collect()
}
