//! Images: what they are made of, and how they are made.

pub mod packages;

/// builtin names placeholder
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    ["debian/build", "debian/runtime", "musl/build", "musl/runtime"].into_iter()
}
