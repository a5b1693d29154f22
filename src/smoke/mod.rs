//! The smoke test's words and judgements: what the loader is asked, what it saw, and whether that is what is expected.
//! Pure; the containers are in `run/`.

mod arguments;
mod failure;
mod judge;
mod observation;
mod order;

pub use arguments::{Confinement, OUTPUT_LIMIT_BYTES, Within, drive, open};
pub use failure::{SmokeFailure, described, hint_within_host, outcome_in_words};
pub use judge::{Mismatch, failed_plugins, host_mismatches};
pub use observation::{
    BEFORE_PHASE, Ended, EventError, FailedRequest, HostObservation, HostReport, Outcome, Place, PluginObservation,
    PluginReport, Response, Returned, Text, host_report, plugin_report,
};
pub use order::{order_in_words, uses};
