//! The home directory.

use super::super::{Kind, Variation};

pub(super) const HOME: Variation = Variation {
    name: "home",
    description: "the home directory is another one",
    limits: "what a tool takes from /etc/passwd is the image's",
    kind: Some(Kind::User),
    traces: &["of-somebody-else"],
    is_alone: false,
    vary: |setting| {
        setting.variables.insert("HOME", "/lockstep/home/of-somebody-else");
        setting.first.push("mkdir -p \"$HOME\"");
    },
    hold: None,
};
