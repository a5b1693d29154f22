//! The file header and the program headers.

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};

use super::image::{Image, Narrow, Wide};
use super::{Layout, Unreadable};

/// No file that a loader takes has more program headers; those behind are not read.
const SEGMENT_LIMIT_COUNT: u16 = 4096;

/// An instruction set (`e_machine`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// `EM_X86_64`.
    X86_64,
    /// `EM_386`.
    X86,
    /// `EM_AARCH64`.
    Aarch64,
    /// `EM_ARM`.
    Arm,
    /// `EM_RISCV`.
    RiscV,
    /// Any other: it is read, and judged as unknown.
    Other(u16),
}

/// The kind of an object file (`e_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// `ET_REL`: what a linker takes.
    Relocatable,
    /// `ET_EXEC`: a program at a fixed address.
    Executable,
    /// `ET_DYN`: a shared object, or a program that runs at any address.
    Shared,
    /// Any other.
    Other(u16),
}

/// The file header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The layout by which the file was read.
    pub layout: Layout,
    /// The first 16 bytes, as they are in the file.
    pub ident: [u8; 16],
    /// `e_type`.
    pub kind: ObjectKind,
    /// `e_machine`.
    pub machine: Machine,
    /// `e_version`.
    pub version: u32,
    /// `e_entry`.
    pub entry: u64,
    /// `e_flags`.
    pub flags: u32,
    /// `e_phoff`.
    pub program_headers_offset: u64,
    /// `e_phentsize`.
    pub program_header_size: u16,
    /// `e_phnum`.
    pub program_header_count: u16,
    /// `e_shoff`.
    pub section_headers_offset: u64,
    /// `e_shnum`.
    pub section_header_count: u16,
}

/// The kind of a segment (`p_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// `PT_LOAD`.
    Load,
    /// `PT_DYNAMIC`.
    Dynamic,
    /// `PT_INTERP`.
    Interpreter,
    /// `PT_NOTE`.
    Note,
    /// `PT_TLS`.
    Tls,
    /// `PT_GNU_STACK`.
    Stack,
    /// `PT_GNU_RELRO`.
    Relro,
    /// `PT_GNU_PROPERTY`.
    Property,
    /// Any other.
    Other(u32),
}

/// One program header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// `p_type`.
    pub kind: SegmentKind,
    /// `p_flags`: `PF_X` 1, `PF_W` 2, `PF_R` 4.
    pub flags: u32,
    /// `p_offset`, in bytes.
    pub offset: u64,
    /// `p_vaddr`.
    pub address: u64,
    /// `p_filesz`, in bytes.
    pub file_size: u64,
    /// `p_memsz`, in bytes.
    pub memory_size: u64,
    /// `p_align`, in bytes.
    pub align: u64,
}

/// The thread-local storage of an object (`PT_TLS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls {
    /// `p_vaddr`.
    pub address: u64,
    /// `p_filesz`, in bytes.
    pub file_size: u64,
    /// `p_memsz`, in bytes.
    pub memory_size: u64,
    /// `p_align`, in bytes.
    pub align: u64,
}

impl Machine {
    fn from_number(number: u16) -> Self {
        match elf::Machine(number) {
            elf::EM_X86_64 => Self::X86_64,
            elf::EM_386 => Self::X86,
            elf::EM_AARCH64 => Self::Aarch64,
            elf::EM_ARM => Self::Arm,
            elf::EM_RISCV => Self::RiscV,
            elf::Machine(other) => Self::Other(other),
        }
    }

    /// `e_machine`.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::X86_64 => elf::EM_X86_64.0,
            Self::X86 => elf::EM_386.0,
            Self::Aarch64 => elf::EM_AARCH64.0,
            Self::Arm => elf::EM_ARM.0,
            Self::RiscV => elf::EM_RISCV.0,
            Self::Other(number) => number,
        }
    }
}

impl ObjectKind {
    fn from_number(number: u16) -> Self {
        match elf::FileType(number) {
            elf::ET_REL => Self::Relocatable,
            elf::ET_EXEC => Self::Executable,
            elf::ET_DYN => Self::Shared,
            elf::FileType(other) => Self::Other(other),
        }
    }
}

