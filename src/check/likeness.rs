//! Whether two definitions of one name are the same thing, as far as their bytes tell: the same source compiled into a program
//! and a library, or two things that share a name by accident.

use std::collections::BTreeSet;

use crate::facts::elf::{Binding, Elf, Name, SegmentKind, Symbol, SymbolKind};

/// Shorter functions that differ in a byte may differ in just what they are for.
const FUNCTION_MINIMUM_BYTES: u64 = 32;
/// Of so many functions of a library it is looked whether the other object has them too.
const FUNCTIONS_LIMIT_COUNT: usize = 20_000;
const WORD_BYTES: usize = 8;
/// Nothing that data points to is in the first page of a file.
const ADDRESS_MINIMUM: u64 = 4096;

/// What two definitions are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    /// Different things.
    Other,
    /// Nothing speaks against it, but there is nothing to look at.
    Perhaps,
    /// The same but for the addresses in it.
    Same,
}

/// Compares two definitions.
pub(super) fn likeness((left, one): (&Elf, &Symbol<'_>), (right, other): (&Elf, &Symbol<'_>)) -> Likeness {
    if one.size != other.size {
        return Likeness::Other;
    }
    if one.size == 0 {
        return Likeness::Perhaps;
    }
    let (one, other) = (&placed(left, one), &placed(right, other));
    let (ours, theirs) = match (left.at(one.value, one.size), right.at(other.value, other.size)) {
        (Some(ours), Some(theirs)) => (ours, theirs),
        // What is not in the file is zeros, which say nothing of what they are for.
        (in_file, other_in_file) => {
            let is_zero = in_file
                .or(other_in_file)
                .is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0));
            return match is_zero && is_data(one.kind) && is_data(other.kind) {
                true => Likeness::Perhaps,
                false => Likeness::Other,
            };
        }
    };
    if is_data(one.kind) {
        let is_zero = || ours.iter().all(|byte| *byte == 0) && places_of_addresses(left, one).is_empty();
        return match is_same_data((left, one, ours), (right, other, theirs)) {
            true if is_zero() => Likeness::Perhaps,
            true => Likeness::Same,
            false => Likeness::Other,
        };
    }
    // Of an image that is read as a stream, instructions are not kept and read as zeros.
    if ours.iter().chain(theirs).all(|byte| *byte == 0) {
        return Likeness::Perhaps;
    }
    let equal_count = ours.iter().zip(theirs).filter(|(one, other)| one == other).count();
    // The same instructions differ in the distances to what they use; others of the same length are alike by chance alone.
    let is_same = ours == theirs || (one.size >= FUNCTION_MINIMUM_BYTES && equal_count * 2 >= ours.len());
    if is_same { Likeness::Same } else { Likeness::Other }
}

/// A definition with its value as an address: of thread-local storage it is the distance from the segment's start.
fn placed<'a>(elf: &Elf, definition: &Symbol<'a>) -> Symbol<'a> {
    let mut placed = *definition;
    if placed.kind == SymbolKind::Tls {
        let start = elf.segments.iter().find(|segment| segment.kind == SegmentKind::Tls);
        placed.value = placed.value.saturating_add(start.map_or(0, |segment| segment.address));
    }
    placed
}

/// Whether two objects have another function of the same code: then one has a copy of what the other is made of.
pub(super) fn share_code(left: &Elf, right: &Elf) -> bool {
    let functions = left.symbols().map(|(_, symbol)| symbol).filter(|symbol| {
        symbol.is_defined()
            && symbol.kind == SymbolKind::Function
            && symbol.binding == Binding::Global
            && symbol.size >= FUNCTION_MINIMUM_BYTES
    });
    functions.take(FUNCTIONS_LIMIT_COUNT).any(|symbol| {
        let mut others = right.find(&Name::new(symbol.name)).map(|(_, other)| other);
        others.any(|other| {
            other.is_defined()
                && other.kind == SymbolKind::Function
                && likeness((left, &symbol), (right, &other)) == Likeness::Same
        })
    })
}

const fn is_data(kind: SymbolKind) -> bool {
    !matches!(kind, SymbolKind::Function | SymbolKind::Ifunc)
}

