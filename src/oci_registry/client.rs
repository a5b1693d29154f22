//! Questions to a registry, and its answers: who asks is proved when it wants to know, and nothing is waited for or read
//! without an end.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Method, StatusCode, Url};
use serde::Deserialize;

use super::access::{Access, chain};
use super::artifact::Descriptor;
use super::challenge::{Challenge, challenges};
use super::error::ExchangeError;
use super::surroundings::Surroundings;
use crate::credentials::{ClientConfig, DEFAULT_HOST, Secret};
use crate::digest::Digest;
use crate::media_type::{INDEX_TYPE, MANIFEST_TYPE};
use crate::printable::printable;
use crate::repository::Repository;

/// How long an answer may take.
const ANSWER_TIMEOUT_SECONDS: u64 = 60;
/// How long an upload may take, from its first byte to the answer.
const UPLOAD_TIMEOUT_SECONDS: u64 = 15 * 60;
/// The largest manifest that is read; a registry need not take a larger one (distribution specification, "Pushing Manifests").
const MANIFEST_LIMIT_BYTES: usize = 4 << 20;
/// The largest other answer that is read: a token, or what is wrong.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;
/// How much of a registry's own words is told.
const WORDS_LIMIT_CHARS: usize = 300;
/// The parts of a repository's name on the default registry that have none of their own (distribution/reference).
const DEFAULT_NAMESPACE: &str = "library";
/// What this program calls itself where tokens are given out.
const CLIENT_ID: &str = "lockstep";
/// By which a registry says that it lists what refers to an image itself (distribution specification, "Pushing Manifests with
/// Subject").
const SUBJECT_HEADER: &str = "OCI-Subject";
/// What images may be.
const IMAGE_TYPES: [&str; 4] = [
    MANIFEST_TYPE,
    INDEX_TYPE,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A repository in a registry that answers.
pub struct Registry {
    client: Client,
    /// Where it answers.
    base: Url,
    host: String,
    /// The repository's name, as the registry knows it.
    name: String,
    secret: Option<Secret>,
    /// What its questions carry.
    authorization: Option<Authorization>,
}

/// What proves who asks, in a question.
#[derive(PartialEq, Eq)]
enum Authorization {
    Bearer(String),
    Basic { user: String, password: String },
}

/// A question.
struct Request {
    method: Method,
    url: Url,
    accept: Option<String>,
    content: Option<(&'static str, Bytes)>,
    limit_bytes: usize,
    limit: Duration,
}

impl Request {
    fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            accept: None,
            content: None,
            limit_bytes: ANSWER_LIMIT_BYTES,
            limit: Duration::from_secs(ANSWER_TIMEOUT_SECONDS),
        }
    }

    fn accepting(self, types: &[&str]) -> Self {
        Self {
            accept: Some(types.join(", ")),
            limit_bytes: MANIFEST_LIMIT_BYTES,
            ..self
        }
    }

    fn with(self, content_type: &'static str, content: Bytes) -> Self {
        Self {
            content: Some((content_type, content)),
            limit: Duration::from_secs(UPLOAD_TIMEOUT_SECONDS),
            ..self
        }
    }
}

