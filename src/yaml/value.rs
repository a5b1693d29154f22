//! Values as decoders see them: a node, and where its problems go.

use crate::nearest::nearest;

use super::Limits;
use super::parse::{Kind, Meaning, Node, Scalar, parse};
use super::report::{Decoded, Report, Reported};
use super::source::Source;

/// A value of a document. It can be copied and kept, to report later what is wrong with it in the light of others.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    node: &'a Node,
    /// The key that it is the value of.
    key: Option<&'a Node>,
    report: &'a Report<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn root(node: &'a Node, report: &'a Report<'a>) -> Self {
        Self {
            node,
            key: None,
            report,
        }
    }

    /// Reports that something is wrong with this value. `label` stands next to the underlined value, and says what is
    /// expected or what to do.
    pub fn report(&self, message: impl AsRef<str>, label: impl AsRef<str>) -> Reported {
        self.report.add(self.node.span, message, label)
    }

    /// Reports that something is absent in this value, at its key where it has one. Nothing is reported when the file
    /// could not be read to its end, as it may stand there.
    pub fn report_absent(&self, message: impl AsRef<str>, label: impl AsRef<str>) -> Reported {
        if self.is_complete() {
            self.report
                .add(self.key.map_or(self.node.span, |key| key.span), message, label);
        }
        Reported
    }

    /// Whether the file could be read to its end, so that what has not been seen is not there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.report.is_complete()
    }

    /// The line it starts in, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.report.source.line(self.node.span.start)
    }

    /// Where it begins, as problems tell it: `lockstep.yaml:7:12`.
    #[must_use]
    pub fn place(&self) -> String {
        self.report.source.place(self.node.span)
    }

    /// Whether it is a mapping.
    #[must_use]
    pub fn is_mapping(&self) -> bool {
        matches!(self.node.kind, Kind::Mapping(_))
    }

    /// Whether there is nothing, as behind a key without a value.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.meaning() == Meaning::Nothing)
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.node.kind, Kind::Sequence(_))
    }

    /// The keys of a mapping, in the order in which they are written; nothing is reported.
    #[must_use]
    pub fn keys(&self) -> Vec<&'a str> {
        match &self.node.kind {
            Kind::Mapping(entries) => entries.iter().filter_map(|(key, _)| key.text()).collect(),
            Kind::Scalar(_) | Kind::Sequence(_) => Vec::new(),
        }
    }

    /// The value of a key, when this is a mapping that has it; nothing is reported.
    #[must_use]
    pub fn child(&self, key: &str) -> Option<Value<'a>> {
        let Kind::Mapping(entries) = &self.node.kind else {
            return None;
        };
        let (key, node) = entries.iter().find(|(node, _)| node.text() == Some(key))?;
        Some(Value {
            node,
            key: Some(key),
            report: self.report,
        })
    }

    /// The values of a mapping that are no collections, as they are written; nothing is reported.
    #[must_use]
    pub fn words(&self) -> Vec<&'a str> {
        match &self.node.kind {
            Kind::Mapping(entries) => entries.iter().filter_map(|(_, value)| value.text()).collect(),
            Kind::Scalar(_) | Kind::Sequence(_) => Vec::new(),
        }
    }

    /// What is written, when it is no collection; nothing is reported.
    #[must_use]
    pub fn scalar_text(&self) -> Option<&'a str> {
        self.node.text()
    }

    /// Whether a text stands in it somewhere, keys left out; nothing is reported.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        let of = |node| Value { node, ..*self };
        match &self.node.kind {
            Kind::Scalar(scalar) => scalar.text.contains(text),
            Kind::Sequence(items) => items.iter().any(|node| of(node).mentions(text)),
            Kind::Mapping(entries) => entries.iter().any(|(_, node)| of(node).mentions(text)),
        }
    }

    /// What it is, for people.
    pub(super) fn found(&self) -> String {
        match &self.node.kind {
            Kind::Sequence(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
            Kind::Scalar(scalar) => match scalar.meaning() {
                Meaning::Nothing => "nothing".to_owned(),
                Meaning::Boolean(value) => format!("the boolean {value}"),
                Meaning::Integer(_) | Meaning::Fraction => format!("the number {}", scalar.text),
                Meaning::Text => "text".to_owned(),
            },
        }
    }

    pub(super) fn scalar(&self) -> Option<&'a Scalar> {
        match &self.node.kind {
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        }
    }

    /// Reports that it is of another type than expected.
    pub(super) fn report_type(&self, expected: &str, label: impl AsRef<str>) -> Reported {
        let message = match self.key.and_then(|key| Value { node: key, ..*self }.scalar()) {
            Some(key) => format!("`{}` must be {expected}, found {}", key.text, self.found()),
            None => format!("expected {expected}, found {}", self.found()),
        };
        self.report(message, label)
    }

    fn limit(&self, count: usize) -> Decoded<()> {
        let limit = self.report.limits.items_count;
        if count > limit {
            let label = format!("write at most {limit}");
            return Err(self.report(format!("{count} items are too many"), label));
        }
        Ok(())
    }

    /// Decodes a list: every item, so that all problems are found.
    ///
    /// # Errors
    /// When it is no list, or an item could not be decoded.
    pub fn list<T>(&self, mut decode: impl FnMut(Value<'a>) -> Decoded<T>) -> Decoded<Vec<T>> {
        let Kind::Sequence(items) = &self.node.kind else {
            let label = match &self.node.kind {
                Kind::Scalar(scalar) if !scalar.text.is_empty() && !scalar.text.contains(char::is_whitespace) => {
                    format!("write `[{}]`", scalar.text)
                }
                _ => "write items in `[` `]`, or one a line after `- `".to_owned(),
            };
            return Err(self.report_type("a list", label));
        };
        self.limit(items.len())?;
        let decoded: Vec<_> = items
            .iter()
            .map(|node| {
                decode(Value {
                    node,
                    key: None,
                    report: self.report,
                })
            })
            .collect();
        decoded.into_iter().collect()
    }

    /// Decodes a mapping whose keys are free: `decode` takes each key and its value, in the order in which they are
    /// written.
    ///
    /// # Errors
    /// When it is no mapping, or an entry could not be decoded.
    pub fn entries<T>(&self, mut decode: impl FnMut(Value<'a>, Value<'a>) -> Decoded<T>) -> Decoded<Vec<T>> {
        let Kind::Mapping(entries) = &self.node.kind else {
            return Err(self.report_type("a mapping", "write `name: value`, one a line"));
        };
        self.limit(entries.len())?;
        let decoded: Vec<_> = entries
            .iter()
            .map(|(key, node)| {
                decode(
                    Value {
                        node: key,
                        key: None,
                        report: self.report,
                    },
                    Value {
                        node,
                        key: Some(key),
                        report: self.report,
                    },
                )
            })
            .collect();
        decoded.into_iter().collect()
    }

    /// Decodes a mapping that may have `keys` and no others. `what` is what it describes, with its article.
    ///
    /// # Errors
    /// When it is no mapping, has other keys, or `decode` fails.
    pub fn fields<T>(
        &self,
        what: &str,
        keys: &'static [&'static str],
        decode: impl FnOnce(Fields<'a, '_>) -> Decoded<T>,
    ) -> Decoded<T> {
        let Kind::Mapping(entries) = &self.node.kind else {
            let expected = format!("a mapping that describes {what}");
            return Err(self.report_type(&expected, format!("expected the keys {}", enumerate(keys))));
        };
        self.limit(entries.len())?;
        let mut result = Ok(());
        let mut misspelled = Vec::new();
        for (node, _) in entries {
            let key = Value {
                node,
                key: None,
                report: self.report,
            };
            let text = node.text().unwrap_or_default();
            if !keys.contains(&text) {
                let meant = nearest(text, keys.iter().copied());
                result = Err(key.report(format!("unknown key `{text}`"), suggest(text, meant, keys, what)));
                misspelled.extend(meant);
            }
        }
        let decoded = decode(Fields {
            value: *self,
            what,
            keys,
            entries,
            misspelled: &misspelled,
        });
        result.and(decoded)
    }
}

