//! What loaders do differently from machine to machine.

use crate::facts::elf::Machine;

/// The size of a page in bytes; all supported machines have pages of at least that.
pub(super) const PAGE_BYTES: u64 = 4096;

/// Whether the simulation knows the machine's relocations and loader.
#[must_use]
pub(super) fn is_modelled(machine: Machine) -> bool {
    !matches!(machine, Machine::Other(_))
}

/// Whether thread-local storage is below the thread pointer (TLS variant II).
#[must_use]
pub(super) fn has_tls_below(machine: Machine) -> bool {
    matches!(machine, Machine::X86_64 | Machine::X86)
}

/// Where glibc's loader is, by the ABI of the machine.
#[must_use]
pub(super) fn glibc_interpreter(machine: Machine) -> &'static str {
    match machine {
        Machine::X86_64 => "/lib64/ld-linux-x86-64.so.2",
        Machine::X86 => "/lib/ld-linux.so.2",
        Machine::Aarch64 => "/lib/ld-linux-aarch64.so.1",
        Machine::Arm => "/lib/ld-linux-armhf.so.3",
        Machine::RiscV => "/lib/ld-linux-riscv64-lp64d.so.1",
        Machine::Other(_) => "",
    }
}

/// The name, as `uname -m` has it.
#[must_use]
pub(crate) fn name(machine: Machine) -> String {
    match machine {
        Machine::X86_64 => "x86_64".to_owned(),
        Machine::X86 => "i386".to_owned(),
        Machine::Aarch64 => "aarch64".to_owned(),
        Machine::Arm => "arm".to_owned(),
        Machine::RiscV => "riscv64".to_owned(),
        Machine::Other(number) => format!("machine {number}"),
    }
}
