//! Whether bits come out again: what a rebuild does otherwise than a build, what is asked next, and what came of it.
//!
//! Pure: a variation says what changes in a container, `src/run/verify/` starts it. `search` finds the smallest set of
//! variations that makes a difference, `recognition` and `cure` say what it is and what ends it, `verification` is the report.

mod cure;
mod kind;
mod recognition;
mod script;
mod search;
mod setting;
mod variation;
pub mod variations;
mod verification;

pub use cure::{cure, cure_of_failure};
pub use kind::Kind;
pub use recognition::kind;
pub use script::{NOT_VARIED, moved, rebuilt};
pub use search::Search;
pub use setting::{Clock, Setting, SourcePlace};
pub use variation::Variation;
pub use variations::{IMAGE, VARIATIONS};
pub use verification::{
    ArtifactDifference, Cause, FailureRecord, Manner, VERIFICATION_SCHEMA_VERSION, VariationRecord, Verification,
    VerifiedArtifact, VerifiedEnvironment, VerifiedImage, VerifiedUnit,
};
