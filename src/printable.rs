//! Text of others, as it can be shown: what a plugin, a compiler, an engine or a file name says must not move a terminal's
//! cursor, hide a line, turn the direction of writing or pass for lockstep's own words.
//!
//! There are two places. What is foreign is made [`printable`] where it becomes a part of a line: line ends and colours
//! in it are shown, too. And the printer lets through only what lockstep itself has a use for ([`guarded`]), so that what
//! was forgotten in the first place can break a line at most.

use std::borrow::Cow;

/// What a tab becomes where lines are shown as they are, and columns in them should line up.
const TAB: &str = "    ";
/// The parameters of the colours that lockstep uses (ECMA-48, "SGR"): reset, bold, dim, underlined, and all but black.
const STYLES: &[&str] = &["0", "1", "2", "4", "31", "32", "33", "34", "35", "36", "37"];

/// The longest list of them.
const STYLE_LIMIT_BYTES: usize = 16;

/// Whether a character shows itself, and does nothing else. The others are control characters (C0, DEL, C1), what turns
/// the direction of writing, what has no width, and what ends a line in Unicode.
#[must_use]
pub fn is_plain(character: char) -> bool {
    !(character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        ))
}

/// A foreign text as a part of a line: all that is not plain is escaped as Rust does it, `\n`, `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_plain(character) {
            line.push(character);
        } else {
            line.extend(character.escape_default());
        }
    }
    Cow::Owned(line)
}

/// The lines of a foreign text, each printable, with tabs expanded and without the carriage returns that end lines
/// elsewhere.
pub fn printable_lines(text: &str) -> impl Iterator<Item = String> {
    text.split('\n').map(|line| {
        let line = line.trim_end_matches('\r').replace('\t', TAB);
        printable(&line).into_owned()
    })
}

/// What a running command's line of output comes to on a terminal's one line of progress: what stands there last when
/// carriage returns begin it anew, without colours.
#[must_use]
pub fn progress_line(line: &str) -> String {
    let last = line
        .split('\r')
        .rev()
        .find(|part| !part.trim().is_empty())
        .unwrap_or_default();
    let bare = console::strip_ansi_codes(last).replace('\t', " ");
    printable(bare.trim_end()).into_owned()
}

/// What leaves the program for people: lines, and colours of lockstep's own if there are any here. All else that is not
/// plain is escaped.
#[must_use]
pub fn guarded(text: &str, with_colours: bool) -> Cow<'_, str> {
    if text.chars().all(|character| is_plain(character) || character == '\n') {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(style) = style(rest) {
            // Where nobody sees colours they are left out, as lockstep does itself.
            safe.push_str(if with_colours { style } else { "" });
            rest = &rest[style.len()..];
            continue;
        }
        if is_plain(character) || character == '\n' {
            safe.push(character);
        } else {
            safe.extend(character.escape_default());
        }
        rest = &rest[character.len_utf8()..];
    }
    Cow::Owned(safe)
}

/// The sequence that `text` begins with if it is one that lockstep uses for its colours.
fn style(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.bytes().take(STYLE_LIMIT_BYTES).position(|byte| byte == b'm')?;
    let known = inner[..end].split(';').all(|parameter| STYLES.contains(&parameter));
    known.then(|| &text[.."\u{1b}[".len() + end + 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_something_is_shown() {
        for (text, expected) in [
            ("plain — ünïcode 日本 🦀", "plain — ünïcode 日本 🦀"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\rb\u{8}\u{7}", "a\\rb\\u{8}\\u{7}"),
            ("\u{9b}2J\u{85}", "\\u{9b}2J\\u{85}"),
            ("a\nok: 5 plugins", "a\\nok: 5 plugins"),
            ("\u{202e}gnp.exe\u{2066}", "\\u{202e}gnp.exe\\u{2066}"),
            ("a\u{200b}b\u{2028}c\u{feff}", "a\\u{200b}b\\u{2028}c\\u{feff}"),
        ] {
            assert_eq!(printable(text), expected);
            assert_eq!(printable(&printable(text)), expected, "twice is once");
        }
        let lines: Vec<String> = printable_lines("a\tb\r\n\u{1b}c\n").collect();
        assert_eq!(lines, ["a    b", "\\u{1b}c", ""]);
    }

    #[test]
    fn progress_shows_what_stands_there_last() {
        for (line, expected) in [
            (" 1%\r 50%\r100%\r", "100%"),
            ("\u{1b}[32mCompiling\u{1b}[0m x\t1", "Compiling x 1"),
            ("\r\r", ""),
            ("a\u{8}b\u{202e}", "a\\u{8}b\\u{202e}"),
        ] {
            assert_eq!(progress_line(line), expected, "{line:?}");
        }
    }

    #[test]
    fn only_colours_of_our_own_get_out() {
        let red = "\u{1b}[31m\u{1b}[1mx\u{1b}[0m\n";
        assert_eq!(guarded(red, true), red);
        assert_eq!(guarded(red, false), "x\n");
        for hostile in [
            "\u{1b}[8m",
            "\u{1b}[30m",
            "\u{1b}[2J",
            "\u{1b}]0;x\u{7}",
            "\u{1b}[m",
            "\u{1b}[38;5;1m",
            "\u{1b}[",
        ] {
            assert!(!guarded(hostile, true).contains('\u{1b}'), "{hostile:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_plain_text_comes_out(text in ".{0,80}", bytes: Vec<u8>) {
            for text in [text.as_str(), &String::from_utf8_lossy(&bytes)] {
                prop_assert!(printable(text).chars().all(is_plain));
                prop_assert!(progress_line(text).chars().all(is_plain));
                prop_assert!(printable_lines(text).all(|line| line.chars().all(is_plain)));
                prop_assert!(guarded(text, false).chars().all(|character| is_plain(character) || character == '\n'));
            }
        }
    }
}