/// An answer.
struct Answer {
    /// Who answered, which may be somebody else than who was asked.
    url: Url,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// The body of a registry's error (distribution specification, "Error Codes").
#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// What a token server answers; one of both is there.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// Finds the registry of a repository, and proves who asks if it wants to know.
    ///
    /// # Errors
    /// When it is not reached from here, or does not let in who asks.
    pub async fn open(repository: &Repository, surroundings: &Surroundings<'_>) -> Result<Self, ExchangeError> {
        let host = repository.host();
        let config = ClientConfig::of(surroundings.variables);
        let known = config.credentials(&repository.to_string()).await?;
        let secret = known.map(|known| known.secret);
        let Access { client, bases } = Access::to(host, surroundings).await?;
        let name = match repository.path() {
            path if host == DEFAULT_HOST && !path.contains('/') => format!("{DEFAULT_NAMESPACE}/{path}"),
            path => path.to_owned(),
        };
        let mut causes: Vec<String> = Vec::new();
        for base in bases {
            let mut registry = Self {
                client: client.clone(),
                base,
                host: host.to_owned(),
                name: name.clone(),
                secret: secret.clone(),
                authorization: None,
            };
            let ping = Request::new(Method::GET, registry.at("v2/"));
            match registry.send(&ping).await {
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && registry.is_own(&answer.url) => {
                    registry.prove("log in to", &answer).await?;
                    return Ok(registry);
                }
                Ok(_) => return Ok(registry),
                Err(cause) if causes.contains(&cause) => {}
                Err(cause) => causes.push(cause),
            }
        }
        Err(ExchangeError::Unreachable {
            registry: host.to_owned(),
            cause: causes.join("; "),
        })
    }

