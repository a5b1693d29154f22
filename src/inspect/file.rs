//! What a file is that is no ELF file, by what it begins with.

use serde::Serialize;

/// How much of a file's beginning tells what it is.
pub const HEAD_BYTES: usize = 4096;
/// The longest line that is quoted.
const LINE_LIMIT_CHARACTERS: usize = 200;
/// Where a program for Windows says where its own header is.
const PE_OFFSET: usize = 0x3c;
/// A file for several machines has no more parts; what begins in the same way and claims more is of Java.
const FAT_LIMIT_COUNT: u8 = 30;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileFacts {
    /// A stable name of its form: `script`, `linker-script`, `mach-o`.
    pub form: &'static str,
    /// What it is, for people.
    pub description: String,
    /// What was seen: the line or the name that tells more.
    pub evidence: Option<String>,
    /// What to do about it, where a shared object was expected.
    pub hint: Option<&'static str>,
    /// Its size.
    pub size_bytes: u64,
}

/// Tells what a file is. `head` are its first [`HEAD_BYTES`] or all there are.
#[must_use]
pub fn inspect_file(head: &[u8], size_bytes: u64) -> FileFacts {
    let (form, description, evidence, hint) =
        by_magic(head)
            .or_else(|| by_text(head))
            .unwrap_or(("data", "data of no form that is known here", None, None));
    FileFacts {
        form,
        description: description.to_owned(),
        evidence,
        hint,
        size_bytes,
    }
}

