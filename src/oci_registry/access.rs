//! How a registry is reached: where, with which certificates, through which proxies.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, NoProxy, Proxy, Url};
use rustls::crypto::CryptoProvider;

use super::certificates::Certificates;
use super::error::ExchangeError;
use super::insecure::{is_insecure, name_and_port};
use super::surroundings::Surroundings;
use crate::credentials::DEFAULT_HOST;
use crate::network::NetworkSettings;

/// What the host of names without a host answers by (distribution/reference; docker's `IndexServer`).
const DEFAULT_API_HOST: &str = "registry-1.docker.io";
/// How long a connection may take to come about.
const CONNECT_TIMEOUT_SECONDS: u64 = 15;
/// How long the search for a host's addresses may take.
const LOOKUP_TIMEOUT_SECONDS: u64 = 15;
/// How often a registry may say that something is elsewhere.
const REDIRECTS_LIMIT_COUNT: usize = 5;
/// The port whose host's addresses are looked up, where none is named.
const DEFAULT_PORT: u16 = 443;
/// What no proxy is asked for, as engines do it (Go, `httpproxy`).
const NEVER_PROXIED: &str = "localhost,127.0.0.0/8,::1";
/// What this program calls itself.
const USER_AGENT: &str = concat!("lockstep/", env!("CARGO_PKG_VERSION"));

/// The way to a registry.
pub(super) struct Access {
    pub(super) client: Client,
    /// Where it may be, the best first.
    pub(super) bases: Vec<Url>,
}

impl Access {
    /// The way to the registry of a host.
    pub(super) async fn to(host: &str, surroundings: &Surroundings<'_>) -> Result<Self, ExchangeError> {
        let is_insecure = is_insecure(host, &addresses(host).await, surroundings.insecure);
        let schemes: &[&str] = if is_insecure { &["https", "http"] } else { &["https"] };
        let unreachable = |cause: String| ExchangeError::Unreachable {
            registry: host.to_owned(),
            cause,
        };
        let api_host = if host == DEFAULT_HOST { DEFAULT_API_HOST } else { host };
        let parse = |scheme: &&str| Url::parse(&format!("{scheme}://{api_host}/"));
        let bases = schemes.iter().map(parse).collect::<Result<_, _>>();
        let bases = bases.map_err(|error| unreachable(error.to_string()))?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .http1_only()
            .referer(false)
            .connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_SECONDS))
            .redirect(Policy::custom(follow))
            .no_proxy();
        // As engines do, which show nothing to whom they do not know.
        builder = if is_insecure {
            // Whoever was first has named the same.
            let _ = CryptoProvider::install_default(CryptoProvider::clone(&provider));
            builder.tls_danger_accept_invalid_certs(true)
        } else {
            let tls = Certificates::of(host, surroundings)?.tls(&provider);
            builder.tls_backend_preconfigured(tls.map_err(|error| unreachable(error.to_string()))?)
        };
        for proxy in proxies(surroundings.network).map_err(unreachable)? {
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| unreachable(chain(&error)))?;
        Ok(Self { client, bases })
    }
}

/// The addresses of a host; none where nobody knows it.
async fn addresses(host: &str) -> Vec<IpAddr> {
    let (name, port) = name_and_port(host);
    let looking = tokio::net::lookup_host((name, port.unwrap_or(DEFAULT_PORT)));
    match tokio::time::timeout(Duration::from_secs(LOOKUP_TIMEOUT_SECONDS), looking).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        _ => vec![],
    }
}

