//! Makes small ELF files in memory, of any class and order of bytes, with the tables that loaders read.
//!
//! What is made is written from the specification, with no code in common with what reads it.

/// Where the file is mapped: no offset is an address by chance.
pub(super) const BASE: u64 = 0x40_0000;

/// Which hash tables a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashes {
    /// `DT_GNU_HASH` alone.
    Gnu,
    /// `DT_HASH` alone.
    Sysv,
    /// Both.
    Both,
    /// None.
    Neither,
}

/// Name, flags, index.
pub(super) type Version = (String, u16, u16);

/// One symbol; the index in the file is the linker's matter.
#[derive(Debug, Clone)]
pub(super) struct Symbol {
    pub(super) name: String,
    pub(super) value: u64,
    pub(super) size: u64,
    /// Binding and type.
    pub(super) info: u8,
    pub(super) visibility: u8,
    /// 0 is undefined.
    pub(super) section: u16,
    /// The entry of `DT_VERSYM`.
    pub(super) version: u16,
}

impl Symbol {
    /// A global function; `section` 0 makes it undefined.
    pub(super) fn function(name: &str, section: u16, version: u16) -> Self {
        Self {
            name: name.to_owned(),
            value: u64::from(section) * 0x1000,
            size: 16,
            info: 0x12,
            visibility: 0,
            section,
            version,
        }
    }
}

/// One relocation; the symbol is a place in [`Builder::symbols`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Relocation {
    pub(super) offset: u64,
    pub(super) symbol: Option<usize>,
    pub(super) kind: u32,
    pub(super) addend: i64,
}

/// What a file has.
#[derive(Debug, Clone)]
pub(super) struct Builder {
    pub(super) is_wide: bool,
    pub(super) is_big: bool,
    pub(super) machine: u16,
    pub(super) kind: u16,
    pub(super) interpreter: Option<String>,
    pub(super) needed: Vec<String>,
    pub(super) soname: Option<String>,
    pub(super) rpath: Option<String>,
    pub(super) runpath: Option<String>,
    pub(super) symbols: Vec<Symbol>,
    pub(super) hashes: Hashes,
    pub(super) bucket_count: u32,
    /// Files, and what is needed of them.
    pub(super) needs: Vec<(String, Vec<Version>)>,
    pub(super) definitions: Vec<Version>,
    pub(super) has_addends: bool,
    pub(super) relocations: Vec<Relocation>,
    pub(super) plt_relocations: Vec<Relocation>,
    /// Whether the size of the first table includes the second one.
    pub(super) is_plt_within: bool,
    /// The content of a `PT_NOTE` of alignment 4.
    pub(super) notes: Vec<u8>,
    /// The content of a `PT_GNU_PROPERTY`.
    pub(super) properties: Vec<u8>,
    /// What is put where the address can be divided by 16.
    pub(super) data: Vec<u8>,
    /// The size in memory.
    pub(super) tls: Option<u64>,
    pub(super) stack_flags: Option<u32>,
    /// Further entries of the dynamic section.
    pub(super) entries: Vec<(u64, u64)>,
    /// The content of `.comment`; without it there are no section headers.
    pub(super) comment: Option<Vec<u8>>,
}

impl Builder {
    /// An empty shared object for the machine.
    pub(super) fn new(is_wide: bool, is_big: bool, machine: u16) -> Self {
        Self {
            is_wide,
            is_big,
            machine,
            kind: 3,
            interpreter: None,
            needed: Vec::new(),
            soname: None,
            rpath: None,
            runpath: None,
            symbols: Vec::new(),
            hashes: Hashes::Gnu,
            bucket_count: 3,
            needs: Vec::new(),
            definitions: Vec::new(),
            has_addends: is_wide,
            relocations: Vec::new(),
            plt_relocations: Vec::new(),
            is_plt_within: false,
            notes: Vec::new(),
            properties: Vec::new(),
            data: Vec::new(),
            tls: None,
            stack_flags: Some(6),
            entries: Vec::new(),
            comment: None,
        }
    }

