//! Relocations: what a loader writes where.

mod class;

use std::ops::Range;

use object::read::elf::{FileHeader, Rela};
use object::{Endianness, elf};

use super::address::AddressMap;
use super::image::{Image, Narrow, Wide};
use super::{Data, Dynamic, Machine};

/// The table that a relocation is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// `DT_REL` or `DT_RELA`.
    Main,
    /// `DT_JMPREL`.
    Plt,
}

/// What a relocation asks for, whatever the machine calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelocationClass {
    /// Nothing (`R_*_NONE`).
    None,
    /// The load address and an addend (`R_*_RELATIVE`).
    Relative,
    /// The answer of a resolver in the object (`R_*_IRELATIVE`).
    IndirectRelative,
    /// A symbol's address in data (`R_X86_64_64`, `R_AARCH64_ABS64`, …).
    Absolute,
    /// A symbol's address in the global offset table (`R_*_GLOB_DAT`).
    GlobalData,
    /// A function's address in the procedure linkage table (`R_*_JUMP_SLOT`); what can be bound lazily.
    JumpSlot,
    /// A copy of a library's data in a program (`R_*_COPY`).
    Copy,
    /// The distance to a symbol (`R_X86_64_PC32`, …).
    PcRelative,
    /// The size of a symbol (`R_*_SIZE*`).
    Size,
    /// A module's number for thread-local storage (`R_*_DTPMOD*`).
    TlsModule,
    /// An offset in a module's thread-local storage (`R_*_DTPOFF*`).
    TlsOffset,
    /// An offset from the thread pointer (`R_*_TPOFF*`): initial-exec.
    TlsStatic,
    /// A descriptor for thread-local storage (`R_*_TLSDESC`).
    TlsDescriptor,
    /// A kind of this machine that no dynamic loader takes, or that is not known.
    Unsupported,
}

/// One relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// The table that it is in.
    pub table: Table,
    /// `r_offset`.
    pub offset: u64,
    /// The index of the symbol; 0 is none.
    pub symbol: u32,
    /// The machine's number of its kind.
    pub kind: u32,
    /// What it asks for.
    pub class: RelocationClass,
    /// The addend; for `DT_REL` it is in the place that is relocated, and 0 here.
    pub addend: i64,
}

/// Where the relocations are in the file. Of the order: `DT_REL`, `DT_RELA`, `DT_JMPREL`.
#[derive(Debug, Clone, Default)]
pub(super) struct RelocationTables(Vec<RelocationTable>);

#[derive(Debug, Clone)]
struct RelocationTable {
    table: Table,
    has_addends: bool,
    range: Range<usize>,
    /// How many at its start are counted as relative.
    relative_count: usize,
    /// What is listed with another table.
    except: Range<usize>,
}

impl RelocationTables {
    pub(super) fn read(image: &Image, map: &AddressMap, dynamic: &Dynamic, problems: &mut Vec<String>) -> Self {
        let mut locate = |name, address, size, has_addends| {
            let address = dynamic.value(address)?;
            let size = dynamic.value(size).unwrap_or(0);
            if size == 0 {
                return None;
            }
            let Some(rest) = map.from(address) else {
                problems.push(format!("{name} is not in the part of the file that is loaded"));
                return None;
            };
            let len = usize::try_from(size).unwrap_or(usize::MAX);
            if len > rest.len() {
                problems.push(format!("{name} is cut"));
            }
            // An entry that is there in part is not there.
            let entry_bytes = entry_bytes(image, has_addends);
            let len = len.min(rest.len()) / entry_bytes * entry_bytes;
            Some(rest.start..rest.start + len)
        };
        let is_rela = dynamic.value(elf::DT_PLTREL) == Some(elf::DT_RELA.0 as u64);
        let rel = locate("DT_REL", elf::DT_REL, elf::DT_RELSZ, false);
        let rela = locate("DT_RELA", elf::DT_RELA, elf::DT_RELASZ, true);
        let plt = locate("DT_JMPREL", elf::DT_JMPREL, elf::DT_PLTRELSZ, is_rela);
        let mut tables = Vec::new();
        for (range, has_addends, count) in [(rel, false, elf::DT_RELCOUNT), (rela, true, elf::DT_RELACOUNT)] {
            let relative_count = dynamic.value(count).and_then(|count| usize::try_from(count).ok());
            tables.extend(range.map(|range| RelocationTable {
                table: Table::Main,
                has_addends,
                range,
                relative_count: relative_count.unwrap_or(0),
                // Some linkers count the entries of DT_JMPREL with DT_RELA too.
                except: plt.clone().filter(|_| has_addends == is_rela).unwrap_or_default(),
            }));
        }
        tables.extend(plt.map(|range| RelocationTable {
            table: Table::Plt,
            has_addends: is_rela,
            range,
            relative_count: 0,
            except: Range::default(),
        }));
        Self(tables)
    }

