//! What this machine has for one registry alone: certificates of its authority, and one to show it (docs of dockerd, "Verify
//! repository client with certificates"; containers-certs.d(5)).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::error::ExchangeError;
use super::surroundings::Surroundings;
use super::verifier::Verifier;
use crate::regular_file;

/// Where engines keep them, below `/etc` and below the directory for a user's configuration.
const DIRECTORIES: [&str; 2] = ["docker/certs.d", "containers/certs.d"];
/// The largest file of a certificate or key that is read; they have a few kilobytes.
const FILE_LIMIT_BYTES: u64 = 1 << 20;
/// The largest bundle of all authorities.
const BUNDLE_LIMIT_BYTES: u64 = 8 << 20;
/// What is wrong where there is none of them at all.
const NO_AUTHORITY: &str = "this machine has no certificate of any authority";
/// How many files a registry's directory may have.
const FILES_LIMIT_COUNT: usize = 100;

/// The certificates that count with a registry.
#[derive(Default)]
pub(super) struct Certificates {
    /// Of the machine's authorities.
    machine: Vec<CertificateDer<'static>>,
    /// Of the registry's own, or the registry's.
    own: Vec<CertificateDer<'static>>,
    /// What it is shown: a certificate with those of its authorities, and its key.
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Certificates {
    /// Those for the registry of this host.
    pub(super) fn of(host: &str, surroundings: &Surroundings<'_>) -> Result<Self, ExchangeError> {
        let mut found = Self::default();
        if let Some(bundle) = &surroundings.network.ca_bundle {
            // One in a bundle that cannot be read is nobody's authority; the others are.
            found.machine = authorities(&read(bundle, BUNDLE_LIMIT_BYTES)?);
        }
        for directory in directories(host, surroundings) {
            for name in files(&directory)? {
                let path = directory.join(&name);
                if name.ends_with(".crt") {
                    let own = authorities(&read(&path, FILE_LIMIT_BYTES)?);
                    if own.is_empty() {
                        return Err(unfit(&path, "there is none in it"));
                    }
                    found.own.extend(own);
                } else if name.ends_with(".cert") && found.identity.is_none() {
                    found.identity = Some(identity(&path)?);
                }
            }
        }
        Ok(found)
    }

    /// TLS with them.
    ///
    /// # Errors
    /// When the key is not that of the certificate that is shown.
    pub(super) fn tls(self, provider: &Arc<CryptoProvider>) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.machine.into_iter().chain(self.own.iter().cloned()));
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let nobody = |_| rustls::Error::General(NO_AUTHORITY.to_owned());
        let webpki = webpki.build().map_err(nobody)?;
        let verifier = Verifier { webpki, own: self.own };
        let config = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match self.identity {
            Some((certificates, key)) => config.with_client_auth_cert(certificates, key),
            None => Ok(config.with_no_client_auth()),
        }
    }
}

/// The directories that may have certificates for a host; engines keep the colon of its port.
fn directories(host: &str, surroundings: &Surroundings<'_>) -> Vec<PathBuf> {
    let set = |name: &str| surroundings.variables.get(name).filter(|value| !value.is_empty());
    let of_user = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let of_user = of_user.or_else(|| Some(Path::new(set("HOME")?).join(".config")));
    let bases = [surroundings.root.join("etc")].into_iter().chain(of_user);
    bases
        .flat_map(|base| DIRECTORIES.map(|directory| base.join(directory).join(host)))
        .collect()
}

/// The names in a directory, sorted; none where there is no such directory.
fn files(directory: &Path) -> Result<BTreeSet<String>, ExchangeError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(unfit(directory, error)),
    };
    let mut names = BTreeSet::new();
    for entry in entries.take(FILES_LIMIT_COUNT) {
        let entry = entry.map_err(|error| unfit(directory, error))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// The certificates in a text that can be authorities.
fn authorities(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_slice_iter(pem).flatten();
    let is_sound = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
    certificates.filter(is_sound).collect()
}

/// What a registry is shown: `NAME.cert` with its key, `NAME.key`.
fn identity(path: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ExchangeError> {
    let certificates = CertificateDer::pem_slice_iter(&read(path, FILE_LIMIT_BYTES)?).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    let certificates = certificates.ok_or_else(|| unfit(path, "there is none in it"))?;
    let path = path.with_extension("key");
    // What is wrong with a key is for nobody to read.
    let key = PrivateKeyDer::from_pem_slice(&read(&path, FILE_LIMIT_BYTES)?);
    let key = key.map_err(|_| unfit(&path, "it is no key"))?;
    Ok((certificates, key))
}

fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, ExchangeError> {
    regular_file::read(path, limit_bytes).map_err(|error| unfit(path, error))
}

fn unfit(path: &Path, cause: impl ToString) -> ExchangeError {
    ExchangeError::Certificate {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;
    use crate::network::NetworkSettings;

    /// A certificate that is its own authority, and its key.
    fn make(directory: &Path, certificate: &str, key: &str) {
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
            ])
            .arg("-keyout")
            .arg(directory.join(key))
            .arg("-out")
            .arg(directory.join(certificate))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    #[test]
    fn a_registry_s_own_certificates_are_found_where_engines_look() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path();
        let system = root.join("etc/docker/certs.d/a.example:5000");
        let of_user = root.join("home/.config/containers/certs.d/a.example:5000");
        fs::create_dir_all(&system).unwrap();
        fs::create_dir_all(&of_user).unwrap();
        make(&system, "ca.crt", "ignored.key");
        make(&system, "client.cert", "client.key");
        make(&of_user, "ca.crt", "ignored.key");
        fs::write(
            root.join("bundle"),
            [
                fs::read(system.join("ca.crt")).unwrap(),
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            ]
            .concat(),
        )
        .unwrap();
        let variables = BTreeMap::from([
            ("HOME".to_owned(), root.join("home").display().to_string()),
            ("SSL_CERT_FILE".to_owned(), root.join("bundle").display().to_string()),
        ]);
        let network = NetworkSettings::of(root, &variables);
        let surroundings = Surroundings {
            root,
            variables: &variables,
            network: &network,
            insecure: &[],
        };
        let of = |host: &str| Certificates::of(host, &surroundings);
        let found = of("a.example:5000").unwrap();
        assert_eq!(
            (found.machine.len(), found.own.len(), found.identity.is_some()),
            (1, 2, true)
        );
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        assert!(found.tls(&provider).unwrap().client_auth_cert_resolver.has_certs());
        let found = of("b.example").unwrap();
        assert_eq!(
            (found.machine.len(), found.own.len(), found.identity.is_some()),
            (1, 0, false)
        );

        fs::copy(of_user.join("ignored.key"), system.join("client.key")).unwrap();
        assert!(
            of("a.example:5000").unwrap().tls(&provider).is_err(),
            "it is another one's key"
        );
        fs::remove_file(system.join("client.key")).unwrap();
        let error = of("a.example:5000").err().unwrap();
        assert!(error.to_string().contains("client.key"), "{error}");
        fs::remove_file(system.join("client.cert")).unwrap();
        fs::write(system.join("ca.crt"), "nothing").unwrap();
        let error = of("a.example:5000").err().unwrap();
        assert!(error.to_string().contains("ca.crt: there is none in it"), "{error}");
        assert!(error.is_inability() && !error.hint().is_empty());
    }
}
