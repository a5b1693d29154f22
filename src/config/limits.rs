//! `limits:`.

use std::time::Duration;

use crate::context::STEP_TIMEOUT;
use crate::yaml::{Decoded, Value};

use super::project::Limits;

/// The keys of the limits.
const KEYS: &[&str] = &["memory", "cpus", "processes", "timeout", "disk", "artifact"];
/// Below this an engine starts no container (Docker: 6 MiB), and no compiler does anything.
const MEMORY_LEAST_BYTES: u64 = 64 << 20;
const MEMORY_LIMIT_BYTES: u64 = 16 << 40;
const MEMORY_DEFAULT_BYTES: u64 = 4 << 30;
const CPUS_LIMIT: u32 = 4096;
/// Fewer, and `make -j` or cargo fail in strange ways.
const PROCESSES_LEAST: u64 = 16;
const PROCESSES_LIMIT: u64 = 4 << 20;
const PROCESSES_DEFAULT: u64 = 2048;
const TIMEOUT_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Sources have to fit in it, and a compiler's own files.
const DISK_LEAST_BYTES: u64 = 16 << 20;
const DISK_LIMIT_BYTES: u64 = 16 << 40;
/// More than the compiles of large workspaces leave, and less than a small machine has.
const DISK_DEFAULT_BYTES: u64 = 8 << 30;
const ARTIFACT_LEAST_BYTES: u64 = 1 << 10;
const ARTIFACT_LIMIT_BYTES: u64 = 64 << 30;
const ARTIFACT_DEFAULT_BYTES: u64 = 1 << 30;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_DEFAULT_BYTES,
            cpus: None,
            processes: PROCESSES_DEFAULT,
            timeout: STEP_TIMEOUT,
            disk_bytes: DISK_DEFAULT_BYTES,
            artifact_bytes: ARTIFACT_DEFAULT_BYTES,
        }
    }
}

pub(super) fn limits(value: Value<'_>) -> Decoded<Limits> {
    let default = Limits::default();
    value.fields("the limits", KEYS, |fields| {
        let memory_bytes = fields.or("memory", default.memory_bytes, |value| {
            value.size_bytes(MEMORY_LEAST_BYTES..=MEMORY_LIMIT_BYTES)
        });
        let cpus = fields.optional("cpus", |value| value.integer(1..=CPUS_LIMIT));
        let processes = fields.or("processes", default.processes, |value| {
            value.integer(PROCESSES_LEAST..=PROCESSES_LIMIT)
        });
        let timeout = fields.or("timeout", default.timeout, |value| value.duration(TIMEOUT_LIMIT));
        let disk_bytes = fields.or("disk", default.disk_bytes, |value| {
            value.size_bytes(DISK_LEAST_BYTES..=DISK_LIMIT_BYTES)
        });
        let artifact_bytes = fields.or("artifact", default.artifact_bytes, |value| {
            value.size_bytes(ARTIFACT_LEAST_BYTES..=ARTIFACT_LIMIT_BYTES)
        });
        Ok(Limits {
            memory_bytes: memory_bytes?,
            cpus: cpus?,
            processes: processes?,
            timeout: timeout?,
            disk_bytes: disk_bytes?,
            artifact_bytes: artifact_bytes?,
        })
    })
}