    /// What points at the manifest of a digest.
    pub(super) async fn describe(&mut self, digest: Digest) -> Result<Descriptor, ExchangeError> {
        const ACTION: &str = "look at the image in";
        let request = Request::new(Method::GET, self.of_repository(&format!("manifests/{digest}")));
        let answer = self.ask(ACTION, &request.accepting(&IMAGE_TYPES)).await?;
        match answer.status {
            StatusCode::OK if Digest::of(&answer.body) == digest => {}
            StatusCode::OK => return Err(self.failed(ACTION, "what it has there does not have that digest")),
            StatusCode::NOT_FOUND => {
                return Err(ExchangeError::Absent {
                    registry: self.host.clone(),
                    image: format!("{}@{digest}", self.name),
                });
            }
            _ => return Err(self.refusal(ACTION, &answer)),
        }
        // What the manifest says of itself goes before what is said of it.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            media_type: Option<String>,
        }
        let kind = serde_json::from_slice::<Kind>(&answer.body)
            .ok()
            .and_then(|kind| kind.media_type);
        let told = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.or_else(|| Some(told?.split(';').next()?.trim().to_owned()));
        match kind.filter(|kind| IMAGE_TYPES.contains(&kind.as_str())) {
            Some(kind) => Ok(Descriptor::of(&kind, &answer.body)),
            None => Err(self.failed(ACTION, "what it has there is no image")),
        }
    }

    /// Puts a content there, unless it is there.
    pub(super) async fn put_blob(&mut self, content: &Bytes) -> Result<(), ExchangeError> {
        const ACTION: &str = "put a document into";
        let digest = Digest::of(content);
        let known = Request::new(Method::HEAD, self.of_repository(&format!("blobs/{digest}")));
        if self.ask(ACTION, &known).await?.status == StatusCode::OK {
            return Ok(());
        }
        let begin = Request::new(Method::POST, self.of_repository("blobs/uploads/"));
        let begun = self.ask(ACTION, &begin).await?;
        if begun.status != StatusCode::ACCEPTED {
            return Err(self.refusal(ACTION, &begun));
        }
        let place = begun.headers.get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.and_then(|place| begin.url.join(place).ok());
        let mut place = place.ok_or_else(|| self.failed(ACTION, "it does not say where to"))?;
        if self.base.scheme() == "https" && place.scheme() != "https" {
            return Err(self.failed(ACTION, "it says that this belongs to a place without TLS"));
        }
        place.query_pairs_mut().append_pair("digest", &digest.to_string());
        let put = Request::new(Method::PUT, place).with("application/octet-stream", content.clone());
        let answer = self.ask(ACTION, &put).await?;
        match answer.status {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.refusal(ACTION, &answer)),
        }
    }

    /// Puts a manifest there, under a tag or its digest. Gives whether the registry says that it lists it as one about `subject`.
    pub(super) async fn put_manifest(
        &mut self,
        reference: &str,
        media_type: &'static str,
        content: Bytes,
        subject: Digest,
    ) -> Result<bool, ExchangeError> {
        const ACTION: &str = "put a manifest into";
        let url = self.of_repository(&format!("manifests/{reference}"));
        let put = Request::new(Method::PUT, url).with(media_type, content);
        let answer = self.ask(ACTION, &put).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(ACTION, &answer));
        }
        let told = answer
            .headers
            .get(SUBJECT_HEADER)
            .and_then(|digest| digest.to_str().ok());
        Ok(told.and_then(|digest| digest.parse().ok()) == Some(subject))
    }

    /// The index that has a tag, if there is one.
    pub(super) async fn index(&mut self, tag: &str) -> Result<Option<Vec<u8>>, ExchangeError> {
        const ACTION: &str = "look at the list of referrers in";
        let request = Request::new(Method::GET, self.of_repository(&format!("manifests/{tag}")));
        let answer = self.ask(ACTION, &request.accepting(&[INDEX_TYPE])).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(ACTION, &answer)),
        }
    }

    /// What went wrong though the registry answered.
    pub(super) fn failed(&self, action: &'static str, cause: &str) -> ExchangeError {
        ExchangeError::Failed {
            registry: self.host.clone(),
            action,
            cause: cause.to_owned(),
        }
    }

    /// What the registry does not take.
    pub(super) fn refused(&self, action: &'static str, cause: &str) -> ExchangeError {
        ExchangeError::Refused {
            registry: self.host.clone(),
            action,
            cause: cause.to_owned(),
        }
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    fn of_repository(&self, path: &str) -> Url {
        self.at(&format!("v2/{}/{path}", self.name))
    }

    /// Asks, and once more with what the registry wants to know.
    async fn ask(&mut self, action: &'static str, request: &Request) -> Result<Answer, ExchangeError> {
        let failed = |registry: &Self, cause: String| registry.failed(action, &cause);
        let answer = self.send(request).await.map_err(|cause| failed(self, cause))?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.is_own(&answer.url) {
            return Ok(answer);
        }
        self.prove(action, &answer).await?;
        self.send(request).await.map_err(|cause| failed(self, cause))
    }

    async fn send(&self, request: &Request) -> Result<Answer, String> {
        let mut asked = self.client.request(request.method.clone(), request.url.clone());
        if let Some(accept) = &request.accept {
            asked = asked.header(ACCEPT, accept);
        }
        asked = match &request.content {
            Some((content_type, content)) => asked.header(CONTENT_TYPE, *content_type).body(content.clone()),
            // Some registries want to be told that there is nothing.
            None if request.method == Method::POST => asked.header(CONTENT_LENGTH, 0),
            None => asked,
        };
        // What is elsewhere is for others to know.
        asked = match self.authorization.as_ref().filter(|_| self.is_own(&request.url)) {
            Some(Authorization::Bearer(token)) => asked.bearer_auth(token),
            Some(Authorization::Basic { user, password }) => asked.basic_auth(user, Some(password)),
            None => asked,
        };
        answer(asked.timeout(request.limit), request.limit_bytes).await
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Proves who asks, as the registry wants it.
    async fn prove(&mut self, action: &'static str, answer: &Answer) -> Result<(), ExchangeError> {
        let headers = answer.headers.get_all(WWW_AUTHENTICATE).iter();
        let wanted: Vec<Challenge> = headers
            .filter_map(|header| header.to_str().ok())
            .flat_map(challenges)
            .collect();
        let by = |scheme: &str| wanted.iter().find(|challenge| challenge.scheme == scheme);
        let authorization = if let Some(challenge) = by("bearer") {
            Authorization::Bearer(self.token(action, challenge).await?)
        } else if let (Some(_), Some(Secret::Password { user, password })) = (by("basic"), &self.secret) {
            Authorization::Basic {
                user: user.clone(),
                password: password.clone(),
            }
        } else {
            return Err(self.denied(action, &said(answer)));
        };
        if self.authorization.as_ref() == Some(&authorization) {
            // It was told so already.
            return Err(self.denied(action, &said(answer)));
        }
        self.authorization = Some(authorization);
        Ok(())
    }

    /// A token from where the registry says that there are some.
    async fn token(&self, action: &'static str, challenge: &Challenge) -> Result<String, ExchangeError> {
        let realm = challenge
            .parameters
            .get("realm")
            .and_then(|realm| Url::parse(realm).ok());
        let mut realm = realm.ok_or_else(|| self.failed(action, "it does not say where it gives tokens"))?;
        if self.base.scheme() == "https" && realm.scheme() != "https" {
            return Err(self.failed(action, "it gives tokens at a place without TLS"));
        }
        let scope = format!("repository:{}:pull,push", self.name);
        let mut asked = vec![("scope", scope.as_str())];
        asked.extend(
            challenge
                .parameters
                .get("service")
                .map(|service| ("service", service.as_str())),
        );
        let request = match &self.secret {
            Some(Secret::IdentityToken(token)) => {
                asked.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", CLIENT_ID),
                    ("refresh_token", token),
                ]);
                self.client.post(realm).form(&asked)
            }
            secret => {
                realm.query_pairs_mut().extend_pairs(asked);
                let request = self.client.get(realm);
                match secret {
                    Some(Secret::Password { user, password }) => request.basic_auth(user, Some(password)),
                    _ => request,
                }
            }
        };
        let limit = Duration::from_secs(ANSWER_TIMEOUT_SECONDS);
        let answer = answer(request.timeout(limit), ANSWER_LIMIT_BYTES).await;
        let answer = answer.map_err(|cause| self.failed(action, &format!("no token is to be had: {cause}")))?;
        match answer.status {
            StatusCode::OK => {}
            // What is wrong with a refresh token, and who must not have one, is told by all of these (RFC 6749, 5.2).
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Err(self.denied(action, &said(&answer)));
            }
            _ => return Err(self.failed(action, &said(&answer))),
        }
        let token = serde_json::from_slice::<Token>(&answer.body).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        token.ok_or_else(|| self.failed(action, "what it gives for a token is none"))
    }

    fn denied(&self, action: &'static str, cause: &str) -> ExchangeError {
        ExchangeError::Denied {
            registry: self.host.clone(),
            action,
            cause: cause.to_owned(),
        }
    }

    /// What an answer means that is not what was asked for.
    fn refusal(&self, action: &'static str, answer: &Answer) -> ExchangeError {
        let cause = said(answer);
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(action, &cause),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => self.failed(action, &cause),
            status if status.is_client_error() => self.refused(action, &cause),
            _ => self.failed(action, &cause),
        }
    }
}

/// Waits for an answer, and reads it. No error of it has the address, in which there may be what nobody else should know.
async fn answer(request: reqwest::RequestBuilder, limit_bytes: usize) -> Result<Answer, String> {
    let lost = |error: reqwest::Error| chain(&error.without_url());
    let mut response = request.send().await.map_err(lost)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > limit_bytes {
            return Err(format!("its answer has more than {limit_bytes} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        url: response.url().clone(),
        status: response.status(),
        headers: response.headers().clone(),
        body,
    })
}

/// What a registry says of what it did not do, in one line.
fn said(answer: &Answer) -> String {
    let words = match serde_json::from_slice::<Errors>(&answer.body) {
        Ok(Errors { errors }) => {
            let words = errors.iter().map(|error| match &error.message {
                Some(message) if !message.is_empty() => format!("{}: {message}", error.code),
                _ => error.code.clone(),
            });
            words.collect::<Vec<_>>().join("; ")
        }
        Err(_) => String::from_utf8_lossy(&answer.body)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned(),
    };
    let words: String = printable(&words).chars().take(WORDS_LIMIT_CHARS).collect();
    match words.is_empty() {
        true => answer.status.to_string(),
        false => format!("{}: {words}", answer.status),
    }
}