/// The proxies that the machine names.
fn proxies(network: &NetworkSettings) -> Result<Vec<Proxy>, String> {
    let left_out = proxy_variable(network, ["NO_PROXY", "no_proxy"]);
    let left_out = left_out.map_or(String::new(), |(_, value)| format!(",{value}"));
    let left_out = NoProxy::from_string(&format!("{NEVER_PROXIED}{left_out}"));
    let mut proxies = Vec::new();
    let of_tls: fn(&str) -> reqwest::Result<Proxy> = |address| Proxy::https(address);
    let of_others: fn(&str) -> reqwest::Result<Proxy> = |address| Proxy::http(address);
    for (names, make) in [
        (["HTTPS_PROXY", "https_proxy"], of_tls),
        (["HTTP_PROXY", "http_proxy"], of_others),
    ] {
        let Some((name, value)) = proxy_variable(network, names) else {
            continue;
        };
        // The value may have a password in it.
        let proxy = make(value).map_err(|_| format!("{name} names no proxy"))?;
        proxies.push(proxy.no_proxy(left_out.clone()));
    }
    Ok(proxies)
}

/// The first of these variables that is set, and its value.
fn proxy_variable<'a>(network: &'a NetworkSettings, names: [&'static str; 2]) -> Option<(&'static str, &'a str)> {
    let mut names = names.into_iter();
    names.find_map(|name| Some((name, network.proxies.get(name)?.as_str())))
}

/// Follows a few redirections, and none that leaves TLS.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_encrypted = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if was_encrypted && attempt.url().scheme() != "https" {
        attempt.error("it says that this is at a place without TLS")
    } else if attempt.previous().len() > REDIRECTS_LIMIT_COUNT {
        attempt.error("it says too often that this is elsewhere")
    } else {
        attempt.follow()
    }
}

/// An error with its causes, each once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    const CAUSES_LIMIT_COUNT: usize = 8;
    let causes = std::iter::successors(Some(error), |error| error.source()).take(CAUSES_LIMIT_COUNT);
    let mut told = String::new();
    for cause in causes.map(ToString::to_string) {
        if !told.contains(&cause) {
            let between = if told.is_empty() { "" } else { ": " };
            told = format!("{told}{between}{cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    async fn bases(host: &str, insecure: &[&str]) -> Vec<String> {
        let variables = BTreeMap::new();
        let root = tempfile::tempdir().unwrap();
        let authority = root.path().join("etc/docker/certs.d").join(host);
        std::fs::create_dir_all(&authority).unwrap();
        let made = std::process::Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
            ])
            .args(["-keyout", "/dev/null", "-out", "ca.crt"])
            .current_dir(&authority)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let network = NetworkSettings::of(root.path(), &variables);
        let insecure: Vec<String> = insecure.iter().map(|entry| (*entry).to_owned()).collect();
        let surroundings = Surroundings {
            root: root.path(),
            variables: &variables,
            network: &network,
            insecure: &insecure,
        };
        let access = Access::to(host, &surroundings).await.unwrap();
        access.bases.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn the_engine_says_who_is_spoken_to_in_the_clear() {
        assert_eq!(bases("127.0.0.1:5000", &[]).await, ["https://127.0.0.1:5000/"]);
        assert_eq!(
            bases("127.0.0.1:5000", &["127.0.0.0/8"]).await,
            ["https://127.0.0.1:5000/", "http://127.0.0.1:5000/"]
        );
        assert_eq!(
            bases("[::1]:5000", &["[::1]:5000"]).await,
            ["https://[::1]:5000/", "http://[::1]:5000/"]
        );
    }

    #[test]
    fn proxies_are_those_of_the_machine() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            proxies(&NetworkSettings {
                ca_bundle: None,
                proxies: pairs.collect(),
            })
            .map(|proxies| proxies.len())
        };
        assert_eq!(of(&[]), Ok(0));
        assert_eq!(
            of(&[
                ("https_proxy", "http://me:secret@proxy.example:3128"),
                ("NO_PROXY", "x.example")
            ]),
            Ok(1)
        );
        assert_eq!(
            of(&[
                ("HTTPS_PROXY", "proxy.example:3128"),
                ("HTTP_PROXY", "http://proxy.example")
            ]),
            Ok(2)
        );
        let error = of(&[("HTTPS_PROXY", "http://me:secret@:x")]).unwrap_err();
        assert_eq!(error, "HTTPS_PROXY names no proxy");
    }
}
