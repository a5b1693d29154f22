//! A JSON value and its one-line form.
//!
//! The loader only writes JSON, and it is compiled wherever a plugin is: one small encoder costs less than a
//! dependency that every build image would have to fetch.

use std::fmt::{self, Write};

/// A JSON value; objects keep the order in which their fields were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object with these fields.
    pub fn object<const N: usize>(fields: [(&str, Json); N]) -> Json {
        Json::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Json::Boolean(value)
    }
}

impl From<i32> for Json {
    fn from(value: i32) -> Self {
        Json::Integer(value.into())
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Json::Integer(value)
    }
}

impl From<u64> for Json {
    /// Counts beyond what fits are not reached in practice; they are shown as the largest number.
    fn from(value: u64) -> Self {
        Json::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Self {
        Json::from(value as u64)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Json::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Json::Text(value)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Json::Null, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Self {
        Json::List(values.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => formatter.write_str("null"),
            Json::Boolean(value) => write!(formatter, "{value}"),
            Json::Integer(value) => write!(formatter, "{value}"),
            Json::Text(text) => write_text(formatter, text),
            Json::List(values) => {
                formatter.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    separate(formatter, index)?;
                    write!(formatter, "{value}")?;
                }
                formatter.write_char(']')
            }
            Json::Object(fields) => {
                formatter.write_char('{')?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    separate(formatter, index)?;
                    write_text(formatter, name)?;
                    write!(formatter, ":{value}")?;
                }
                formatter.write_char('}')
            }
        }
    }
}

fn separate(formatter: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
    if index > 0 {
        formatter.write_char(',')
    } else {
        Ok(())
    }
}

/// Writes a string as RFC 8259 wants it. U+2028 and U+2029 are escaped too: some readers of JSON lines take them for
/// the end of a line.
fn write_text(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    formatter.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => formatter.write_str("\\\"")?,
            '\\' => formatter.write_str("\\\\")?,
            '\n' => formatter.write_str("\\n")?,
            '\r' => formatter.write_str("\\r")?,
            '\t' => formatter.write_str("\\t")?,
            '\u{8}' => formatter.write_str("\\b")?,
            '\u{c}' => formatter.write_str("\\f")?,
            '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => write!(formatter, "\\u{:04x}", u32::from(character))?,
            _ => formatter.write_char(character)?,
        }
    }
    formatter.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: impl Into<Json>, expect: &str) {
        assert_eq!(value.into().to_string(), expect);
    }

    #[test]
    fn values_have_their_shortest_form() {
        check(None::<i64>, "null");
        check(true, "true");
        check(i64::MIN, "-9223372036854775808");
        check(u64::MAX, "9223372036854775807");
        check("", r#""""#);
        check(vec![1, 2], "[1,2]");
        check(Vec::<i64>::new(), "[]");
        check(
            Json::object([("schema", 1.into()), ("a\"b", Json::Object(Vec::new()))]),
            r#"{"schema":1,"a\"b":{}}"#,
        );
    }

    #[test]
    fn strings_are_escaped() {
        check("a\"b\\c/d", r#""a\"b\\c/d""#);
        check("\n\r\t\u{8}\u{c}\0\u{1b}", r#""\n\r\t\b\f\u0000\u001b""#);
        check("grüße 🌍 \u{7f}", "\"grüße 🌍 \u{7f}\"");
        check("\u{2028}\u{2029}", r#""\u2028\u2029""#);
    }

    /// What a reader does with a string that was written: enough to show that nothing is lost.
    fn read_text(encoded: &str) -> Option<String> {
        let inner = encoded.strip_prefix('"')?.strip_suffix('"')?;
        let mut characters = inner.chars();
        let mut text = String::new();
        while let Some(character) = characters.next() {
            if character != '\\' {
                assert!(
                    character != '"' && character >= ' ',
                    "unescaped {character:?} in {encoded}"
                );
                text.push(character);
                continue;
            }
            text.push(match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits: String = characters.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                same => same,
            });
        }
        Some(text)
    }

    #[test]
    fn every_character_survives_writing_and_reading() {
        // Every character that could be special, and a sample of the others.
        let others = ('\u{3000}'..=char::MAX).step_by(97);
        for character in ('\0'..'\u{3000}').chain(others) {
            let text = format!("<{character}>");
            assert_eq!(read_text(&Json::from(text.as_str()).to_string()), Some(text));
        }
    }

    #[test]
    fn any_mixture_of_characters_survives_and_stays_on_one_line() {
        let alphabet = ['"', '\\', '\n', '\r', '\0', 'u', '/', 'é', '\u{2028}', '🌍', '\u{fffd}'];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..2_000 {
            let mut text = String::new();
            for _ in 0..state % 17 {
                // xorshift: any fixed sequence does, as long as it mixes.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                text.push(alphabet[(state % alphabet.len() as u64) as usize]);
            }
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let encoded = Json::from(text.as_str()).to_string();
            assert!(!encoded.contains(['\n', '\r', '\u{2028}']));
            assert_eq!(read_text(&encoded), Some(text));
        }
    }
}
