//! An image's config (image specification, config.md), of which its ID is the digest.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::error::ImageError;
use super::recipe::ImageDefaults;
use crate::digest::Digest;

/// What an image's config says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// When it was made: the same for all, so that its ID is too. Seconds since the epoch.
    pub created_seconds: u64,
    /// What containers start with.
    pub defaults: ImageDefaults,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The digests of its layers, lowest first, each with what it is.
    pub layers: Vec<(Digest, String)>,
}

impl ImageConfig {
    /// The JSON text: the same for the same config.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Config<'a> {
            architecture: &'a str,
            os: &'static str,
            created: &'a str,
            config: Defaults<'a>,
            rootfs: RootFilesystem,
            history: Vec<History<'a>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Defaults<'a> {
            env: Vec<String>,
            cmd: [&'static str; 1],
            user: &'a str,
            working_dir: &'a str,
            labels: &'a BTreeMap<String, String>,
        }
        #[derive(Serialize)]
        struct RootFilesystem {
            r#type: &'static str,
            diff_ids: Vec<Digest>,
        }
        #[derive(Serialize)]
        struct History<'a> {
            created: &'a str,
            created_by: &'a str,
        }
        let created = timestamp(self.created_seconds);
        let config = Config {
            architecture: &self.architecture,
            os: "linux",
            created: &created,
            config: Defaults {
                env: self
                    .defaults
                    .env
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
                cmd: ["/bin/sh"],
                user: &self.defaults.user,
                working_dir: &self.defaults.workdir,
                labels: &self.labels,
            },
            rootfs: RootFilesystem {
                r#type: "layers",
                diff_ids: self.layers.iter().map(|(digest, _)| *digest).collect(),
            },
            history: self
                .layers
                .iter()
                .map(|(_, name)| History {
                    created: &created,
                    created_by: name,
                })
                .collect(),
        };
        // Strings and lists always have a JSON form.
        serde_json::to_vec(&config).unwrap_or_default()
    }
}

/// What a layer on top of an image changes in its config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigChanges {
    /// Variables that are added or replaced.
    pub env: BTreeMap<String, String>,
    /// The program that containers start, with arguments that users cannot leave out.
    pub entry_point: Option<Vec<String>>,
    /// Arguments that users can replace.
    pub command: Option<Vec<String>>,
    /// Who its processes run as.
    pub user: Option<String>,
    /// Where they start.
    pub directory: Option<String>,
    /// Labels that are added or replaced.
    pub labels: BTreeMap<String, String>,
}

/// The config of an image with one more layer, for any image's config: what it says beyond what is changed is kept.
///
/// # Errors
/// [`ImageError::Config`] when `base` is no image's config.
pub fn stacked_config(
    base: &[u8],
    layer: Digest,
    created_by: &str,
    created_seconds: u64,
    changes: &ConfigChanges,
) -> Result<Vec<u8>, ImageError> {
    let failed = |cause: &str| ImageError::Config {
        cause: cause.to_owned(),
    };
    let mut config: Value = serde_json::from_slice(base).map_err(|error| failed(&error.to_string()))?;
    let created = timestamp(created_seconds);
    let root = config.as_object_mut().ok_or_else(|| failed("it is no object"))?;
    root.insert("created".to_owned(), json!(created));
    // The engine's own notes on how a container of it was last run.
    for key in ["container", "container_config", "docker_version", "id", "parent"] {
        root.remove(key);
    }
    let layers = root
        .get_mut("rootfs")
        .and_then(|rootfs| rootfs.get_mut("diff_ids"))
        .and_then(Value::as_array_mut)
        .ok_or_else(|| failed("it names no layers"))?;
    layers.push(json!(layer));
    let history = root.entry("history").or_insert_with(|| json!([]));
    if let Some(history) = history.as_array_mut() {
        history.push(json!({"created": created, "created_by": created_by}));
    }
    let defaults = root.entry("config").or_insert_with(|| json!({}));
    let defaults = defaults
        .as_object_mut()
        .ok_or_else(|| failed("`config` is no object"))?;
    let mut env: Vec<String> = defaults
        .get("Env")
        .and_then(|env| serde_json::from_value(env.clone()).ok())
        .unwrap_or_default();
    env.retain(|entry| {
        !entry
            .split_once('=')
            .is_some_and(|(name, _)| changes.env.contains_key(name))
    });
    env.extend(changes.env.iter().map(|(name, value)| format!("{name}={value}")));
    defaults.insert("Env".to_owned(), json!(env));
    if let Some(entry_point) = &changes.entry_point {
        defaults.insert("Entrypoint".to_owned(), json!(entry_point));
        // The base's command is not meant for this program.
        defaults.remove("Cmd");
    }
    if let Some(command) = &changes.command {
        defaults.insert("Cmd".to_owned(), json!(command));
    }
    if let Some(directory) = &changes.directory {
        defaults.insert("WorkingDir".to_owned(), json!(directory));
    }
    if let Some(user) = &changes.user {
        defaults.insert("User".to_owned(), json!(user));
    }
    let mut labels: BTreeMap<String, String> = defaults
        .get("Labels")
        .and_then(|labels| serde_json::from_value(labels.clone()).ok())
        .unwrap_or_default();
    labels.extend(changes.labels.clone());
    defaults.insert("Labels".to_owned(), json!(labels));
    serde_json::to_vec(&config).map_err(|error| failed(&error.to_string()))
}

