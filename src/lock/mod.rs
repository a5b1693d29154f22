//! `lockstep.lock`: what every environment is made of, and which bits came out of it.
//!
//! Everything here but reading and writing the file is pure: locks in, differences out.

mod content;
mod decode;
mod difference;
mod file;
mod package;
mod pushed;

pub use content::{Environment, Host, Image, LOCK_SIZE_LIMIT_BYTES, Lock, SCHEMA_VERSION, Unit};
pub use decode::LOCK_LIMITS;
pub use difference::{Change, environment_changes, image_changes, is_other_host, locate, still_pushed, unit_changes};
pub use file::{LockError, LockFile, Misformed, lock_path, parse, read, read_file, render, write};
pub use package::{InvalidPackage, Package};
pub use pushed::{Pushed, Role};
