//! The time of day.

use super::super::{Clock, Kind, Variation};

/// More than a year, so that the day, the month and the year differ.
const LATER_SECONDS: u64 = 400 * 24 * 60 * 60;

pub(super) const TIME_OF_DAY: Variation = Variation {
    name: "time-of-day",
    description: "400 days later, for programs that ask the C library, and so are the times of the files that they write",
    limits: "no effect on static programs, nor on those that ask the kernel themselves: Go's compiler and linker, and what is written in Go",
    kind: Some(Kind::Date),
    traces: &[],
    is_alone: false,
    vary: |setting| setting.clock = Some(Clock::Later(LATER_SECONDS)),
    hold: Some(|setting| setting.clock = Some(Clock::Stopped)),
};
