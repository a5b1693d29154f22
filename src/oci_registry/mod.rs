//! A registry as this machine speaks to it (distribution specification 1.1): what an engine does not push, the documents
//! about an image.
//!
//! Images go through the engine, and it says how: over TLS, or in the clear where it trusts a network. Here the same is
//! done, with the same certificates and credentials, so that nobody has to be told of a registry twice.

mod access;
mod artifact;
mod attach;
mod certificates;
mod challenge;
mod client;
mod error;
mod insecure;
mod referrers_index;
mod surroundings;
#[cfg(test)]
mod tests;
mod verifier;

pub use artifact::Document;
pub use attach::{Attached, attach};
pub use client::Registry;
pub use error::ExchangeError;
pub use surroundings::Surroundings;
