//! `/etc/ld.so.conf`: which directories `ldconfig` puts into the cache. No loader reads it; it tells why a library that
//! is there is not found.

use std::collections::BTreeSet;

/// The largest of these files that is read.
pub const LD_CONF_LIMIT_BYTES: u64 = 1024 * 1024;
/// How many files may be read, including each time that the same one is.
const FILES_LIMIT_COUNT: usize = 1000;
/// How many directories they may name.
const DIRECTORIES_LIMIT_COUNT: usize = 10_000;
/// How many paths patterns may be tried on, all together.
const PATHS_LIMIT_COUNT: usize = 100_000;
/// How many lines may wait; what is behind them in their file is left out.
const PENDING_LIMIT_COUNT: usize = 100_000;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LdConfLine {
    /// The name of a directory.
    Directory(String),
    /// A pattern of further files.
    Include(String),
}

/// The lines of one file, in order.
#[must_use]
pub fn ld_conf_lines(file: &[u8]) -> Vec<LdConfLine> {
    let mut lines = Vec::new();
    for line in String::from_utf8_lossy(file).lines() {
        let line = line.split(['#', '\0']).next().unwrap_or_default().trim_ascii();
        let rest = line
            .strip_prefix("include")
            .filter(|rest| rest.starts_with([' ', '\t']));
        if let Some(patterns) = rest {
            let patterns = patterns.split([' ', '\t']).filter(|pattern| !pattern.is_empty());
            lines.extend(patterns.map(|pattern| LdConfLine::Include(pattern.to_owned())));
        } else if !line.is_empty() && !is_hwcap(line) {
            // `/lib=libc6` was a way to say for which libc a directory is.
            let directory = line.split('=').next().unwrap_or_default().trim_ascii_end();
            let trimmed = directory.trim_end_matches('/');
            lines.push(LdConfLine::Directory(
                if trimmed.is_empty() { "/" } else { trimmed }.to_owned(),
            ));
        }
    }
    lines
}

/// `hwcap` lines have been ignored for long.
fn is_hwcap(line: &str) -> bool {
    let (word, rest) = line.split_at_checked(5).unwrap_or((line, ""));
    word.eq_ignore_ascii_case("hwcap") && rest.starts_with([' ', '\t'])
}

/// Every directory that a file and those that it includes name, in order, each once.
///
/// `read` gives a file's bytes, `list` the paths of a directory's entries, sorted.
pub fn ld_conf_directories(
    path: &str,
    read: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
    list: &mut dyn FnMut(&str) -> Vec<String>,
) -> Vec<String> {
    let mut directories = Vec::new();
    let mut known = BTreeSet::new();
    let (mut files, mut paths) = (0, 0);
    // The last one is the next: what an include names comes before what follows it in its file.
    let mut pending = vec![Pending::File(path.to_owned())];
    while let Some(next) = pending.pop() {
        match next {
            Pending::Directory(directory) => {
                if directories.len() < DIRECTORIES_LIMIT_COUNT && known.insert(directory.clone()) {
                    directories.push(directory);
                }
            }
            Pending::Pattern(pattern) => {
                pending.extend(
                    matching(&pattern, list, &mut paths)
                        .into_iter()
                        .rev()
                        .map(Pending::File),
                );
            }
            Pending::File(_) if files >= FILES_LIMIT_COUNT => {}
            Pending::File(file) => {
                files += 1;
                let base = file.rsplit_once('/').map_or("", |(base, _)| base);
                let mut lines = ld_conf_lines(&read(&file).unwrap_or_default());
                lines.truncate(PENDING_LIMIT_COUNT.saturating_sub(pending.len()));
                pending.extend(lines.into_iter().rev().map(|line| match line {
                    LdConfLine::Directory(directory) => Pending::Directory(directory),
                    LdConfLine::Include(pattern) if pattern.starts_with('/') => Pending::Pattern(pattern),
                    LdConfLine::Include(pattern) => Pending::Pattern(format!("{base}/{pattern}")),
                }));
            }
        }
    }
    directories
}

/// What is still to be looked at.
enum Pending {
    File(String),
    Pattern(String),
    Directory(String),
}

/// The paths that an absolute pattern stands for (glob(7)), sorted. A path without wildcards stands for itself.
/// `tried` counts the paths that it was compared with.
fn matching(pattern: &str, list: &mut dyn FnMut(&str) -> Vec<String>, tried: &mut usize) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for directory in found {
            if !part.contains(['*', '?', '[', '\\']) {
                next.push(format!("{directory}/{part}"));
                continue;
            }
            for path in list(if directory.is_empty() { "/" } else { &directory }) {
                *tried += 1;
                if *tried > PATHS_LIMIT_COUNT {
                    return Vec::new();
                }
                let name = path.rsplit('/').next().unwrap_or_default();
                if is_match(part, name) {
                    next.push(format!("{directory}/{name}"));
                }
            }
        }
        found = next;
    }
    found
}

