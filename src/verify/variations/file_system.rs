//! The file system.

use super::super::{Kind, SourcePlace, Variation};

pub(super) const FILE_SYSTEM: Variation = Variation {
    name: "file-system",
    description: "the sources lie in memory (tmpfs) instead of a volume",
    limits: "of the sources alone; needs tar in the image",
    kind: Some(Kind::Order),
    traces: &[],
    is_alone: false,
    vary: |setting| setting.sources = setting.sources.max(SourcePlace::Memory),
    hold: None,
};