    /// One of everything.
    pub(super) fn full(is_wide: bool, is_big: bool, machine: u16, hashes: Hashes) -> Self {
        let mut builder = Self::new(is_wide, is_big, machine);
        builder.hashes = hashes;
        builder.interpreter = Some("/lib/ld-test.so.1".to_owned());
        builder.needed = vec!["libfirst.so.1".to_owned(), "libsecond.so".to_owned()];
        builder.soname = Some("libmade.so.7".to_owned());
        builder.rpath = Some("/old/path".to_owned());
        builder.runpath = Some("$ORIGIN/../lib".to_owned());
        builder.needs = vec![
            (
                "libfirst.so.1".to_owned(),
                vec![("FIRST_1.0".to_owned(), 0, 4), ("FIRST_1.1".to_owned(), 2, 5)],
            ),
            ("libsecond.so".to_owned(), vec![("SECOND".to_owned(), 0, 6)]),
        ];
        builder.definitions = vec![
            ("libmade.so.7".to_owned(), 1, 1),
            ("MADE_1".to_owned(), 0, 2),
            ("MADE_2".to_owned(), 0, 3),
        ];
        builder.symbols = vec![
            Symbol::function("outside", 0, 4),
            Symbol::function("elsewhere", 0, 6),
            Symbol::function("twice", 5, 0x8002),
            Symbol::function("twice", 6, 3),
            Symbol::function("once", 7, 3),
            Symbol {
                info: 0x21,
                visibility: 3,
                ..Symbol::function("weak_data", 8, 2)
            },
            Symbol {
                info: 0x16,
                ..Symbol::function("thread_data", 9, 2)
            },
        ];
        builder.relocations = vec![
            Relocation {
                offset: BASE + 0x100,
                symbol: None,
                kind: 8,
                addend: 0x123,
            },
            Relocation {
                offset: BASE + 0x108,
                symbol: Some(5),
                kind: 6,
                addend: -1,
            },
        ];
        builder.plt_relocations = vec![Relocation {
            offset: BASE + 0x110,
            symbol: Some(0),
            kind: 7,
            addend: 0,
        }];
        builder.tls = Some(64);
        builder.comment = Some(b"maker 1.0\0other maker 2.0\0".to_vec());
        let mut notes = Out::new(is_wide, is_big);
        notes.note(b"GNU\0", 3, &[0xab; 20], 4);
        notes.note(b"Go\0\0", 4, b"go/build/id", 4);
        builder.notes = notes.bytes;
        let mut property = Out::new(is_wide, is_big);
        property.u32(0xc000_8002);
        property.u32(4);
        property.u32(3);
        property.align(if is_wide { 8 } else { 4 });
        let mut properties = Out::new(is_wide, is_big);
        properties.note(b"GNU\0", 5, &property.bytes, if is_wide { 8 } else { 4 });
        builder.properties = properties.bytes;
        builder
    }

