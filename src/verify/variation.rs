//! One thing that is changed between two builds that must give the same bits.

use super::{Kind, Setting};

/// One thing that is changed between two builds that must give the same bits.
#[derive(Debug, Clone, Copy)]
pub struct Variation {
    /// Its name, for people and scripts.
    pub name: &'static str,
    /// What is changed.
    pub description: &'static str,
    /// What it cannot change, or whom it does not reach.
    pub limits: &'static str,
    /// What it shows, where that can be told.
    pub kind: Option<Kind>,
    /// Changes it.
    pub vary: fn(&mut Setting),
    /// Keeps it from changing by itself from one build to the next, where it does.
    pub hold: Option<fn(&mut Setting)>,
}

impl PartialEq for Variation {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
