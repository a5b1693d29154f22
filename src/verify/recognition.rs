//! What it is that differs, as far as that can be told.

use super::{Kind, Variation};

/// How months and days of the week begin, as dates have them.
const DATE_WORDS: [&str; 19] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Mon ", "Tue ", "Wed ", "Thu ",
    "Fri ", "Sat ", "Sun ",
];
/// How many digits the seconds since the epoch have, from 2001 to 2286.
const EPOCH_DIGITS: usize = 10;

/// What differs when `variations` made the difference (nothing: it differs from build to build), with both texts of each
/// place where they are known.
#[must_use]
pub fn kind(variations: &[&Variation], texts: &[(String, String)]) -> Option<Kind> {
    if let Some(known) = variations.iter().find_map(|variation| variation.kind) {
        return Some(known);
    }
    if texts.iter().any(|(one, other)| is_date(one) && is_date(other)) {
        return Some(Kind::Date);
    }
    if !texts.is_empty() && texts.iter().all(|(one, other)| is_reordered(one, other)) {
        return Some(Kind::Order);
    }
    variations.is_empty().then_some(Kind::Random)
}

/// Whether a text has a date or a time of day in it: `2026-11-30`, `13:37:01`, `Nov 30 2026`, seconds since the epoch.
fn is_date(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|character| if character.is_ascii_digit() { '0' } else { character })
        .collect();
    let has_month = || DATE_WORDS.iter().any(|word| text.contains(word)) && shape.contains("00");
    let runs = || shape.split(|character| character != '0').map(str::len);
    ["0000-00-00", "00:00:00", "00:00 "]
        .iter()
        .any(|known| shape.contains(known))
        || has_month()
        || runs().any(|length| length == EPOCH_DIGITS) && text.contains('1')
}

/// Whether two texts are made of the same words in another order.
fn is_reordered(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut words: Vec<String> = text
            .split(|character: char| !character.is_alphanumeric())
            .map(str::to_owned)
            .collect();
        words.sort();
        words
    };
    one != other && sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_by_the_variation_and_else_by_the_texts() {
        let by_name = |name: &str| {
            super::super::VARIATIONS
                .iter()
                .find(|variation| variation.name == name)
                .copied()
                .unwrap()
        };
        for (variations, one, other, expected) in [
            (&["directory"][..], "1", "2", Some(Kind::Path)),
            (&["time-of-day"], "1", "2", Some(Kind::Date)),
            (&["umask"], "built", "burnt", None),
            (&[], "built 2026-11-30", "built 2026-12-01", Some(Kind::Date)),
            (&[], "Nov 30 2026", "Dec 01 2026", Some(Kind::Date)),
            (&[], "at 1764500000", "at 1764500003", Some(Kind::Date)),
            (&[], "a.o b.o c.o", "b.o a.o c.o", Some(Kind::Order)),
            (&[], "3f9c2a71", "81ab09d4", Some(Kind::Random)),
        ] {
            let variations: Vec<&Variation> = variations.iter().map(|name| by_name(name)).collect();
            let texts = [(one.to_owned(), other.to_owned())];
            assert_eq!(kind(&variations, &texts), expected, "{one} {other}");
        }
        assert_eq!(kind(&[], &[]), Some(Kind::Random));
    }
}
