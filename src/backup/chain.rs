//! Chains: a full backup and the increments on it.

use std::collections::BTreeSet;

use super::{Backup, BackupName};

/// A chain that cannot be followed to its full backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A base is not among the backups.
    #[error("{backup} is built on {base}, which is not there")]
    Missing {
        /// The increment.
        backup: BackupName,
        /// What it is built on.
        base: BackupName,
    },
    /// The chain leads back to itself, which only a forged manifest can say.
    #[error("the chain of {0} leads back to itself")]
    Loop(BackupName),
}

/// The backup of this exact name and everything it is built on, itself first and the full one last.
///
/// `find` gives the backup of a name.
///
/// # Errors
/// When a base is missing, or the chain is a ring.
pub fn chain<'a>(
    find: impl Fn(&BackupName) -> Option<&'a Backup>,
    first: &'a Backup,
) -> Result<Vec<&'a Backup>, ChainError> {
    let mut links = vec![first];
    let mut seen = BTreeSet::from([&first.name]);
    let mut last = first;
    while let Some(base) = &last.base {
        if !seen.insert(base) {
            return Err(ChainError::Loop(first.name.clone()));
        }
        last = find(base).ok_or_else(|| ChainError::Missing {
            backup: last.name.clone(),
            base: base.clone(),
        })?;
        links.push(last);
    }
    Ok(links)
}

/// Every backup that is built on this one, directly or through others; itself not included.
pub fn dependents<'a>(
    backups: impl Iterator<Item = &'a Backup> + Clone,
    name: &BackupName,
) -> Vec<&'a Backup> {
    let mut found: Vec<&Backup> = Vec::new();
    let mut needed = BTreeSet::from([name]);
    loop {
        let before = found.len();
        for backup in backups.clone() {
            let is_new = !needed.contains(&backup.name);
            if is_new
                && backup
                    .base
                    .as_ref()
                    .is_some_and(|base| needed.contains(base))
            {
                needed.insert(&backup.name);
                found.push(backup);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
