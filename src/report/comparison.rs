//! What `image diff` prints for people: packages first, then settings, then files.

use std::fmt::Write as _;

use console::style;

use crate::comparison::{
    Aspect, Comparison, Difference, FileDifference, PackageDifference, PartDifference, SettingDifference,
};
use crate::counted::counted;
use crate::problem::one_line;

/// How many files are told one by one, unless all are asked for; scripts get them all.
const FILES_SHOWN_COUNT: usize = 200;
/// The width of labels.
const LABEL_COLUMNS: usize = 8;

/// In what two differ, for people.
#[must_use]
pub fn render_comparison(comparison: &Comparison, all: bool) -> String {
    let mut text = String::new();
    let name = |name: &str| style(one_line(name)).bold();
    let _ = writeln!(text, " A {}\n B {}\n", name(&comparison.a), name(&comparison.b));
    let mut section = |label: &str, lines: Vec<String>| {
        for (place, line) in lines.iter().enumerate() {
            let label = if place == 0 { label } else { "" };
            let _ = writeln!(text, "   {label:<LABEL_COLUMNS$}  {line}");
        }
        if !lines.is_empty() {
            text.push('\n');
        }
    };
    section("packages", comparison.packages.iter().map(package).collect());
    section("config", comparison.config.iter().map(setting).collect());
    let limit = if all { usize::MAX } else { FILES_SHOWN_COUNT };
    section("files", file_lines(comparison, limit));
    if comparison.same {
        let _ = writeln!(text, " the same: {}", counted(comparison.compared, "path"));
    } else {
        let counts = [
            (comparison.packages.len(), "package"),
            (comparison.config.len(), "setting"),
            (differing_files(comparison), "file"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, noun)| counted(count, noun)).collect();
        let compared = counted(comparison.compared, "path");
        let _ = writeln!(text, " different: {} of {compared}", counts.join(", "));
    }
    text
}

/// What differs as few lines as say it: packages, else settings and files; `limit` of each.
#[must_use]
pub fn summarised_comparison(comparison: &Comparison, limit: usize) -> Vec<String> {
    if !comparison.packages.is_empty() {
        return limited(comparison.packages.iter().map(package).collect(), limit);
    }
    let mut lines = limited(comparison.config.iter().map(setting).collect(), limit);
    lines.extend(file_lines(comparison, limit));
    lines
}

fn limited(mut lines: Vec<String>, limit: usize) -> Vec<String> {
    let more = lines.len().saturating_sub(limit);
    lines.truncate(limit);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

fn differing_files(comparison: &Comparison) -> usize {
    comparison.files.len() + comparison.files_of_packages + comparison.files_left_out
}

/// Files, with what is in directories that only one has counted.
fn file_lines(comparison: &Comparison, limit: usize) -> Vec<String> {
    let (mut lines, mut shown, mut told) = (Vec::new(), 0, 0);
    let mut files = comparison.files.iter().peekable();
    while let Some(file) = files.next() {
        if shown == limit {
            break;
        }
        let mut below = 0;
        let directory = format!("{}/", file.path);
        while is_only_in_one(file) && files.next_if(|next| is_below(next, file, &directory)).is_some() {
            below += 1;
        }
        shown += 1;
        told += 1 + below;
        let below = (below > 0).then(|| format!(", and {below} below"));
        let differences: Vec<String> = file.differences.iter().map(difference).collect();
        lines.push(format!(
            "{}  {}{}",
            one_line(&file.path),
            style(differences.join(" · ")).dim(),
            below.unwrap_or_default()
        ));
        let parts = file.differences.iter().flat_map(|difference| &difference.parts);
        lines.extend(parts.map(part));
    }
    let more = comparison.files.len() - told + comparison.files_left_out;
    if more > 0 {
        lines.push(format!("and {more} more (--all tells them)"));
    }
    if comparison.files_of_packages > 0 {
        let files = counted(comparison.files_of_packages, "file");
        lines.push(format!("and {files} of these packages (--all tells them)"));
    }
    lines
}

fn is_only_in_one(file: &FileDifference) -> bool {
    matches!(&file.differences[..], [one] if one.what == Aspect::Presence)
}

/// Whether a file is in a directory that only one has, and is itself in that one.
fn is_below(file: &FileDifference, above: &FileDifference, directory: &str) -> bool {
    let side = |file: &FileDifference| file.differences.first().map(|difference| difference.a.is_some());
    file.path.starts_with(directory) && is_only_in_one(file) && side(file) == side(above)
}

/// `A -> B`, or what only one has.
fn change(a: Option<&String>, b: Option<&String>) -> String {
    match (a, b) {
        (Some(a), Some(b)) => format!("{} -> {}", one_line(a), one_line(b)),
        (Some(a), None) => format!("{} -> none", one_line(a)),
        (None, Some(b)) => format!("none -> {}", one_line(b)),
        (None, None) => "differs".to_owned(),
    }
}

fn only(a: Option<&String>, b: Option<&String>) -> Option<String> {
    match (a, b) {
        (Some(a), None) => Some(format!("{} only in A", one_line(a))),
        (None, Some(b)) => Some(format!("{} only in B", one_line(b))),
        _ => None,
    }
}

fn package(package: &PackageDifference) -> String {
    let (a, b) = (package.a.as_ref(), package.b.as_ref());
    let versions = only(a, b).unwrap_or_else(|| change(a, b));
    format!("{} {versions}", one_line(&package.name))
}

fn setting(setting: &SettingDifference) -> String {
    let change = change(setting.a.as_ref(), setting.b.as_ref());
    format!("{}: {change}", one_line(&setting.key))
}

fn difference(difference: &Difference) -> String {
    let (a, b) = (difference.a.as_ref(), difference.b.as_ref());
    let what = match difference.what {
        Aspect::Presence => return only(a, b).unwrap_or_default(),
        Aspect::Kind => "kind",
        Aspect::Content => {
            let from = difference.offset.map(|offset| format!(" from byte {offset}"));
            let sizes = match a == b {
                true => a.map(|a| format!(" of {a}")),
                false => Some(format!(", {}", change(a, b))),
            };
            return format!("content{}{}", from.unwrap_or_default(), sizes.unwrap_or_default());
        }
        Aspect::Target => "target",
        Aspect::Name => match (a, b) {
            (Some(a), None) => return format!("another name of {} in A", one_line(a)),
            (None, Some(b)) => return format!("another name of {} in B", one_line(b)),
            _ => "another name of",
        },
        Aspect::Device => "device",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Attribute => difference.name.as_deref().unwrap_or("attribute"),
        Aspect::Time => "time",
    };
    format!("{what} {}", change(a, b))
}

pub(super) fn part(part: &PartDifference) -> String {
    let mut line = format!("  {}", one_line(&part.part));
    if part.a.is_some() || part.b.is_some() {
        let (a, b) = (part.a.as_ref(), part.b.as_ref());
        let _ = write!(line, "  {}", only(a, b).unwrap_or_else(|| change(a, b)));
    }
    if !part.symbols.is_empty() {
        let _ = write!(line, "  in {}", one_line(&part.symbols.join(", ")));
    }
    if part.more_symbols > 0 {
        let _ = write!(line, " and {} more", part.more_symbols);
    }
    line
}