/// Whether a name is what a pattern without slashes stands for (fnmatch(3) with `FNM_PERIOD`, ASCII ranges).
fn is_match(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut here) = (0, 0);
    // Where the last star was, and the first character that it does not stand for yet.
    let mut star = None;
    while here < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, here));
            at += 1;
        } else if let Some(next) = one(&pattern[at..], name[here]) {
            at += next;
            here += 1;
        } else if let Some((behind, taken)) = star {
            star = Some((behind, taken + 1));
            (at, here) = (behind + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

/// How much of the pattern's beginning stands for this one character; none if it does not.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match (pattern.first()?, pattern.get(1)) {
        ('?', _) => Some(1),
        ('\\', Some(next)) => (*next == character).then_some(2),
        ('[', _) => match bracket(pattern, character) {
            Some((is_match, len)) => is_match.then_some(len),
            // One that is never closed stands for itself.
            None => (character == '[').then_some(1),
        },
        (plain, _) => (*plain == character).then_some(1),
    }
}

/// Whether a bracket at the pattern's beginning has the character, and how long the bracket is; none if it has no end.
fn bracket(pattern: &[char], character: char) -> Option<(bool, usize)> {
    let is_inverse = matches!(pattern.get(1), Some('!' | '^'));
    let start = 1 + usize::from(is_inverse);
    let mut at = start;
    let mut is_in = false;
    loop {
        match pattern.get(at)? {
            ']' if at > start => return Some((is_in != is_inverse, at + 1)),
            first => match (pattern.get(at + 1), pattern.get(at + 2)) {
                (Some('-'), Some(last)) if *last != ']' => {
                    is_in |= (*first..=*last).contains(&character);
                    at += 3;
                }
                _ => {
                    is_in |= *first == character;
                    at += 1;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn directories(files: &[(&str, &str)]) -> Vec<String> {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        let mut list = |directory: &str| {
            let prefix = format!("{}/", directory.trim_end_matches('/'));
            let below = files.keys().filter_map(|path| path.strip_prefix(prefix.as_str()));
            let names: BTreeSet<&str> = below.filter_map(|rest| rest.split('/').next()).collect();
            names.iter().map(|name| format!("{prefix}{name}")).collect()
        };
        let mut read = |path: &str| Some(files.get(path)?.as_bytes().to_vec());
        ld_conf_directories("/etc/ld.so.conf", &mut read, &mut list)
    }

    #[test]
    fn includes_stand_where_they_are_named() {
        let found = directories(&[
            (
                "/etc/ld.so.conf",
                "/first/ # why\ninclude ld.so.conf.d/*.conf\n\n/last=libc6\n/first\nhwcap 1 x\n",
            ),
            ("/etc/ld.so.conf.d/b.conf", "/b\n  /b2  \n"),
            ("/etc/ld.so.conf.d/a.conf", "include /opt/x[0-9]/*/?.conf\n/a"),
            ("/etc/ld.so.conf.d/.hidden.conf", "/hidden\n"),
            ("/etc/ld.so.conf.d/c.txt", "/text\n"),
            ("/opt/x1/y/z.conf", "/x1\n"),
            ("/opt/xa/y/z.conf", "/xa\n"),
        ]);
        assert_eq!(found, ["/first", "/x1", "/a", "/b", "/b2", "/last"]);
    }

    #[test]
    fn files_that_include_each_other_come_to_an_end() {
        let found = directories(&[
            ("/etc/ld.so.conf", "/a\ninclude /etc/b\ninclude /etc/b\n"),
            ("/etc/b", "include ld.so.conf ld.so.conf\n/b\n"),
        ]);
        assert_eq!(found, ["/a", "/b"]);
    }

    #[test]
    fn patterns_are_those_of_the_shell() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a]", "b", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[", "[", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("?", "ü", true),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_directories(file: Vec<u8>) {
            let mut read = |_: &str| Some(file.clone());
            for directory in ld_conf_directories("/x", &mut read, &mut |_| vec!["/x".to_owned()]) {
                prop_assert!(!directory.is_empty() && !directory.contains(['\n', '#']));
            }
        }

        #[test]
        fn a_pattern_of_plain_characters_stands_for_itself(name in "[a-z.]{1,12}", other in "[a-z.]{1,12}") {
            prop_assert!(is_match(&name, &name));
            prop_assert_eq!(is_match(&name, &other), name == other);
            let inner = format!("*{}*", &name[name.len() / 2..]);
            prop_assert!(name.starts_with('.') || is_match(&inner, &name));
        }
    }
}
