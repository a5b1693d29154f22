//! The words of a command line, read one after the other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::usage::UsageError;
use crate::system::User;

/// For each plugin, and for a command, when nothing else is said.
const DEFAULT_TIMEOUT_MILLISECONDS: u64 = 30_000;
/// No wait is longer.
const TIMEOUT_LIMIT_MILLISECONDS: u64 = 3_600_000;
/// For each stream and body, when nothing else is said.
const DEFAULT_OUTPUT_LIMIT_BYTES: u64 = 256 * 1024;
/// No stream or body keeps more.
const OUTPUT_LIMIT_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// What `open` and `drive` share.
#[derive(Default)]
pub struct CommonFlags {
    timeout: Option<Duration>,
    output_limit_bytes: Option<usize>,
    /// Variables to set.
    pub environment: Vec<(OsString, OsString)>,
    /// Who is started; none for whoever this process is.
    pub user: Option<User>,
}

impl CommonFlags {
    pub fn take(&mut self, flag: &OsStr, words: &mut Words) -> Result<(), UsageError> {
        match flag.to_str() {
            Some("--timeout-ms") => once("--timeout-ms", &mut self.timeout, words.milliseconds("--timeout-ms")?),
            Some("--output-limit-bytes") => {
                let limit = words.number("--output-limit-bytes", OUTPUT_LIMIT_LIMIT_BYTES)?;
                once("--output-limit-bytes", &mut self.output_limit_bytes, limit as usize)
            }
            Some("--user") => once(
                "--user",
                &mut self.user,
                words.choice("--user", "`UID:GID`", parse_user)?,
            ),
            Some("--env") => {
                let word = words.value("--env")?;
                let bytes = word.as_bytes();
                let split = bytes
                    .iter()
                    .position(|byte| *byte == b'=')
                    .filter(|position| *position > 0);
                let position = split.ok_or_else(|| UsageError::BadValue {
                    flag: "--env",
                    value: lossy(&word),
                    takes: "`NAME=VALUE`".to_owned(),
                })?;
                let part = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
                self.environment
                    .push((part(&bytes[..position]), part(&bytes[position + 1..])));
                Ok(())
            }
            _ => Err(UsageError::UnknownFlag(lossy(flag))),
        }
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
            .unwrap_or(Duration::from_millis(DEFAULT_TIMEOUT_MILLISECONDS))
    }

    pub fn output_limit_bytes(&self) -> usize {
        self.output_limit_bytes.unwrap_or(DEFAULT_OUTPUT_LIMIT_BYTES as usize)
    }
}

/// The words that are still to be read.
pub struct Words {
    rest: std::iter::Peekable<std::vec::IntoIter<OsString>>,
    /// Whether `--` has ended the flags.
    pub is_separated: bool,
}

impl Words {
    pub fn new(words: Vec<OsString>) -> Words {
        Words {
            rest: words.into_iter().peekable(),
            is_separated: false,
        }
    }

    /// The next flag; none at the first word that is not one, and at `--`, which is skipped.
    pub fn next_flag(&mut self) -> Option<OsString> {
        let flag = self.rest.next_if(|word| word.as_bytes().starts_with(b"-"))?;
        self.is_separated = flag == "--";
        (!self.is_separated).then_some(flag)
    }

    pub fn rest(self) -> Vec<OsString> {
        self.rest.collect()
    }

    pub fn value(&mut self, flag: &'static str) -> Result<OsString, UsageError> {
        self.rest.next().ok_or(UsageError::MissingValue(flag))
    }

    pub fn text(&mut self, flag: &'static str) -> Result<String, UsageError> {
        self.choice(flag, "UTF-8 text", |text| Some(text.to_owned()))
    }

    pub fn choice<T>(
        &mut self,
        flag: &'static str,
        takes: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, UsageError> {
        let word = self.value(flag)?;
        word.to_str().and_then(read).ok_or_else(|| UsageError::BadValue {
            flag,
            value: lossy(&word),
            takes: takes.to_owned(),
        })
    }

    /// An absolute path with none of these bytes.
    pub fn path(&mut self, flag: &'static str, takes: &str, without: &[u8]) -> Result<OsString, UsageError> {
        let word = self.value(flag)?;
        let bytes = word.as_bytes();
        if bytes.starts_with(b"/") && !bytes.iter().any(|byte| without.contains(byte)) {
            return Ok(word);
        }
        Err(UsageError::BadValue {
            flag,
            value: lossy(&word),
            takes: takes.to_owned(),
        })
    }

    pub fn number(&mut self, flag: &'static str, limit: u64) -> Result<u64, UsageError> {
        self.choice(flag, &format!("a number from 1 to {limit}"), |text| {
            text.parse().ok().filter(|number| (1..=limit).contains(number))
        })
    }

    /// So many of the next words, which are a command line of their own.
    pub fn several(&mut self, flag: &'static str) -> Result<Vec<OsString>, UsageError> {
        let left = self.rest.len().saturating_sub(1);
        let count = self.choice(flag, "a number of words", |text| {
            text.parse().ok().filter(|count| (1..=left).contains(count))
        })?;
        Ok(self.rest.by_ref().take(count).collect())
    }

    /// Whether no word is left.
    pub fn is_at_end(&mut self) -> bool {
        self.rest.peek().is_none()
    }

    pub fn milliseconds(&mut self, flag: &'static str) -> Result<Duration, UsageError> {
        self.number(flag, TIMEOUT_LIMIT_MILLISECONDS).map(Duration::from_millis)
    }
}

/// Reads `UID:GID`. Root is nobody to be, and the largest number means "no change" to the kernel.
fn parse_user(text: &str) -> Option<User> {
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|number| is_plain && (1..u32::MAX).contains(number))
    };
    let (uid, gid) = text.split_once(':')?;
    Some(User {
        uid: number(uid)?,
        gid: number(gid)?,
    })
}

/// Takes a value, unless there is one already.
pub fn once<T>(flag: &'static str, place: &mut Option<T>, value: T) -> Result<(), UsageError> {
    if place.is_some() {
        return Err(UsageError::GivenTwice(flag));
    }
    *place = Some(value);
    Ok(())
}

/// A word for a message.
pub fn lossy(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}
