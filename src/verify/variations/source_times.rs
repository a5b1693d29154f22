//! When the source files were changed.

use super::super::{Kind, Variation};

pub(super) const SOURCE_TIMES: Variation = Variation {
    name: "source-times",
    description: "each source file has another time, and the youngest is the last one by name",
    limits: "",
    kind: Some(Kind::Date),
    traces: &[],
    is_alone: false,
    vary: |setting| setting.has_source_times = true,
    hold: None,
};
