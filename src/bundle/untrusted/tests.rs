use std::fs;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;

use super::*;

const LIMIT_BYTES: u64 = 1000;

fn declared(names: &[&str]) -> Declared {
    let artifacts = names.iter().map(ToString::to_string).collect();
    Declared {
        root: "out".to_owned(),
        artifacts,
        artifact_limit_bytes: LIMIT_BYTES,
    }
}

/// One block of header: what no well-behaved tar library would write.
struct Forged {
    bytes: Vec<u8>,
}

impl Forged {
    fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    fn header(mut self, kind: u8, name: &[u8], size: u64, link: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0o4755);
        header.set_size(size);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self
    }

    fn entry(self, kind: u8, name: &[u8], content: &[u8]) -> Self {
        let mut forged = self.header(kind, name, content.len() as u64, b"");
        forged.bytes.extend_from_slice(content);
        let padded = forged.bytes.len().next_multiple_of(BLOCK_BYTES);
        forged.bytes.resize(padded, 0);
        forged
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(b'0', name.as_bytes(), content)
    }

    fn pax(self, key: &str, value: &str) -> Self {
        let body = format!(" {key}={value}\n");
        let length = (1..)
            .find(|length| format!("{length}").len() + body.len() == *length)
            .unwrap();
        self.entry(b'x', b"pax", format!("{length}{body}").as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK_BYTES, 0);
        self.bytes
    }
}

fn out() -> Forged {
    Forged::new().header(b'5', b"out/", 0, b"")
}

/// Collects into a directory whose parent is watched: nothing may ever appear beside it, or in it under other names.
fn collect_from(archive: impl Read, declared: &Declared) -> Result<Collected, CollectError> {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("staging");
    fs::create_dir(&directory).unwrap();
    let collected = collect_blocking(archive, declared, &directory);
    assert_eq!(
        fs::read_dir(parent.path()).unwrap().count(),
        1,
        "something was written outside"
    );
    for entry in fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(
            declared.artifacts.contains(&name) && entry.file_type().unwrap().is_file(),
            "{name}"
        );
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        assert!([0o755, 0o644].contains(&mode) || collected.is_err(), "{mode:o}");
        assert!(entry.metadata().unwrap().len() <= LIMIT_BYTES, "{name}");
    }
    collected
}

#[test]
fn declared_files_are_taken_and_the_rest_is_told() {
    let archive = out()
        .file("out/b.so", b"bee")
        .file("out/a", &[7; 600])
        .file("out/notes", b"x")
        .file("out/sub/b.so", b"");
    let collected = collect_from(&archive.end()[..], &declared(&["a", "b.so"])).unwrap();
    let (a, b) = (&collected.artifacts[0], &collected.artifacts[1]);
    assert_eq!(
        (a.name.as_str(), a.size_bytes, a.digest),
        ("a", 600, Digest::of(&[7; 600]))
    );
    assert_eq!(
        (b.name.as_str(), b.size_bytes, b.digest),
        ("b.so", 3, Digest::of(b"bee"))
    );
    assert!(a.executable && b.executable);
    assert_eq!(
        (collected.ignored_count, collected.ignored),
        (2, vec!["notes".to_owned(), "sub/b.so".to_owned()])
    );
}

#[test]
fn long_names_come_through_either_extension() {
    let name = format!("{}.so", "n".repeat(200));
    let path = format!("out/{name}");
    for archive in [
        out().pax("mtime", "1.5").pax("path", &path).file("out/short", b"x"),
        out()
            .entry(b'L', b"././@LongLink", format!("{path}\0").as_bytes())
            .file("out/short", b"x"),
    ] {
        let collected = collect_from(&archive.end()[..], &declared(&[&name])).unwrap();
        assert_eq!(collected.artifacts[0].name, name);
    }
}