    /// The relocations of all tables, in order, maybe without what is counted as relative.
    pub(super) fn iter<'a>(
        &'a self,
        image: &'a Image,
        machine: Machine,
        skips_relative: bool,
    ) -> impl Iterator<Item = Relocation> + 'a {
        self.0.iter().flat_map(move |table| {
            table
                .range
                .clone()
                .step_by(entry_bytes(image, table.has_addends))
                .skip(if skips_relative {
                    table.counted(image, machine)
                } else {
                    0
                })
                .filter(|offset| !table.except.contains(offset))
                .filter_map(move |offset| table.read(image, machine, offset))
        })
    }
}

impl RelocationTable {
    /// How many at the start are relative, if the last of those that are counted so is: linkers put them in front.
    fn counted(&self, image: &Image, machine: Machine) -> usize {
        let Some(last) = self.relative_count.checked_sub(1) else {
            return 0;
        };
        let mut offsets = self.range.clone().step_by(entry_bytes(image, self.has_addends));
        let last = offsets.nth(last).and_then(|offset| self.read(image, machine, offset));
        let is_relative = last.is_some_and(|last| last.class == RelocationClass::Relative);
        if is_relative { self.relative_count } else { 0 }
    }

    #[inline]
    fn read(&self, image: &Image, machine: Machine, offset: usize) -> Option<Relocation> {
        if image.layout.is_wide() {
            self.read_by::<Wide>(image, machine, offset)
        } else {
            self.read_by::<Narrow>(image, machine, offset)
        }
    }

    #[inline]
    fn read_by<F: FileHeader<Endian = Endianness>>(
        &self,
        image: &Image,
        machine: Machine,
        offset: usize,
    ) -> Option<Relocation> {
        let endian = image.layout.endian();
        // Little-endian MIPS of 64 bits has the fields of `r_info` in an order of its own.
        let is_mips64el =
            F::is_type_64_sized() && image.layout.data == Data::Little && machine == Machine::Other(elf::EM_MIPS.0);
        let rela: F::Rela = if self.has_addends {
            *image.structure::<F::Rela>(offset)?
        } else {
            (*image.structure::<F::Rel>(offset)?).into()
        };
        let kind = rela.r_type(endian, is_mips64el).0;
        Some(Relocation {
            table: self.table,
            offset: rela.r_offset(endian).into(),
            symbol: rela.r_sym(endian, is_mips64el),
            kind,
            class: RelocationClass::of(machine, kind),
            addend: rela.r_addend(endian).into(),
        })
    }
}

fn entry_bytes(image: &Image, has_addends: bool) -> usize {
    match (image.layout.is_wide(), has_addends) {
        (true, true) => size_of::<<Wide as FileHeader>::Rela>(),
        (true, false) => size_of::<<Wide as FileHeader>::Rel>(),
        (false, true) => size_of::<<Narrow as FileHeader>::Rela>(),
        (false, false) => size_of::<<Narrow as FileHeader>::Rel>(),
    }
}
