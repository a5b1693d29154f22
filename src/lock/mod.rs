//! `lockstep.lock`: what every environment is made of, and which bits came out of it.
//!
//! Everything here but [`read`] and [`write`] is pure: locks in, differences out.

mod difference;
mod file;
mod package;

pub use difference::{Change, environment_changes, unit_changes};
pub use file::{
    Environment, Image, LOCK_SIZE_LIMIT_BYTES, Lock, LockError, SCHEMA_VERSION, Unit, lock_path, parse, read, render,
    write,
};
pub use package::{InvalidPackage, Package};
