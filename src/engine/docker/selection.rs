//! Which engine it is to be, by the docker client's own order: `DOCKER_HOST`, then the context that `DOCKER_CONTEXT` names,
//! then the current context, then the socket that everybody has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::client_context;
use super::endpoint::HTTPS;
use super::tls::TlsFiles;
use crate::docker_client::{client_directory, config_file};
use crate::engine::{Choice, EngineError};

/// Where an engine is when nothing says otherwise.
pub(super) const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
/// The same with TLS, which no socket has.
const DEFAULT_TLS_ADDRESS: &str = "tcp://localhost:2376";
/// The context that is none: what holds without one.
const DEFAULT_CONTEXT: &str = "default";

/// An engine's address, and what else is said of how to reach it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// For example `unix:///var/run/docker.sock`.
    pub(super) address: String,
    /// What named it.
    pub(super) choice: Choice,
    /// With which certificates it is spoken to over TCP; none where it is without.
    pub(super) tls: Option<TlsFiles>,
}

/// The engine that the docker client would take with these variables.
///
/// # Errors
/// [`EngineError::Undecided`] when that is in a file that cannot be read or understood.
pub(super) fn select(variables: &BTreeMap<String, String>) -> Result<Selection, EngineError> {
    let value = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    if let Some(address) = value("DOCKER_HOST") {
        return Ok(Selection {
            address: address.clone(),
            choice: Choice::Host,
            tls: tls_of_variables(variables)
                .or_else(|| address.starts_with(HTTPS).then(|| default_certificates(variables))),
        });
    }
    let directory = client_directory(variables);
    let named = match (value("DOCKER_CONTEXT"), &directory) {
        (Some(name), _) => Some((name.clone(), "DOCKER_CONTEXT".to_owned())),
        (None, Some(directory)) => {
            client_context::current(directory)?.map(|name| (name, config_file(directory).display().to_string()))
        }
        (None, None) => None,
    };
    let Some((name, named_by)) = named.filter(|(name, _)| name != DEFAULT_CONTEXT) else {
        let tls = tls_of_variables(variables);
        let address = if tls.is_some() {
            DEFAULT_TLS_ADDRESS
        } else {
            DEFAULT_ADDRESS
        };
        return Ok(Selection {
            address: address.to_owned(),
            choice: Choice::Default,
            tls,
        });
    };
    let choice = Choice::Context {
        name: name.clone(),
        named_by,
    };
    let directory = directory.ok_or_else(|| EngineError::Undecided {
        cause: format!("{choice}: neither DOCKER_CONFIG nor HOME says where contexts are"),
        hint: "set DOCKER_CONFIG, or name the engine in DOCKER_HOST".to_owned(),
    })?;
    // What the variables say of TLS is not for contexts: they have certificates of their own.
    let context = client_context::read(&directory, &name, &choice.to_string())?;
    Ok(Selection {
        address: context.address.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()),
        choice,
        tls: context.tls,
    })
}

/// `DOCKER_TLS_VERIFY`, `DOCKER_TLS` and `DOCKER_CERT_PATH`. Any value counts, even `0`: so says the docker command line.
fn tls_of_variables(variables: &BTreeMap<String, String>) -> Option<TlsFiles> {
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    let verifies = is_set("DOCKER_TLS_VERIFY");
    (verifies || is_set("DOCKER_TLS")).then(|| TlsFiles {
        verifies,
        ..default_certificates(variables)
    })
}

