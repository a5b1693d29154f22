//! YAML text into a tree that knows its places, within limits.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::number;
use super::report::Report;
use super::source::{Source, Span};

/// How deep lists and mappings may be nested.
const DEPTH_LIMIT_LEVELS: usize = 32;
/// What a node counts for besides its text.
const NODE_BYTES: usize = 32;

/// A value of a document.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it is written; for one that is left out, its key's place.
    pub(super) span: Span,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    /// Keys are scalars, each there once.
    Mapping(Vec<(Node, Node)>),
}

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Without quotes, so that it may be something else than text.
    is_plain: bool,
}

/// What a scalar means by the core schema (YAML 1.2.2, section 10.3.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    Nothing,
    Boolean(bool),
    /// An integer, when it fits into 64 bits.
    Integer(Option<i64>),
    Fraction,
    Text,
}

impl Node {
    /// What is written there, when it is no collection.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        }
    }
}

impl Scalar {
    pub(super) fn meaning(&self) -> Meaning {
        if !self.is_plain {
            return Meaning::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Meaning::Nothing,
            "true" | "True" | "TRUE" => Meaning::Boolean(true),
            "false" | "False" | "FALSE" => Meaning::Boolean(false),
            text if number::is_integer(text) => Meaning::Integer(number::integer(text)),
            text if number::is_fraction(text) => Meaning::Fraction,
            _ => Meaning::Text,
        }
    }
}

/// The root of the only document in `source`; none when there is none. When the text ends early because something in it
/// is wrong, the tree holds what came before, and the report knows.
pub(super) fn parse(source: &Source<'_>, report: &mut Report<'_>) -> Option<Node> {
    let (content, offset) = source.content();
    let places = Places::new(content, offset);
    let mut builder = Builder {
        report: &*report,
        open: Vec::new(),
        anchors: BTreeMap::new(),
        root: None,
        budget: report.limits.expanded_bytes,
    };
    let is_complete = builder.run(content, &places).is_ok();
    let root = builder.close_all();
    if !is_complete {
        report.set_incomplete();
    }
    root.filter(|root| !matches!(&root.kind, Kind::Scalar(scalar) if scalar.meaning() == Meaning::Nothing))
}

/// The rest of the text cannot be read; the reason has been reported.
struct Stop;

/// From the parser's count of characters to bytes.
struct Places {
    /// The offset of each character, when they are not one byte each.
    offsets: Option<Vec<usize>>,
    length: usize,
    offset: usize,
}

impl Places {
    fn new(content: &str, offset: usize) -> Self {
        let offsets = (!content.is_ascii()).then(|| content.char_indices().map(|(offset, _)| offset).collect());
        Self {
            offsets,
            length: content.len(),
            offset,
        }
    }

    fn byte(&self, marker: Marker) -> usize {
        let byte = match &self.offsets {
            None => marker.index().min(self.length),
            Some(offsets) => offsets.get(marker.index()).copied().unwrap_or(self.length),
        };
        byte + self.offset
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start);
        Span {
            start,
            end: self.byte(span.end).max(start),
        }
    }
}

/// A list or mapping whose end has not come yet.
struct Open {
    start: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<(Node, Node)>,
        key: Option<Node>,
        lines: BTreeMap<String, usize>,
    },
}

struct Builder<'a> {
    report: &'a Report<'a>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    /// What the document may still grow by, in bytes.
    budget: usize,
}

