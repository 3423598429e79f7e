//! What is asked for: a backup to be made, or one to be restored.

use serde::{Deserialize, Serialize};

use crate::backup::{BackupName, Scope, TablePattern};

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Makes a backup.
    Backup(BackupWork),
    /// Restores one.
    Restore(RestoreWork),
}

/// A backup to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupWork {
    /// The name asked for.
    pub name: BackupName,
    /// What it shall contain.
    pub scope: Scope,
    /// The backup it is built on; none for a full one.
    pub base: Option<BackupName>,
}

/// A restore to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreWork {
    /// The backup asked for.
    pub backup: BackupName,
    /// Only these tables; empty means all.
    pub tables: Vec<TablePattern>,
    /// Databases that get another name: from, to.
    pub database_mapping: Vec<(String, String)>,
    /// Tables that get another name: from, to; each a table or `database.table`.
    pub table_mapping: Vec<(String, String)>,
    /// Definitions only, no rows.
    pub structure_only: bool,
    /// What happens where tables of these names hold rows.
    pub existing: Existing,
}

/// What a restore does with tables that exist and hold rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// Refuses, and names them.
    Refuse,
    /// Drops them first.
    Drop,
    /// Adds the rows of the backup to theirs.
    Append,
}
