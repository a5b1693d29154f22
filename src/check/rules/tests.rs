//! The table of rules: codes are what scripts and `--allow` rely on.

use std::fmt::Write as _;

use super::{RULES, rule};

#[test]
fn codes_are_sorted_unique_and_in_kebab_case() {
    let codes: Vec<&str> = RULES.iter().map(|rule| rule.code).collect();
    let mut expected = codes.clone();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(codes, expected);
    for code in codes {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        assert!(code.split('-').all(is_word), "{code}");
        assert_eq!(rule(code).map(|rule| rule.code), Some(code));
    }
    assert!(rule("libc").is_none());
}

#[test]
fn every_rule_says_what_it_means_and_what_to_do() {
    for rule in RULES {
        let description = rule.description;
        assert!(
            !description.is_empty() && description.len() <= 100,
            "{}: {description}",
            rule.code
        );
        assert!(
            !description.contains('\n') && !description.ends_with('.'),
            "{}: {description}",
            rule.code
        );
        let paragraphs: Vec<&str> = rule.explanation.split("\n\n").collect();
        assert!(
            paragraphs.len() >= 2,
            "{}: what it means and what to do are two paragraphs",
            rule.code
        );
        for paragraph in paragraphs {
            assert!(
                paragraph.ends_with(['.', ':', '?', '!', ')']),
                "{}: {paragraph}",
                rule.code
            );
        }
    }
}

#[test]
fn the_table_changes_only_on_purpose() {
    let mut table = String::new();
    for rule in RULES {
        let _ = writeln!(table, "{}: {}", rule.code, rule.description);
    }
    insta::assert_snapshot!("table", table);
}
