//! Values that are no collections, each with what it expects.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::nearest::nearest;

use super::number;
use super::parse::Meaning;
use super::report::{Decoded, Reported};
use super::value::{Value, enumerate};

impl<'a> Value<'a> {
    /// Text. What YAML reads as a number, a boolean or nothing must be in quotes.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(self) -> Decoded<&'a str> {
        match self.scalar().map(|scalar| (scalar.meaning(), scalar.text.as_str())) {
            Some((Meaning::Text, text)) if text.contains('\0') => Err(self.report_nul()),
            Some((Meaning::Text, text)) => Ok(text),
            Some((Meaning::Nothing, "")) => Err(self.report_type("text", "write a value, or remove the key")),
            Some((_, text)) => Err(self.report_type("text", format!("put it in quotes: \"{text}\""))),
            None => Err(self.report_type("text", "write a single value")),
        }
    }

    /// Text that is not empty.
    ///
    /// # Errors
    /// When it is something else.
    pub fn filled_text(self) -> Decoded<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return Err(self.report("the text is empty", "write a value, or remove it"));
        }
        Ok(text)
    }

    /// Text, or a number as it is written: for arguments, variables and versions, where quotes would change nothing.
    ///
    /// # Errors
    /// When it is something else.
    pub fn word(self) -> Decoded<&'a str> {
        match self.scalar().map(|scalar| (scalar.meaning(), scalar.text.as_str())) {
            Some((Meaning::Integer(_) | Meaning::Fraction, text)) => Ok(text),
            _ => self.text(),
        }
    }

    /// An integer within `range`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn integer<T>(self, range: RangeInclusive<T>) -> Decoded<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let bounds = match range.start() == range.end() {
            true => format!("expected {}", range.start()),
            false => format!("expected {} to {}", range.start(), range.end()),
        };
        match self.scalar().map(|scalar| (scalar.meaning(), scalar.text.as_str())) {
            Some((Meaning::Integer(value), text)) => value
                .and_then(|value| T::try_from(value).ok())
                .filter(|value| range.contains(value))
                .ok_or_else(|| self.report(format!("the number {text} is out of range"), &bounds)),
            Some((Meaning::Text, text)) if number::is_integer(text) => {
                Err(self.report_type("a whole number", "remove the quotes"))
            }
            _ => Err(self.report_type("a whole number", &bounds)),
        }
    }

    /// An integer of any size that 64 bits hold, when it is one; nothing is reported when it is not.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        match self.scalar()?.meaning() {
            Meaning::Integer(value) => value,
            _ => None,
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn boolean(self) -> Decoded<bool> {
        match self
            .scalar()
            .map(|scalar| (scalar.meaning(), scalar.text.to_ascii_lowercase()))
        {
            Some((Meaning::Boolean(value), _)) => Ok(value),
            Some((Meaning::Text, text)) if ["yes", "on", "true"].contains(&text.as_str()) => {
                Err(self.report_type("a boolean", "write `true`, without quotes"))
            }
            Some((Meaning::Text, text)) if ["no", "off", "false"].contains(&text.as_str()) => {
                Err(self.report_type("a boolean", "write `false`, without quotes"))
            }
            _ => Err(self.report_type("a boolean", "expected `true` or `false`")),
        }
    }

    /// One of a few names, as the value it stands for. `what` is what the name is of, without an article.
    ///
    /// # Errors
    /// When it is something else.
    pub fn one_of<T: Clone>(self, what: &str, names: &[(&str, T)]) -> Decoded<T> {
        let text = self.word()?;
        if let Some((_, value)) = names.iter().find(|(name, _)| *name == text) {
            return Ok(value.clone());
        }
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        let label = match nearest(text, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known are {}", enumerate(&names)),
        };
        Err(self.report(format!("unknown {what} `{text}`"), label))
    }

    /// A duration: `500ms`, `10s`, `2m`, `1h`.
    ///
    /// # Errors
    /// When it is something else, zero, or longer than `limit`.
    pub fn duration(self, limit: Duration) -> Decoded<Duration> {
        let text = self.word()?;
        let Some(duration) = number::duration(text) else {
            let label = match number::is_integer(text) {
                true => format!("add a unit: `{text}s`"),
                false => "write a whole number and `ms`, `s`, `m` or `h`: `10s`".to_owned(),
            };
            return Err(self.report(format!("`{text}` is no duration"), label));
        };
        if duration.is_zero() || duration > limit {
            let label = format!("expected more than zero, and at most {}", show_duration(limit));
            return Err(self.report(format!("the duration {text} is out of range"), label));
        }
        Ok(duration)
    }

    /// A size in bytes: `512MiB`, `4GiB`.
    ///
    /// # Errors
    /// When it is something else, or not within `range`.
    pub fn size_bytes(self, range: RangeInclusive<u64>) -> Decoded<u64> {
        let text = self.word()?;
        let Some(bytes) = number::size_bytes(text) else {
            let label = match number::is_integer(text) {
                true => format!("add a unit: `{text}MiB`"),
                false => "write a whole number and `KiB`, `MiB` or `GiB`: `4GiB`".to_owned(),
            };
            return Err(self.report(format!("`{text}` is no size"), label));
        };
        if !range.contains(&bytes) {
            let label = format!("expected {} to {}", show_size(*range.start()), show_size(*range.end()));
            return Err(self.report(format!("the size {text} is out of range"), label));
        }
        Ok(bytes)
    }

    /// A file's permissions: `0755`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn file_mode(self) -> Decoded<u32> {
        let text = self.word()?;
        let label = "write three or four octal digits: `0755`";
        number::file_mode(text).ok_or_else(|| self.report(format!("`{text}` is no file mode"), label))
    }

    /// A path below a directory, which `root` names with its article: relative, `/`-separated, without `.` and empty
    /// parts; `.` for the directory itself.
    ///
    /// # Errors
    /// When it is something else, absolute, or leads out of the directory.
    pub fn relative_path(self, root: &str) -> Decoded<String> {
        let text = self.text()?;
        if text.is_empty() {
            return Err(self.report(
                "the path is empty",
                format!("write a path relative to {root}, `.` for itself"),
            ));
        }
        if text.starts_with('/') {
            let label = format!("write it relative to {root}, without the leading `/`");
            return Err(self.report(format!("the path `{text}` leaves {root}: it is absolute"), label));
        }
        if text.starts_with('~') {
            let label = format!("write it relative to {root}; `~` has no meaning here");
            return Err(self.report(
                format!("the path `{text}` leaves {root}: it starts at a home directory"),
                label,
            ));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        let label = format!("copy what is needed into {root}, or move `lockstep.yaml` up");
                        return Err(self.report(format!("the path `{text}` leaves {root}"), label));
                    }
                }
                part => parts.push(part),
            }
        }
        if parts.is_empty() {
            Ok(".".to_owned())
        } else {
            Ok(parts.join("/"))
        }
    }

    fn report_nul(self) -> Reported {
        self.report(
            "the text has a NUL character in it",
            "remove `\\0`: no file name, argument or variable can hold it",
        )
    }
}

fn show_duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

fn show_size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 40 => format!("{}TiB", bytes >> 40),
        _ if bytes >= 1 << 30 => format!("{}GiB", bytes >> 30),
        _ if bytes >= 1 << 20 => format!("{}MiB", bytes >> 20),
        _ => format!("{}KiB", bytes >> 10),
    }
}
