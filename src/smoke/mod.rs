//! The smoke test's words and judgements: what the loader is asked, what it saw, and whether that is what is expected.
//! Pure; the containers are in `run/`.

mod arguments;
mod failure;
mod judge;
mod observation;

pub use arguments::{OUTPUT_LIMIT_BYTES, drive, open};
pub use failure::SmokeFailure;
pub use judge::{Mismatch, failed_plugins, host_mismatches};
pub use observation::{
    Ended, EventError, FailedRequest, HostObservation, Outcome, PluginObservation, Response, Returned, Text,
    host_observation, plugin_observations,
};
