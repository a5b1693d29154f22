//! What is known of an engine by how it was reached.

use super::ssh::Tunnel;
use crate::engine::{Choice, EngineError, Obstacle};

/// Where an engine was reached; kept for as long as it is spoken to.
#[derive(Debug)]
pub(super) struct Reached {
    /// Its address, as it was named.
    pub(super) address: String,
    /// What named it.
    pub(super) choice: Choice,
    /// What leads to its machine, where that is another one.
    pub(super) tunnel: Option<Tunnel>,
}

impl Reached {
    /// An error that says where the engine was to be reached, and what ssh said of it.
    pub(super) fn unreachable(&self, obstacle: Obstacle, cause: String) -> EngineError {
        let (obstacle, cause) = match &self.tunnel {
            Some(tunnel) => (Obstacle::Ssh, tunnel.explain(cause)),
            None => (obstacle, cause),
        };
        EngineError::Unreachable {
            address: self.address.clone(),
            choice: Box::new(self.choice.clone()),
            obstacle,
            cause,
        }
    }
}
