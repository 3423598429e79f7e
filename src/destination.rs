//! Where backups go: the place as ClickHouse names it, and our own view of the same place.

use crate::backup::Place;
use crate::secret::SecretSource;

/// The configured destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What the `BACKUP` statement points at.
    pub place: Place,
    /// Our own way to the same place, if one is configured.
    pub view: Option<ViewSettings>,
}

/// How we reach the destination ourselves.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewSettings {
    /// `s3://bucket/prefix` or `file:///path`.
    pub url: String,
    /// `s3.endpoint`: another S3 server than Amazon's.
    pub s3_endpoint: Option<String>,
    /// `s3.region`.
    pub s3_region: Option<String>,
    /// `s3.virtual_hosted_style`: the bucket is part of the host name, not of the path.
    pub s3_virtual_hosted_style: bool,
    /// `s3.ca_file`: certificates (PEM) that are trusted beside the system's.
    pub s3_ca_file: Option<std::path::PathBuf>,
    /// `s3.access_key_id` or `s3.access_key_id_file`; neither means the usual provider chain.
    pub s3_access_key_id: Option<SecretSource>,
    /// `s3.secret_access_key` or `s3.secret_access_key_file`.
    pub s3_secret_access_key: Option<SecretSource>,
}

/// Our own view of the place where backups go; clones share it.
#[derive(Debug, Clone)]
pub struct Destination;

/// A view that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL.
    #[error("destination.url: {0}")]
    Url(String),
}

impl Destination {
    /// Opens the view; nothing is asked yet.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn open(settings: &ViewSettings) -> Result<Self, SetupError> {
        Err(SetupError::Url(settings.url.clone()))
    }
}
