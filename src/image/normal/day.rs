//! What in an image records the day, the machine or the run of its build, and so is left out or set.

use std::io::{self, Read};

use super::super::LayerError;
use super::super::path_patterns::PathPatterns;

/// The largest list of users that is read.
const SHADOW_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// A day, in which the list of users counts.
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Which field of a line of `/etc/shadow` is the day of the last change (shadow(5)).
const SHADOW_DAY_FIELD: usize = 2;
/// The list of users in which days stand.
pub(super) const SHADOW: &[u8] = b"etc/shadow";
/// How much of Python's compiled files tells how they are checked (PEP 552): a magic number, flags, and two more fields.
pub(super) const PYC_HEADER_BYTES: u64 = 16;

/// Patterns of files that are left out, and of directories whose files are; and why. Directories stay: programs that run as
/// somebody else cannot make their own.
const DAY_RECORDS: &[(&str, &str)] = &[
    ("var/log/*", "logs have times in them"),
    ("var/cache/apt/*", "which lists the mirror had that day"),
    ("var/lib/apt/lists/*", "the same, as apt got them"),
    ("var/lib/apt/periodic/*", "when apt last did something"),
    ("var/cache/debconf/*-old", "a backup of what was there on the way"),
    ("var/lib/dpkg/*-old", "a backup of what was there on the way"),
    ("var/cache/apk/*", "which lists the mirror had that day"),
    ("var/cache/dnf/*", "which lists the mirror had that day"),
    ("var/cache/yum/*", "which lists the mirror had that day"),
    ("var/lib/dnf/history.*", "when what was installed"),
    ("var/cache/ldconfig/aux-cache", "numbers and times of the file system"),
    ("var/cache/man/*", "an index with times in it"),
    (
        "var/cache/fontconfig/*",
        "times of directories, under names by their machine",
    ),
    ("etc/*-", "backups that tools which edit users leave"),
    ("etc/machine-id", "made up for the machine"),
    ("var/lib/dbus/machine-id", "made up for the machine"),
    ("var/lib/systemd/random-seed", "random"),
    ("root/.cache/pip", "answers of an index, with times in them"),
    ("root/.wget-hsts", "when which host was asked"),
];

/// What is left out, and how late a time may be.
pub(super) struct DayRules {
    of_the_day: PathPatterns,
    removed: PathPatterns,
    /// The latest time.
    pub(super) epoch_seconds: u64,
}

impl DayRules {
    /// What every image leaves out, and `removed`.
    pub(super) fn new(removed: &[String], epoch_seconds: u64) -> Result<Self, LayerError> {
        let removed = removed.iter().map(|pattern| pattern.trim_start_matches('/'));
        Ok(Self {
            of_the_day: PathPatterns::new(DAY_RECORDS.iter().map(|(pattern, _)| *pattern))?,
            removed: PathPatterns::new(removed)?,
            epoch_seconds,
        })
    }

    /// Whether what is at a path is left out, or what is above it.
    pub(super) fn removes(&self, path: &[u8], is_directory: bool) -> bool {
        self.removed.cover(path) || !is_directory && self.of_the_day.cover(path)
    }

    /// The list of users without days after the epoch's.
    pub(super) fn shadow(&self, content: &mut dyn Read) -> Result<Vec<u8>, LayerError> {
        let mut bytes = Vec::new();
        let mut limited = content.take(SHADOW_LIMIT_BYTES + 1);
        limited.read_to_end(&mut bytes).map_err(LayerError::Read)?;
        if bytes.len() as u64 > SHADOW_LIMIT_BYTES {
            return Err(LayerError::Read(io::ErrorKind::FileTooLarge.into()));
        }
        let last_day = self.epoch_seconds / DAY_SECONDS;
        let lines = bytes.split(|byte| *byte == b'\n').map(|line| {
            let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
            let day = fields
                .get(SHADOW_DAY_FIELD)
                .and_then(|day| std::str::from_utf8(day).ok());
            let is_later = day
                .and_then(|day| day.parse().ok())
                .is_some_and(|day: u64| day > last_day);
            let last_day = last_day.to_string();
            if is_later {
                fields[SHADOW_DAY_FIELD] = last_day.as_bytes();
            }
            fields.join(&b':')
        });
        Ok(lines.collect::<Vec<_>>().join(&b'\n'))
    }
}

/// Whether a path is one of Python's compiled files.
pub(super) fn may_be_python_cache(path: &[u8]) -> bool {
    path.ends_with(b".pyc")
}

/// Whether the beginning of one names a time of its source after the epoch: the day's, and nobody uses the file when the source
/// has another one.
pub(super) fn names_later_time(header: &[u8], epoch_seconds: u64) -> bool {
    const BY_HASH: u8 = 1;
    let field = |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let is_by_time = header.get(4).is_some_and(|flags| flags & BY_HASH == 0);
    let time = field(8).map(u32::from_le_bytes);
    is_by_time && time.is_some_and(|time| u64::from(time) > epoch_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH_SECONDS: u64 = 20_000 * DAY_SECONDS + 1;

    #[test]
    fn what_records_the_day_is_left_out_and_nothing_else() {
        let rules = DayRules::new(&["/opt/*.tmp".to_owned()], EPOCH_SECONDS).unwrap();
        for (path, removes) in [
            ("var/log", false),
            ("var/log/apt/history.log", true),
            ("var/lib/dpkg/status", false),
            ("var/lib/dpkg/status-old", true),
            ("etc/passwd", false),
            ("etc/passwd-", true),
            ("etc/ssl/x-", false),
            ("opt/a.tmp", true),
            ("opt/b/a.tmp", false),
            ("root/.cache/pip/http/0", true),
            ("root/.cache/x", false),
        ] {
            assert_eq!(rules.removes(path.as_bytes(), false), removes, "{path}");
        }
        assert!(!rules.removes(b"var/log/tool", true) && rules.removes(b"opt/a.tmp", true));
        assert!(DayRules::new(&["[".to_owned()], 0).is_err());
    }

    #[test]
    fn days_of_users_are_not_later_than_the_epoch() {
        let rules = DayRules::new(&[], EPOCH_SECONDS).unwrap();
        let text = "root:*:19000:0:99999:7:::\nnew:!:20500:0:99999:7:::\nshort:x\n:::\nold::\n";
        let expected = "root:*:19000:0:99999:7:::\nnew:!:20000:0:99999:7:::\nshort:x\n:::\nold::\n";
        assert_eq!(
            String::from_utf8(rules.shadow(&mut text.as_bytes()).unwrap()).unwrap(),
            expected
        );
    }

    #[test]
    fn only_caches_that_name_a_later_time_depend_on_the_day() {
        let header =
            |flags: u8, time: u32| [&[0xf3, 0x0d, 0x0d, 0x0a, flags, 0, 0, 0][..], &time.to_le_bytes()].concat();
        let later = u32::try_from(EPOCH_SECONDS + 1).unwrap();
        assert!(names_later_time(&header(0, later), EPOCH_SECONDS));
        assert!(!names_later_time(&header(0, later - 1), EPOCH_SECONDS));
        assert!(!names_later_time(&header(1, later), EPOCH_SECONDS));
        assert!(!names_later_time(&header(3, later), EPOCH_SECONDS));
        assert!(!names_later_time(b"x", EPOCH_SECONDS));
    }
}
