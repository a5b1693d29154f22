//! The smoke test's words and judgements: what the loader is asked, what it saw, and whether that is what is expected.
//! Pure; the containers are in `run/`.

mod arguments;
mod failure;
mod judge;
mod observation;

pub use arguments::{Confinement, OUTPUT_LIMIT_BYTES, Within, drive, open};
pub use failure::{SmokeFailure, described, outcome_in_words};
pub use judge::{Mismatch, failed_plugins, host_mismatches};
pub use observation::{
    Ended, EventError, FailedRequest, HostObservation, HostReport, Outcome, Place, PluginObservation, PluginReport,
    Response, Returned, Text, host_report, plugin_report,
};
