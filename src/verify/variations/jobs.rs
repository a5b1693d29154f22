//! How many jobs are started at once.

use super::super::Variation;

/// What tools ask for how many jobs they are to start.
const THREE: [(&str, &str); 5] = [
    ("CARGO_BUILD_JOBS", "3"),
    ("CMAKE_BUILD_PARALLEL_LEVEL", "3"),
    ("GOMAXPROCS", "3"),
    ("MAKEFLAGS", "-j3"),
    ("RAYON_NUM_THREADS", "3"),
];

pub(super) const JOBS: Variation = Variation {
    name: "jobs",
    description: "make, cmake, cargo and Go start three jobs at once",
    limits: "a command that says how many keeps it",
    kind: None,
    traces: &[],
    is_alone: false,
    vary: |setting| setting.variables.extend(THREE),
    hold: None,
};