    /// The order of the symbols in the file, as places in [`Self::symbols`]: those that `DT_GNU_HASH` has come last, by bucket.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.symbols.len()).collect();
        if matches!(self.hashes, Hashes::Gnu | Hashes::Both) {
            order.sort_by_key(|place| {
                let symbol = &self.symbols[*place];
                if symbol.section == 0 {
                    (0, 0)
                } else {
                    (1, gnu_hash(symbol.name.as_bytes()) % self.bucket_count)
                }
            });
        }
        order
    }

    /// The index in the file of a place in [`Self::symbols`].
    pub(super) fn index_of(&self, place: usize) -> u32 {
        let index = self.order().iter().position(|other| *other == place).unwrap();
        u32::try_from(index).unwrap() + 1
    }

    /// The file.
    pub(super) fn build(&self) -> Vec<u8> {
        let order = self.order();
        let mut strings = Strings(vec![0]);
        let mut out = Out::new(self.is_wide, self.is_big);
        let (header_bytes, program_header_bytes) = if self.is_wide { (64, 56) } else { (52, 32) };
        let program_header_count = 3
            + usize::from(self.interpreter.is_some())
            + usize::from(!self.notes.is_empty())
            + usize::from(!self.properties.is_empty())
            + usize::from(self.tls.is_some());
        out.bytes
            .resize(header_bytes + program_header_bytes * program_header_count, 0);
        let mut segments: Vec<(u32, u32, usize, usize, u64, u64)> = Vec::new();
        let mut entries: Vec<(u64, u64)> = Vec::new();
        let address = |offset: usize| BASE + offset as u64;

        if let Some(interpreter) = &self.interpreter {
            let start = out.bytes.len();
            out.bytes.extend_from_slice(interpreter.as_bytes());
            out.bytes.push(0);
            segments.push((3, 4, start, out.bytes.len(), 0, 1));
        }
        for (kind, align, content) in [(4, 4, &self.notes), (0x6474_e553, 8, &self.properties)] {
            if !content.is_empty() {
                out.align(8);
                let start = out.bytes.len();
                out.bytes.extend_from_slice(content);
                segments.push((kind, 4, start, out.bytes.len(), 0, align));
            }
        }
        out.align(16);
        out.bytes.extend_from_slice(&self.data);
        for name in &self.needed {
            entries.push((1, strings.add(name)));
        }
        for (tag, name) in [(14, &self.soname), (15, &self.rpath), (29, &self.runpath)] {
            entries.extend(name.as_ref().map(|name| (tag, strings.add(name))));
        }

        if matches!(self.hashes, Hashes::Gnu | Hashes::Both) {
            out.align(8);
            entries.push((0x6fff_fef5, address(out.bytes.len())));
            self.gnu_table(&mut out, &order);
        }
        if matches!(self.hashes, Hashes::Sysv | Hashes::Both) {
            out.align(8);
            entries.push((4, address(out.bytes.len())));
            self.sysv_table(&mut out, &order);
        }

        out.align(8);
        entries.push((6, address(out.bytes.len())));
        entries.push((11, if self.is_wide { 24 } else { 16 }));
        out.bytes
            .resize(out.bytes.len() + if self.is_wide { 24 } else { 16 }, 0);
        for place in &order {
            let symbol = &self.symbols[*place];
            let name = u32::try_from(strings.add(&symbol.name)).unwrap();
            out.u32(name);
            if self.is_wide {
                out.bytes.extend([symbol.info, symbol.visibility]);
                out.u16(symbol.section);
                out.word(symbol.value);
                out.word(symbol.size);
            } else {
                out.word(symbol.value);
                out.word(symbol.size);
                out.bytes.extend([symbol.info, symbol.visibility]);
                out.u16(symbol.section);
            }
        }
        // The strings come right behind the symbols, but what comes later has names too: there is room for them.
        let strings_start = out.bytes.len();
        let room = self.later_names().map(|name| name.len() + 1).sum::<usize>() + strings.0.len();
        out.bytes.resize(strings_start + room, 0);
        entries.push((5, address(strings_start)));
        entries.push((10, room as u64));

        if !self.needs.is_empty() || !self.definitions.is_empty() {
            out.align(8);
            entries.push((0x6fff_fff0, address(out.bytes.len())));
            out.u16(0);
            for place in &order {
                out.u16(self.symbols[*place].version);
            }
            self.version_tables(&mut out, &mut strings, &mut entries);
        }

        let entry_bytes = match (self.is_wide, self.has_addends) {
            (true, true) => 24,
            (true, false) => 16,
            (false, true) => 12,
            (false, false) => 8,
        };
        out.align(8);
        let start = out.bytes.len();
        for relocation in self.relocations.iter().chain(&self.plt_relocations) {
            out.word(relocation.offset);
            let index = relocation.symbol.map_or(0, |place| u64::from(self.index_of(place)));
            out.word((index << if self.is_wide { 32 } else { 8 }) | u64::from(relocation.kind));
            if self.has_addends {
                out.word(relocation.addend as u64);
            }
        }
        let plt_bytes = (self.plt_relocations.len() * entry_bytes) as u64;
        let main_bytes = (self.relocations.len() * entry_bytes) as u64;
        let (table, size, entry) = if self.has_addends { (7, 8, 9) } else { (17, 18, 19) };
        if !self.relocations.is_empty() {
            let within = if self.is_plt_within { plt_bytes } else { 0 };
            entries.extend([
                (table, address(start)),
                (size, main_bytes + within),
                (entry, entry_bytes as u64),
            ]);
        }
        if !self.plt_relocations.is_empty() {
            entries.extend([(23, address(start) + main_bytes), (2, plt_bytes), (20, table)]);
        }
        entries.extend(&self.entries);

        out.align(8);
        let start = out.bytes.len();
        for (tag, value) in entries.iter().chain(&[(0, 0)]) {
            out.word(*tag);
            out.word(*value);
        }
        segments.push((2, 6, start, out.bytes.len(), 0, 8));
        out.bytes[strings_start..strings_start + strings.0.len()].copy_from_slice(&strings.0);
        if let Some(memory_size) = self.tls {
            segments.push((7, 4, start, start, memory_size, 8));
        }
        segments.push((0x6474_e551, self.stack_flags.unwrap_or(6), 0, 0, 0, 16));
        if self.stack_flags.is_none() {
            // A kind that means nothing takes the place.
            segments.last_mut().unwrap().0 = 0;
        }
        segments.insert(0, (1, 7, 0, out.bytes.len(), 0, 0x1000));
        let sections = self.comment.as_ref().map(|comment| self.sections(&mut out, comment));
        self.headers(&mut out, &segments, sections);
        out.bytes
    }

    fn later_names(&self) -> impl Iterator<Item = &str> {
        let needs = self.needs.iter().flat_map(|(file, versions)| {
            std::iter::once(file.as_str()).chain(versions.iter().map(|(name, _, _)| name.as_str()))
        });
        needs.chain(self.definitions.iter().map(|(name, _, _)| name.as_str()))
    }

    fn gnu_table(&self, out: &mut Out, order: &[usize]) {
        let first = order.iter().filter(|place| self.symbols[**place].section == 0).count();
        let hashes: Vec<u32> = order[first..]
            .iter()
            .map(|place| gnu_hash(self.symbols[*place].name.as_bytes()))
            .collect();
        let word_bits = if self.is_wide { 64 } else { 32 };
        let (bloom_count, shift) = (2_u32, 6);
        let mut bloom = [0_u64; 2];
        for hash in &hashes {
            let word = (hash / word_bits) % bloom_count;
            bloom[word as usize] |= 1 << (hash % word_bits) | 1 << ((hash >> shift) % word_bits);
        }
        out.u32(self.bucket_count);
        out.u32(u32::try_from(first).unwrap() + 1);
        out.u32(bloom_count);
        out.u32(shift);
        for word in bloom {
            out.word(word);
        }
        for bucket in 0..self.bucket_count {
            let place = hashes.iter().position(|hash| hash % self.bucket_count == bucket);
            out.u32(place.map_or(0, |place| u32::try_from(first + place).unwrap() + 1));
        }
        for (place, hash) in hashes.iter().enumerate() {
            let is_last = hashes
                .get(place + 1)
                .is_none_or(|next| next % self.bucket_count != hash % self.bucket_count);
            out.u32(hash & !1 | u32::from(is_last));
        }
    }

    fn sysv_table(&self, out: &mut Out, order: &[usize]) {
        let count = u32::try_from(order.len()).unwrap() + 1;
        let mut buckets = vec![0; self.bucket_count as usize];
        let mut chains = vec![0; count as usize];
        for (index, place) in (1_u32..).zip(order) {
            let hash = sysv_hash(self.symbols[*place].name.as_bytes());
            let bucket = &mut buckets[(hash % self.bucket_count) as usize];
            chains[index as usize] = *bucket;
            *bucket = index;
        }
        out.u32(self.bucket_count);
        out.u32(count);
        for entry in buckets.into_iter().chain(chains) {
            out.u32(entry);
        }
    }

    fn version_tables(&self, out: &mut Out, strings: &mut Strings, entries: &mut Vec<(u64, u64)>) {
        if !self.needs.is_empty() {
            out.align(8);
            entries.push((0x6fff_fffe, BASE + out.bytes.len() as u64));
            entries.push((0x6fff_ffff, self.needs.len() as u64));
        }
        for (place, (file, versions)) in self.needs.iter().enumerate() {
            out.u16(1);
            out.u16(u16::try_from(versions.len()).unwrap());
            let file = strings.add(file);
            out.u32(u32::try_from(file).unwrap());
            out.u32(16);
            let is_last = place + 1 == self.needs.len();
            out.u32(if is_last {
                0
            } else {
                u32::try_from(16 + 16 * versions.len()).unwrap()
            });
            for (place, (name, flags, index)) in versions.iter().enumerate() {
                out.u32(sysv_hash(name.as_bytes()));
                out.u16(*flags);
                out.u16(*index);
                let is_last = place + 1 == versions.len();
                let name = strings.add(name);
                out.u32(u32::try_from(name).unwrap());
                out.u32(if is_last { 0 } else { 16 });
            }
        }
        if !self.definitions.is_empty() {
            out.align(8);
            entries.push((0x6fff_fffc, BASE + out.bytes.len() as u64));
            entries.push((0x6fff_fffd, self.definitions.len() as u64));
        }
        for (place, (name, flags, index)) in self.definitions.iter().enumerate() {
            out.u16(1);
            out.u16(*flags);
            out.u16(*index);
            out.u16(1);
            out.u32(sysv_hash(name.as_bytes()));
            out.u32(20);
            out.u32(if place + 1 == self.definitions.len() { 0 } else { 28 });
            let name = strings.add(name);
            out.u32(u32::try_from(name).unwrap());
            out.u32(0);
        }
    }

    /// Three sections: none, `.comment`, and their names. Gives the offset of their headers.
    fn sections(&self, out: &mut Out, comment: &[u8]) -> usize {
        let comment_start = out.bytes.len();
        out.bytes.extend_from_slice(comment);
        let names_start = out.bytes.len();
        out.bytes.extend_from_slice(b"\0.comment\0.shstrtab\0");
        let names_len = out.bytes.len() - names_start;
        out.align(8);
        let start = out.bytes.len();
        for (name, kind, offset, len) in [
            (0, 0, 0, 0),
            (1, 1, comment_start, comment.len()),
            (10, 3, names_start, names_len),
        ] {
            out.u32(name);
            out.u32(kind);
            for value in [0, 0, offset as u64, len as u64] {
                out.word(value);
            }
            out.u32(0);
            out.u32(0);
            out.word(1);
            out.word(0);
        }
        start
    }

    fn headers(&self, out: &mut Out, segments: &[(u32, u32, usize, usize, u64, u64)], sections: Option<usize>) {
        let mut head = Out::new(self.is_wide, self.is_big);
        head.bytes.extend(b"\x7fELF");
        head.bytes
            .extend([1 + u8::from(self.is_wide), 1 + u8::from(self.is_big), 1, 0]);
        head.bytes.resize(16, 0);
        head.u16(self.kind);
        head.u16(self.machine);
        head.u32(1);
        head.word(0);
        head.word(if self.is_wide { 64 } else { 52 });
        head.word(sections.unwrap_or(0) as u64);
        head.u32(0);
        head.u16(if self.is_wide { 64 } else { 52 });
        head.u16(if self.is_wide { 56 } else { 32 });
        head.u16(u16::try_from(segments.len()).unwrap());
        head.u16(if self.is_wide { 64 } else { 40 });
        head.u16(if sections.is_some() { 3 } else { 0 });
        head.u16(if sections.is_some() { 2 } else { 0 });
        for (kind, flags, start, end, memory_size, align) in segments {
            let address = BASE + *start as u64;
            let file_size = (end - start) as u64;
            let memory_size = file_size.max(*memory_size);
            head.u32(*kind);
            if self.is_wide {
                head.u32(*flags);
            }
            for value in [*start as u64, address, address, file_size, memory_size] {
                head.word(value);
            }
            if !self.is_wide {
                head.u32(*flags);
            }
            head.word(*align);
        }
        out.bytes[..head.bytes.len()].copy_from_slice(&head.bytes);
    }
}

