//! What each machine's numbers of relocations ask for.
//!
//! Source: the processor supplements of the System V ABI. Only the kinds that a dynamic loader meets are told apart; those of
//! the static linker are unsupported in a file that is loaded.

use object::elf::{self, RelocationType};

use super::{Machine, RelocationClass};

impl RelocationClass {
    /// The class of a machine's number.
    #[must_use]
    #[inline]
    pub fn of(machine: Machine, kind: u32) -> Self {
        let kind = RelocationType(kind);
        match machine {
            Machine::X86_64 => of_x86_64(kind),
            Machine::X86 => of_x86(kind),
            Machine::Aarch64 => of_aarch64(kind),
            Machine::Arm => of_arm(kind),
            Machine::RiscV => of_riscv(kind),
            Machine::Other(_) => Self::Unsupported,
        }
    }
}

fn of_x86_64(kind: RelocationType) -> RelocationClass {
    match kind {
        elf::R_X86_64_NONE => RelocationClass::None,
        elf::R_X86_64_RELATIVE | elf::R_X86_64_RELATIVE64 => RelocationClass::Relative,
        elf::R_X86_64_IRELATIVE => RelocationClass::IndirectRelative,
        elf::R_X86_64_64 | elf::R_X86_64_32 => RelocationClass::Absolute,
        elf::R_X86_64_GLOB_DAT => RelocationClass::GlobalData,
        elf::R_X86_64_JUMP_SLOT => RelocationClass::JumpSlot,
        elf::R_X86_64_COPY => RelocationClass::Copy,
        elf::R_X86_64_PC32 => RelocationClass::PcRelative,
        elf::R_X86_64_SIZE32 | elf::R_X86_64_SIZE64 => RelocationClass::Size,
        elf::R_X86_64_DTPMOD64 => RelocationClass::TlsModule,
        elf::R_X86_64_DTPOFF64 => RelocationClass::TlsOffset,
        elf::R_X86_64_TPOFF64 => RelocationClass::TlsStatic,
        elf::R_X86_64_TLSDESC => RelocationClass::TlsDescriptor,
        _ => RelocationClass::Unsupported,
    }
}

fn of_x86(kind: RelocationType) -> RelocationClass {
    match kind {
        elf::R_386_NONE => RelocationClass::None,
        elf::R_386_RELATIVE => RelocationClass::Relative,
        elf::R_386_IRELATIVE => RelocationClass::IndirectRelative,
        elf::R_386_32 => RelocationClass::Absolute,
        elf::R_386_GLOB_DAT => RelocationClass::GlobalData,
        elf::R_386_JMP_SLOT => RelocationClass::JumpSlot,
        elf::R_386_COPY => RelocationClass::Copy,
        elf::R_386_PC32 => RelocationClass::PcRelative,
        elf::R_386_SIZE32 => RelocationClass::Size,
        elf::R_386_TLS_DTPMOD32 => RelocationClass::TlsModule,
        elf::R_386_TLS_DTPOFF32 => RelocationClass::TlsOffset,
        elf::R_386_TLS_TPOFF | elf::R_386_TLS_TPOFF32 => RelocationClass::TlsStatic,
        elf::R_386_TLS_DESC => RelocationClass::TlsDescriptor,
        _ => RelocationClass::Unsupported,
    }
}

/// Both of 64 bits and of 32 (`R_AARCH64_P32_*`), whose numbers differ.
fn of_aarch64(kind: RelocationType) -> RelocationClass {
    match kind {
        // 256 was the number of the empty kind before it was 0.
        elf::R_AARCH64_NONE | RelocationType(256) => RelocationClass::None,
        elf::R_AARCH64_RELATIVE | elf::R_AARCH64_P32_RELATIVE => RelocationClass::Relative,
        elf::R_AARCH64_IRELATIVE | elf::R_AARCH64_P32_IRELATIVE => RelocationClass::IndirectRelative,
        elf::R_AARCH64_ABS64 | elf::R_AARCH64_ABS32 | elf::R_AARCH64_P32_ABS32 => RelocationClass::Absolute,
        elf::R_AARCH64_GLOB_DAT | elf::R_AARCH64_P32_GLOB_DAT => RelocationClass::GlobalData,
        elf::R_AARCH64_JUMP_SLOT | elf::R_AARCH64_P32_JUMP_SLOT => RelocationClass::JumpSlot,
        elf::R_AARCH64_COPY | elf::R_AARCH64_P32_COPY => RelocationClass::Copy,
        elf::R_AARCH64_TLS_DTPMOD | elf::R_AARCH64_P32_TLS_DTPMOD => RelocationClass::TlsModule,
        elf::R_AARCH64_TLS_DTPREL | elf::R_AARCH64_P32_TLS_DTPREL => RelocationClass::TlsOffset,
        elf::R_AARCH64_TLS_TPREL | elf::R_AARCH64_P32_TLS_TPREL => RelocationClass::TlsStatic,
        elf::R_AARCH64_TLSDESC | elf::R_AARCH64_P32_TLSDESC => RelocationClass::TlsDescriptor,
        _ => RelocationClass::Unsupported,
    }
}

fn of_arm(kind: RelocationType) -> RelocationClass {
    match kind {
        elf::R_ARM_NONE => RelocationClass::None,
        elf::R_ARM_RELATIVE => RelocationClass::Relative,
        elf::R_ARM_IRELATIVE => RelocationClass::IndirectRelative,
        elf::R_ARM_ABS32 => RelocationClass::Absolute,
        elf::R_ARM_GLOB_DAT => RelocationClass::GlobalData,
        elf::R_ARM_JUMP_SLOT => RelocationClass::JumpSlot,
        elf::R_ARM_COPY => RelocationClass::Copy,
        elf::R_ARM_PC24 | elf::R_ARM_REL32 => RelocationClass::PcRelative,
        elf::R_ARM_TLS_DTPMOD32 => RelocationClass::TlsModule,
        elf::R_ARM_TLS_DTPOFF32 => RelocationClass::TlsOffset,
        elf::R_ARM_TLS_TPOFF32 => RelocationClass::TlsStatic,
        elf::R_ARM_TLS_DESC => RelocationClass::TlsDescriptor,
        _ => RelocationClass::Unsupported,
    }
}

/// The global offset table has `R_RISCV_64` (or `R_RISCV_32`) in it: there is no kind of its own for it.
fn of_riscv(kind: RelocationType) -> RelocationClass {
    match kind {
        elf::R_RISCV_NONE => RelocationClass::None,
        elf::R_RISCV_RELATIVE => RelocationClass::Relative,
        elf::R_RISCV_IRELATIVE => RelocationClass::IndirectRelative,
        elf::R_RISCV_32 | elf::R_RISCV_64 => RelocationClass::Absolute,
        elf::R_RISCV_JUMP_SLOT => RelocationClass::JumpSlot,
        elf::R_RISCV_COPY => RelocationClass::Copy,
        elf::R_RISCV_TLS_DTPMOD32 | elf::R_RISCV_TLS_DTPMOD64 => RelocationClass::TlsModule,
        elf::R_RISCV_TLS_DTPREL32 | elf::R_RISCV_TLS_DTPREL64 => RelocationClass::TlsOffset,
        elf::R_RISCV_TLS_TPREL32 | elf::R_RISCV_TLS_TPREL64 => RelocationClass::TlsStatic,
        elf::R_RISCV_TLSDESC => RelocationClass::TlsDescriptor,
        _ => RelocationClass::Unsupported,
    }
}
