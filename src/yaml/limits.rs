//! How much of a document is taken.

use super::TEXT_LIMIT_BYTES;

/// What a document may take. How deep it may be nested is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text.
    pub text_bytes: usize,
    /// How many items a list or mapping may have.
    pub items_count: usize,
    /// How large a document may become once its aliases are replaced by what they stand for.
    pub expanded_bytes: usize,
}

impl Limits {
    /// For what people write: decoders of it may compare each item of a list with each.
    pub const BY_HAND: Self = Self {
        text_bytes: TEXT_LIMIT_BYTES,
        items_count: 1000,
        expanded_bytes: 8 << 20,
    };
}