/// The hash of `DT_GNU_HASH`.
pub(super) fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, byte| {
        (hash << 5).wrapping_add(hash).wrapping_add((*byte).into())
    })
}

/// The hash of `DT_HASH`, and of the names of versions.
pub(super) fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, byte| {
        let hash = (hash << 4).wrapping_add((*byte).into());
        let top = hash & 0xf000_0000;
        (hash ^ (top >> 24)) & !top
    })
}

struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, name: &str) -> u64 {
        let start = self.0.len() as u64;
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        start
    }
}

/// Bytes with their layout.
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    is_wide: bool,
    is_big: bool,
}

impl Out {
    pub(super) fn new(is_wide: bool, is_big: bool) -> Self {
        Self {
            bytes: Vec::new(),
            is_wide,
            is_big,
        }
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes.extend(if self.is_big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes.extend(if self.is_big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
    }

    /// A word of the class; what does not fit is cut, as an addend below zero must be.
    pub(super) fn word(&mut self, value: u64) {
        if self.is_wide {
            self.bytes.extend(if self.is_big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            });
        } else {
            self.u32(value as u32);
        }
    }

    pub(super) fn align(&mut self, bytes: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(bytes), 0);
    }

    pub(super) fn note(&mut self, name: &[u8], kind: u32, content: &[u8], align: usize) {
        self.u32(u32::try_from(name.len()).unwrap());
        self.u32(u32::try_from(content.len()).unwrap());
        self.u32(kind);
        self.bytes.extend_from_slice(name);
        self.align(align);
        self.bytes.extend_from_slice(content);
        self.align(align);
    }
}
