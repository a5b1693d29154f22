//! The loader in C, with the tests of the one in Rust: same flags, events and guarantees.

#![expect(clippy::duplicate_mod, reason = "each of these tests brings what all share")]

#[path = "cases.rs"]
mod cases;
#[path = "drive.rs"]
mod drive;
#[path = "open.rs"]
mod open;
#[path = "within.rs"]
mod within;
