//! The release of a C library, out of its own bytes.

use memchr::memmem;

use super::elf::{Binding, Elf, Name};

/// A C library's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// The GNU C library.
    Glibc,
    /// musl.
    Musl,
}

impl Family {
    /// The name, as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
        }
    }

    /// The family of a program by its interpreter (`PT_INTERP`), which is what the kernel starts.
    #[must_use]
    pub fn of_interpreter(interpreter: &str) -> Option<Self> {
        let name = interpreter.rsplit('/').next().unwrap_or_default();
        if name.starts_with("ld-musl-") {
            Some(Self::Musl)
        } else if name.starts_with("ld-linux") || name.starts_with("ld64.so") || name.starts_with("ld.so") {
            Some(Self::Glibc)
        } else {
            None
        }
    }
}

/// How far behind a mark its number can be.
const NUMBER_LIMIT_BYTES: usize = 64;
/// No release has more digits.
const RELEASE_LIMIT_BYTES: usize = 16;

/// A release: major, minor and patch, which is 0 where there is none.
pub type Release = (u32, u32, u32);

/// The release of a loader or a C library; see [`version_of`].
#[must_use]
pub fn release_of(elf: &Elf) -> Option<Release> {
    parse(version_of(elf)?.as_bytes())
}

/// The version of a loader or a C library, as it stands in its own bytes (`2.41`, `1.2.5`): glibc by what it calls itself, or
/// by the newest of the versions that it defines; musl by the text that it prints when it is started by itself.
#[must_use]
pub fn version_of(elf: &Elf) -> Option<String> {
    let bytes: &[u8] = elf.bytes();
    // A release in the making says `development` where others say `stable`.
    let banners = [&b" stable release version "[..], b" development release version "];
    let banner = banners
        .iter()
        .find_map(|banner| Some(position(bytes, banner)? + banner.len()));
    if let Some(version) = banner.and_then(|at| number(bytes.get(at..)?)) {
        return Some(version);
    }
    let defined = elf
        .definitions
        .iter()
        .filter_map(|definition| number(definition.name.strip_prefix("GLIBC_")?.as_bytes()));
    if let Some(version) = defined.max_by_key(|version| parse(version.as_bytes())) {
        return Some(version);
    }
    let named = elf
        .find(&Name::new(b"__libc_version"))
        .next()
        .and_then(|(_, symbol)| elf.at(symbol.value, symbol.size));
    named.and_then(number).or_else(|| musl_version(bytes))
}

/// The family of the C library that an object was built for, with the witnesses, the strongest first; none for an object that
/// needs no C library.
///
/// In this order: the interpreter, versions that only glibc has, the names of the libraries that are needed, and where there
/// is nothing of all that, functions that only glibc has.
#[must_use]
pub fn family_of(elf: &Elf) -> Option<(Family, Vec<String>)> {
    let needed = elf.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    let mut glibc = vec![];
    let mut musl = vec![];
    for need in &elf.needs {
        let newest = need
            .versions
            .iter()
            .filter(|version| version.name.starts_with("GLIBC_"));
        if let Some(version) = newest
            .map(|version| version.name.as_str())
            .max_by_key(|name| parse(&name.as_bytes()[6..]))
        {
            glibc.push(format!("needs {} ({version})", need.file));
        }
    }
    for name in needed {
        if name == "libc.so.6" || name.starts_with("ld-linux") {
            if !glibc.iter().any(|witness| witness.contains(name.as_str())) {
                glibc.push(format!("needs {name}"));
            }
        } else if name == "libc.so" || name.starts_with("libc.musl-") || name.starts_with("ld-musl-") {
            musl.push(format!("needs {name}"));
        }
    }
    let interpreter = elf.interpreter.as_deref();
    if let Some((family, path)) = interpreter.and_then(|path| Some((Family::of_interpreter(path)?, path))) {
        let mut witnesses = match family {
            Family::Glibc => glibc,
            Family::Musl => musl,
        };
        witnesses.insert(0, format!("starts with {path}"));
        return Some((family, witnesses));
    }
    match (glibc.is_empty(), musl.is_empty()) {
        (false, _) => Some((Family::Glibc, glibc)),
        (true, false) => Some((Family::Musl, musl)),
        (true, true) => {
            let mut symbols = elf.symbols().map(|(_, symbol)| symbol);
            let symbol = symbols
                .find(|symbol| !symbol.is_defined() && symbol.binding == Binding::Global && is_of_glibc(symbol.name))?;
            Some((Family::Glibc, vec![format!("calls {}", symbol.text())]))
        }
    }
}

/// Whether only glibc has a function with that name: those that check sizes (`_FORTIFY_SOURCE`), those of C23, and one that
/// tells its version.
fn is_of_glibc(name: &[u8]) -> bool {
    name == b"gnu_get_libc_version"
        || name.starts_with(b"__isoc23_")
        || (name.starts_with(b"__") && name.ends_with(b"_chk"))
}

/// Whether some bytes are in others.
#[must_use]
pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    position(bytes, part).is_some()
}

fn musl_version(bytes: &[u8]) -> Option<String> {
    position(bytes, b"musl libc")?;
    // `Version %s` takes its number from a string of its own: three numbers between nulls.
    bytes
        .split(|byte| *byte == 0)
        .filter(|text| (5..=RELEASE_LIMIT_BYTES).contains(&text.len()))
        .filter(|text| text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))
        .filter(|text| text.iter().filter(|byte| **byte == b'.').count() == 2)
        .find_map(number)
}

/// The numbers with points between them at the start of a text; none if it does not start with two.
fn number(text: &[u8]) -> Option<String> {
    let text = &text[..text.len().min(NUMBER_LIMIT_BYTES)];
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')
        .unwrap_or(text.len());
    let text = std::str::from_utf8(&text[..end]).ok()?.trim_end_matches('.');
    parse(text.as_bytes())?;
    Some(text.to_owned())
}

fn parse(text: &[u8]) -> Option<Release> {
    let text = &text[..text.len().min(NUMBER_LIMIT_BYTES)];
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')
        .unwrap_or(text.len());
    let text = std::str::from_utf8(&text[..end]).ok()?;
    let mut numbers = text.split('.').map(str::parse);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    memmem::find(bytes, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_numbers() {
        assert_eq!(parse(b"2.41.\nCopyright"), Some((2, 41, 0)));
        assert_eq!(parse(b"1.2.5\0"), Some((1, 2, 5)));
        assert_eq!(parse(b"x"), None);
        assert_eq!(number(b"2.41.\nCopyright").as_deref(), Some("2.41"));
        assert_eq!(
            musl_version(b"\0musl libc (x86_64)\nVersion %s\n\x001.2.5\0").as_deref(),
            Some("1.2.5")
        );
    }

    #[test]
    fn functions_of_one_library_are_known() {
        for (name, expected) in [
            (&b"__memcpy_chk"[..], true),
            (b"__isoc23_strtol", true),
            (b"gnu_get_libc_version", true),
            (b"__stack_chk_fail", false),
            (b"memcpy", false),
            (b"_dl_find_object", false),
        ] {
            assert_eq!(is_of_glibc(name), expected);
        }
    }
}