impl SegmentKind {
    fn from_number(number: u32) -> Self {
        match elf::ProgramType(number) {
            elf::PT_LOAD => Self::Load,
            elf::PT_DYNAMIC => Self::Dynamic,
            elf::PT_INTERP => Self::Interpreter,
            elf::PT_NOTE => Self::Note,
            elf::PT_TLS => Self::Tls,
            elf::PT_GNU_STACK => Self::Stack,
            elf::PT_GNU_RELRO => Self::Relro,
            elf::PT_GNU_PROPERTY => Self::Property,
            elf::ProgramType(other) => Self::Other(other),
        }
    }
}

impl Header {
    /// Reads the file header by a layout, without judging it.
    pub(super) fn read(image: &Image) -> Result<Self, Unreadable> {
        let header = if image.layout.is_wide() {
            Self::read_by::<Wide>(image)
        } else {
            Self::read_by::<Narrow>(image)
        };
        header.ok_or(Unreadable::TooShort {
            len: image.bytes.len() as u64,
        })
    }

    fn read_by<F: FileHeader<Endian = Endianness>>(image: &Image) -> Option<Self> {
        let endian = image.layout.endian();
        let header = image.structure::<F>(0)?;
        Some(Self {
            layout: image.layout,
            ident: *image.bytes.first_chunk()?,
            kind: ObjectKind::from_number(header.e_type(endian).0),
            machine: Machine::from_number(header.e_machine(endian).0),
            version: header.e_version(endian),
            entry: header.e_entry(endian).into(),
            flags: header.e_flags(endian).0,
            program_headers_offset: header.e_phoff(endian).into(),
            program_header_size: header.e_phentsize(endian),
            program_header_count: header.e_phnum(endian),
            section_headers_offset: header.e_shoff(endian).into(),
            section_header_count: header.e_shnum(endian),
        })
    }
}

impl Segment {
    /// Reads the program headers that are in the file, a stride of `e_phentsize` apart, as musl does; glibc and the kernel
    /// refuse any other size than the structure's.
    pub(super) fn read_all(image: &Image, header: &Header, problems: &mut Vec<String>) -> Vec<Self> {
        let header_bytes = if image.layout.is_wide() {
            size_of::<<Wide as FileHeader>::ProgramHeader>()
        } else {
            size_of::<<Narrow as FileHeader>::ProgramHeader>()
        };
        // With a stride of nothing one header would come again and again.
        let fitting = u16::try_from(image.bytes.len() / header_bytes).unwrap_or(u16::MAX);
        let count = header.program_header_count.min(SEGMENT_LIMIT_COUNT).min(fitting);
        if count < header.program_header_count {
            problems.push(format!(
                "of {} program headers only {count} are read",
                header.program_header_count
            ));
        }
        let segments: Vec<Self> = (0..count)
            .map_while(|index| {
                let skip = u64::from(index) * u64::from(header.program_header_size);
                let offset = usize::try_from(header.program_headers_offset.checked_add(skip)?).ok()?;
                if image.layout.is_wide() {
                    Self::read_by::<Wide>(image, offset)
                } else {
                    Self::read_by::<Narrow>(image, offset)
                }
            })
            .collect();
        if segments.len() < usize::from(count) {
            problems.push(format!(
                "the file ends within its {} program headers",
                header.program_header_count
            ));
        }
        segments
    }

    fn read_by<F: FileHeader<Endian = Endianness>>(image: &Image, offset: usize) -> Option<Self> {
        let endian = image.layout.endian();
        let header = image.structure::<F::ProgramHeader>(offset)?;
        Some(Self {
            kind: SegmentKind::from_number(header.p_type(endian).0),
            flags: header.p_flags(endian).0,
            offset: header.p_offset(endian).into(),
            address: header.p_vaddr(endian).into(),
            file_size: header.p_filesz(endian).into(),
            memory_size: header.p_memsz(endian).into(),
            align: header.p_align(endian).into(),
        })
    }

    /// Where its bytes end in the file.
    #[must_use]
    pub fn file_end(&self) -> u64 {
        self.offset.saturating_add(self.file_size)
    }
}

impl Tls {
    /// `PT_TLS`: of several the last one that is not empty counts, in both loaders.
    pub(super) fn find(segments: &[Segment]) -> Option<Self> {
        let all = || segments.iter().rev().filter(|segment| segment.kind == SegmentKind::Tls);
        let segment = all().find(|segment| segment.memory_size > 0).or_else(|| all().next())?;
        Some(Self {
            address: segment.address,
            file_size: segment.file_size,
            memory_size: segment.memory_size,
            align: segment.align,
        })
    }
}
