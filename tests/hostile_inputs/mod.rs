//! How inputs are made, and what is done with them.

pub(crate) mod counting_allocator;
pub(crate) mod elf;
pub(crate) mod others;
pub(crate) mod random;
pub(crate) mod seeds;
