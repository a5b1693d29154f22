//! Numbers of things, as people say them.

/// `1 file`, `2 files`, `2 directories`; `noun` is the singular.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (count, Some(stem)) => format!("{count} {stem}ies"),
        (count, None) => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        for (count, noun, expected) in [
            (0, "file", "0 files"),
            (1, "file", "1 file"),
            (2, "directory", "2 directories"),
            (1, "directory", "1 directory"),
        ] {
            assert_eq!(counted(count, noun), expected);
        }
    }
}