/// The same words, where the loader writes addresses to the same of them.
fn is_same_data(
    (left, one, ours): (&Elf, &Symbol<'_>, &[u8]),
    (right, other, theirs): (&Elf, &Symbol<'_>, &[u8]),
) -> bool {
    let (left, right) = (places_of_addresses(left, one), places_of_addresses(right, other));
    let words = ours.chunks(WORD_BYTES).zip(theirs.chunks(WORD_BYTES));
    let mut places = (0..).step_by(WORD_BYTES).zip(words);
    left == right && places.all(|(place, (ours, theirs))| ours == theirs || left.contains(&place))
}

/// Where in a definition the loader writes addresses, in bytes from its start.
fn places_of_addresses(elf: &Elf, definition: &Symbol<'_>) -> BTreeSet<u64> {
    let inside = |address: u64| {
        address
            .checked_sub(definition.value)
            .filter(|place| *place < definition.size)
    };
    let mut places: BTreeSet<u64> = elf
        .relocations()
        .filter_map(|relocation| inside(relocation.offset))
        .collect();
    // Packed relative relocations are not listed; what they add to stands in the file.
    if elf.dynamic.as_ref().is_some_and(|dynamic| dynamic.has_relative_table) {
        let content = elf.at(definition.value, definition.size).unwrap_or_default();
        let is_address = |word: &[u8]| {
            let value = word.try_into().map(u64::from_le_bytes);
            value.is_ok_and(|value| value >= ADDRESS_MINIMUM && elf.at(value, 1).is_some())
        };
        let words = (0..).step_by(WORD_BYTES).zip(content.chunks(WORD_BYTES));
        places.extend(words.filter(|(_, word)| is_address(word)).map(|(place, _)| place));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    /// Two libraries of one source each, both with `-O1`.
    fn compiled(directory: &Path, name: &str, source: &str) -> Elf {
        let (text, library) = (
            directory.join(format!("{name}.c")),
            directory.join(format!("{name}.so")),
        );
        std::fs::write(&text, source).unwrap();
        let mut command = Command::new("cc");
        command.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&text);
        assert!(command.status().unwrap().success());
        Elf::read(std::fs::read(library).unwrap().into()).unwrap()
    }

    fn check(name: &str, one: &str, other: &str, expected: Likeness) {
        let directory = tempfile::tempdir().unwrap();
        // What stands before moves everything, so that distances differ.
        let before = "int first(int a) { return a * 3; } int second(int a) { return first(a) + first(a + 1); }";
        let left = compiled(directory.path(), "left", one);
        let right = compiled(directory.path(), "right", &format!("{before} {other}"));
        let definition = |elf: &Elf| {
            elf.find(&Name::new(name.as_bytes()))
                .next()
                .map(|(index, _)| index)
                .unwrap()
        };
        let (ours, theirs) = (definition(&left), definition(&right));
        let (ours, theirs) = (left.symbol(ours).unwrap(), right.symbol(theirs).unwrap());
        assert_eq!(likeness((&left, &ours), (&right, &theirs)), expected, "{one} | {other}");
    }

    #[test]
    fn the_same_source_is_the_same_wherever_it_stands() {
        let long = "int puts(const char *); int f(int a) { for (int i = 0; i < a; i++) puts(\"a\"); puts(\"end\"); return a + 7; }";
        let other = "int puts(const char *); int f(int a) { puts(\"b\"); return a; }";
        check("f", long, long, Likeness::Same);
        check("f", long, other, Likeness::Other);
        check(
            "f",
            "int f(void) { return 1; }",
            "int f(void) { return 1; }",
            Likeness::Same,
        );
        check(
            "f",
            "int f(void) { return 1; }",
            "int f(void) { return 2; }",
            Likeness::Other,
        );
    }

    #[test]
    fn data_is_the_same_but_for_addresses() {
        let table = "int x; int *all[] = { &x, &x };";
        check("all", table, table, Likeness::Same);
        let inner = "static int x; int *all[] = { &x, &x };";
        check("all", inner, inner, Likeness::Same);
        check("all", table, "int x; int *all[] = { &x, 0 };", Likeness::Other);
        check("l", "long l = 5;", "long l = 5;", Likeness::Same);
        check("l", "long l = 5;", "long l = 7;", Likeness::Other);
        check("l", "long l = 500000;", "long l = 7;", Likeness::Other);
        check("b", "long b[4];", "long b[4];", Likeness::Perhaps);
        check("b", "long b[4];", "long b[3];", Likeness::Other);
        check(
            "t",
            "__thread int t = 3;",
            "__thread int u = 3; __thread int t = 3;",
            Likeness::Same,
        );
        check("t", "__thread int t = 3;", "__thread int t = 90;", Likeness::Other);
        check(
            "t",
            "__thread int t;",
            "__thread int u = 1; __thread int t;",
            Likeness::Same,
        );
    }
}