impl Builder<'_> {
    fn run(&mut self, content: &str, places: &Places) -> Result<(), Stop> {
        for event in Parser::new_from_str(content) {
            let (event, span) = event.map_err(|error| self.stop_at_error(&error, places))?;
            let span = places.span(span);
            self.step(event, span)?;
        }
        Ok(())
    }

    fn step(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                let is_plain = style == ScalarStyle::Plain;
                // The parser places a value that is left out at whatever comes next.
                let is_left_out = is_plain && text.is_empty();
                let span = if is_left_out {
                    self.last_key().unwrap_or(Span {
                        end: span.start,
                        ..span
                    })
                } else {
                    span
                };
                let node = Node {
                    span,
                    kind: Kind::Scalar(Scalar {
                        text: text.into_owned(),
                        is_plain,
                    }),
                };
                self.spend(weight(&node), span)?;
                self.place(node, anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                self.open(span, anchor, Content::Sequence(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                let content = Content::Mapping {
                    entries: Vec::new(),
                    key: None,
                    lines: BTreeMap::new(),
                };
                self.open(span, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    // Only brackets have a place of their own.
                    self.close(open, (span.end > span.start).then_some(span.end));
                }
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    let label = "an alias cannot stand inside of what it stands for";
                    self.report.add(span, "the alias refers to itself", label);
                    return Err(Stop);
                };
                node.span = span;
                if self.open.len() + depth(&node) > DEPTH_LIMIT_LEVELS {
                    return Err(self.stop_too_deep(span));
                }
                self.spend(weight(&node), span)?;
                self.place(node, 0);
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                let label = "only one document is read; remove it, or put it into a file of its own";
                self.report.add(span, "a second document starts here", label);
                return Err(Stop);
            }
            Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(())
    }

    fn stop_at_error(&self, error: &ScanError, places: &Places) -> Stop {
        let start = places.byte(*error.marker());
        // The parser stops where it was before it saw the tab, which may be a line above.
        let is_of_tab = error.info().contains("tab");
        if let Some(tab) = self.report.source.indenting_tab(start).filter(|_| is_of_tab) {
            let message = "failed to parse the file as YAML: this line is indented with a tab";
            self.report.add(tab, message, "indent with spaces");
            return Stop;
        }
        let message = format!("failed to parse the file as YAML: {}", error.info().replace('\'', "`"));
        self.report
            .add(Span { start, end: start }, message, syntax_label(error.info()));
        Stop
    }

    fn stop_too_deep(&self, span: Span) -> Stop {
        let message = format!("lists and mappings are nested more than {DEPTH_LIMIT_LEVELS} levels deep");
        self.report.add(span, message, "nothing in this file needs that");
        Stop
    }

    fn refuse_tag(&self, tag: Option<&Tag>, span: Span) {
        if tag.is_some() {
            let label = "remove the tag; put a value in quotes to make it text";
            self.report.add(span, "a tag has no meaning here", label);
        }
    }

    fn last_key(&self) -> Option<Span> {
        match &self.open.last()?.content {
            Content::Mapping { key: Some(key), .. } => Some(key.span),
            _ => None,
        }
    }

    /// Takes what something at `span` counts for from the budget.
    fn spend(&mut self, bytes: usize, span: Span) -> Result<(), Stop> {
        match self.budget.checked_sub(bytes) {
            Some(budget) => {
                self.budget = budget;
                Ok(())
            }
            None => {
                let message = format!(
                    "the document is larger than {} MiB with its aliases",
                    self.report.limits.expanded_bytes >> 20
                );
                self.report.add(span, message, "this goes beyond it");
                Err(Stop)
            }
        }
    }

    fn open(&mut self, span: Span, anchor: usize, content: Content) -> Result<(), Stop> {
        if self.open.len() >= DEPTH_LIMIT_LEVELS {
            return Err(self.stop_too_deep(span));
        }
        self.open.push(Open {
            start: span.start,
            anchor,
            content,
        });
        self.spend(NODE_BYTES, span)
    }

    /// Completes a list or mapping; `end` is where the parser says that it ends.
    fn close(&mut self, open: Open, end: Option<usize>) {
        let last = match &open.content {
            Content::Sequence(items) => items.last().map(|item| item.span.end),
            Content::Mapping { entries, .. } => entries.last().map(|(key, value)| value.span.end.max(key.span.end)),
        };
        let end = end.or(last).unwrap_or(open.start).max(open.start);
        let kind = match open.content {
            Content::Sequence(items) => Kind::Sequence(items),
            Content::Mapping { entries, .. } => Kind::Mapping(entries),
        };
        self.place(
            Node {
                span: Span { start: open.start, end },
                kind,
            },
            open.anchor,
        );
    }

    /// What there is when no more comes.
    fn close_all(mut self) -> Option<Node> {
        while let Some(open) = self.open.pop() {
            self.close(open, None);
        }
        self.root
    }

    /// Puts a complete node where it belongs.
    fn place(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping { entries, key, lines }) => match key.take() {
                None => *key = Some(node),
                Some(key) => place_entry(self.report, entries, lines, key, node),
            },
        }
    }
}

fn place_entry(
    report: &Report<'_>,
    entries: &mut Vec<(Node, Node)>,
    lines: &mut BTreeMap<String, usize>,
    key: Node,
    value: Node,
) {
    let Kind::Scalar(scalar) = &key.kind else {
        report.add(
            key.span,
            "a key must be text",
            "this is a list or a mapping; put text with brackets in quotes",
        );
        return;
    };
    let line = report.source.line(key.span.start);
    if let Some(first) = lines.get(&scalar.text) {
        let label = format!("it is given on line {first} already");
        report.add(key.span, format!("the key `{}` is given twice", scalar.text), label);
    } else {
        lines.insert(scalar.text.clone(), line);
        entries.push((key, value));
    }
}

/// What to do about the parser's more frequent complaints.
fn syntax_label(info: &str) -> &'static str {
    [
        ("tabs disallowed", "indent with spaces"),
        (
            "unexpected character",
            "put text that starts with this character in quotes",
        ),
        ("unknown anchor", "no `&name` before it has the name of this `*name`"),
        (
            "mapping values are not allowed",
            "indent it as the line above, or put text with a colon in quotes",
        ),
        (
            "simple key expect",
            "a `:` is missing after the key, or the indentation is wrong",
        ),
        (
            "invalid indentation",
            "indent it as its neighbours, or close what is open before it",
        ),
        ("flow sequence", "a `,` or `]` is missing before this"),
        ("flow mapping", "a `,` or `}` is missing before this"),
        ("block mapping", "indent it as the other keys"),
        ("block collection", "indent it as its neighbours"),
        ("end of stream", "close what is open: a quote or a bracket"),
        ("recursion limit", "lists and mappings are nested too deep"),
        ("byte order mark", "remove this character"),
        ("unprintable", "remove this character"),
    ]
    .into_iter()
    .find(|(part, _)| info.contains(part))
    .map_or("the file can be read up to here", |(_, label)| label)
}

fn weight(node: &Node) -> usize {
    NODE_BYTES
        + match &node.kind {
            Kind::Scalar(scalar) => scalar.text.len(),
            Kind::Sequence(items) => items.iter().map(weight).sum(),
            Kind::Mapping(entries) => entries.iter().map(|(key, value)| weight(key) + weight(value)).sum(),
        }
}

fn depth(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar(_) => 0,
        Kind::Sequence(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Kind::Mapping(entries) => {
            1 + entries
                .iter()
                .map(|(key, value)| depth(key).max(depth(value)))
                .max()
                .unwrap_or(0)
        }
    }
}
