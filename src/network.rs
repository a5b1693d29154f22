//! What a container with a network is given of the machine's way to it: the CA bundle, for networks that intercept TLS,
//! and the proxies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where distributions keep the CA bundle, below the root: Debian and Alpine, Fedora, openSUSE.
const CA_BUNDLES: &[&str] = &[
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];
/// The variables that name a CA bundle for OpenSSL and Go, curl, git and cargo.
const CA_VARIABLES: &[&str] = &["SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO"];
/// The variables that name proxies.
const PROXY_VARIABLES: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];
/// The largest CA bundle that is handed on; the common ones have some 200 KB.
const CA_BUNDLE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// The machine's way to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The CA bundle's file, when there is one.
    pub ca_bundle: Option<PathBuf>,
    /// The proxies' variables that are set.
    pub proxies: BTreeMap<String, String>,
}

impl NetworkSettings {
    /// What variables and files tell of it; `root` is `/`, or another directory in tests.
    #[must_use]
    pub fn of(root: &Path, variables: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let named = set("SSL_CERT_FILE").map(PathBuf::from);
        let usual = CA_BUNDLES.iter().map(|path| root.join(path));
        let small = |path: &PathBuf| {
            path.metadata()
                .is_ok_and(|file| file.is_file() && file.len() <= CA_BUNDLE_LIMIT_BYTES)
        };
        let proxies = PROXY_VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), set(name)?.clone())))
            .collect();
        Self {
            ca_bundle: named.into_iter().chain(usual).find(small),
            proxies,
        }
    }

    /// The variables for a container in which the bundle is at `path`.
    #[must_use]
    pub fn variables(&self, path: &str) -> BTreeMap<String, String> {
        let mut variables = self.proxies.clone();
        if self.ca_bundle.is_some() {
            variables.extend(CA_VARIABLES.iter().map(|name| ((*name).to_owned(), path.to_owned())));
        }
        variables
    }
}
