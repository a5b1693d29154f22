//! Rules: each is one file in `rules/`, and one line in the table there.

/// What is known of one kind of finding, whether it is found or not.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// A stable name in kebab case.
    pub code: &'static str,
    /// What it finds, in one line.
    pub description: &'static str,
    /// What it means, why it is so, and what to do; paragraphs of plain text for `lockstep explain`.
    pub explanation: &'static str,
}