#[test]
fn hostile_archives_are_refused_and_nothing_escapes() {
    let huge = "8".repeat(19);
    let many_pax = (0..10).fold(out(), |archive, _| archive.pax("path", "out/a"));
    let symlink = |name: &[u8], target: &[u8]| out().header(b'2', name, 0, target);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("absolute", out().file("/out/a", b"x").end(), "is an absolute path"),
        ("upwards", out().file("out/../a", b"x").end(), "leads upwards"),
        ("upwards only", out().file("..", b"x").end(), "leads upwards"),
        (
            "another root",
            out().file("etc/a", b"x").end(),
            "is not in the directory",
        ),
        (
            "root is a file",
            Forged::new().file("out", b"x").end(),
            "stands in place of the directory",
        ),
        (
            "root is a link",
            Forged::new().header(b'2', b"out", 0, b"/etc").end(),
            "stands in place of the directory",
        ),
        ("no name", out().file("", b"x").end(), "has no name"),
        (
            "link, then a file through it",
            symlink(b"out/a", b"/etc/passwd").file("out/a", b"x").end(),
            "a symbolic link",
        ),
        (
            "link to a directory",
            symlink(b"out/sub", b"/tmp").file("out/sub/a", b"x").end(),
            "left no `a`",
        ),
        (
            "hard link",
            out().header(b'1', b"out/a", 0, b"/etc/shadow").end(),
            "a hard link",
        ),
        ("device", out().header(b'3', b"out/a", 0, b"").end(), "is a device"),
        (
            "undeclared device",
            out().file("out/a", b"x").header(b'4', b"out/x", 0, b"").end(),
            "is a device",
        ),
        ("pipe", out().header(b'6', b"out/a", 0, b"").end(), "a named pipe"),
        ("directory", out().header(b'5', b"out/a/", 0, b"").end(), "a directory"),
        ("file with a slash", out().file("out/a/", b"x").end(), "a directory"),
        ("sparse", out().entry(b'S', b"out/a", b"").end(), "a sparse file"),
        (
            "pax sparse",
            out().pax("GNU.sparse.major", "1").file("out/a", b"x").end(),
            "a sparse file",
        ),
        (
            "pax global",
            out().entry(b'g', b"pax", b"14 path=out/a\n").end(),
            "changes all other entries",
        ),
        (
            "pax upwards",
            out().pax("path", "../a").file("out/a", b"x").end(),
            "leads upwards",
        ),
        (
            "pax NUL",
            out().pax("path", "out/a\0b").file("out/a", b"x").end(),
            "has a NUL",
        ),
        (
            "pax lies",
            out().entry(b'x', b"pax", b"99 path=out/a\n").file("out/a", b"x").end(),
            "wrong length",
        ),
        (
            "pax without end",
            out().entry(b'x', b"pax", b"11 path=ab.").end(),
            "wrong length",
        ),
        (
            "pax size",
            out().pax("size", &huge).file("out/a", b"x").end(),
            "is larger than 1000 bytes",
        ),
        (
            "pax size text",
            out().pax("size", "-1").file("out/a", b"x").end(),
            "a size is no number",
        ),
        (
            "pax bomb",
            out().header(b'x', b"pax", 1 << 40, b"").end(),
            "a header that is too long",
        ),
        (
            "pax chain",
            many_pax.file("out/a", b"x").end(),
            "too many headers before one entry",
        ),
        (
            "long name bomb",
            out().header(b'L', b"x", 1 << 40, b"").end(),
            "a header that is too long",
        ),
        (
            "large",
            out().file("out/a", &[0; 1001]).end(),
            "is larger than 1000 bytes",
        ),
        (
            "size lies",
            out().header(b'0', b"out/a", 900, b"").end()[..1500].to_vec(),
            "ends in the middle of a file",
        ),
        (
            "huge size",
            out().header(b'0', b"out/a", u64::MAX >> 1, b"").end(),
            "is larger than 1000 bytes",
        ),
        (
            "huge ignored size",
            out().header(b'0', b"out/x", 1 << 40, b"").end(),
            "too much that is no artifact",
        ),
        (
            "link with content",
            out().header(b'2', b"out/x", 512, b"y").end(),
            "is no file and yet has a size",
        ),
        (
            "twice",
            out().file("out/a", b"x").file("out/a", b"y").end(),
            "is there twice",
        ),
        (
            "twice, other spelling",
            out().file("out/a", b"x").file("./out//./a", b"y").end(),
            "is there twice",
        ),
        ("truncated", out().file("out/a", b"x").bytes, "ends before its end mark"),
        ("empty", Vec::new(), "ends before its end mark"),
        ("no tar", b"<!DOCTYPE html>".repeat(100), "checksum is wrong"),
        (
            "terminal",
            out().file("/\x1b[2J", b"x").end(),
            "`/\\u{1b}[2J` is an absolute path",
        ),
    ];
    for (what, archive, expected) in cases {
        let error = collect_from(&archive[..], &declared(&["a"])).unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
}

