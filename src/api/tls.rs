//! The certificate of the API: read at start, and again while we serve, so that a renewed one needs no restart.

mod plain_http;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Tls;

pub(super) use plain_http::TlsOnly;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Longest certificate or key file that is read, in bytes: a wrong path must not fill memory.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("reading {path}: {source}; check the path and who may read it")]
    Unreadable {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is larger than any certificate.
    #[error("{0} is larger than 1 MiB, which is no certificate or key; check the path")]
    TooLarge(PathBuf),
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM form: {text}")]
    NotPem {
        /// As configured.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What the parser said; never the content.
        text: String,
    },
    /// Certificate and key do not belong together, or one is of a kind that TLS does not take.
    #[error("{certificate} and {key} cannot be used together: {source}")]
    Mismatch {
        /// As configured.
        certificate: PathBuf,
        /// As configured.
        key: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
}

/// A certificate in use, and where it came from.
#[derive(Debug)]
pub(super) struct Certificate {
    files: Tls,
    chain: Vec<CertificateDer<'static>>,
    config: RustlsConfig,
}

impl Certificate {
    /// Reads the files.
    pub(super) fn load(files: Tls) -> Result<Self, TlsError> {
        let (chain, config) = read(&files)?;
        Ok(Self {
            files,
            chain,
            config: RustlsConfig::from_config(config),
        })
    }

    /// What a listener takes; it sees every later certificate too.
    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Takes a renewed certificate into use for as long as we serve; a bad one leaves the old in use.
    pub(super) async fn keep_fresh(mut self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let files = self.files.clone();
            match tokio::task::spawn_blocking(move || read(&files)).await {
                Ok(Ok((chain, config))) if chain != self.chain => {
                    self.config.reload_from_config(config);
                    self.chain = chain;
                    tracing::info!("the API serves a new certificate");
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!("the API goes on with its certificate: {error}");
                }
                Err(error) => tracing::warn!("looking at the API's certificate: {error}"),
            }
        }
    }
}

type Loaded = (Vec<CertificateDer<'static>>, Arc<ServerConfig>);

fn read(files: &Tls) -> Result<Loaded, TlsError> {
    let (certificate, key) = (&files.certificate_file, &files.private_key_file);
    let not_pem = |path: &Path, what, text: String| TlsError::NotPem {
        path: path.to_owned(),
        what,
        text,
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&read_file(certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|error| not_pem(certificate, "certificate", error.to_string()))?;
    if chain.is_empty() {
        let text = "there is none".to_owned();
        return Err(not_pem(certificate, "certificate", text));
    }
    let private = PrivateKeyDer::from_pem_slice(&read_file(key)?)
        .map_err(|error| not_pem(key, "private key", error.to_string()))?;
    let mismatch = |source| TlsError::Mismatch {
        certificate: certificate.clone(),
        key: key.clone(),
        source,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain.clone(), private)
        .map_err(mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((chain, Arc::new(config)))
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_MAX_BYTES {
        return Err(TlsError::TooLarge(path.to_owned()));
    }
    std::fs::read(path).map_err(unreadable)
}

#[cfg(test)]
mod tests;
