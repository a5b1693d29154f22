//! What is kept of earlier builds. It is readable for the user of builds alone, so nobody else can compile with it.

use super::super::Variation;

pub(super) const CACHES: Variation = Variation {
    name: "caches",
    description: "what the language's tools kept of earlier builds is there (Go's build cache)",
    limits: "nothing where no build has kept anything here, and for languages that keep nothing",
    kind: None,
    traces: &[],
    is_alone: true,
    vary: |setting| setting.has_kept = true,
    hold: None,
};
