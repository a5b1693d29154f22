//! The table of a run: every case of one C library with both sides.

use std::fmt::Write as _;

use crate::case::Libc;
use crate::compare::{Agreement, Outcome};
use crate::predict::Prediction;

/// One plugin of one case.
pub(crate) struct Row {
    pub(crate) libc: Libc,
    pub(crate) case: String,
    pub(crate) shows: String,
    pub(crate) plugin: String,
    pub(crate) outcome: Outcome,
    /// What the program said, or why it said nothing.
    pub(crate) prediction: Result<Prediction, String>,
    pub(crate) agreement: Agreement,
}

impl Row {
    pub(crate) fn is_disagreement(&self) -> bool {
        matches!(self.agreement, Agreement::None(_) | Agreement::Words)
    }

    fn render(&self, text: &mut String) {
        let state = match &self.agreement {
            Agreement::Full => "agree",
            Agreement::Unseen => "unseen",
            Agreement::Beyond => "beyond the files",
            Agreement::Words => "WORDS",
            Agreement::None(why) => why,
        };
        writeln!(
            text,
            "{} {} {} [{state}]\n    shows      {}",
            self.libc.word(),
            self.case,
            self.plugin,
            self.shows
        )
        .unwrap();
        writeln!(text, "    observed   {}", self.outcome).unwrap();
        match &self.prediction {
            Err(error) => writeln!(text, "    predicted  nothing: {error}").unwrap(),
            Ok(predicted) => {
                let message = predicted.message.as_deref().unwrap_or("(no words)");
                writeln!(
                    text,
                    "    predicted  {} at {}: {message}",
                    predicted.verdict, predicted.phase
                )
                .unwrap();
                for finding in &predicted.findings {
                    writeln!(text, "               {finding}").unwrap();
                }
            }
        }
    }
}

/// The whole table, disagreements first, with a line of counts for each C library.
pub(crate) fn render(rows: &[Row], only_disagreements: bool) -> String {
    let mut text = String::new();
    for libc in Libc::ALL {
        let rows: Vec<_> = rows.iter().filter(|row| row.libc == libc).collect();
        let count = |wanted: fn(&&&Row) -> bool| rows.iter().filter(wanted).count();
        let mut cases: Vec<&str> = rows.iter().map(|row| row.case.as_str()).collect();
        cases.dedup();
        writeln!(
            text,
            "{}: {} cases, {} pairs: {} agree, {} disagree, {} disagree in words alone, {} beyond the files, {} not reached; observed: {} refused, {} in danger, {} healthy",
            libc.word(),
            cases.len(),
            rows.len(),
            count(|row| row.agreement == Agreement::Full),
            count(|row| matches!(row.agreement, Agreement::None(_))),
            count(|row| row.agreement == Agreement::Words),
            count(|row| row.agreement == Agreement::Beyond),
            count(|row| row.agreement == Agreement::Unseen),
            count(|row| matches!(row.outcome, Outcome::Refused { .. })),
            count(|row| matches!(row.outcome, Outcome::Harmed { .. })),
            count(|row| matches!(row.outcome, Outcome::Healthy { .. })),
        )
        .unwrap();
    }
    let (wrong, right): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.is_disagreement());
    wrong.iter().for_each(|row| row.render(&mut text));
    if !only_disagreements {
        right.iter().for_each(|row| row.render(&mut text));
    }
    text
}