type Told = (&'static str, &'static str, Option<String>, Option<&'static str>);

/// The magic numbers of files that are met where a plugin is expected.
fn by_magic(head: &[u8]) -> Option<Told> {
    const UNPACK: Option<&str> = Some("unpack it, and inspect what is in it");
    const OTHER_SYSTEM: Option<&str> = Some("it is for another operating system: build it for Linux");
    const SIMPLE: &[(&[u8], &str, &str, Option<&str>)] = &[
        (
            b"!<thin>\n",
            "thin-archive",
            "a thin static library: names of object files",
            Some("a loader cannot open it; build a shared object"),
        ),
        (b"!<arch>\ndebian-binary", "debian-package", "a Debian package", UNPACK),
        (
            b"!<arch>\n__.PKGDEF",
            "go-archive",
            "a compiled package of Go",
            Some("build a plugin: go build -buildmode=plugin"),
        ),
        (
            b"!<arch>\n",
            "archive",
            "a static library",
            Some("a loader cannot open it; build a shared object"),
        ),
        (
            b"\xcf\xfa\xed\xfe",
            "mach-o",
            "a Mach-O file (macOS, 64 bits)",
            OTHER_SYSTEM,
        ),
        (
            b"\xce\xfa\xed\xfe",
            "mach-o",
            "a Mach-O file (macOS, 32 bits)",
            OTHER_SYSTEM,
        ),
        (
            b"\xfe\xed\xfa\xcf",
            "mach-o",
            "a Mach-O file (macOS, 64 bits)",
            OTHER_SYSTEM,
        ),
        (
            b"\xfe\xed\xfa\xce",
            "mach-o",
            "a Mach-O file (macOS, 32 bits)",
            OTHER_SYSTEM,
        ),
        (
            b"BC\xc0\xde",
            "llvm-bitcode",
            "LLVM bitcode",
            Some("let the linker finish it: link without -flto, or with a linker that knows LTO"),
        ),
        (b"\0asm", "wasm", "a WebAssembly module", OTHER_SYSTEM),
        (b"PK\x03\x04", "zip", "a zip archive", UNPACK),
        (b"\xed\xab\xee\xdb", "rpm-package", "an RPM package", UNPACK),
        (b"\x1f\x8b", "gzip", "compressed with gzip", UNPACK),
        (b"\xfd7zXZ\0", "xz", "compressed with xz", UNPACK),
        (b"\x28\xb5\x2f\xfd", "zstd", "compressed with zstd", UNPACK),
        (b"BZh", "bzip2", "compressed with bzip2", UNPACK),
    ];
    if head.is_empty() {
        return Some((
            "empty",
            "an empty file",
            None,
            Some("see why nothing was written into it"),
        ));
    }
    if let [0xca, 0xfe, 0xba, 0xbe, _, _, _, count, ..] = head {
        return Some(if *count <= FAT_LIMIT_COUNT {
            (
                "mach-o",
                "a Mach-O file for several machines (macOS)",
                None,
                OTHER_SYSTEM,
            )
        } else {
            ("java-class", "a class of Java", None, None)
        });
    }
    if head.starts_with(b"MZ") {
        let offset = head
            .get(PE_OFFSET..PE_OFFSET + 4)
            .and_then(|bytes| bytes.try_into().ok());
        let at = offset.and_then(|offset| usize::try_from(u32::from_le_bytes(offset)).ok());
        let is_pe = at
            .and_then(|at| head.get(at..))
            .is_some_and(|rest| rest.starts_with(b"PE\0\0"));
        return Some(match is_pe {
            true => ("pe", "a program or library for Windows (PE)", None, OTHER_SYSTEM),
            false => ("dos", "a program for DOS", None, OTHER_SYSTEM),
        });
    }
    if head.starts_with(b"\x7fELF") {
        let hint = Some("it is cut off, or damaged: copy or build it again");
        return Some(("broken-elf", "the beginning of an ELF file, and not more", None, hint));
    }
    let (_, form, description, hint) = SIMPLE.iter().find(|(magic, ..)| head.starts_with(magic))?;
    Some((form, description, None, *hint))
}

/// Texts that are met in the place of a library.
fn by_text(head: &[u8]) -> Option<Told> {
    let end = match std::str::from_utf8(head) {
        Ok(_) => head.len(),
        // What was read may end within a character.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return None,
    };
    let text = std::str::from_utf8(&head[..end]).ok()?;
    let is_text = |character: char| !character.is_control() || character.is_ascii_whitespace();
    if !text.chars().all(is_text) {
        return None;
    }
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let quoted: String = first.trim().chars().take(LINE_LIMIT_CHARACTERS).collect();
    let word = |word: &str| {
        text.split(|next: char| !next.is_ascii_alphanumeric() && next != '_')
            .any(|part| part == word)
    };
    let lower = quoted.to_ascii_lowercase();
    Some(if text.starts_with("#!") {
        let hint = Some("inspect the program that it starts");
        ("script", "a script", Some(quoted), hint)
    } else if lower.starts_with("<!doctype") || lower.starts_with("<html") {
        let hint = Some("a download gave a page in place of the file: download it again");
        ("html", "a page of the web", Some(quoted), hint)
    } else if text.starts_with("version https://git-lfs.") {
        let hint = Some("the file itself is in Git LFS: git lfs pull");
        ("git-lfs-pointer", "a pointer into Git LFS", Some(quoted), hint)
    } else if text.contains('(') && ["GROUP", "INPUT", "OUTPUT_FORMAT", "SECTIONS"].into_iter().any(word) {
        let names = text
            .lines()
            .find(|line| line.contains("GROUP") || line.contains("INPUT"));
        let names = names.map(|line| line.trim().chars().take(LINE_LIMIT_CHARACTERS).collect());
        let hint = Some("linkers follow it, loaders do not: inspect the library that it names");
        ("linker-script", "a linker script", names.or(Some(quoted)), hint)
    } else {
        ("text", "a text", Some(quoted).filter(|line| !line.is_empty()), None)
    })
}

#[cfg(test)]
mod tests {
    use super::inspect_file;

    fn check(head: &[u8], form: &str) {
        let facts = inspect_file(head, head.len() as u64);
        assert_eq!(facts.form, form, "{:?}", String::from_utf8_lossy(head));
    }

    #[test]
    fn files_are_known_by_their_beginning() {
        check(b"", "empty");
        check(b"#!/bin/sh\necho\n", "script");
        check(
            b"/* GNU ld script */\nGROUP ( /lib/libc.so.6 AS_NEEDED ( ld.so ) )\n",
            "linker-script",
        );
        check(b"INPUT(libncurses.so.6 -ltinfo)\n", "linker-script");
        check(b"The GROUP said nothing\n", "text");
        check(b"!<arch>\nx.o/   ", "archive");
        check(b"!<arch>\ndebian-binary   ", "debian-package");
        check(b"!<arch>\n__.PKGDEF       0", "go-archive");
        check(b"!<thin>\n", "thin-archive");
        check(b"\xcf\xfa\xed\xfe\x0c\0\0\x01", "mach-o");
        check(b"\xca\xfe\xba\xbe\0\0\0\x02", "mach-o");
        check(b"\xca\xfe\xba\xbe\0\0\0\x41", "java-class");
        check(b"MZ\x90\0", "dos");
        check(b"\0asm\x01\0\0\0", "wasm");
        check(b"<!DOCTYPE html>\n<html>", "html");
        check(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "git-lfs-pointer",
        );
        check(b"hello\n", "text");
        check(b"\x7fELF\x02", "broken-elf");
        check(b"\x00\x01\x02", "data");
        check("gr\u{fc}n".as_bytes(), "text");
        check(&"gr\u{fc}".as_bytes()[..3], "text");
        let mut windows = b"MZ".to_vec();
        windows.resize(0x3c, 0);
        windows.extend(0x40_u32.to_le_bytes());
        windows.extend(b"PE\0\0");
        check(&windows, "pe");
    }
}
