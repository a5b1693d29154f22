//! The docker client's contexts, as it keeps them below its own directory (docker context): which is the current one is in
//! `config.json`, where its engine is in `contexts/meta`, with which certificates in `contexts/tls`.

use std::io;
use std::path::Path;

use serde_json::{Map, Value};

use super::endpoint::HTTPS;
use super::tls::{CERTIFICATE_FILES, TlsFiles};
use crate::digest::Digest;
use crate::docker_client::{CONFIG_LIMIT_BYTES, config_file};
use crate::engine::EngineError;
use crate::regular_file;

/// The largest description of a context that is read; it has some hundred bytes.
const META_LIMIT_BYTES: u64 = 1024 * 1024;
/// What the client calls an engine among what a context may lead to.
const ENDPOINT: &str = "docker";

/// What a context says of its engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientContext {
    /// The engine's address; none where the context leaves it to the client.
    pub(super) address: Option<String>,
    /// With which certificates it is spoken to; none where it is without.
    pub(super) tls: Option<TlsFiles>,
}

/// The name of the current context; none where the client has none.
///
/// # Errors
/// [`EngineError::Undecided`] when the file cannot be read or understood. The
/// client itself then warns and takes its default, which may be another engine than the one that was meant. What belongs to
/// somebody else, whose `HOME` this user has, says nothing of what this one means.
pub(super) fn current(directory: &Path) -> Result<Option<String>, EngineError> {
    let file = config_file(directory);
    let failed = |cause: String| EngineError::Undecided {
        cause: format!("{}: {cause}", file.display()),
        hint: "mend the file, or name the engine in DOCKER_HOST or its context in DOCKER_CONTEXT".to_owned(),
    };
    let bytes = match regular_file::read(&file, CONFIG_LIMIT_BYTES) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        read => read.map_err(|error| failed(error.to_string()))?,
    };
    // The client makes an empty file when it is interrupted, and takes it for none.
    if bytes.is_empty() {
        return Ok(None);
    }
    let config: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    match member(&config, "currentContext") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
        Some(_) => Err(failed("`currentContext` is no text".to_owned())),
    }
}

/// What the context of this name says.
///
/// # Errors
/// [`EngineError::Undecided`] when there is none, or it cannot be read or understood.
pub(super) fn read(directory: &Path, name: &str, shown: &str) -> Result<ClientContext, EngineError> {
    let id = Digest::of(name.as_bytes()).hex();
    let contexts = directory.join("contexts");
    let file = contexts.join("meta").join(&id).join("meta.json");
    let failed = |cause: String| EngineError::Undecided {
        cause: format!("{shown}: {}: {cause}", file.display()),
        hint: format!(
            "make the context anew: docker context rm {name}, docker context create {name} --docker host=…; or name the \
             engine in DOCKER_HOST"
        ),
    };
    let bytes = match regular_file::read(&file, META_LIMIT_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(EngineError::Undecided {
                cause: format!("{shown} does not exist: there is no {}", file.display()),
                hint: "see which there are: docker context ls; name one of them in DOCKER_CONTEXT, or the engine in \
                       DOCKER_HOST"
                    .to_owned(),
            });
        }
        read => read.map_err(|error| failed(error.to_string()))?,
    };
    let meta: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    let endpoints = member(&meta, "Endpoints").and_then(Value::as_object);
    let endpoint = endpoints.and_then(|endpoints| endpoints.get(ENDPOINT));
    let endpoint = endpoint.ok_or_else(|| failed("it has no endpoint `docker`".to_owned()))?;
    let endpoint = endpoint
        .as_object()
        .ok_or_else(|| failed("its endpoint `docker` is no object".to_owned()))?;
    let address = match member(endpoint, "Host") {
        None | Some(Value::Null) => None,
        Some(Value::String(address)) => Some(address.clone()).filter(|address| !address.is_empty()),
        Some(_) => return Err(failed("`Host` is no text".to_owned())),
    };
    let verifies = match member(endpoint, "SkipTLSVerify") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(skips)) => !skips,
        Some(_) => return Err(failed("`SkipTLSVerify` is neither true nor false".to_owned())),
    };
    let certificates = contexts.join("tls").join(&id).join(ENDPOINT);
    let has_certificates = CERTIFICATE_FILES.iter().any(|file| certificates.join(file).exists());
    let is_https = address.as_ref().is_some_and(|address| address.starts_with(HTTPS));
    let tls = (has_certificates || !verifies || is_https).then_some(TlsFiles {
        directory: certificates,
        needs_authority: false,
        verifies,
    });
    Ok(ClientContext { address, tls })
}