/// RFC 3339, in UTC (days to date after Howard Hinnant, "chrono-compatible low-level date algorithms").
#[must_use]
pub fn timestamp(seconds: u64) -> String {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    const ERA_DAYS: u64 = 146_097;
    // Days between 0000-03-01, where leap days come last, and the epoch.
    let days = seconds / DAY_SECONDS + 719_468;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let time = seconds % DAY_SECONDS;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        time / 3_600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(seconds), expected);
        }
    }

    fn base() -> ImageConfig {
        ImageConfig {
            architecture: "amd64".to_owned(),
            created_seconds: 1_735_689_600,
            defaults: ImageDefaults {
                env: BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "1".to_owned())]),
                user: "1000:1000".to_owned(),
                workdir: String::new(),
            },
            labels: BTreeMap::from([("l".to_owned(), "1".to_owned())]),
            layers: vec![(Digest::of(b"1"), "debian/runtime".to_owned())],
        }
    }

    #[test]
    fn the_text_is_what_it_was_yesterday() {
        // Another text is another image ID for the same image, on every machine: a reason to change the recipes' key.
        insta::assert_snapshot!(String::from_utf8(base().render()).unwrap());
    }

    #[test]
    fn a_layer_is_stacked_on_any_config() {
        let changes = ConfigChanges {
            env: BTreeMap::from([("B".to_owned(), "2".to_owned())]),
            entry_point: Some(vec!["/opt/host".to_owned()]),
            directory: Some("/data".to_owned()),
            labels: BTreeMap::from([("m".to_owned(), "2".to_owned())]),
            ..ConfigChanges::default()
        };
        let text = stacked_config(&base().render(), Digest::of(b"2"), "bundle", 0, &changes).unwrap();
        let config: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(2));
        assert_eq!(config["history"][1]["created_by"], "bundle");
        assert_eq!(config["config"]["Env"], json!(["A=1", "B=2"]));
        assert_eq!(config["config"]["Entrypoint"], json!(["/opt/host"]));
        assert_eq!(config["config"].get("Cmd"), None);
        assert_eq!(config["config"]["Labels"], json!({"l": "1", "m": "2"}));
        assert_eq!(config["config"]["User"], "1000:1000");
        assert_eq!(config["config"]["WorkingDir"], "/data");
        for bad in ["", "[]", "{}", r#"{"rootfs": {"diff_ids": 1}}"#] {
            assert!(
                stacked_config(bad.as_bytes(), Digest::of(b"2"), "", 0, &changes).is_err(),
                "{bad}"
            );
        }
    }
}
