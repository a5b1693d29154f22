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
    /// What is found in a text that comes of it: where it is, this variation is tried first.
    pub traces: &'static [&'static str],
    /// Whether it is changed by itself alone: with others, it would not be what it is.
    pub is_alone: bool,
    /// Changes it.
    pub vary: fn(&mut Setting),
    /// Keeps it from changing by itself from one build to the next, where it does.
    pub hold: Option<fn(&mut Setting)>,
}

impl Variation {
    /// Whether a text has its trace on one side alone.
    #[must_use]
    pub fn is_betrayed_by(&self, texts: &[(String, String)]) -> bool {
        let is_trace = |trace: &&str| {
            let mut texts = texts.iter();
            texts.any(|(one, other)| !one.contains(*trace) && other.contains(*trace))
        };
        self.traces.iter().any(is_trace)
    }
}

impl PartialEq for Variation {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Setting {
    /// With `held` kept from changing and `varied` changed.
    #[must_use]
    pub fn of(held: &[&'static Variation], varied: &[&'static Variation]) -> Self {
        let mut setting = Self::default();
        for hold in held.iter().filter_map(|variation| variation.hold) {
            hold(&mut setting);
        }
        for variation in varied {
            (variation.vary)(&mut setting);
        }
        setting
    }
}
