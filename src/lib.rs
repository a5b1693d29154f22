//! lockstep builds a host program and its plugins in one pinned image, proves that they load, and can do it again bit
//! for bit.
//!
//! The flow is the order of the modules below; `ARCHITECTURE.md` says what each may and may not do.

pub mod attestation;
pub mod bundle;
pub mod check;
pub mod checkout;
pub mod clean;
pub mod cli;
pub mod comparison;
pub mod config;
pub mod context;
pub mod counted;
pub mod digest;
pub mod doctor;
pub mod engine;
pub mod event;
pub mod exit;
pub mod facts;
pub mod image;
pub mod init;
pub mod inspect;
pub mod known_hosts;
pub mod language;
pub mod lock;
pub mod matrix;
pub mod name;
pub mod nearest;
pub mod network;
pub mod owner;
pub mod place;
pub mod plan;
pub mod platform;
pub mod printable;
pub mod problem;
pub mod regular_file;
pub mod report;
pub mod repository;
pub mod rootfs;
pub mod run;
pub mod smoke;
pub mod source;
pub mod state;
pub mod stream;
pub mod temporary;
pub mod yaml;
