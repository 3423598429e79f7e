//! Backups as callers see them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::operation::Trigger;
use super::text::{BackupName, ScheduleName};
use crate::backup as domain;

/// A backup that exists in the destination, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backup {
    /// Its name in the destination.
    #[schema(value_type = BackupName)]
    pub name: String,
    /// The name that was asked for: another one where a dead attempt had blocked it.
    #[schema(value_type = BackupName)]
    pub asked_name: String,
    /// Who asked for it.
    pub origin: Trigger,
    /// The schedule that made it.
    #[schema(value_type = Option<ScheduleName>)]
    pub schedule: Option<String>,
    /// The due time it was made for.
    pub slot: Option<Timestamp>,
    /// Whether it stands alone.
    pub kind: BackupKind,
    /// The backup it is built on.
    #[schema(value_type = Option<BackupName>)]
    pub base: Option<String>,
    /// Backups that are built on it, directly.
    #[schema(value_type = Vec<BackupName>)]
    pub dependents: Vec<String>,
    /// When ClickHouse finished it.
    pub created_at: Timestamp,
    /// Bytes of everything in it, its base's part included.
    pub bytes: u64,
    /// Bytes that were written for it.
    pub bytes_written: u64,
    /// Files in it.
    pub files: u64,
    /// Tables in it, where that is known.
    pub tables: Option<u64>,
    /// It holds definitions only: restoring it brings no rows.
    pub structure_only: bool,
    /// The operation that made it; the history forgets it sooner than the backup.
    pub operation: Uuid,
}

/// Whether a backup stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// Holds everything itself.
    Full,
    /// Needs its base, and its base's bases, to be restored.
    Incremental,
}

/// A backup with what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupDetails {
    /// The backup.
    #[serde(flatten)]
    pub backup: Backup,
    /// What it holds, as the server knew it when it was made; `null` where that was not written down.
    pub contents: Option<Contents>,
    /// The statement that restores it with ClickHouse alone.
    pub restore_statement: String,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contents {
    /// Databases that were asked for as a whole.
    pub databases: Vec<String>,
    /// Its tables.
    pub tables: Vec<Table>,
    /// What was left out, and why.
    pub not_covered: Vec<NotCovered>,
}

/// A table in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Table {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its engine.
    pub engine: String,
    /// Rows when the backup was made, where the engine tells.
    pub rows: Option<u64>,
    /// Bytes on the server's disk when the backup was made, where the engine tells.
    pub bytes: Option<u64>,
}

/// Something on the server that a backup does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotCovered {
    /// A database, or a table as `database.table`.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl Backup {
    /// How callers see a backup.
    #[must_use]
    pub(in crate::api) fn of(backup: &domain::Backup, dependents: Vec<String>) -> Self {
        let (origin, schedule, slot) = match &backup.origin {
            domain::Origin::Client | domain::Origin::Foreign => (Trigger::Client, None, None),
            domain::Origin::Schedule { schedule, slot } => {
                (Trigger::Schedule, Some(schedule.clone()), Some(*slot))
            }
        };
        Self {
            name: backup.name.to_string(),
            asked_name: backup.asked_name.to_string(),
            origin,
            schedule,
            slot,
            kind: match backup.kind {
                domain::BackupKind::Full => BackupKind::Full,
                domain::BackupKind::Incremental => BackupKind::Incremental,
            },
            base: backup.base.as_ref().map(ToString::to_string),
            dependents,
            created_at: backup.created_at,
            bytes: backup.bytes.unwrap_or(0),
            bytes_written: backup.bytes_written.unwrap_or(0),
            files: backup.files.unwrap_or(0),
            tables: backup.tables,
            structure_only: backup.structure_only,
            operation: backup.operation,
        }
    }
}

impl From<domain::Contents> for Contents {
    fn from(contents: domain::Contents) -> Self {
        let table = |table: domain::Table| Table {
            database: table.database,
            name: table.name,
            engine: table.engine,
            rows: table.rows,
            bytes: table.bytes,
        };
        let left_out = |left_out: domain::NotCovered| NotCovered {
            what: left_out.what,
            reason: left_out.reason,
        };
        Self {
            databases: contents.databases,
            tables: contents.tables.into_iter().map(table).collect(),
            not_covered: contents.not_covered.into_iter().map(left_out).collect(),
        }
    }
}
