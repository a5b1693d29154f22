//! The languages that lockstep brings commands for.

use serde::Serialize;

/// The languages that lockstep brings commands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LanguageName {
    /// `rust`: cargo.
    Rust,
    /// `go`: the go command.
    Go,
    /// `c`: `$CC`, else `cc`.
    C,
    /// `cpp`: `$CXX`, else `c++`.
    Cpp,
}
