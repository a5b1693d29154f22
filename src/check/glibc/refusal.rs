//! Why glibc does not take a file for a library, and its words for that.

use crate::check::fault::Rejection;
use crate::facts::elf::Class;

/// Why glibc does not take a file (`open_verify`), in the order in which it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Directory,
    TooShort,
    Magic([u8; 4]),
    Class,
    Data,
    IdentVersion,
    Osabi,
    AbiVersion,
    Padding,
    Version,
    Machine(String),
    Kind,
    ProgramHeaderSize,
    ProgramHeadersCut,
}

impl Refusal {
    /// The loader's words; none for what it passes over.
    pub(super) fn words(&self, class: Class) -> &'static str {
        match self {
            Self::Directory => "cannot read file data: Is a directory",
            Self::TooShort => "file too short",
            Self::Magic(_) => "invalid ELF header",
            Self::Class if class == Class::Elf64 => "wrong ELF class: ELFCLASS32",
            Self::Class => "wrong ELF class: ELFCLASS64",
            Self::Data => "ELF file data encoding not little-endian",
            Self::IdentVersion => "ELF file version ident does not match current one",
            Self::Osabi => "ELF file OS ABI invalid",
            Self::AbiVersion => "ELF file ABI version invalid",
            Self::Padding => "nonzero padding in e_ident",
            Self::Version => "ELF file version does not match current one",
            Self::Machine(_) => "cannot open shared object file: No such file or directory",
            Self::Kind => "only ET_DYN and ET_EXEC can be loaded",
            Self::ProgramHeaderSize => "ELF file's phentsize not the expected size",
            Self::ProgramHeadersCut => "cannot read file data",
        }
    }

    pub(super) fn rejection(&self) -> Rejection {
        match self {
            Self::Directory => Rejection::Directory,
            Self::TooShort => Rejection::TooShort,
            Self::Magic(head) => Rejection::Magic(*head),
            Self::Class => Rejection::Class,
            Self::Data => Rejection::Data,
            Self::IdentVersion | Self::Version => Rejection::Version,
            Self::Osabi | Self::AbiVersion | Self::Padding => Rejection::Osabi,
            Self::Machine(machine) => Rejection::Machine(machine.clone()),
            Self::Kind => Rejection::Kind,
            Self::ProgramHeaderSize | Self::ProgramHeadersCut => Rejection::ProgramHeaders,
        }
    }
}