/// The line, counted from 1, of what `path` leads to from the root of the document in `text`: keys of mappings, and
/// numbers of list items, counted from 0. Where the path ends early, the line of the last that is there.
#[must_use]
pub fn line_of(text: &str, path: &[impl AsRef<str>], limits: Limits) -> usize {
    let source = Source::new("", "", text);
    let mut report = Report::new(&source, limits);
    let mut line = 1;
    let Some(root) = parse(&source, &mut report) else {
        return line;
    };
    let mut node = &root;
    for step in path {
        let step = step.as_ref();
        let next = match &node.kind {
            Kind::Mapping(entries) => entries
                .iter()
                .find(|(key, _)| key.text() == Some(step))
                .map(|(key, value)| (key.span, value)),
            Kind::Sequence(items) => step
                .parse()
                .ok()
                .and_then(|number: usize| items.get(number))
                .map(|item| (item.span, item)),
            Kind::Scalar(_) => None,
        };
        let Some((span, child)) = next else { break };
        line = source.line(span.start);
        node = child;
    }
    line
}

/// What to write instead of a key that is not known.
fn suggest(text: &str, meant: Option<&str>, keys: &[&str], what: &str) -> String {
    match meant {
        Some(key) => format!("did you mean `{key}`?"),
        None if text == "<<" => "merge keys are not part of YAML 1.2; write the keys out, or use an alias".to_owned(),
        None => format!("{what} has the keys {}", enumerate(keys)),
    }
}

