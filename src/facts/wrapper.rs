//! What a script starts: one for the shell that sets variables and hands over to a program, as bundles have before their hosts.
//!
//! Read are assignments, `export`, `unset`, `cd`, and the command that it ends in (POSIX.1-2024, XCU 2, "Shell Command Language").
//! Whatever else stands in a script decides only when it runs, and ends the reading: better nothing than a guess.

use std::collections::{BTreeMap, BTreeSet};

/// How long a script is at most that is read.
pub const SCRIPT_LIMIT_BYTES: u64 = 64 * 1024;
/// How long what a word stands for may become.
const VALUE_LIMIT_BYTES: usize = 128 * 1024;
/// How deep what is substituted may be nested.
const DEPTH_LIMIT: usize = 16;
/// Programs that read scripts as the shell's standard says, as far as this goes.
const SHELLS: [&str; 5] = ["sh", "dash", "bash", "ash", "ksh"];
/// Commands that change nothing that counts for the program that comes after.
const HARMLESS: [&str; 5] = ["set", ":", "true", "umask", "ulimit"];
/// What begins more than a simple command.
const COMPOUND: [&str; 14] = [
    "if", "case", "for", "while", "until", "select", "function", "[", "[[", "test", ".", "source", "eval", "trap",
];

/// What a script starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The program: a path, or a name that is looked for in `PATH`.
    pub program: String,
    /// The variables that it gives the program, changed or new.
    pub variables: BTreeMap<String, String>,
    /// The variables that it takes away.
    pub removed: BTreeSet<String>,
    /// Where it goes before that.
    pub directory: Option<String>,
}

/// Why it cannot be told what a script starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFollowed {
    /// It is not text, or too long.
    #[error("it is no text of at most {} KiB", SCRIPT_LIMIT_BYTES / 1024)]
    NoText,
    /// Something in it decides only when it runs.
    #[error("what it does on line {line} decides only when it runs: {what}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What.
        what: String,
    },
    /// It ends without having started anything.
    #[error("it starts no program at its end")]
    Nothing,
}

/// Where a script is, and what it is started with.
pub struct Surroundings<'a> {
    /// Its path, as it is called: `$0`.
    pub path: &'a str,
    /// The same without links.
    pub real_path: &'a str,
    /// The variables of its process.
    pub variables: &'a BTreeMap<String, String>,
}

/// Reads what a script starts; of one that is for another interpreter, that is the interpreter.
///
/// # Errors
/// [`NotFollowed`].
pub fn started(script: &[u8], surroundings: &Surroundings<'_>) -> Result<Started, NotFollowed> {
    let text = std::str::from_utf8(script).map_err(|_| NotFollowed::NoText)?;
    if text.len() as u64 > SCRIPT_LIMIT_BYTES {
        return Err(NotFollowed::NoText);
    }
    let first = text.lines().next().unwrap_or_default();
    let mut words = first.trim_start_matches("#!").split_whitespace();
    let mut interpreter = words.next().unwrap_or_default();
    let is_env = |word: &str| word.rsplit('/').next() == Some("env");
    if is_env(interpreter) {
        // `-S` has the rest split into words (env(1)).
        interpreter = words.find(|word| *word != "-S").unwrap_or_default();
    }
    let name = interpreter.rsplit('/').next().unwrap_or_default();
    if !SHELLS.contains(&name) {
        return match interpreter {
            "" => Err(NotFollowed::Nothing),
            interpreter => Ok(Started {
                program: interpreter.to_owned(),
                variables: BTreeMap::new(),
                removed: BTreeSet::new(),
                directory: None,
            }),
        };
    }
    Shell::new(surroundings).run(text)
}

/// What is known while a script is read.
struct Shell<'a> {
    surroundings: &'a Surroundings<'a>,
    variables: BTreeMap<String, String>,
    exported: BTreeSet<String>,
    directory: Option<String>,
}

