//! What was read from a file, without judging it: bytes in, data out. Nothing here opens a file.
//!
//! Any bytes get an answer. What is malformed is told as a problem of the file, and what could be read stays.

pub mod comment;
pub mod cxx;
pub mod elf;
pub mod file_capabilities;
pub mod go;
pub mod ld_cache;
pub mod ld_conf;
pub mod libc;
pub mod musl_path;
pub mod package_files;
pub mod rust;
pub mod stamp;
mod words;
pub mod wrapper;

pub use elf::Elf;
pub use go::Go;
pub use ld_cache::LdCache;
