//! The file is no object that the loader accepts.

use crate::check::Rule;
use crate::check::fault::{Fault, Rejection};
use crate::check::{Finding, Verdict};

/// The rule.
pub(super) const RULE: Rule = Rule {
    code: "elf-invalid",
    description: "the file is no shared object that the loader accepts",
    explanation: "A loader looks at the first bytes before anything else. glibc checks the magic number, class, byte \
                  order, version, OS ABI, machine and type, in that order, and names the first that differs. musl checks \
                  only the size, the type and the program headers, and says \"Exec format error\" for all of them.\n\n\
                  What is found is often no ELF file at all: a linker script (`libfoo.so` of a development package is a \
                  text), an object file (`.o`), a library of another operating system (Mach-O, PE), an empty file of a \
                  build that failed, or a file that was not fetched by Git LFS.\n\n\
                  Look at the file with `lockstep inspect` and build or copy the right one.",
};

pub(super) fn finding(fault: &Fault, why: &Rejection) -> Finding {
    let (what, hint) = describe(why);
    let title = format!("`{}` is no shared object that can be loaded: {what}", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title).hint(hint)
}

/// A host that the kernel does not start.
pub(super) fn of_program(fault: &Fault, why: &Rejection) -> Finding {
    let (what, hint) = match why {
        Rejection::Library => (
            "it is a library".to_owned(),
            "name the program that opens the plugins first, then the plugins",
        ),
        Rejection::Magic([b'#', b'!', ..]) => (
            "it is a script".to_owned(),
            "name the program that opens the plugins, not the script that starts it",
        ),
        Rejection::Magic(head) => (magic(*head).0, "build it for Linux"),
        Rejection::Kind => (
            "it is neither ET_DYN nor ET_EXEC".to_owned(),
            "link it: an object file (.o) or a core dump is no program",
        ),
        why => describe(why),
    };
    let title = format!("`{}` is no program that can be started: {what}", fault.object);
    Finding::new(RULE.code, Verdict::Refuse, &fault.object, title).hint(hint)
}

fn describe(why: &Rejection) -> (String, &'static str) {
    match why {
        Rejection::TooShort => (
            "it is shorter than a file header".to_owned(),
            "the file is empty or was cut off: build it or copy it again",
        ),
        Rejection::Directory => ("it is a directory".to_owned(), "name the file in it"),
        Rejection::Special => (
            "it is a pipe, a device or a socket".to_owned(),
            "name a file: whoever opens a pipe waits until somebody writes to it",
        ),
        Rejection::Magic(head) => magic(*head),
        Rejection::Version => (
            "its ELF version is unknown".to_owned(),
            "the file is damaged: build it or copy it again",
        ),
        Rejection::Osabi => (
            "its OS ABI is not Linux".to_owned(),
            "build the plugin for Linux (EI_OSABI 0 or 3)",
        ),
        Rejection::Kind => (
            "it is neither ET_DYN nor ET_EXEC".to_owned(),
            "link it: an object file (.o) or a core dump is no shared object (cc -shared)",
        ),
        Rejection::ProgramHeaders => (
            "its program headers are not as the loader expects them".to_owned(),
            "the file is damaged or cut off: build it or copy it again",
        ),
        Rejection::NoDynamicSection => (
            "it has no dynamic section".to_owned(),
            "link it as a shared object (cc -shared), not statically",
        ),
        Rejection::NoSegments => (
            "it has no segment to load".to_owned(),
            "the file is damaged: link it again",
        ),
        Rejection::Alignment => (
            "its segments are not aligned to pages".to_owned(),
            "link it for pages of this system (-z max-page-size)",
        ),
        Rejection::AddressesTaken => (
            "it has fixed addresses, and they are taken".to_owned(),
            "link it as a shared object (cc -shared -fPIC)",
        ),
        Rejection::Class
        | Rejection::Data
        | Rejection::Machine(_)
        | Rejection::Program
        | Rejection::NoOpen
        | Rejection::Library => (
            "the loader does not take it".to_owned(),
            "build it for the host's machine",
        ),
    }
}

/// What a file is that does not begin as an ELF file does, and what to do about it.
fn magic(head: [u8; 4]) -> (String, &'static str) {
    let for_linux = "build the plugin for Linux as a shared object";
    let (what, hint) = match head {
        [0xcf | 0xce, 0xfa, 0xed, 0xfe] | [0xca, 0xfe, 0xba, 0xbe] => ("it is a Mach-O file, of macOS", for_linux),
        [b'M', b'Z', ..] => ("it is a PE file, of Windows", for_linux),
        [b'!', b'<', b'a', b'r'] => (
            "it is an archive of object files (.a)",
            "link it: cc -shared -Wl,--whole-archive libname.a; Rust: crate-type = [\"cdylib\"], not staticlib",
        ),
        [0, b'a', b's', b'm'] => ("it is a WebAssembly module", for_linux),
        [b'#', b'!', ..] => ("it is a script", "name the library itself"),
        [0x1f, 0x8b, ..] => ("it is compressed with gzip", "unpack it first: gunzip, or tar -x"),
        [0x28, 0xb5, 0x2f, 0xfd] => ("it is compressed with zstd", "unpack it first: unzstd, or tar -x"),
        [0xfd, b'7', b'z', b'X'] => ("it is compressed with xz", "unpack it first: unxz, or tar -x"),
        [b'P', b'K', ..] => ("it is a zip archive", "unpack it first: unzip"),
        _ if head
            .iter()
            .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) =>
        {
            (
                "it is a text, perhaps a linker script",
                "look into it: a linker script names the library that is meant, and Git LFS leaves a text where a file was not fetched",
            )
        }
        _ => {
            let what = format!(
                "it begins with {:02x} {:02x} {:02x} {:02x}",
                head[0], head[1], head[2], head[3]
            );
            return (what, for_linux);
        }
    };
    (what.to_owned(), hint)
}