/// A word, as it is after its expansion.
#[derive(Debug, Default)]
struct Word {
    text: String,
    /// Where a `=` stands behind a name, as it was written.
    assigns_at: Option<usize>,
    /// Whether it is there though it is empty.
    is_quoted: bool,
}

impl Word {
    /// The name and the value that it is an assignment of.
    fn assignment(&self) -> Option<(String, String)> {
        let at = self.assigns_at?;
        Some((self.text[..at].to_owned(), self.text[at + 1..].to_owned()))
    }
}

/// Where in a text the reading is.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    /// The line at the text's beginning.
    first_line: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str, first_line: usize) -> Self {
        Self {
            text,
            at: 0,
            first_line,
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn next_if(&mut self, wanted: char) -> bool {
        let is_it = self.peek() == Some(wanted);
        if is_it {
            self.next();
        }
        is_it
    }

    fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) -> &'t str {
        let start = self.at;
        while self.peek().is_some_and(&is_wanted) {
            self.next();
        }
        &self.text[start..self.at]
    }

    /// What stands before the `close` that belongs to an `open` just read; quotes in it count.
    fn inside(&mut self, open: char, close: char) -> Option<&'t str> {
        let (start, mut depth, mut quote) = (self.at, 1_usize, None);
        while let Some(character) = self.next() {
            match (quote, character) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (Some('\''), _) => {}
                (_, '\\') => _ = self.next(),
                (Some('"'), _) if open == close => {}
                (None, '\'' | '"') => quote = Some(character),
                (_, character) if character == close => {
                    depth -= 1;
                    if depth == 0 {
                        return self.text.get(start..self.at - close.len_utf8());
                    }
                }
                (_, character) if character == open => depth += 1,
                _ => {}
            }
        }
        None
    }

    fn line(&self) -> usize {
        self.first_line + self.text[..self.at].matches('\n').count()
    }

    fn stop(&self, what: impl Into<String>) -> NotFollowed {
        NotFollowed::Line {
            line: self.line(),
            what: what.into(),
        }
    }
}

impl<'a> Shell<'a> {
    fn new(surroundings: &'a Surroundings<'a>) -> Self {
        Self {
            surroundings,
            variables: surroundings.variables.clone(),
            exported: surroundings.variables.keys().cloned().collect(),
            directory: None,
        }
    }

    fn run(mut self, text: &str) -> Result<Started, NotFollowed> {
        let mut cursor = Cursor::new(text, 1);
        let mut last: Option<(NotFollowed, Vec<Word>)> = None;
        loop {
            cursor.take_while(|character| character.is_ascii_whitespace() || character == ';');
            if cursor.next_if('#') {
                cursor.take_while(|character| character != '\n');
                continue;
            }
            if cursor.peek().is_none() {
                break;
            }
            // What was started and came back may have done anything.
            if let Some((stop, _)) = last {
                return Err(stop);
            }
            let stop = cursor.stop(first_words(cursor.rest()));
            let words = self.words(&mut cursor, 0)?;
            if self.settles(&words).ok_or_else(|| stop.clone())? {
                continue;
            }
            if words.first().is_some_and(|word| word.text == "exec") {
                return self.start(words.into_iter().skip(1).collect(), stop);
            }
            last = Some((stop, words));
        }
        match last {
            Some((stop, words)) => self.start(words, stop),
            None => Err(NotFollowed::Nothing),
        }
    }

