//! Who compiles.

use super::super::{Kind, Variation};
use crate::owner::Owner;

/// The user and group `nobody` of most distributions.
const NOBODY: u32 = 65_534;

pub(super) const USER: Variation = Variation {
    name: "user",
    description: "another user and group compile, who own the files",
    limits: "the user is `nobody`, because images have no other one that all of them know",
    kind: Some(Kind::User),
    traces: &["nobody", "65534", "nogroup"],
    is_alone: false,
    vary: |setting| {
        setting.owner = Some(Owner {
            uid: NOBODY,
            gid: NOBODY,
        });
    },
    hold: None,
};
