//! What differs between two images' configs (image specification, config.md, and what engines put beside it).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::image::PACKAGES_LABEL;

/// Something in an image's config that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingDifference {
    /// Its key, with the name of a variable or label: `User`, `Env PATH`, `created`, `layer 3`.
    pub key: String,
    /// What the one says; none if it says nothing.
    pub a: Option<String>,
    /// What the other one says.
    pub b: Option<String>,
}

/// Compares two configs; nothing where one is missing. Layers are told only with `layers`: where files differ, they do.
pub(super) fn differences(a: Option<&[u8]>, b: Option<&[u8]>, layers: bool) -> Vec<SettingDifference> {
    let (Some(a), Some(b)) = (a, b) else {
        return vec![];
    };
    let (mut a, mut b) = (settings(a, layers), settings(b, layers));
    let mut keys: Vec<String> = a.keys().chain(b.keys()).cloned().collect();
    keys.sort();
    keys.dedup();
    let different = keys.into_iter().filter_map(|key| {
        let (a, b) = (a.remove(&key), b.remove(&key));
        (a != b).then_some(SettingDifference { key, a, b })
    });
    different.collect()
}

/// Everything that a config says, one line each; what is empty is not said.
fn settings(config: &[u8], layers: bool) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Ok(Value::Object(config)) = serde_json::from_slice(config) else {
        return all;
    };
    let mut say = |key: String, value: &Value| {
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(list) if list.is_empty() => String::new(),
            Value::Object(map) if map.is_empty() => String::new(),
            value => value.to_string(),
        };
        if !text.is_empty() {
            all.insert(key, text);
        }
    };
    for (key, value) in &config {
        match (key.as_str(), value) {
            ("config", Value::Object(defaults)) => {
                for (key, value) in defaults {
                    match (key.as_str(), value) {
                        ("Env", Value::Array(variables)) => {
                            for variable in variables.iter().filter_map(Value::as_str) {
                                let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
                                say(format!("Env {name}"), &Value::from(value));
                            }
                        }
                        ("Labels", Value::Object(labels)) => {
                            // Its packages are told as such.
                            for (name, value) in labels.iter().filter(|(name, _)| *name != PACKAGES_LABEL) {
                                say(format!("Labels {name}"), value);
                            }
                        }
                        (key, value) => say(key.to_owned(), value),
                    }
                }
            }
            ("rootfs", Value::Object(root)) => {
                let digests = root.get("diff_ids").and_then(Value::as_array).filter(|_| layers);
                for (digest, number) in digests.into_iter().flatten().zip(1_usize..) {
                    say(format!("layer {number}"), digest);
                }
            }
            (key, value) => say(key.to_owned(), value),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(a: &str, b: &str, layers: bool) -> Vec<String> {
        let differences = differences(Some(a.as_bytes()), Some(b.as_bytes()), layers);
        let side = |side: Option<String>| side.unwrap_or_else(|| "-".to_owned());
        let line = |one: SettingDifference| format!("{}: {} -> {}", one.key, side(one.a), side(one.b));
        differences.into_iter().map(line).collect()
    }

    #[test]
    fn every_setting_is_told_by_its_name() {
        let a = r#"{"created":"1","config":{"User":"","Env":["A=1","B=2"],"Cmd":["x"],"Labels":{"l":"1"}},
            "rootfs":{"diff_ids":["sha256:a","sha256:b"]}}"#;
        let b = r#"{"created":"2","config":{"User":"7","Env":["B=3","A=1"],"Cmd":["x","y"],"Labels":null},
            "rootfs":{"diff_ids":["sha256:a","sha256:c"]}}"#;
        assert_eq!(
            told(a, b, false),
            [
                r#"Cmd: ["x"] -> ["x","y"]"#,
                "Env B: 2 -> 3",
                "Labels l: 1 -> -",
                "User: - -> 7",
                "created: 1 -> 2",
            ]
        );
        assert!(told(a, b, true).contains(&"layer 2: sha256:b -> sha256:c".to_owned()));
        assert_eq!(told(a, a, true), [""; 0]);
        assert_eq!(differences(None, Some(b"{}"), true), []);
    }
}
