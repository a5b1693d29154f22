//! `/etc/ld-musl-ARCH.path`: where musl's loader searches, instead of its defaults.

use super::elf::Machine;

/// Where it searches when there is no such file (`SYS_PATH_DFLT`).
pub const MUSL_DEFAULT_DIRECTORIES: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];
/// The largest file that is read.
pub const MUSL_PATH_LIMIT_BYTES: u64 = 1024 * 1024;

/// The directories that a file names, in order. A file without any is not the same as no file: nothing is searched then.
///
/// Colons and line ends separate; nothing else does, so a blank belongs to the name that it stands in, and there are no
/// comments. A null ends the file.
#[must_use]
pub fn musl_path_directories(file: &[u8]) -> Vec<String> {
    let file = file.split(|byte| *byte == 0).next().unwrap_or_default();
    file.split(|byte| matches!(byte, b':' | b'\n'))
        .filter(|directory| !directory.is_empty())
        .map(|directory| String::from_utf8_lossy(directory).into_owned())
        .collect()
}

/// Which file the loader reads that a program names as its interpreter: in `etc` beside the directory that it is in.
///
/// None where musl has no name for the machine here.
#[must_use]
pub fn musl_path_file(interpreter: &str, machine: Machine) -> Option<String> {
    // The name in the interpreter counts, where it has one: it tells the kinds of ARM apart.
    let name = interpreter.rsplit('/').next().unwrap_or_default();
    let named = name
        .strip_prefix("ld-musl-")
        .and_then(|rest| rest.split_once(".so"))
        .map(|(machine, _)| machine);
    let machine = named.or(match machine {
        Machine::X86_64 => Some("x86_64"),
        Machine::X86 => Some("i386"),
        Machine::Aarch64 => Some("aarch64"),
        Machine::RiscV => Some("riscv64"),
        Machine::Arm | Machine::Other(_) => None,
    })?;
    // A loader that was named by a relative path has no prefix either.
    let prefix = interpreter
        .strip_prefix('/')
        .and_then(|_| interpreter.rsplitn(3, '/').nth(2))
        .unwrap_or_default();
    Some(format!("{prefix}/etc/ld-musl-{machine}.path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colons_and_line_ends_separate() {
        for (file, expected) in [
            ("", &[][..]),
            ("\n\n", &[]),
            ("/lib\n/usr/lib\n", &["/lib", "/usr/lib"]),
            ("/lib:/usr/local/lib:/usr/lib", &["/lib", "/usr/local/lib", "/usr/lib"]),
            (":/a::b\n", &["/a", "b"]),
            ("/a b \n#c", &["/a b ", "#c"]),
            ("/a\r\n", &["/a\r"]),
            ("/a\0/b", &["/a"]),
        ] {
            assert_eq!(musl_path_directories(file.as_bytes()), expected, "{file:?}");
        }
    }

    #[test]
    fn the_file_is_beside_the_directory_of_the_loader() {
        for (interpreter, expected) in [
            ("/lib/ld-musl-x86_64.so.1", Some("/etc/ld-musl-x86_64.path")),
            ("/lib/ld-musl-armhf.so.1", Some("/etc/ld-musl-armhf.path")),
            (
                "/usr/local/musl/lib/libc.so",
                Some("/usr/local/musl/etc/ld-musl-x86_64.path"),
            ),
            ("/ld-musl-x86_64.so.1", Some("/etc/ld-musl-x86_64.path")),
            ("lib/ld-musl-x86_64.so.1", Some("/etc/ld-musl-x86_64.path")),
        ] {
            assert_eq!(
                musl_path_file(interpreter, Machine::X86_64).as_deref(),
                expected,
                "{interpreter}"
            );
        }
        assert_eq!(musl_path_file("/lib/libc.so", Machine::Other(22)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_give_names_without_separators(file: Vec<u8>) {
            for directory in musl_path_directories(&file) {
                prop_assert!(!directory.is_empty() && !directory.contains([':', '\n', '\0']));
            }
        }
    }
}
