//! An engine that is spoken to with TLS, as the docker client does it: with the certificates of a directory, of which each
//! may be missing, or without a look at whose certificate the engine has.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{CLIENT_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS};
use crate::regular_file;

/// The largest file of a certificate or key; they have a few kilobytes.
const CERTIFICATE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;
const AUTHORITY_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
/// What the docker client keeps for an engine with TLS.
pub(super) const CERTIFICATE_FILES: [&str; 3] = [AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE];

/// With which certificates an engine is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Where they are.
    pub(super) directory: PathBuf,
    /// Whether an authority has to be among them; else this machine's authorities do where it is not.
    pub(super) needs_authority: bool,
    /// Whether the engine's certificate has to be from one of these authorities.
    pub(super) verifies: bool,
}

/// A client of the engine at `authority`, `host:port`.
///
/// # Errors
/// What is wrong with the certificates.
pub(super) fn client(authority: &str, files: &TlsFiles) -> Result<bollard::Docker, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(Duration::from_secs(CONNECT_TIMEOUT_SECONDS)));
    // An answer in two packets would wait for the acknowledgement of the first: 40 ms a request.
    tcp.set_nodelay(true);
    let mut client = Client::builder(TokioExecutor::new());
    // A connection that the engine closes at the moment of the next request would fail it.
    client.pool_max_idle_per_host(0);
    let client = client.build(HttpsConnector::from((tcp, files.config()?)));
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(bollard::errors::Error::from) }
    };
    let address = format!("https://{authority}");
    bollard::Docker::connect_with_custom_transport(
        transport,
        Some(address),
        CLIENT_TIMEOUT_SECONDS,
        API_DEFAULT_VERSION,
    )
    .map_err(|error| error.to_string())
}

impl TlsFiles {
    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        // The docker client wants a good file also where it verifies nothing with it.
        let authorities = self.authorities()?;
        let builder = if self.verifies {
            builder.with_root_certificates(authorities)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        };
        match self.identity()? {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("{CERTIFICATE_FILE} and {KEY_FILE} do not fit: {error}")),
        }
    }

    fn authorities(&self) -> Result<RootCertStore, String> {
        let mut authorities = RootCertStore::empty();
        let own = self.read(AUTHORITY_FILE, self.needs_authority)?;
        let certificates = match &own {
            Some(bytes) => self.certificates(AUTHORITY_FILE, bytes)?,
            None if self.verifies => rustls_native_certs::load_native_certs().certs,
            None => vec![],
        };
        let (taken, _) = authorities.add_parsable_certificates(certificates);
        if own.is_some() && taken == 0 {
            return Err(self.wrong(AUTHORITY_FILE, "it has no certificate that can be understood"));
        }
        Ok(authorities)
    }

    /// Who asks, where both its certificate and its key are there.
    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
        let (certificate, key) = (self.read(CERTIFICATE_FILE, false)?, self.read(KEY_FILE, false)?);
        let (Some(certificate), Some(key)) = (certificate, key) else {
            return Ok(None);
        };
        let chain = self.certificates(CERTIFICATE_FILE, &certificate)?;
        if chain.is_empty() {
            return Err(self.wrong(CERTIFICATE_FILE, "it has no certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| self.wrong(KEY_FILE, error))?;
        Ok(Some((chain, key)))
    }

    fn certificates(&self, file: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
        all.map_err(|error| self.wrong(file, error))
    }

    fn read(&self, file: &str, is_needed: bool) -> Result<Option<Vec<u8>>, String> {
        match regular_file::read(&self.directory.join(file), CERTIFICATE_LIMIT_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_needed => Ok(None),
            Err(error) => Err(self.wrong(file, error)),
        }
    }

    fn wrong(&self, file: &str, cause: impl std::fmt::Display) -> String {
        format!("failed to read {}: {cause}", self.directory.join(file).display())
    }
}

/// Takes everybody for the engine that was meant (`SkipTLSVerify` of a context, `DOCKER_TLS`): what is said is kept from
/// those who only listen.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &std::path::Path, needs_authority: bool, verifies: bool) -> TlsFiles {
        TlsFiles {
            directory: directory.to_owned(),
            needs_authority,
            verifies,
        }
    }

    #[test]
    fn a_certificate_that_is_none_is_an_error_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let check = |needs_authority: bool, verifies: bool, expected: Option<&str>| {
            let cause = files(directory.path(), needs_authority, verifies).config().err();
            assert_eq!(cause.is_some(), expected.is_some(), "{cause:?}");
            if let (Some(cause), Some(expected)) = (cause, expected) {
                let place = directory.path().display().to_string();
                assert!(cause.contains(&place) && cause.contains(expected), "{cause}");
            }
        };
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        check(true, true, Some("ca.pem: No such file"));
        check(true, false, Some("ca.pem: No such file"));
        check(false, false, None);
        check(false, true, None);
        write(AUTHORITY_FILE, "");
        // The docker client wants a good one also where it verifies nothing.
        for verifies in [true, false] {
            check(false, verifies, Some("ca.pem: it has no certificate"));
        }
        std::fs::remove_file(directory.path().join(AUTHORITY_FILE)).unwrap();
        write(CERTIFICATE_FILE, "");
        check(false, false, None);
        write(KEY_FILE, "");
        check(false, false, Some("cert.pem: it has no certificate"));
        write(
            CERTIFICATE_FILE,
            &" ".repeat(usize::try_from(CERTIFICATE_LIMIT_BYTES).unwrap() + 1),
        );
        check(false, false, Some("cert.pem: it is too large"));
    }
}
