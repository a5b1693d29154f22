//! The YAML files that users write, decoded by hand into what the program works with: everything that is wrong with a
//! file is found in one pass, and each problem points at its place.
//!
//! A decoder is a function from a [`Value`] to a [`Decoded`]: it reports what is wrong with the value, and goes on with
//! the values beside it. Nothing in here touches the file system but [`read_file`].

mod conflict;
mod file;
mod limits;
mod number;
mod parse;
mod report;
mod scalar;
mod source;
mod value;

use crate::problem::Problem;

pub use file::read_file;
pub use limits::Limits;
pub use report::{Decoded, Reported};
pub use source::Span;
pub use value::{Fields, Value, line_of};

use report::Report;
use source::Source;

/// The longest file: far more than anyone writes by hand.
pub const TEXT_LIMIT_BYTES: usize = 256 << 10;

/// Decodes the YAML document in `bytes`, the content of `file` (as it should be shown), with `decode`.
///
/// `expected` says what the file holds, for one that is empty: `a recipe`. The problems, all under `code`, are in the
/// order of their places. There is a value exactly when there are no problems.
pub fn read<T>(
    code: &'static str,
    file: &str,
    bytes: &[u8],
    expected: &str,
    decode: impl FnOnce(Value<'_>) -> Decoded<T>,
) -> (Option<T>, Vec<Problem>) {
    read_within(Limits::BY_HAND, code, file, bytes, expected, decode)
}

/// The same for a document that programs write, which may be larger.
pub fn read_within<T>(
    limits: Limits,
    code: &'static str,
    file: &str,
    bytes: &[u8],
    expected: &str,
    decode: impl FnOnce(Value<'_>) -> Decoded<T>,
) -> (Option<T>, Vec<Problem>) {
    let text = String::from_utf8_lossy(bytes);
    let source = Source::new(code, file, &text);
    let mut report = Report::new(&source, limits);
    if bytes.len() > limits.text_bytes {
        let label = format!(
            "no more than {} KiB are read; remove what is not needed",
            limits.text_bytes >> 10
        );
        report.add(source.start(), "the file is too large", label);
        return (None, report.finish());
    }
    if let Err(error) = str::from_utf8(bytes) {
        let offset = error.valid_up_to();
        let span = Span {
            start: offset,
            end: offset + char::REPLACEMENT_CHARACTER.len_utf8(),
        };
        let byte = bytes.get(offset).copied().unwrap_or_default();
        let label = format!("byte 0x{byte:02x} at offset {offset} begins no UTF-8 character; save the file as UTF-8");
        report.add(span, "the file is not UTF-8", label);
        return (None, report.finish());
    }
    if conflict::report_markers(&source, &report) {
        return (None, report.finish());
    }
    let root = parse::parse(&source, &mut report);
    let decoded = match &root {
        Some(root) => decode(Value::root(root, &report)).ok(),
        None if report.is_complete() => {
            let message = if text.contains('#') {
                "the file holds nothing but comments"
            } else {
                "the file is empty"
            };
            report.add(source.start(), message, format!("expected {expected}"));
            None
        }
        None => None,
    };
    let problems = report.finish();
    (decoded.filter(|_| problems.is_empty()), problems)
}

#[cfg(test)]
mod tests {
    use super::parse::{Kind, Meaning, Node};
    use super::*;
    use proptest::prelude::*;

    /// The document as lines of meaning and place, then its problems.
    fn outline(bytes: &[u8]) -> String {
        fn describe(node: &Node, depth: usize, text: &str, lines: &mut Vec<String>) {
            let written = text.get(node.span.start..node.span.end).unwrap_or("OUTSIDE");
            let what = match &node.kind {
                Kind::Sequence(_) => "list".to_owned(),
                Kind::Mapping(_) => "mapping".to_owned(),
                Kind::Scalar(scalar) => match scalar.meaning() {
                    Meaning::Text => format!("text {:?}", scalar.text),
                    meaning => format!("{meaning:?}"),
                },
            };
            lines.push(format!("{}{what} at {written:?}", "  ".repeat(depth)));
            match &node.kind {
                Kind::Scalar(_) => {}
                Kind::Sequence(items) => items.iter().for_each(|item| describe(item, depth + 1, text, lines)),
                Kind::Mapping(entries) => entries.iter().for_each(|(key, value)| {
                    describe(key, depth + 1, text, lines);
                    describe(value, depth + 2, text, lines);
                }),
            }
        }
        let text = String::from_utf8_lossy(bytes);
        let source = Source::new("yaml", "test.yaml", &text);
        let mut report = Report::new(&source, Limits::BY_HAND);
        let mut lines = Vec::new();
        if let Some(root) = parse::parse(&source, &mut report) {
            describe(&root, 0, &text, &mut lines);
        }
        lines.extend(report.finish().iter().map(ToString::to_string));
        lines.join("\n")
    }

    /// What someone sees who expects nothing of the document but that it can be read.
    fn problems(bytes: &[u8]) -> String {
        let (_, problems) = read("yaml", "test.yaml", bytes, "anything", |_| Ok(()));
        told(&problems)
    }

    fn told(problems: &[Problem]) -> String {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    fn snapshot(name: &str, text: &str) {
        insta::with_settings!({omit_expression => true}, { insta::assert_snapshot!(name, text) });
    }

    #[test]
    fn a_document_knows_its_places() {
        snapshot("places", &outline(b"\xef\xbb\xbfa: b\r\nn\xc3\xa4me: [1, 'x y', {k: true, l}]\r\nempty:\r\nsub:\r\n  - 1.5\r\n  - |\r\n    text\r\n"));
        snapshot("aliases", &outline(b"one: &x {a: 1}\ntwo: *x\nthree: [&y [], *y]\n"));
    }

    #[test]
    fn what_is_no_document_is_told() {
        let cases: &[&[u8]] = &[
            b"",
            b"# only a comment\n",
            b"\xef\xbb\xbf",
            b"a: 1\nb\xff: 2\n",
            b"a: 1\n---\nb: 2\n",
            b"a:\n\tb: 1\n",
            b"a:\n  b: 1\n\tc: 2\n",
            b"a:\n  b: [1,\n\t2\n  c: 2\n",
            b"a:\n  - b: 1\n  \t- c: 2\n",
            b"a: [1, 2\nb: 3\n",
            b"a: {b: 1]\n",
            b"a: 'x\nb: 1\n",
            b"a: @b\n",
            b"a: *b\n",
            b"a: &a [*a]\n",
            b"a: b: c\n",
            b"a: 1\n  b: 2\n",
            b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n",
            b"a: 1\na: 2\nb: 1\n\"a\": 3\n",
            b"[a, b]: 1\n",
            b"a: !!str 1\nb: !secret x\n",
            b"a: \0\n",
        ];
        let told: Vec<_> = cases
            .iter()
            .map(|case| format!("{:?}\n{}", String::from_utf8_lossy(case), problems(case)))
            .collect();
        snapshot("no_document", &told.join("\n\n"));
    }

    #[test]
    fn limits_hold() {
        assert!(problems("[".repeat(100).as_bytes()).contains("nested more than 32 levels deep"));
        assert!(problems("[".repeat(100_000).as_bytes()).contains("nested too deep"));
        let block = (0..40)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect::<String>();
        assert!(problems(block.as_bytes()).contains("nested more than 32 levels deep"));
        let aliases = (1..30).map(|line| format!("a{line}: &a{line} [*a{}, *a{}]\n", line - 1, line - 1));
        let laughs = format!("a0: &a0 [x, x]\n{}", aliases.collect::<String>());
        assert!(problems(laughs.as_bytes()).contains("larger than 8 MiB with its aliases"));
        let chain = (1..40).map(|line| format!("a{line}: &a{line} [*a{}]\n", line - 1));
        let chain = format!("a0: &a0 [x]\n{}", chain.collect::<String>());
        assert!(problems(chain.as_bytes()).contains("nested more than 32 levels deep"));
        assert!(problems(&vec![b'a'; TEXT_LIMIT_BYTES + 1]).contains("the file is too large"));
        assert_eq!(problems(&vec![b'a'; TEXT_LIMIT_BYTES]), "");
        let (_, found) = read(
            "yaml",
            "test.yaml",
            format!("[{}]", "x, ".repeat(1001)).as_bytes(),
            "anything",
            |value| value.list(Value::text).map(|_| ()),
        );
        assert_eq!(
            told(&found).lines().next(),
            Some("error[yaml]: 1001 items are too many")
        );
        let many = (0..1000).map(|_| "a: 1\n").collect::<String>();
        let (_, found) = read("yaml", "test.yaml", many.as_bytes(), "anything", |_| Ok(()));
        assert_eq!(found.len(), 200);
        assert_eq!(
            found.last().and_then(|problem| problem.hint.clone()).as_deref(),
            Some("mend these first: 799 more problems are not shown")
        );
    }

    #[derive(Debug, PartialEq)]
    struct Sample {
        name: String,
        count: u16,
        items: Vec<String>,
        variables: Vec<(String, String)>,
    }

    fn sample(value: Value<'_>) -> Decoded<Sample> {
        value.fields("a sample", &["name", "count", "items", "variables"], |fields| {
            let name = fields.required("name", "any text", Value::filled_text);
            let count = fields.or("count", 1, |value| value.integer(0..=500));
            let items = fields.or("items", Vec::new(), |value| {
                value.list(|item| item.word().map(str::to_owned))
            });
            let variables = fields.or("variables", Vec::new(), |value| {
                value.entries(|name, value| Ok((name.text()?.to_owned(), value.word()?.to_owned())))
            });
            Ok(Sample {
                name: name?.to_owned(),
                count: count?,
                items: items?,
                variables: variables?,
            })
        })
    }

    #[test]
    fn a_decoder_finds_every_problem_at_once() {
        let read_sample = |text: &str| read("yaml", "test.yaml", text.as_bytes(), "a sample", sample);
        let text = "name: x\ncount: 2\nitems: [a, 1.50]\nvariables: {A: 1, B: \"yes\"}\n";
        let expected = Sample {
            name: "x".to_owned(),
            count: 2,
            items: vec!["a".to_owned(), "1.50".to_owned()],
            variables: vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "yes".to_owned())],
        };
        assert_eq!(read_sample(text), (Some(expected), Vec::new()));

        let text =
            "coutn: 3\ncount: 501\nitems: [[], {}, null, true]\nvariables: {A: [1], 2: x}\n<<: {a: 1}\nother: 1\n";
        let (found, problems) = read_sample(text);
        assert_eq!(found, None);
        snapshot(
            "every_problem",
            &problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        );

        let (_, problems) = read_sample("count: 501\nitems: [\n");
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages.len(),
            2,
            "a missing key is no problem of a file that ends early: {messages:?}"
        );
    }

    fn every_type(value: Value<'_>) -> Decoded<()> {
        if value.is_mapping() {
            return value
                .entries(|key, value| every_type(key).and(every_type(value)))
                .map(|_| ());
        }
        if value.is_list() {
            return value.list(every_type).map(|_| ());
        }
        let _ = (
            value.text(),
            value.word(),
            value.filled_text(),
            value.boolean(),
            value.integer(-5..=7u8.into()),
        );
        let _ = (
            value.duration(std::time::Duration::from_secs(60)),
            value.size_bytes(1..=1 << 40),
            value.file_mode(),
        );
        let _ = (
            value.relative_path("the project"),
            value.one_of("name", &[("a", 1), ("bcd", 2)]),
        );
        let _ = (value.list(Value::text), value.entries(|_, _| Ok(())), sample(value));
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn any_text_gets_an_answer_with_places_inside_of_it(
            text in prop_oneof![
                "\\PC{0,80}",
                "[ \\n\\t\\r:,\\[\\]{}\"'&*!|>%@`?#~ab1.ä日-]{0,80}",
                "([a-c]: |- |\\[|\\]|\\{|\\}|, |\\n|  |&a |\\*a|\\? |\\|\n|---\n|\\.\\.\\.\n|\r\n|\"|'|ü|%YAML 1.2\n|\u{feff}){0,30}",
            ],
        ) {
            let described = outline(text.as_bytes());
            prop_assert!(!described.contains("OUTSIDE"), "{}", described);
            let (value, problems) = read("yaml", "test.yaml", text.as_bytes(), "anything", every_type);
            prop_assert_eq!(value.is_some(), problems.is_empty());
            let lines: Vec<&str> = text.split(['\n', '\r']).collect();
            for problem in problems {
                let excerpt = problem.excerpt.clone().ok_or_else(|| TestCaseError::fail("no place"))?;
                prop_assert!(excerpt.line >= 1 && excerpt.line <= lines.len(), "{}", problem);
                let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
                prop_assert!(excerpt.column + excerpt.length <= longest + 1, "{}", problem);
                prop_assert!(problem.hint.is_some() || !excerpt.label.is_empty(), "{}", problem);
            }
        }

        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let (value, problems) = read("yaml", "test.yaml", &bytes, "anything", every_type);
            prop_assert_eq!(value.is_some(), problems.is_empty());
        }

        #[test]
        fn a_text_is_where_its_place_says(
            words in proptest::collection::vec("[a-zäöü日][a-z0-9äöü日]{0,6}", 1..8),
            is_flow: bool,
            end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        ) {
            let text = match is_flow {
                true => format!("{{k: [{}]}}{end}", words.join(&format!(",{end} "))),
                false => format!("k:{end}{}", words.iter().map(|word| format!("  - {word}{end}")).collect::<String>()),
            };
            let mut seen = Vec::new();
            let collect = |value: Value<'_>| value.entries(|_, list| list.list(|item| {
                seen.push(item.report("here", ""));
                Ok(())
            }));
            let (_, problems) = read("yaml", "test.yaml", text.as_bytes(), "anything", collect);
            prop_assert_eq!(problems.len(), words.len());
            let lines: Vec<&str> = text.split(end).collect();
            for (problem, word) in problems.iter().zip(&words) {
                let excerpt = problem.excerpt.clone().ok_or_else(|| TestCaseError::fail("no place"))?;
                let written: String = lines[excerpt.line - 1].chars().skip(excerpt.column - 1).take(excerpt.length).collect();
                prop_assert_eq!(&written, word);
            }
        }
    }
}
