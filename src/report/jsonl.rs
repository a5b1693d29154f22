//! Progress for machines: one JSON object a line.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::Printer;
use crate::event::{Event, Events};

/// Writes every event as it is, with the time since the start.
pub(super) struct Jsonl {
    printer: Arc<Printer>,
    started: Instant,
}

/// One line.
#[derive(Serialize)]
struct Line<'event> {
    schema_version: u32,
    elapsed_ms: u128,
    body: &'event Event,
}

impl Jsonl {
    pub(super) fn new(printer: Arc<Printer>) -> Self {
        Self {
            printer,
            started: Instant::now(),
        }
    }
}

impl Events for Jsonl {
    fn emit(&self, event: Event) {
        let line = Line {
            schema_version: 1,
            elapsed_ms: self.started.elapsed().as_millis(),
            body: &event,
        };
        if let Ok(text) = serde_json::to_string(&line) {
            self.printer.record(&text);
        }
    }
}
