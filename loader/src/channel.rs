//! What the process of a plugin tells its parent: records on a channel that the plugin does not know of.
//!
//! Standard output and error belong to the plugin. Each record is written at once, so whatever happens next, the parent
//! knows what had been done and what was going on.

use std::fs::File;
use std::io::{self, Write};

use crate::arguments::Returns;

/// No field is longer; longer ones are cut when they are written, and are none when they are read.
const FIELD_LIMIT_BYTES: usize = 64 * 1024;

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The host comes up; nothing was told yet.
    Start,
    /// A plugin is opened that the plugin is to find there; the symbol is its path.
    Before,
    /// The plugin is opened; its constructors run.
    Open,
    /// A symbol is looked up.
    Symbol,
    /// A function is called.
    Call,
    /// The plugin is closed; its destructors run.
    Close,
    /// The process ends; what the plugin registered for that runs.
    Exit,
}

impl Phase {
    /// Those that are told.
    const TOLD: [Phase; 6] = [
        Phase::Before,
        Phase::Open,
        Phase::Symbol,
        Phase::Call,
        Phase::Close,
        Phase::Exit,
    ];

    /// Its name in events.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Before => "before",
            Phase::Open => "open",
            Phase::Symbol => "symbol",
            Phase::Call => "call",
            Phase::Close => "close",
            Phase::Exit => "exit",
        }
    }
}

/// What a function gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// The function.
    pub symbol: String,
    /// As what it was read.
    pub returns: Returns,
    /// None when there is nothing to show.
    pub value: Option<Value>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// A value that a function gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Meant as UTF-8 text.
    String(Vec<u8>),
    /// A number.
    Integer(i64),
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// This begins, for this symbol.
    Phase(Phase, Option<String>),
    /// The plugin, or one before it, could not be opened, in the loader's words.
    NotLoadable(String),
    /// A symbol is not there, in the loader's words.
    Missing(String, String),
    /// A function has come back.
    Returned(Returned),
    /// The loader's words when it could not close the plugin.
    NotClosed(String),
    /// Everything that was asked for is done.
    Done,
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let optional = |text: &Option<String>| text.as_deref().unwrap_or_default().as_bytes().to_vec();
        let (kind, fields) = match self {
            Record::Phase(phase, symbol) => (b'p', vec![phase.name().into(), optional(symbol)]),
            Record::NotLoadable(message) => (b'n', vec![message.as_bytes().to_vec()]),
            Record::Missing(symbol, message) => (b'm', vec![symbol.as_bytes().to_vec(), message.as_bytes().to_vec()]),
            Record::Returned(returned) => {
                let (value_kind, value) = match &returned.value {
                    None => ("", Vec::new()),
                    Some(Value::String(bytes)) => ("s", bytes.clone()),
                    Some(Value::Integer(number)) => ("i", number.to_string().into_bytes()),
                };
                let symbol = returned.symbol.as_bytes().to_vec();
                let returns = returned.returns.name().into();
                (
                    b'r',
                    vec![symbol, returns, value_kind.into(), value, optional(&returned.problem)],
                )
            }
            Record::NotClosed(message) => (b'c', vec![message.as_bytes().to_vec()]),
            Record::Done => (b'd', Vec::new()),
        };
        let mut bytes = vec![kind];
        for field in fields {
            let field = &field[..field.len().min(FIELD_LIMIT_BYTES)];
            bytes.extend_from_slice(&(field.len() as u32).to_le_bytes());
            bytes.extend_from_slice(field);
        }
        bytes
    }
}

/// Reads records, at most so many, and says whether that is all. It stops at the first that is cut off or not one: a plugin
/// that finds the channel can write to it.
pub fn decode(bytes: &[u8], limit_count: usize) -> (Vec<Record>, bool) {
    let mut fields = Fields { bytes };
    let mut records = Vec::new();
    while !fields.bytes.is_empty() {
        match fields.record().filter(|_| records.len() < limit_count) {
            Some(record) => records.push(record),
            None => return (records, false),
        }
    }
    (records, true)
}