/// A member by its name in whatever case: so the client's JSON library takes it, and files that people wrote have it.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let alike = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    object.get(name).or_else(|| alike().map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_context_is_what_the_clients_file_says() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(current(directory.path()), Ok(None), "there is no file");
        for (text, expected) in [
            ("", None),
            ("{}", None),
            (r#"{"auths": {}, "currentContext": ""}"#, None),
            (r#"{"currentContext": null}"#, None),
            (r#"{"currentContext": "away"}"#, Some("away")),
            (r#"{"CURRENTCONTEXT": "away"}"#, Some("away")),
        ] {
            std::fs::write(config_file(directory.path()), text).unwrap();
            assert_eq!(current(directory.path()), Ok(expected.map(str::to_owned)), "{text}");
        }
        let large = " ".repeat(usize::try_from(CONFIG_LIMIT_BYTES).unwrap() + 1);
        for (text, expected) in [
            (r#"{"currentContext":"#, "EOF while parsing"),
            (r#"{"currentContext": 5}"#, "is no text"),
            ("[]", "invalid type"),
            (&large, "it is too large"),
        ] {
            std::fs::write(config_file(directory.path()), text).unwrap();
            let error = current(directory.path()).unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("config.json: ") && said.contains(expected) && error.hint().is_some(),
                "{said}"
            );
        }
    }

    /// Writes the description of the context `away`.
    fn write(directory: &Path, text: &str) {
        let id = Digest::of(b"away").hex();
        let meta = directory.join("contexts/meta").join(id);
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(meta.join("meta.json"), text).unwrap();
    }

    #[test]
    fn a_context_says_where_its_engine_is() {
        let directory = tempfile::tempdir().unwrap();
        let certificates = directory
            .path()
            .join("contexts/tls")
            .join(Digest::of(b"away").hex())
            .join("docker");
        let tls = |verifies| {
            Some(TlsFiles {
                directory: certificates.clone(),
                needs_authority: false,
                verifies,
            })
        };
        let read = || read(directory.path(), "away", "context `away` of x");
        for (text, address, expected) in [
            (r#"{"Endpoints": {"docker": {}}}"#, None, None),
            (
                r#"{"Name": "other", "Endpoints": {"docker": {"Host": "unix:///x"}}}"#,
                Some("unix:///x"),
                None,
            ),
            (
                r#"{"endpoints": {"docker": {"host": "tcp://x:1", "SkipTLSVerify": true}}}"#,
                Some("tcp://x:1"),
                tls(false),
            ),
        ] {
            write(directory.path(), text);
            let address = address.map(str::to_owned);
            assert_eq!(read(), Ok(ClientContext { address, tls: expected }), "{text}");
        }
        std::fs::create_dir_all(&certificates).unwrap();
        std::fs::write(certificates.join("cert.pem"), "").unwrap();
        write(directory.path(), r#"{"Endpoints": {"docker": {"Host": "tcp://x:1"}}}"#);
        assert_eq!(read().unwrap().tls, tls(true));
    }

    #[test]
    fn a_context_that_is_none_is_an_error_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let check = |expected: &str| {
            let error = read(directory.path(), "away", "context `away` of x").unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("context `away` of x")
                    && said.contains("meta.json")
                    && said.contains(expected)
                    && error.hint().is_some(),
                "{said} does not say {expected}"
            );
        };
        check("does not exist");
        for (text, expected) in [
            ("{", "EOF while parsing"),
            ("{}", "no endpoint `docker`"),
            (r#"{"Endpoints": {"docker": 1}}"#, "is no object"),
            (r#"{"Endpoints": {"docker": {"Host": 1}}}"#, "`Host` is no text"),
            (r#"{"Endpoints": {"docker": {"SkipTLSVerify": "yes"}}}"#, "neither"),
            (
                &" ".repeat(usize::try_from(META_LIMIT_BYTES).unwrap() + 1),
                "it is too large",
            ),
        ] {
            write(directory.path(), text);
            check(expected);
        }
    }
}
