//! An image's config, made anew from what its Dockerfile says.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::config::timestamp;
use super::super::error::ImageError;
use crate::digest::Digest;

/// What counts of `config` (image specification, config.md; Docker's own beyond it), in the order in which it is written.
const KEPT: [&str; 13] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "StopTimeout",
    "Healthcheck",
    "Shell",
    "OnBuild",
];

/// The config of an image that was built.
#[derive(Debug, Deserialize)]
pub(super) struct BuiltConfig {
    /// `amd64`, `arm64`, …
    pub(super) architecture: String,
    variant: Option<String>,
    config: Option<Map<String, Value>>,
}

impl BuiltConfig {
    /// Reads it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, ImageError> {
        serde_json::from_slice(text).map_err(|error| ImageError::Config {
            cause: error.to_string(),
        })
    }

    /// The config of the same image with these layers: made at the epoch, and without a word of how it was built.
    pub(super) fn render(
        &self,
        layers: &[Digest],
        name: &str,
        epoch_seconds: u64,
        labels: &BTreeMap<String, String>,
    ) -> Vec<u8> {
        let built = self.config.clone().unwrap_or_default();
        let is_said = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        };
        let said = |key: &str| built.get(key).filter(|value| is_said(value)).cloned();
        let mut config: Map<String, Value> = KEPT
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), said(key)?)))
            .collect();
        let mut all: BTreeMap<String, Value> = config
            .get("Labels")
            .and_then(|labels| serde_json::from_value(labels.clone()).ok())
            .unwrap_or_default();
        all.extend(labels.iter().map(|(name, value)| (name.clone(), json!(value))));
        config.insert("Labels".to_owned(), json!(all));
        let created = timestamp(epoch_seconds);
        let history: Vec<Value> = layers
            .iter()
            .map(|_| json!({"created": created, "created_by": name}))
            .collect();
        let mut text = json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": layers},
            "history": history,
        });
        if let (Some(variant), Some(text)) = (
            self.variant.as_ref().filter(|variant| !variant.is_empty()),
            text.as_object_mut(),
        ) {
            text.insert("variant".to_owned(), json!(variant));
        }
        // Strings, lists and maps always have a JSON form.
        serde_json::to_vec(&text).unwrap_or_default()
    }
}
