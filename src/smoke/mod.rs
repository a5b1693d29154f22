//! The smoke test's words and judgements: what the loader is asked, what it saw, and whether that is what is expected.
//! Pure; the containers are in `run/`.

mod arguments;
mod failure;
mod judge;
mod life;
mod observation;
mod order;

pub use arguments::{Confinement, OUTPUT_LIMIT_BYTES, Whereabouts, Within, open, steps};
pub use failure::{SmokeFailure, described, hint_unstarted_program, hint_within_host, outcome_in_words};
pub use judge::{Mismatch, failed_plugins, host_mismatches};
pub use life::host_report;
pub use observation::{
    BEFORE_PHASE, ClientObservation, Ended, EventError, FailedRequest, HostObservation, HostReport, Outcome, Place,
    PluginObservation, PluginReport, Response, Returned, Text, plugin_report,
};
pub use order::{order_in_words, uses};
