//! Names in Go.

/// Whether a name is one identifier that begins with a capital letter: not a method, not a closure.
pub(super) fn is_exported(name: &str) -> bool {
    name.starts_with(char::is_uppercase) && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}
