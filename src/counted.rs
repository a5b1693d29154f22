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

/// `512 bytes`, `16.3 KiB`, `6.1 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const KIBIBYTE: f64 = 1024.0;
    // Sizes of files are far below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let kibibytes = bytes as f64 / KIBIBYTE;
    match bytes {
        1 => "1 byte".to_owned(),
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{kibibytes:.1} KiB"),
        _ => format!("{:.1} MiB", kibibytes / KIBIBYTE),
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

    #[test]
    fn a_size_has_the_unit_that_people_would_take() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (16_691, "16.3 KiB"),
            (6_396_314, "6.1 MiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