/// The certificates of an engine that no context describes.
fn default_certificates(variables: &BTreeMap<String, String>) -> TlsFiles {
    let named = variables.get("DOCKER_CERT_PATH").filter(|value| !value.is_empty());
    let directory = named.map(PathBuf::from).or_else(|| client_directory(variables));
    TlsFiles {
        directory: directory.unwrap_or_default(),
        needs_authority: true,
        verifies: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn variables_come_first_then_the_current_context_then_the_default() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        let config = config_file(directory.path());
        std::fs::write(&config, r#"{"currentContext": "current"}"#).unwrap();
        for name in ["current", "named"] {
            let id = crate::digest::Digest::of(name.as_bytes()).hex();
            let meta = directory.path().join("contexts/meta").join(id);
            std::fs::create_dir_all(&meta).unwrap();
            let text = format!(r#"{{"Endpoints": {{"docker": {{"Host": "unix:///{name}.sock"}}}}}}"#);
            std::fs::write(meta.join("meta.json"), text).unwrap();
        }
        let context = |name: &str, named_by: &str| Choice::Context {
            name: name.to_owned(),
            named_by: named_by.to_owned(),
        };
        let current = context("current", &config.display().to_string());
        let named = context("named", "DOCKER_CONTEXT");
        let host = ("DOCKER_HOST", "unix:///host.sock");
        for (given, address, choice) in [
            (vec![], "unix:///current.sock", current.clone()),
            (
                vec![("DOCKER_CONTEXT", ""), ("DOCKER_HOST", "")],
                "unix:///current.sock",
                current.clone(),
            ),
            (vec![("DOCKER_CONTEXT", "named")], "unix:///named.sock", named),
            (vec![("DOCKER_CONTEXT", "default")], DEFAULT_ADDRESS, Choice::Default),
            (
                vec![("DOCKER_CONTEXT", "default"), ("DOCKER_TLS_VERIFY", "0")],
                DEFAULT_TLS_ADDRESS,
                Choice::Default,
            ),
            (vec![("DOCKER_TLS_VERIFY", "1")], "unix:///current.sock", current),
            (
                vec![host, ("DOCKER_CONTEXT", "named")],
                "unix:///host.sock",
                Choice::Host,
            ),
            (
                vec![host, ("DOCKER_CONTEXT", "gone")],
                "unix:///host.sock",
                Choice::Host,
            ),
        ] {
            let given = [vec![("DOCKER_CONFIG", path.as_str())], given].concat();
            let found = select(&variables(&given)).unwrap();
            assert_eq!((found.address.as_str(), found.choice), (address, choice), "{given:?}");
        }
        let gone = [("DOCKER_CONFIG", path.as_str()), ("DOCKER_CONTEXT", "gone")];
        assert!(select(&variables(&gone)).is_err());
        // A file that nobody can read decides nothing only where it is not asked.
        std::fs::write(&config, "{").unwrap();
        assert!(select(&variables(&gone[..1])).is_err());
        for given in [host, ("DOCKER_CONTEXT", "named")] {
            assert!(select(&variables(&[gone[0], given])).is_ok(), "{given:?}");
        }
        assert!(select(&variables(&[("DOCKER_CONTEXT", "named")])).is_err(), "no home");
        assert_eq!(select(&BTreeMap::new()).unwrap().choice, Choice::Default);
    }

    #[test]
    fn the_variables_say_which_certificates_there_are() {
        let home = ("HOME", "/h");
        for (given, expected) in [
            (vec![home], None),
            (vec![home, ("DOCKER_TLS_VERIFY", "")], None),
            (vec![home, ("DOCKER_TLS_VERIFY", "0")], Some(("/h/.docker", true))),
            (vec![home, ("DOCKER_TLS", "1")], Some(("/h/.docker", false))),
            (
                vec![home, ("DOCKER_TLS", "1"), ("DOCKER_TLS_VERIFY", "1")],
                Some(("/h/.docker", true)),
            ),
            (
                vec![home, ("DOCKER_TLS", "1"), ("DOCKER_CONFIG", "/d")],
                Some(("/d", false)),
            ),
            (
                vec![("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/c")],
                Some(("/c", true)),
            ),
        ] {
            let found = select(&variables(&given)).unwrap().tls;
            let expected = expected.map(|(directory, verifies)| TlsFiles {
                directory: directory.into(),
                needs_authority: true,
                verifies,
            });
            assert_eq!(found, expected, "{given:?}");
        }
        let https = variables(&[("DOCKER_HOST", "https://box:1"), ("DOCKER_CERT_PATH", "/c")]);
        assert_eq!(select(&https).unwrap().tls.unwrap().directory, PathBuf::from("/c"));
    }
}
