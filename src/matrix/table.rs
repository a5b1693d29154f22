//! The matrix for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use console::{Style, measure_text_width, style};

use super::{Cell, Matrix, Observed};
use crate::printable::printable;

/// The narrowest column of a plugin.
const COLUMN_WIDTH_COLUMNS: usize = 10;

/// The table, then every loader's words and every different answer once.
#[must_use]
pub fn render(matrix: &Matrix) -> String {
    let width = |names: &mut dyn Iterator<Item = &str>| names.map(measure_text_width).max().unwrap_or(0);
    let environment_width = width(&mut matrix.environments.iter().map(|name| name.as_str())).max("plugins".len()) + 2;
    let widths: Vec<usize> = matrix
        .plugins
        .iter()
        .map(|plugin| {
            let cells = matrix.cells.iter().filter(|cell| &cell.plugin == plugin);
            let widest = cells
                .map(|cell| measure_text_width(&cell_word(cell).0))
                .max()
                .unwrap_or(0);
            (measure_text_width(plugin).max(widest) + 2).max(COLUMN_WIDTH_COLUMNS)
        })
        .collect();
    let mut text = format!(
        " {} · every host with every plugin, in the host's runtime image: predicted = observed\n\n",
        style(&matrix.project).bold()
    );
    let _ = write!(text, " {:<environment_width$}{:<environment_width$}", "host", "plugins");
    for (plugin, width) in matrix.plugins.iter().zip(&widths) {
        let _ = write!(text, "{plugin:<width$}");
    }
    text.truncate(text.trim_end().len());
    let _ = writeln!(text);
    for host in &matrix.environments {
        for plugins in &matrix.environments {
            let _ = write!(text, " {host:<environment_width$}{plugins:<environment_width$}");
            for (plugin, width) in matrix.plugins.iter().zip(&widths) {
                let cell = matrix
                    .cells
                    .iter()
                    .find(|cell| &cell.host == host && &cell.plugins == plugins && &cell.plugin == plugin);
                let (word, colour) = cell.map_or(("-".to_owned(), Style::new()), cell_word);
                let _ = write!(text, "{}", colour.apply_to(format!("{word:<width$}")));
            }
            text.truncate(text.trim_end().len());
            let _ = writeln!(text);
        }
    }
    needs(matrix, &mut text);
    notes(matrix, &mut text);
    text
}

/// Which plugins were not alone in their cells.
fn needs(matrix: &Matrix, text: &mut String) {
    let at_home = matrix.cells.iter().filter(|cell| cell.host == cell.plugins);
    let needs: BTreeMap<&str, String> = at_home
        .filter(|cell| !cell.after.is_empty())
        .map(|cell| (cell.plugin.as_str(), cell.after.join(", ")))
        .collect();
    for (index, (plugin, others)) in needs.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let _ = writeln!(
            text,
            "{gap} {plugin} is there with {others}, without which it does not load"
        );
    }
}

/// What was predicted, and what happened; the sign between them says whether they agree.
fn cell_word(cell: &Cell) -> (String, Style) {
    let (observed, colour) = word(&cell.observed);
    match &cell.predicted {
        None => (observed.to_owned(), colour),
        Some(prediction) => {
            let sign = if cell.agrees() { "=" } else { "≠" };
            (format!("{} {sign} {observed}", prediction.verdict.word()), colour)
        }
    }
}

fn word(observed: &Observed) -> (&'static str, Style) {
    match observed {
        Observed::Loaded => ("loaded", Style::new().green()),
        Observed::Refused { .. } => ("refused", Style::new().yellow()),
        Observed::Crashed { .. } => ("crashed", Style::new().red()),
        Observed::TimedOut => ("timed out", Style::new().red()),
        Observed::AnsweredDifferently { .. } => ("WRONG", Style::new().red().bold()),
    }
}

fn notes(matrix: &Matrix, text: &mut String) {
    let mut said: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    let pair = |cell: &Cell| format!("{} host, {} plugins", cell.host, cell.plugins);
    for cell in &matrix.cells {
        let (Observed::Refused { message } | Observed::Crashed { message }) = &cell.observed else {
            continue;
        };
        said.entry((pair(cell), message.clone()))
            .or_default()
            .push(&cell.plugin);
    }
    let mut last = None;
    for ((pair, message), plugins) in &said {
        if last != Some(pair) {
            let _ = writeln!(text, "\n {pair}");
            last = Some(pair);
        }
        let _ = writeln!(text, "   {}: {}", plugins.join(", "), printable(message));
    }
    for cell in matrix.disagreements() {
        let Some(prediction) = &cell.predicted else { continue };
        let _ = writeln!(
            text,
            "\n {}: {} was predicted to be {} ({}): please report this",
            pair(cell),
            cell.plugin,
            prediction.verdict.word(),
            prediction.codes.join(", ")
        );
    }
    for cell in &matrix.cells {
        let Observed::AnsweredDifferently { difference } = &cell.observed else {
            continue;
        };
        let _ = writeln!(
            text,
            "\n {}: {} loads without a word and answers wrongly",
            pair(cell),
            cell.plugin
        );
        let _ = writeln!(text, "   asked   {}", printable(&difference.question));
        let _ = writeln!(text, "   at home {}", printable(&difference.at_home));
        let _ = writeln!(text, "   here    {}", printable(&difference.here));
    }
}