    /// The words of one simple command.
    fn words(&self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Vec<Word>, NotFollowed> {
        let mut words = vec![];
        loop {
            cursor.take_while(|character| matches!(character, ' ' | '\t' | '\r'));
            match cursor.peek() {
                None | Some('\n' | ';') => return Ok(words),
                Some('#') => _ = cursor.take_while(|character| character != '\n'),
                Some('\\') if cursor.rest().starts_with("\\\n") => cursor.at += 2,
                Some(_) => {
                    let word = self.word(cursor, depth, |character| {
                        matches!(character, ' ' | '\t' | '\r' | '\n' | ';')
                    })?;
                    if !word.text.is_empty() || word.is_quoted {
                        words.push(word);
                    }
                }
            }
        }
    }

    /// One word, to where it ends, after its expansion.
    fn word(&self, cursor: &mut Cursor<'_>, depth: usize, ends: impl Fn(char) -> bool) -> Result<Word, NotFollowed> {
        if depth > DEPTH_LIMIT {
            return Err(cursor.stop("it is nested too deep"));
        }
        let mut word = Word::default();
        while let Some(character) = cursor.peek().filter(|character| !ends(*character)) {
            match character {
                '\'' => {
                    cursor.next();
                    word.is_quoted = true;
                    let stop = cursor.stop("a quote is not closed");
                    word.text.push_str(cursor.take_while(|character| character != '\''));
                    cursor.next().ok_or(stop)?;
                }
                '"' => {
                    cursor.next();
                    word.is_quoted = true;
                    self.quoted(cursor, &mut word.text, depth)?;
                }
                '$' | '`' => self.expand(cursor, &mut word.text, depth)?,
                '\\' => {
                    cursor.next();
                    word.text.extend(cursor.next().filter(|character| *character != '\n'));
                }
                '=' => {
                    if word.assigns_at.is_none() && !word.is_quoted && is_name(&word.text) {
                        word.assigns_at = Some(word.text.len());
                    }
                    word.text.extend(cursor.next());
                }
                '&' | '|' | '<' | '>' | '(' | ')' | '*' | '?' | '~' => {
                    return Err(cursor.stop(first_words(cursor.rest())));
                }
                _ => word.text.extend(cursor.next()),
            }
            if word.text.len() > VALUE_LIMIT_BYTES {
                return Err(cursor.stop("a value becomes too long"));
            }
        }
        Ok(word)
    }

    /// The rest of a text in double quotes.
    fn quoted(&self, cursor: &mut Cursor<'_>, text: &mut String, depth: usize) -> Result<(), NotFollowed> {
        let stop = cursor.stop("a quote is not closed");
        while let Some(character) = cursor.peek() {
            match character {
                '"' => {
                    cursor.next();
                    return Ok(());
                }
                '$' | '`' => self.expand(cursor, text, depth)?,
                '\\' => {
                    cursor.next();
                    match cursor.next() {
                        Some('\n') | None => {}
                        Some(escaped @ ('$' | '`' | '"' | '\\')) => text.push(escaped),
                        Some(other) => text.extend(['\\', other]),
                    }
                }
                _ => text.extend(cursor.next()),
            }
        }
        Err(stop)
    }

    /// What stands after a `$` or in backquotes.
    fn expand(&self, cursor: &mut Cursor<'_>, text: &mut String, depth: usize) -> Result<(), NotFollowed> {
        let stop = cursor.stop(first_words(cursor.rest()));
        let unclosed = || stop.clone();
        if cursor.next() == Some('`') {
            let line = cursor.line();
            let command = cursor.inside('`', '`').ok_or_else(unclosed)?;
            text.push_str(&self.substituted(command, line, depth)?.ok_or(stop)?);
            return Ok(());
        }
        match cursor.peek() {
            Some('(') => {
                cursor.next();
                let line = cursor.line();
                let command = cursor.inside('(', ')').ok_or_else(unclosed)?;
                text.push_str(&self.substituted(command, line, depth)?.ok_or(stop)?);
            }
            Some('{') => {
                cursor.next();
                let line = cursor.line();
                let inside = cursor.inside('{', '}').ok_or_else(unclosed)?;
                text.push_str(&self.parameter(inside, line, depth)?.ok_or(stop)?);
            }
            Some('0') => {
                cursor.next();
                text.push_str(self.surroundings.path);
            }
            // What the script is called with is nothing that is known, and goes to the program.
            Some('@' | '*') => _ = cursor.next(),
            Some(character) if is_name_start(character) => {
                let name = cursor.take_while(is_name_part);
                text.push_str(self.value(name).unwrap_or_default());
            }
            Some(' ' | '"' | '\n') | None => text.push('$'),
            Some(_) => return Err(stop),
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&str> {
        match name {
            "0" => Some(self.surroundings.path),
            "PWD" => self
                .directory
                .as_deref()
                .or_else(|| self.variables.get(name).map(String::as_str)),
            name => self.variables.get(name).map(String::as_str),
        }
    }

    /// `name`, `name:-word`, `name%pattern` and the like; none for what is not read.
    fn parameter(&self, inside: &str, line: usize, depth: usize) -> Result<Option<String>, NotFollowed> {
        let end = inside
            .find(|character| !is_name_part(character))
            .unwrap_or(inside.len());
        let (name, operation) = inside.split_at(end);
        if matches!(name, "" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9") {
            return Ok(None);
        }
        let value = self.value(name);
        let filled = value.filter(|value| !value.is_empty());
        let word = |word: &str| -> Result<String, NotFollowed> {
            let mut cursor = Cursor::new(word, line);
            self.word(&mut cursor, depth + 1, |_| false).map(|word| word.text)
        };
        let owned = |value: Option<&str>| Some(value.unwrap_or_default().to_owned());
        let (operator, rest) = match operation.strip_prefix(':') {
            Some(rest) => (rest.chars().next().map(|operator| (operator, filled)), rest.get(1..)),
            None => (
                operation.chars().next().map(|operator| (operator, value)),
                operation.get(1..),
            ),
        };
        let rest = rest.unwrap_or_default();
        Ok(match operator {
            None => owned(value),
            Some(('-', None)) | Some(('+', Some(_))) => Some(word(rest)?),
            Some(('-', found)) => owned(found),
            Some(('+', None)) => Some(String::new()),
            Some(('%', _)) => match operation {
                "%/*" => owned(value.map(|value| value.rsplit_once('/').map_or(value, |(before, _)| before))),
                _ => None,
            },
            Some(('#', _)) => match operation {
                "##*/" => owned(value.map(|value| value.rsplit('/').next().unwrap_or(value))),
                _ => None,
            },
            Some(_) => None,
        })
    }

    /// What a command prints that says where the script is; none for any other.
    fn substituted(&self, command: &str, line: usize, depth: usize) -> Result<Option<String>, NotFollowed> {
        // `cd DIRECTORY && pwd`, with what is thrown away.
        let mut text = command
            .trim()
            .replace(">/dev/null", "")
            .replace("2>&1", "")
            .replace("&& pwd -P", "&& pwd");
        let is_directory = text.trim_end().ends_with("&& pwd") || text.trim_end().ends_with("; pwd");
        if is_directory {
            let end = text.trim_end().len() - "; pwd".len();
            text.truncate(end);
            let text_end = text.trim_end_matches(['&', ' ']).len();
            text.truncate(text_end);
        }
        let mut cursor = Cursor::new(&text, line);
        let words = self.words(&mut cursor, depth + 1)?;
        if cursor.peek().is_some() {
            return Ok(None);
        }
        let words: Vec<&str> = words
            .iter()
            .map(|word| word.text.as_str())
            .filter(|word| *word != "--")
            .collect();
        Ok(match (words.as_slice(), is_directory) {
            (["cd", options @ .., directory], true) if options.iter().all(|option| *option == "-P") => {
                Some(self.resolved(directory))
            }
            (["pwd"], false) => self.value("PWD").map(str::to_owned),
            (["dirname", path], false) => Some(directory_of(path)),
            (["basename", path], false) => path.trim_end_matches('/').rsplit('/').next().map(str::to_owned),
            (["readlink", "-f" | "-e", path] | ["realpath", path], false) => {
                Some(match *path == self.surroundings.path {
                    true => self.surroundings.real_path.to_owned(),
                    false => self.resolved(path),
                })
            }
            _ => None,
        })
    }

    /// A path from the top, without `.` and `..`.
    fn resolved(&self, path: &str) -> String {
        let mut parts: Vec<&str> = vec![];
        let from = match path.starts_with('/') {
            true => "",
            false => self.value("PWD").unwrap_or_default(),
        };
        for part in from.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => _ = parts.pop(),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }

    /// Whether a command does nothing but change what is known here; none when it cannot be told what it does.
    fn settles(&mut self, words: &[Word]) -> Option<bool> {
        let assignments: Option<Vec<_>> = words.iter().map(Word::assignment).collect();
        if let Some(assignments) = assignments {
            self.variables.extend(assignments);
            return Some(true);
        }
        let (first, rest) = words.split_first()?;
        match first.text.as_str() {
            "export" => {
                for word in rest {
                    let name = match word.assignment() {
                        Some((name, value)) => {
                            self.variables.insert(name.clone(), value);
                            name
                        }
                        None if is_name(&word.text) => word.text.clone(),
                        None => return None,
                    };
                    self.exported.insert(name);
                }
            }
            "unset" => {
                for word in rest.iter().filter(|word| word.text != "-v") {
                    self.variables.remove(&word.text);
                    self.exported.remove(&word.text);
                }
            }
            "cd" => match rest {
                [directory] => self.directory = Some(self.resolved(&directory.text)),
                _ => return None,
            },
            name if HARMLESS.contains(&name) => {}
            name if COMPOUND.contains(&name) => return None,
            _ => return Some(false),
        }
        Some(true)
    }

    /// Starts what is left of a command, with the assignments before it.
    fn start(mut self, words: Vec<Word>, stop: NotFollowed) -> Result<Started, NotFollowed> {
        let mut words = words.into_iter().peekable();
        let mut is_behind_env = false;
        let program = loop {
            let Some(word) = words.next() else {
                return Err(stop);
            };
            if let Some((name, value)) = word.assignment() {
                self.exported.insert(name.clone());
                self.variables.insert(name, value);
            } else if is_behind_env && word.text == "-u" {
                let name = words.next().map(|word| word.text).unwrap_or_default();
                self.exported.remove(&name);
            } else if matches!(word.text.as_str(), "env" | "/usr/bin/env") && !is_behind_env {
                is_behind_env = true;
            } else if !matches!(word.text.as_str(), "exec" | "--") {
                break word.text;
            }
        };
        if program.is_empty() || program.starts_with('-') {
            return Err(stop);
        }
        let before = self.surroundings.variables;
        let is_given = |name: &String, value: &String| self.exported.contains(name) && before.get(name) != Some(value);
        let variables = self.variables.iter().filter(|(name, value)| is_given(name, value));
        Ok(Started {
            program,
            variables: variables.map(|(name, value)| (name.clone(), value.clone())).collect(),
            removed: before
                .keys()
                .filter(|name| !self.exported.contains(*name))
                .cloned()
                .collect(),
            directory: self.directory,
        })
    }
}

fn directory_of(path: &str) -> String {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
        None => ".".to_owned(),
    }
}

/// The beginning of a line, to be shown.
fn first_words(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 40;
    let line = text.lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("`{}…`", &line[..end]),
        None => format!("`{line}`"),
    }
}

fn is_name_start(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn is_name_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn is_name(text: &str) -> bool {
    text.starts_with(is_name_start) && text.chars().all(is_name_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(script: &str) -> Result<Started, NotFollowed> {
        let variables = BTreeMap::from([
            ("HOME".to_owned(), "/root".to_owned()),
            ("OLD".to_owned(), "x".to_owned()),
        ]);
        let surroundings = Surroundings {
            path: "/usr/bin/host",
            real_path: "/opt/host/bin/host",
            variables: &variables,
        };
        started(script.as_bytes(), &surroundings)
    }

    fn told(script: &str) -> String {
        match read(script) {
            Err(error) => error.to_string(),
            Ok(started) => {
                let variables = started.variables.iter().map(|(name, value)| format!("{name}={value}"));
                let removed = started.removed.iter().map(|name| format!("-{name}"));
                let directory = started.directory.iter().map(|directory| format!("in {directory}"));
                let all = variables.chain(removed).chain(directory).chain([started.program]);
                all.collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn what_a_script_starts_is_told_with_its_variables() {
        for (script, expected) in [
            ("exec /opt/a \"$@\"", "/opt/a"),
            ("A=1 /opt/a", "A=1 /opt/a"),
            ("A=1\nexport A B=2\nC=3\nexec /opt/a", "A=1 B=2 /opt/a"),
            ("HOME=/other\n/opt/a", "HOME=/other /opt/a"),
            ("unset OLD\nexec env -u HOME A=1 b", "A=1 -HOME -OLD b"),
            (
                "here=$(dirname \"$(readlink -f \"$0\")\")\nexport LD_LIBRARY_PATH=\"$here/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\nexec \"$here/a\" \"$@\"",
                "LD_LIBRARY_PATH=/opt/host/bin/../lib /opt/host/bin/a",
            ),
            ("here=`dirname $0`; exec $here/a", "/usr/bin/a"),
            (
                "here=$(cd \"$(dirname \"$0\")/..\" && pwd)\nexec $here/lib/a",
                "/usr/lib/a",
            ),
            ("here=${0%/*} # beside\nexec ${here}/${0##*/}.bin", "/usr/bin/host.bin"),
            ("cd /srv\nset -eu\nexec ./a", "in /srv ./a"),
            ("A='$x' B=\"\\$x\" C=a\\ b exec a", "A=$x B=$x C=a b a"),
            ("A=${NONE:-${HOME}/a}\nexport A\nexec \\\n  a", "A=/root/a a"),
        ] {
            assert_eq!(told(&format!("#!/bin/sh -e\n{script}\n")), expected, "{script}");
        }
        assert_eq!(told("#!/usr/bin/env python3\nimport ctypes\n"), "python3");
        assert_eq!(told("#! /usr/bin/perl -w\nexec 'a'\n"), "/usr/bin/perl");
    }

    #[test]
    fn what_decides_only_when_it_runs_is_not_guessed() {
        for (script, line) in [
            ("if [ -e /a ]; then A=1; fi\nexec a", 2),
            ("A=$(cat /etc/a)\nexec a", 2),
            ("A=1\nmkdir -p /run/a\nexec a", 3),
            (". /etc/default/a\nexec a", 2),
            ("exec \"$1\"", 2),
            ("a | b", 2),
            ("exec a > /var/log/a", 2),
            ("f() { a; }\nf", 2),
            ("exec env -i a", 2),
            ("A=\"open\nexec a", 2),
        ] {
            let told = told(&format!("#!/bin/sh\n{script}\n"));
            assert!(told.contains(&format!("on line {line} ")), "{script}: {told}");
        }
        assert_eq!(read("#!/bin/sh\nA=1\n"), Err(NotFollowed::Nothing));
        let doubled = "A=$A$A\n".repeat(64);
        assert!(told(&format!("#!/bin/sh\nA=aaaa\n{doubled}exec a\n")).contains("too long"));
        assert!(told(&format!("#!/bin/sh\nA={}\n", "${A:-".repeat(1000))).contains("line 2"));
    }

    proptest! {
        #[test]
        fn any_script_gets_an_answer(script in "[\\n \"'`$(){}/=;#a-c0:+%\\\\-]{0,60}") {
            let _ = read(&format!("#!/bin/sh\n{script}"));
        }
    }
}
