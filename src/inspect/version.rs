//! Names of versions, such as `GLIBC_2.34`: which is the newest of its kind.

use std::collections::BTreeMap;

/// Of the versions of each kind the newest, sorted by kind; a name without a number is a kind of its own.
pub(super) fn newest<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut best: BTreeMap<&str, (Vec<u32>, &str)> = BTreeMap::new();
    for name in names {
        let (kind, numbers) = split(name);
        let known = best.entry(kind).or_insert_with(|| (numbers.clone(), name));
        if numbers > known.0 {
            *known = (numbers, name);
        }
    }
    best.into_values().map(|(_, name)| name.to_owned()).collect()
}

/// The kind, and the numbers behind the first `_` that a digit follows.
fn split(name: &str) -> (&str, Vec<u32>) {
    let number = name
        .match_indices('_')
        .find(|(at, _)| name[at + 1..].starts_with(|next: char| next.is_ascii_digit()));
    let Some((at, _)) = number else {
        return (name, vec![]);
    };
    let parts = name[at + 1..].split(['.', '_']);
    (&name[..at], parts.map_while(|part| part.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_of_each_kind_is_found_by_number() {
        let names = [
            "GLIBC_2.4",
            "GLIBC_2.34",
            "GLIBC_2.2.5",
            "GLIBC_ABI_DT_RELR",
            "GLIBCXX_3.4.9",
            "GLIBCXX_3.4.30",
            "OPENSSL_3.0.0",
            "LIBSSH_4_9_0",
        ];
        let expected = [
            "GLIBC_2.34",
            "GLIBCXX_3.4.30",
            "GLIBC_ABI_DT_RELR",
            "LIBSSH_4_9_0",
            "OPENSSL_3.0.0",
        ];
        let mut found = newest(names.into_iter());
        found.sort();
        let mut expected = expected.map(str::to_owned).to_vec();
        expected.sort();
        assert_eq!(found, expected);
        assert!(newest(std::iter::empty()).is_empty());
    }
}
