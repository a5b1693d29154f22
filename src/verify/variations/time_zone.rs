//! The time zone.

use super::super::{Kind, Variation};

pub(super) const TIME_ZONE: Variation = Variation {
    name: "time-zone",
    description: "the time zone is 14 hours off",
    limits: "a unit that sets TZ keeps it",
    kind: Some(Kind::Date),
    traces: &["ELS", "+14"],
    is_alone: false,
    vary: |setting| _ = setting.variables.insert("TZ", "ELS-14"),
    hold: None,
};