/// `a`, `b` and `c`.
pub(super) fn enumerate(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}

/// The entries of a mapping whose keys are fixed.
#[derive(Clone, Copy)]
pub struct Fields<'a, 'k> {
    value: Value<'a>,
    what: &'k str,
    keys: &'static [&'static str],
    entries: &'a [(Node, Node)],
    /// The keys that unknown ones were probably meant to be; their absence is no problem of its own.
    misspelled: &'k [&'k str],
}

impl<'a> Fields<'a, '_> {
    /// The mapping itself.
    #[must_use]
    pub fn value(&self) -> Value<'a> {
        self.value
    }

    /// The value of `key`, when it is there.
    #[must_use]
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(
            self.keys.contains(&key),
            "`{key}` is not among the keys of {}",
            self.what
        );
        self.entries
            .iter()
            .find(|(node, _)| matches!(&node.kind, Kind::Scalar(scalar) if scalar.text == key))
            .map(|(key, node)| Value {
                node,
                key: Some(key),
                report: self.value.report,
            })
    }

    /// The value of a key that must be there; `meaning` says what to write.
    ///
    /// # Errors
    /// When it is missing, or `decode` fails.
    pub fn required<T>(
        &self,
        key: &'static str,
        meaning: &str,
        decode: impl FnOnce(Value<'a>) -> Decoded<T>,
    ) -> Decoded<T> {
        match self.get(key) {
            Some(value) => decode(value),
            None if self.misspelled.contains(&key) => Err(Reported),
            None => {
                let message = format!("the key `{key}` is missing: {} needs it", self.what);
                Err(self
                    .value
                    .report_absent(message, format!("add `{key}:` with {meaning}")))
            }
        }
    }

    /// The value of a key that may be left out.
    ///
    /// # Errors
    /// When it is there and `decode` fails.
    pub fn optional<T>(&self, key: &'static str, decode: impl FnOnce(Value<'a>) -> Decoded<T>) -> Decoded<Option<T>> {
        self.get(key).map(decode).transpose()
    }

    /// The value of a key, or a default when it is left out.
    ///
    /// # Errors
    /// When it is there and `decode` fails.
    pub fn or<T>(&self, key: &'static str, default: T, decode: impl FnOnce(Value<'a>) -> Decoded<T>) -> Decoded<T> {
        self.get(key).map_or(Ok(default), decode)
    }

    /// Which one of `keys` is there, and its value.
    ///
    /// # Errors
    /// When none is there, or several are.
    pub fn exactly_one(&self, keys: &[&'static str]) -> Decoded<(&'static str, Value<'a>)> {
        let mut present = keys.iter().filter_map(|key| Some((*key, self.get(key)?)));
        let Some(first) = present.next() else {
            if keys.iter().any(|key| self.misspelled.contains(key)) {
                return Err(Reported);
            }
            let message = format!("{} needs one of the keys {}", self.what, enumerate(keys));
            return Err(self.value.report_absent(message, "none of them is here"));
        };
        let others: Vec<_> = present
            .map(|(key, value)| {
                let message = format!("`{}` and `{key}` exclude each other", first.0);
                let place = Value {
                    node: value.key.unwrap_or(value.node),
                    ..value
                };
                place.report(message, format!("{} takes only one of {}", self.what, enumerate(keys)))
            })
            .collect();
        others.last().map_or(Ok(first), |reported| Err(*reported))
    }
}
