//! What someone who made a typing error probably meant.

/// Longer texts are not compared: they are no names.
const COMPARED_LIMIT_CHARACTERS: usize = 64;

/// The candidate nearest to `text`, when one is near enough to be meant: at most a third of its characters, and one at
/// least, may be wrong, missing, too many or swapped with their neighbour. The first of equals wins.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| -> Vec<char> {
        text.chars()
            .flat_map(char::to_lowercase)
            .map(|character| if character == '-' { '_' } else { character })
            .collect()
    };
    let given = fold(text);
    if given.is_empty() || given.len() > COMPARED_LIMIT_CHARACTERS {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= COMPARED_LIMIT_CHARACTERS)
        .map(|candidate| (distance(&given, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(given.len()) / 3).max(1))
        .filter(|(distance, _)| *distance < given.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be changed, added, removed or swapped with their neighbour to get from one to the other
/// (optimal string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, left) in from.iter().enumerate() {
        let mut current = Vec::with_capacity(to.len() + 1);
        current.push(row + 1);
        for (column, right) in to.iter().enumerate() {
            let changed = last[column] + usize::from(left != right);
            let mut best = changed.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *left == to[column - 1] && from[row - 1] == *right {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn typing_errors_are_seen_through() {
        let keys = ["artifacts", "source", "language", "env", "inputs"];
        for (given, meant) in [
            ("artefacts", Some("artifacts")),
            ("Artifact", Some("artifacts")),
            ("soruce", Some("source")),
            ("langauge", Some("language")),
            ("envs", Some("env")),
            ("input", Some("inputs")),
            ("x", None),
            ("", None),
            ("dockerfile", None),
        ] {
            assert_eq!(nearest(given, keys), meant, "{given}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_compared(text in "\\PC*", candidate in "\\PC*") {
            let found = nearest(&text, [candidate.as_str()]);
            prop_assert!(found.is_none_or(|found| found == candidate));
        }

        #[test]
        fn a_text_is_nearest_to_itself(text in "[a-z_]{1,20}", other in "[a-z_]{1,20}") {
            prop_assert_eq!(nearest(&text, [other.as_str(), text.as_str()]), Some(text.as_str()));
        }
    }
}