/// The bytes that are still to be read.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn record(&mut self) -> Option<Record> {
        let (kind, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        match kind {
            b'p' => {
                let name = self.text()?;
                let phase = Phase::TOLD.into_iter().find(|phase| phase.name() == name)?;
                Some(Record::Phase(phase, self.optional_text()?))
            }
            b'n' => Some(Record::NotLoadable(self.text()?)),
            b'm' => Some(Record::Missing(self.text()?, self.text()?)),
            b'r' => {
                let (symbol, returns) = (self.text()?, Returns::parse(&self.text()?)?);
                let (value_kind, value) = (self.field()?, self.field()?);
                let value = match value_kind {
                    b"" => None,
                    b"s" => Some(Value::String(value.to_vec())),
                    b"i" => Some(Value::Integer(std::str::from_utf8(value).ok()?.parse().ok()?)),
                    _ => return None,
                };
                Some(Record::Returned(Returned {
                    symbol,
                    returns,
                    value,
                    problem: self.optional_text()?,
                }))
            }
            b'c' => Some(Record::NotClosed(self.text()?)),
            b'd' => Some(Record::Done),
            _ => None,
        }
    }

    fn field(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.bytes.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (field, rest) = rest.split_at_checked(length).filter(|_| length <= FIELD_LIMIT_BYTES)?;
        self.bytes = rest;
        Some(field)
    }

    fn text(&mut self) -> Option<String> {
        self.field().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Text of which none is written as an empty one.
    fn optional_text(&mut self) -> Option<Option<String>> {
        self.text().map(|text| (!text.is_empty()).then_some(text))
    }
}

/// The writing end.
#[derive(Debug)]
pub struct Channel {
    file: File,
    owner: u32,
}

impl Channel {
    /// Writes to this descriptor, from this process only.
    pub fn new(file: File) -> Channel {
        Channel {
            file,
            owner: std::process::id(),
        }
    }

    /// Whether this still is the process that made the channel. A plugin that forks brings a copy of the loader into
    /// the world, which comes back from the call just as the original does and must not go on.
    pub fn is_mine(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Tells a record.
    pub fn tell(&mut self, record: &Record) -> io::Result<()> {
        self.file.write_all(&record.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_COUNT: usize = 100;

    fn all() -> Vec<Record> {
        let returned = |returns, value, problem: Option<&str>| {
            Record::Returned(Returned {
                symbol: "f".into(),
                returns,
                value,
                problem: problem.map(str::to_owned),
            })
        };
        vec![
            Record::Phase(Phase::Before, Some("/p/a.so".into())),
            Record::Phase(Phase::Open, None),
            Record::NotLoadable("no\nsuch file".into()),
            Record::Phase(Phase::Symbol, Some("f".into())),
            Record::Missing("f".into(), "undefined symbol: f".into()),
            Record::Phase(Phase::Call, Some("f".into())),
            returned(
                Returns::String,
                Some(Value::String(b"\xff\0".to_vec())),
                Some("not UTF-8"),
            ),
            returned(Returns::Integer, Some(Value::Integer(i64::MIN)), None),
            returned(Returns::None, None, None),
            returned(Returns::String, None, Some("null")),
            Record::Phase(Phase::Close, None),
            Record::NotClosed("busy".into()),
            Record::Phase(Phase::Exit, None),
            Record::Done,
        ]
    }

    #[test]
    fn records_survive() {
        let bytes: Vec<u8> = all().iter().flat_map(Record::encode).collect();
        assert_eq!(decode(&bytes, all().len()), (all(), true));
        let (some, is_all) = decode(&bytes, 2);
        assert_eq!(
            (some.as_slice(), is_all),
            (&all()[..2], false),
            "no more than asked for"
        );
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let records = all();
        let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        let mut ends = 0;
        for length in 0..bytes.len() {
            let (some, is_all) = decode(&bytes[..length], LIMIT_COUNT);
            ends += usize::from(is_all);
            assert!(some.len() < records.len());
            assert_eq!(some, records[..some.len()], "cut after {length}");
        }
        assert_eq!(ends, records.len(), "only between two records nothing is cut off");
    }

    #[test]
    fn no_field_is_longer_than_its_limit() {
        let long = "x".repeat(FIELD_LIMIT_BYTES + 1);
        let (cut, _) = decode(&Record::NotLoadable(long.clone()).encode(), LIMIT_COUNT);
        assert_eq!(cut, [Record::NotLoadable(long[..FIELD_LIMIT_BYTES].to_owned())]);
        let mut forged = vec![b'n'];
        forged.extend((long.len() as u32).to_le_bytes());
        forged.extend(long.bytes());
        assert_eq!(decode(&forged, LIMIT_COUNT), (vec![], false));
    }

    #[test]
    fn anything_can_be_read() {
        let bytes: Vec<u8> = all().iter().flat_map(Record::encode).collect();
        for position in 0..bytes.len() {
            for damage in [0, 1, b'r', 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[position] = damage;
                // What comes of it does not matter, as long as it ends.
                assert!(decode(&damaged, LIMIT_COUNT).0.len() <= bytes.len());
            }
        }
    }
}
