//! File capabilities, as the extended attribute `security.capability` has them (capabilities(7), `struct vfs_ns_cap_data`).

use std::fmt;

/// The attribute's name.
pub const CAPABILITY_ATTRIBUTE: &str = "security.capability";
/// What the attribute has at most: the third version's bytes.
pub const CAPABILITY_LIMIT_BYTES: usize = 24;

/// The kernel's names of capabilities, by number.
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// A set of capabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// All that there are, and all that there will be.
    pub const ALL: Self = Self(u64::MAX);
    /// What lets a process read files and pass through directories whatever their permissions say.
    pub const READING: Self = Self(1 << 1 | 1 << 2);

    /// The one of a name, with or without `cap_` before it, in capitals or not.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let place = NAMES
            .iter()
            .position(|known| *known == name || known.strip_prefix("cap_") == Some(&name))?;
        Some(Self(1 << place))
    }

    /// The names that there are.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of either set.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are in both sets.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those that are not in the other set.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

/// As `getcap(8)` lists them.
impl fmt::Display for Capabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for number in (0..u64::BITS).filter(|number| self.0 >> number & 1 != 0) {
            match NAMES.get(number as usize) {
                Some(name) => write!(formatter, "{separator}{name}")?,
                None => write!(formatter, "{separator}{number}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

/// What a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileCapabilities {
    /// What whoever starts it gets.
    pub permitted: Capabilities,
    /// What only somebody gets who can hand it on.
    pub inheritable: Capabilities,
    /// Whether what it gets is in effect from the start. Then the kernel starts it with all of it or not at all.
    pub is_effective: bool,
    /// The user who is root in the user namespaces for which they count; none for all.
    pub root: Option<u32>,
}

impl FileCapabilities {
    /// Reads the attribute's value; none where the kernel would not take it either.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        const VERSION_MASK: u32 = 0xff00_0000;
        const EFFECTIVE: u32 = 1;
        let (words, rest) = value.as_chunks::<4>();
        let word = |place: usize| words.get(place).map(|word| u32::from_le_bytes(*word));
        let first = word(0)?;
        let expected_words = match first & VERSION_MASK {
            0x0100_0000 => 3,
            0x0200_0000 => 5,
            0x0300_0000 => 6,
            _ => return None,
        };
        if words.len() != expected_words || !rest.is_empty() {
            return None;
        }
        let is_wide = expected_words > 3;
        let set = |place: usize| {
            let upper = if is_wide { word(place + 2)? } else { 0 };
            Some(Capabilities(u64::from(upper) << 32 | u64::from(word(place)?)))
        };
        Some(Self {
            permitted: set(1)?,
            inheritable: set(2)?,
            is_effective: first & EFFECTIVE != 0,
            root: word(5).filter(|root| *root != 0),
        })
    }
}

/// As `getcap(8)` shows them.
impl fmt::Display for FileCapabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effective = if self.is_effective { "e" } else { "" };
        let both = self.permitted.and(self.inheritable);
        let parts = [
            (both, "ip"),
            (self.permitted.without(both), "p"),
            (self.inheritable.without(both), "i"),
        ];
        let mut separator = "";
        for (set, flags) in parts.into_iter().filter(|(set, _)| !set.is_empty()) {
            write!(formatter, "{separator}{set}={effective}{flags}")?;
            separator = " ";
        }
        if separator.is_empty() {
            write!(formatter, "={effective}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(read) = FileCapabilities::read(&value) {
                prop_assert!(value.len() <= CAPABILITY_LIMIT_BYTES);
                let _ = read.to_string();
            }
        }
    }

    /// What `setcap(8)` has written, byte by byte.
    #[test]
    fn each_version_is_read() {
        let check = |value: &[u8], expected: &str, root| {
            let read = FileCapabilities::read(value).unwrap();
            assert_eq!((read.to_string().as_str(), read.root), (expected, root));
        };
        let second = b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        check(second, "cap_kill=ep", None);
        check(b"\0\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "cap_kill=p", None);
        check(b"\0\0\0\x02\0\0\0\0\x20\0\0\0\0\0\0\0\0\0\0\0", "cap_kill=i", None);
        check(
            b"\x01\0\0\x02\x20\x04\0\0\x20\0\0\0\x80\0\0\0\0\0\0\0",
            "cap_kill=eip cap_net_bind_service,cap_bpf=ep",
            None,
        );
        check(b"\x01\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "=e", None);
        check(b"\x01\0\0\x01\x20\0\0\0\0\0\0\0", "cap_kill=ep", None);
        let third = b"\x01\0\0\x03\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xe8\x03\0\0";
        check(third, "cap_kill=ep", Some(1000));
        for bad in [
            &second[..19],
            &third[..20],
            b"",
            b"\x01\0\0\x04\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(FileCapabilities::read(bad), None, "{bad:?}");
        }
        assert_eq!(FileCapabilities::read(&[second, &b"x"[..]].concat()), None);
    }

    #[test]
    fn names_are_known_as_people_write_them() {
        for name in ["cap_net_admin", "CAP_NET_ADMIN", "NET_ADMIN", "net_admin"] {
            assert_eq!(Capabilities::named(name).unwrap().to_string(), "cap_net_admin");
        }
        assert_eq!(Capabilities::named("cap_"), None);
        assert_eq!(Capabilities::named(""), None);
        assert_eq!(Capabilities::ALL.to_string().matches(',').count(), 63);
    }
}
