//! The standing exercise: what an attacker, a careless neighbour or bad luck can do to lockstep, tried on the real program
//! and the real engine. SECURITY.md says what is promised; a row of the table here shows that it holds.
//!
//! `make test` runs a representative part, `make attacks` all of it (`LOCKSTEP_ATTACKS=all`) and prints the table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod between;
mod confinement;
mod disk;
mod ends;
mod files;
mod full_engine;
mod lock;
mod names;
mod plugins;
mod poison;
#[path = "../sample/mod.rs"]
mod sample;
#[path = "../common/second_engine.rs"]
mod second_engine;
mod table;
mod volume;
mod watched;
mod words;
