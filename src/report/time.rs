//! How long things took, for people.

use std::time::Duration;

/// `0.4s`, `12.3s`, `2m05s`.
#[must_use]
pub fn elapsed(duration: Duration) -> String {
    const MINUTE_SECONDS: u64 = 60;
    let seconds = duration.as_secs();
    if seconds < MINUTE_SECONDS {
        format!("{:.1}s", duration.as_secs_f64())
    } else {
        format!("{}m{:02}s", seconds / MINUTE_SECONDS, seconds % MINUTE_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (milliseconds, expected) in [
            (0, "0.0s"),
            (420, "0.4s"),
            (59_900, "59.9s"),
            (60_000, "1m00s"),
            (125_000, "2m05s"),
        ] {
            assert_eq!(elapsed(Duration::from_millis(milliseconds)), expected);
        }
    }
}