#[test]
fn endless_archives_end() {
    /// The same block of entries for ever.
    struct Endless(Vec<u8>, usize);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.0.len() - self.1);
            buffer[..count].copy_from_slice(&self.0[self.1..self.1 + count]);
            self.1 = (self.1 + count) % self.0.len();
            Ok(count)
        }
    }
    let cases = [
        (out().file("out/x", b"").bytes, "too many entries"),
        (out().bytes, "too many entries"),
        (out().file("out/x", &[0; 1 << 20]).bytes, "too much that is no artifact"),
        (
            Forged::new().pax("path", "out/a").bytes,
            "too many headers before one entry",
        ),
    ];
    for (block, expected) in cases {
        let error = collect_from(Endless(block, 0), &declared(&["a"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    let check = |files: &[&str], expected: &str| {
        let archive = files
            .iter()
            .fold(out(), |archive, name| archive.file(&format!("out/{name}"), b"x"));
        let error = collect_from(&archive.end()[..], &declared(&["libshout.so"])).unwrap_err();
        assert_eq!(
            format!("{error}\n  hint: {}", error.hint().unwrap_or_default()),
            expected
        );
    };
    check(
        &["libshuot.so", "build.log"],
        "the command ended well but left no `libshout.so`; it left `libshuot.so`, `build.log`\n  \
         hint: did you mean `libshuot.so` where `artifacts` says `libshout.so`?",
    );
    check(
        &[],
        "the command ended well but left no `libshout.so`; it left nothing at all\n  \
         hint: every name under `artifacts` must be a file in $LOCKSTEP_OUT when the command ends",
    );
}

#[test]
fn two_units_cannot_yield_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    let archive = out().file("out/a", b"x").end();
    collect_blocking(&archive[..], &declared(&["a"]), directory.path()).unwrap();
    let error = collect_blocking(&archive[..], &declared(&["a"]), directory.path()).unwrap_err();
    assert!(matches!(error, CollectError::Twice { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_in_pieces_is_read_and_one_that_breaks_is_an_error() {
    let archive = out().file("out/a", &[3; 900]).end();
    let pieces = |length: usize| -> Vec<_> {
        archive[..length]
            .chunks(7)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect()
    };
    let directory = tempfile::tempdir().unwrap();
    let whole = stream::iter(pieces(archive.len())).boxed();
    let collected = collect(whole, declared(&["a"]), directory.path()).await.unwrap();
    assert_eq!(
        collected.artifacts[0].digest,
        Digest::of_reader(File::open(directory.path().join("a")).unwrap()).unwrap()
    );

    let gone = crate::engine::EngineError::NotFound {
        what: "container".to_owned(),
    };
    let broken = stream::iter(pieces(700)).chain(stream::iter([Err(gone)])).boxed();
    let directory = tempfile::tempdir().unwrap();
    let error = collect(broken, declared(&["a"]), directory.path()).await.unwrap_err();
    assert!(matches!(error, CollectError::Stream { .. }), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_write_elsewhere(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(collect_from(&bytes[..], &declared(&["a"])).is_err());
    }

    /// Headers that are right in themselves, with any name, kind, size and order: whatever is taken is a declared file.
    #[test]
    fn no_entries_escape(
        entries in prop::collection::vec(
            (
                prop::sample::select(b"01234567LKxgS\0".to_vec()),
                prop_oneof![
                    "(out|\\.\\.|a|b|/|\\.|\\./|out/a|out/b|out/\\.\\./b){1,4}",
                    prop::sample::select(vec!["out/a".to_owned(), "out/b".to_owned(), "out".to_owned()]),
                ],
                prop::sample::select(vec!["/etc", "../..", "a", ""]),
                prop_oneof![0_u64..2000, any::<u64>()],
                prop::collection::vec(any::<u8>(), 0..1500),
            ),
            0..6,
        ),
    ) {
        let archive = entries.iter().fold(out(), |archive, (kind, name, link, size, content)| {
            let mut archive = archive.header(*kind, name.as_bytes(), *size, link.as_bytes());
            archive.bytes.extend_from_slice(content);
            let padded = archive.bytes.len().next_multiple_of(BLOCK_BYTES);
            archive.bytes.resize(padded, 0);
            archive
        });
        let names = declared(&["a", "b"]);
        if let Ok(collected) = collect_from(&archive.end()[..], &names) {
            prop_assert_eq!(collected.artifacts.len(), 2);
        }
    }
}
