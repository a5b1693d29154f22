//! The marks that a merge leaves where two branches changed the same lines.

use super::report::Report;
use super::source::{Source, Span};

/// How git marks the two sides, and the common ancestor between them (git-merge(1), "How conflicts are presented").
const MARKERS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];
/// Those that stand between the sides.
const SEPARATORS: [&str; 2] = ["|||||||", "======="];

/// Reports every marker, and whether there is any. No line of a document begins like this: what is no comment and no
/// key is indented.
pub(super) fn report_markers(source: &Source<'_>, report: &Report<'_>) -> bool {
    let (content, offset) = source.content();
    let mut start = offset;
    let mut found: Vec<(Span, &str)> = Vec::new();
    for line in content.split_inclusive('\n') {
        let is_marker = |marker: &&&str| {
            line.strip_prefix(**marker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r', '\n']))
        };
        if let Some(marker) = MARKERS.iter().find(is_marker) {
            let end = start + marker.len();
            found.push((Span { start, end }, marker));
        }
        start += line.len();
    }
    // What only separates may be something else than a marker, as below a heading.
    if found.iter().all(|(_, marker)| SEPARATORS.contains(marker)) {
        return false;
    }
    for (span, marker) in found {
        let label = if marker == MARKERS[0] {
            "two branches changed this: keep one side, or bring them together, and remove the markers"
        } else {
            "this marker belongs to it"
        };
        report.add(span, "a merge left a conflict here", label);
    }
    true
}
