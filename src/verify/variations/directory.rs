//! Where everything lies.

use super::super::{Kind, Variation};

pub(super) const DIRECTORY: Variation = Variation {
    name: "directory",
    description: "sources, dependencies and output lie in another directory, with a longer path",
    limits: "flags and variables that lockstep sets follow; a command that says /lockstep in a file of the sources does not",
    kind: Some(Kind::Path),
    traces: &["/elsewhere/in-a-directory"],
    is_alone: false,
    vary: |setting| setting.root = Some("/elsewhere/in-a-directory/with-a-longer-path"),
    hold: None,
};
