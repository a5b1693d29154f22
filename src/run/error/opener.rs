//! Why the host cannot open plugins.

/// Why the host cannot open plugins, though the contract says that it does.
#[derive(Debug, thiserror::Error)]
#[error("the contract says `opened_by: host`, and `{host}` is {what}: nothing can be opened in it from outside")]
pub struct OpenerError {
    /// The host's file.
    pub host: String,
    /// What it is.
    pub what: &'static str,
}

impl OpenerError {
    /// What to do about it.
    #[must_use]
    pub fn hint() -> &'static str {
        "write `opened_by: loader`, or link the host with an interpreter"
    }
}
