//! Variables that are not on the list.

use super::super::Variation;

/// As desktops and services for builds set them.
const OTHERS: [(&str, &str); 8] = [
    ("BUILD_NUMBER", "4711"),
    ("CI", "true"),
    ("EDITOR", "vi"),
    ("HOSTTYPE", "elsewhere"),
    ("LOGNAME", "somebody"),
    ("OTHERS_VARIABLE", "another value"),
    ("TERM", "xterm-256color"),
    ("USER", "somebody"),
];

pub(super) const VARIABLES: Variation = Variation {
    name: "variables",
    description: "variables that builds elsewhere have and lockstep's have not: USER, LOGNAME, TERM, CI, BUILD_NUMBER and others; one more directory in PATH",
    limits: "",
    kind: None,
    traces: &["4711", "somebody", "xterm-256color", "another value", "/target/bin"],
    is_alone: false,
    vary: |setting| {
        setting.variables.extend(OTHERS);
        setting.first.push("export PATH=\"$PATH:/lockstep/target/bin\"");
    },
    hold: None,
};
