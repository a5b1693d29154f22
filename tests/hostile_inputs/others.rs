//! The other files that are read: what a loader is configured with, and root file systems in archives.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use lockstep::facts::LdCache;
use lockstep::facts::elf::{Data, Machine};
use lockstep::facts::{ld_conf, musl_path};
use lockstep::rootfs::{RootFs as _, open_file};

use super::random::Random;

/// No file of these archives is larger, compressed ones included.
pub(crate) const UNPACKED_LIMIT_BYTES: usize = 4 << 20;

/// What is fed with them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reader {
    Cache,
    Configuration,
    Archive,
}

pub(crate) struct OtherSeed {
    pub(crate) reader: Reader,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn seeds() -> Vec<OtherSeed> {
    let plain = archive(&[
        ("etc/ld.so.conf", Some("include /etc/*.conf\n/opt/lib\n")),
        ("usr/lib/libone.so", Some("\u{7f}ELF")),
        ("lib", None),
        (
            "a/very/long/path/with/many/parts/that/does/not/fit/into/the/header/of/one/entry/and/so/takes/another/one",
            Some("x"),
        ),
    ]);
    let saved = archive(&[
        (
            "manifest.json",
            Some(r#"[{"Config":"config.json","Layers":["layer.tar"]}]"#),
        ),
        ("config.json", Some(r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#)),
        (
            "layer.tar",
            Some(&String::from_utf8_lossy(&archive(&[("etc/.wh.gone", Some(""))]))),
        ),
    ]);
    let layout = archive(&[
        ("oci-layout", Some(r#"{"imageLayoutVersion":"1.0.0"}"#)),
        (
            "index.json",
            Some(r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:00","size":2}]}"#),
        ),
        ("blobs/sha256/00", Some("{}")),
    ]);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&plain).unwrap();
    let packed = packed.finish().unwrap();
    let configuration =
        b"# comment\ninclude /etc/ld.so.conf.d/*.conf\nhwcap 1 x\n/usr/local/lib=libc6\n/lib:/usr/lib\n";
    let mut seeds = vec![
        OtherSeed {
            reader: Reader::Cache,
            bytes: cache(),
        },
        OtherSeed {
            reader: Reader::Configuration,
            bytes: configuration.to_vec(),
        },
    ];
    seeds.extend([plain, saved, layout, packed].map(|bytes| OtherSeed {
        reader: Reader::Archive,
        bytes,
    }));
    seeds
}

/// A cache of the new form with four entries and one extension.
fn cache() -> Vec<u8> {
    let strings = b"libone.so\0/lib/libone.so\0libtwo.so\0/lib/x86-64-v3/libtwo.so\0x86-64-v3\0";
    let start = 48 + 4 * 24;
    let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
    let extensions = (start + strings.len()).next_multiple_of(4);
    for word in [4, strings.len(), 2, extensions, 0, 0, 0] {
        bytes.extend((word as u32).to_le_bytes());
    }
    for (key, value, hwcap) in [(0, 10, 0_u64), (25, 35, 0), (25, 35, 1 << 62), (0, 10, 0)] {
        for word in [0x0303, start + key, start + value, 0] {
            bytes.extend((word as u32).to_le_bytes());
        }
        bytes.extend(hwcap.to_le_bytes());
    }
    bytes.extend_from_slice(strings);
    bytes.resize(extensions, 0);
    for word in [0xeaa4_2174, 1, 1, 0, extensions + 24, 4, start + 60] {
        bytes.extend((word as u32).to_le_bytes());
    }
    bytes
}

fn archive(entries: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        if let Some(content) = content {
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_bytes()).unwrap();
        } else {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, path, "usr/../usr/lib").unwrap();
        }
    }
    archive.into_inner().unwrap()
}

pub(crate) fn mutate(seed: &OtherSeed, random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.bytes.clone();
    for _ in 0..=random.below(6) {
        let len = bytes.len();
        match random.below(8) {
            0 => bytes.truncate(random.below(len + 1)),
            1 => bytes.resize(len + random.below(1024), 0),
            2 => {
                let (from, to) = (random.below(len), random.below(len));
                let part: Vec<u8> = bytes.iter().skip(from).take(random.below(600)).copied().collect();
                for (byte, part) in bytes.iter_mut().skip(to).zip(part) {
                    *byte = part;
                }
            }
            3 => {
                let bit = random.below(len * 8);
                if let Some(byte) = bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            // A header of an archive begins at each 512th byte.
            4 => {
                let offset = random.below(len / 512 + 1) * 512 + random.below(512);
                let value = *random.pick(b"07/.x\0\x80\xff");
                if let Some(byte) = bytes.get_mut(offset) {
                    *byte = value;
                }
            }
            _ => {
                let offset = random.below(len / 4 + 1) * 4;
                let any = random.next() as u32;
                let value = *random.pick(&[0, 1, u32::MAX, 0x7fff_ffff, len as u32, any]);
                for (byte, value) in bytes.iter_mut().skip(offset).zip(value.to_le_bytes()) {
                    *byte = value;
                }
            }
        }
    }
    bytes
}

pub(crate) fn exercise(reader: Reader, input: &Bytes) {
    let len = input.len();
    match reader {
        Reader::Cache => {
            for data in [Data::Little, Data::Big] {
                if let Ok(cache) = LdCache::read(input.clone(), data) {
                    assert!(cache.entries().count() <= len / 12);
                    assert!(cache.directories().count() <= len / 4);
                    assert!(cache.named("libone.so").count() <= len / 12);
                    let _ = cache.generator();
                }
            }
        }
        Reader::Configuration => {
            assert!(ld_conf::ld_conf_lines(input).len() <= len + 1);
            assert!(musl_path::musl_path_directories(input).len() <= len + 1);
            let path = String::from_utf8_lossy(input);
            let _ = musl_path::musl_path_file(&path, Machine::X86_64);
        }
        Reader::Archive => {
            if let Ok(root) = open_file(input, "a test") {
                for path in ["/", "/etc/ld.so.conf", "/lib/libone.so", "/etc/../../lib"] {
                    if let Ok(found) = root.look(path) {
                        assert!(found.path.starts_with('/'));
                        let _ = (root.object(&found), root.list(&found.path));
                        let content = root.bytes(&found, UNPACKED_LIMIT_BYTES as u64);
                        assert!(content.is_none_or(|content| content.len() <= UNPACKED_LIMIT_BYTES));
                    }
                }
            }
        }
    }
}
