//! Where something was looked for in vain, and why it is not there.

use std::fmt;

/// A place where an image or its packages were looked for in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The place.
    pub place: String,
    /// Why it did not help; none where it just has not got them.
    pub why: Option<String>,
}

impl fmt::Display for Tried {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why.as_deref().unwrap_or("does not have them");
        write!(formatter, "{}: {why}", self.place)
    }
}
