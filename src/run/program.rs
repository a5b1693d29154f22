//! Whether a file can be a host: a program of this machine that an interpreter loads. Nothing is run for it.

use crate::facts::elf::{Dynamic, Elf, Machine, ObjectKind, Unreadable};
use crate::platform::architecture;
use crate::rootfs::{Found, RootFs};

/// The largest script of which the first line is read.
const SCRIPT_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// How much of a file is looked at for the interpreter of a script (binfmt_script.c: 256 bytes).
const SCRIPT_LINE_LIMIT_BYTES: usize = 256;

/// Why a file can be no host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// What it is: `a script`.
    pub what: String,
    /// The program to name in its place, if that is known.
    pub instead: Option<String>,
}

impl Unfit {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            instead: None,
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        match &self.instead {
            Some(instead) => format!("name the program that loads plugins: `{instead}`"),
            None => "name the program that loads plugins, an ELF file with an interpreter".to_owned(),
        }
    }
}

/// Why the file can be no host; none if it can. `may_be_static` is for one that does not open its plugins in the smoke test.
pub(super) fn unfit(root: &dyn RootFs, found: &Found, may_be_static: bool) -> Option<Unfit> {
    match root.object(found) {
        Some(Ok(elf)) => what_else(&elf, may_be_static).map(Unfit::new),
        Some(Err(Unreadable::Class { .. } | Unreadable::Data { .. })) => Some(Unfit::new("a damaged ELF file")),
        Some(Err(Unreadable::TooShort { .. } | Unreadable::Magic { .. })) | None => {
            let script = root.bytes(found, SCRIPT_LIMIT_BYTES);
            let instead = script.and_then(|bytes| interpreter_of_script(&bytes));
            Some(Unfit {
                what: if instead.is_some() { "a script" } else { "no ELF file" }.to_owned(),
                instead,
            })
        }
    }
}

/// What an ELF file is that is no program which loads anything here.
fn what_else(elf: &Elf, may_be_static: bool) -> Option<String> {
    let header = &elf.header;
    if is_foreign(header.machine) {
        return Some(format!(
            "for {}, and what runs here is {}",
            crate::check::machine_name(header.machine),
            architecture()
        ));
    }
    let is_program = match header.kind {
        ObjectKind::Executable => true,
        ObjectKind::Shared => elf.dynamic.as_ref().is_some_and(Dynamic::is_program),
        ObjectKind::Relocatable | ObjectKind::Other(_) => false,
    };
    match (&elf.interpreter, &elf.dynamic) {
        (Some(_), _) => None,
        (None, _) if may_be_static && is_program => None,
        (None, Some(_)) if !is_program => {
            Some("a shared object without an interpreter: nothing loads plugins there".to_owned())
        }
        (None, None) if !is_program => Some("no program but what a linker takes".to_owned()),
        (None, _) => Some("linked statically, and so loads no plugins".to_owned()),
    }
}

/// Whether a program of this machine does not run here. A processor of 64 bits runs those of 32, with their own loader.
fn is_foreign(machine: Machine) -> bool {
    match architecture() {
        "amd64" => !matches!(machine, Machine::X86_64 | Machine::X86),
        "arm64" => !matches!(machine, Machine::Aarch64 | Machine::Arm),
        "riscv64" => machine != Machine::RiscV,
        _ => false,
    }
}

/// What a script names in its first line.
fn interpreter_of_script(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(&line[..line.len().min(SCRIPT_LINE_LIMIT_BYTES)]).ok()?;
    line.split_whitespace().next().map(str::to_owned)
}
