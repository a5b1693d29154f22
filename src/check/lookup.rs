//! What a lookup of a symbol came to, and what the objects that were there at the start are known to answer: plugins ask them for
//! the same names again and again.

use hashbrown::HashMap;

use super::object_id::ObjectId;
use crate::facts::elf::{Elf, Name, Symbol, SymbolVersion};

/// How many bits the filter has: some times the symbols of the largest hosts, and small enough for a processor's cache.
const FILTER_BITS: usize = 1 << 20;

/// What a lookup came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The object, and the symbol in it.
    Found(ObjectId, u32),
    /// Nobody defines it.
    Missing,
    /// The library that the version was to come from does not have the symbol.
    LinkTimeReference,
    /// The library that the version was to come from has no versions at all, and old releases assert that it has.
    Assertion,
}

/// What an object defines under a name for those who ask for no version: not what it keeps for those who were linked long ago.
pub(super) fn offered<'e>(elf: &'e Elf, name: &Name<'_>) -> Option<Symbol<'e>> {
    let is_hidden = |index: u32| elf.version_of(index).is_some_and(|version| version.is_hidden());
    elf.find(name)
        .find_map(|(index, symbol)| (symbol.is_defined() && !is_hidden(index)).then_some(symbol))
}

/// What the objects of the start answer, as long as none of them gets another name.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: HashMap<Box<[u8]>, Lookup>,
    key: Vec<u8>,
    filter: Filter,
}

impl Answers {
    /// Begins anew, for these objects.
    pub(super) fn of<'e>(objects: impl Iterator<Item = &'e Elf>) -> Self {
        Self {
            filter: Filter::of(objects),
            ..Self::default()
        }
    }

    /// Whether one of the objects may have a symbol of that name, defined or not.
    #[inline]
    pub(super) fn may_know(&self, name: &Name<'_>) -> bool {
        self.filter.may_have(name.gnu)
    }

    /// The answer if it is known. If not, it is kept by the next [`Self::keep`].
    pub(super) fn get(
        &mut self,
        name: &Name<'_>,
        asked: Option<SymbolVersion<'_>>,
        needs_definition: bool,
    ) -> Option<Lookup> {
        self.key.clear();
        self.key.push(u8::from(needs_definition));
        // A name has no null in it.
        self.key.extend_from_slice(name.bytes);
        if let Some(asked) = asked {
            self.key.extend_from_slice(&[0, u8::from(asked.is_hidden)]);
            self.key.extend_from_slice(&asked.hash.to_ne_bytes());
            self.key.extend_from_slice(asked.name.as_bytes());
            if let Some(file) = asked.file {
                self.key.push(0);
                self.key.extend_from_slice(file.as_bytes());
            }
        }
        self.known.get(self.key.as_slice()).copied()
    }

    /// Keeps the answer to what was asked for last.
    pub(super) fn keep(&mut self, lookup: Lookup) {
        self.known.insert(self.key.as_slice().into(), lookup);
    }

    /// Forgets the answers; what the objects have stays.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

/// Which hashes of names there are; it may say yes to others, and never no to one of these.
#[derive(Debug, Default)]
struct Filter {
    /// Nothing is excluded while it is empty.
    words: Vec<u64>,
}

impl Filter {
    fn of<'e>(objects: impl Iterator<Item = &'e Elf>) -> Self {
        let mut words = vec![0_u64; FILTER_BITS / 64];
        for elf in objects {
            let is_whole = elf.each_hash(|hash| {
                let (word, bit) = Self::place(hash);
                words[word] |= bit;
            });
            if !is_whole {
                return Self::default();
            }
        }
        Self { words }
    }

    /// The word and the bit of a hash, whose last bit says nothing: tables use it for the end of a chain.
    fn place(hash: u32) -> (usize, u64) {
        let bit = (hash >> 1) as usize % FILTER_BITS;
        (bit / 64, 1 << (bit % 64))
    }

    #[inline]
    fn may_have(&self, hash: u32) -> bool {
        let (word, bit) = Self::place(hash);
        self.words.get(word).is_none_or(|word| word & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_to_the_whole_question() {
        let mut answers = Answers::default();
        let version = |name, is_hidden| {
            Some(SymbolVersion {
                name,
                hash: 7,
                is_hidden,
                file: Some("libone.so"),
            })
        };
        let name = Name::new(b"one");
        assert!(answers.may_know(&name));
        assert_eq!(answers.get(&name, version("V1", false), true), None);
        answers.keep(Lookup::Found(3, 4));
        assert_eq!(
            answers.get(&name, version("V1", false), true),
            Some(Lookup::Found(3, 4))
        );
        assert_eq!(answers.get(&name, version("V1", false), false), None);
        assert_eq!(answers.get(&name, version("V1", true), true), None);
        assert_eq!(answers.get(&name, version("V2", false), true), None);
        assert_eq!(answers.get(&name, None, true), None);
        assert_eq!(answers.get(&Name::new(b"on"), version("V1", false), true), None);
        answers.forget();
        assert_eq!(answers.get(&name, version("V1", false), true), None);
    }

    #[test]
    fn the_filter_never_excludes_what_is_there() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = Elf::read(bytes.into()).unwrap();
        let answers = Answers::of(std::iter::once(&elf));
        let mut count = 0;
        for (_, symbol) in elf.symbols() {
            let name = Name::new(symbol.name);
            if elf.find(&name).next().is_some() {
                count += 1;
                assert!(answers.may_know(&name), "{}", symbol.text());
            }
        }
        let is_excluded = |number: u32| !answers.may_know(&Name::new(format!("no_such_name_{number}").as_bytes()));
        assert!(
            (0..100).filter(|number| is_excluded(*number)).count() > 50,
            "{count} names"
        );
    }
}
