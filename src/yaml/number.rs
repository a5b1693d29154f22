//! Numbers, durations and sizes as people write them.

use std::time::Duration;

/// Whether the core schema reads it as an integer (YAML 1.2.2, section 10.3.2).
pub(super) fn is_integer(text: &str) -> bool {
    let all = |digits: &str, is_digit: fn(&u8) -> bool| !digits.is_empty() && digits.as_bytes().iter().all(is_digit);
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |digit| (b'0'..=b'7').contains(digit));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, u8::is_ascii_hexdigit);
    }
    all(text.strip_prefix(['-', '+']).unwrap_or(text), u8::is_ascii_digit)
}

/// The integer's value, when 64 bits hold it.
pub(super) fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0o") {
        return i64::from_str_radix(digits, 8).ok();
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok();
    }
    text.parse().ok()
}

/// Whether the core schema reads it as a number with a fraction or exponent.
pub(super) fn is_fraction(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    // Rust's grammar is the schema's, but for `inf`, `nan` and `infinity`, which have letters that no number has.
    unsigned
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.parse::<f64>().is_ok()
}

/// `500ms`, `10s`, `2m`, `1h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (count, unit) = count_and_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        "m" => count.checked_mul(60).map(Duration::from_secs),
        "h" => count.checked_mul(60 * 60).map(Duration::from_secs),
        _ => None,
    }
}

/// `512MiB`, `4GiB`, `100MB`, in bytes.
pub(super) fn size_bytes(text: &str) -> Option<u64> {
    let (count, unit) = count_and_unit(text)?;
    let unit_bytes = match unit {
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    count.checked_mul(unit_bytes)
}

fn count_and_unit(text: &str) -> Option<(u64, &str)> {
    let (count, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
    Some((count.parse().ok()?, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// A file's permissions in octal: `755`, `0644`, `0o600`.
pub(super) fn file_mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = is_octal.then(|| u32::from_str_radix(digits, 8).ok())??;
    (mode <= 0o7777).then_some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_schema_tells_numbers_from_text() {
        for text in ["0", "-1", "+12", "007", "0o17", "0xfF"] {
            assert!(is_integer(text), "{text}");
        }
        for text in ["1.5", ".5", "1.", "1e3", "-1.5E-3", ".inf", "-.inf", ".nan"] {
            assert!(is_fraction(text) && !is_integer(text), "{text}");
        }
        for text in [
            "", "-", "0o8", "0x", "1_000", "1.2.3", "inf", "nan", "infinity", "e3", "1s", "--1", "+-1",
        ] {
            assert!(!is_integer(text) && !is_fraction(text), "{text}");
        }
        assert_eq!(integer("0o17"), Some(15));
        assert_eq!(integer("0xff"), Some(255));
        assert_eq!(integer("99999999999999999999"), None);
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("10 s"), Some(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "10S",
            "99999999999999999999s",
            "999999999999999999h",
            "1  s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(size_bytes("4GiB"), Some(4 << 30));
        assert_eq!(size_bytes("100 MB"), Some(100_000_000));
        for text in ["", "4", "4G", "GiB", "4gib", "0.5GiB", "-1MiB", "99999999999TiB"] {
            assert_eq!(size_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(file_mode("0755"), Some(0o755));
        assert_eq!(file_mode("644"), Some(0o644));
        assert_eq!(file_mode("0o4755"), Some(0o4755));
        for text in ["", "8", "rwx", "0x1ff", "-1", "10000", "77777777777777"] {
            assert_eq!(file_mode(text), None, "{text}");
        }
    }
}
