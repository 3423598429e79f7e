//! What is asked for: a backup to be made, restored, proved or removed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::{BackupName, ProofLevel, Scope, TablePattern};

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Makes a backup.
    Backup(BackupWork),
    /// Restores one.
    Restore(RestoreWork),
    /// Proves some.
    Verify(VerifyWork),
    /// Removes some.
    Delete(DeleteWork),
}

impl Work {
    /// Whether it is one statement that the ClickHouse server runs, one at a time in the lane. The
    /// rest runs inside us, beside it.
    #[must_use]
    pub fn takes_the_lane(&self) -> bool {
        matches!(self, Self::Backup(_) | Self::Restore(_))
    }
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
    /// Chooses the base itself, before its first attempt; `None` once that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increments: Option<Increments>,
    /// Why it is full or on that base, where nobody asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind_reason: Option<String>,
}

/// When the backups of a schedule are full, and when built on an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increments {
    /// `full_every`: a full one when the last full one's slot is this long ago.
    pub full_every: Option<Duration>,
    /// `full_on`: a full one on slots of these days of the week, in the schedule's zone; 1 is Monday.
    pub full_on: Vec<i8>,
    /// `chain_max`: backups in a chain at most, the full one included.
    pub chain_max: u32,
    /// The zone in which slots have days.
    pub zone: String,
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

/// Backups to be proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyWork {
    /// Which ones.
    pub selection: Selection,
    /// How deep.
    pub level: ProofLevel,
}

/// Which backups are meant; found when the work begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// This one.
    One(BackupName),
    /// The newest of each schedule, and the newest that a client asked for.
    Newest,
    /// All, the one that was proved the longest ago first.
    All,
}

/// Backups to be removed; its items say which, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteWork {
    /// What it was asked by.
    pub cause: DeleteCause,
}

/// What a removal was asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteCause {
    /// A caller named the backup.
    Caller,
    /// The policy.
    Retention,
    /// A caller wants the remains of dead attempts gone.
    Clean,
    /// `retention.sweep_broken` does.
    Sweep,
    /// An earlier removal did not end, and our memory of it is lost.
    Resumed,
}

/// One backup of an operation that works on several, inside us: its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The backup, or the folder of a broken one.
    pub backup: BackupName,
    /// Why it is worked on.
    pub reasons: Vec<String>,
    /// The `uuid` of the manifest that was there when this was decided: another one under the name is
    /// another backup, and is left alone. `None`: there was no manifest.
    pub manifest: Option<String>,
    /// How far it is.
    pub state: ItemState,
}

/// How far an item is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Nothing was done.
    Waiting,
    /// It was begun.
    Begun,
    /// It is done.
    Done {
        /// Objects that were removed, or files that were looked for.
        objects: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// It was left as it is.
    Left {
        /// Why.
        reason: String,
    },
}

impl Item {
    /// An item of which nothing was done.
    #[must_use]
    pub fn new(backup: BackupName, manifest: Option<String>, reasons: Vec<String>) -> Self {
        Self {
            backup,
            reasons,
            manifest,
            state: ItemState::Waiting,
        }
    }

    /// Whether nothing is left to do with it.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, ItemState::Done { .. } | ItemState::Left { .. })
    }
}
