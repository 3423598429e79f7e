//! What exists: backups, where they lie, what they hold, and how they are named.

mod chain;
mod inventory;
mod name;
mod pattern;
mod truth;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use chain::{ChainError, chain, dependents};
pub use inventory::Inventory;
pub use name::{
    BACKUP_NAME_LENGTH_MAX, BackupName, BackupNameError, KINDS, NameShapes, NameTemplate,
    NameTemplateError, Resolution, SlotNaming,
};
pub use pattern::{PatternError, TablePattern, glob};
pub use truth::{
    Deleting, ManifestSeen, Missing, Pin, Proof, ProofLevel, ProofOutcome, Status, Suspicion,
};

/// Where backups lie, as ClickHouse names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A disk of the server's configuration: `TO Disk('s3_backup', '<name>')`.
    Disk(String),
    /// A named collection of the server: `TO S3(backups, '<name>')`.
    Collection(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(disk) => write!(f, "Disk('{disk}')"),
            Self::Collection(collection) => write!(f, "S3({collection})"),
        }
    }
}

/// Whether a backup stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// Holds everything itself.
    Full,
    /// Needs its base, and its base's bases, to be restored.
    Incremental,
}

impl BackupKind {
    /// The word used in names, the API and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

/// What a backup is asked to contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Databases by name or with `*` and `?`; a lone `*` is every database that holds data of ours.
    pub databases: Vec<String>,
    /// Only these tables, where a client named some; empty means all tables of `databases`.
    pub tables: Vec<TablePattern>,
    /// Tables left out.
    pub exclude_tables: Vec<TablePattern>,
    /// Also users, roles, settings profiles, row policies and quotas.
    pub access: bool,
    /// Also SQL functions.
    pub functions: bool,
    /// Definitions only, no rows.
    pub structure_only: bool,
}

impl Scope {
    /// Everything that holds data: what a schedule and a plain `create` back up.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            databases: vec!["*".to_owned()],
            tables: Vec::new(),
            exclude_tables: Vec::new(),
            access: false,
            functions: false,
            structure_only: false,
        }
    }
}

/// A table as the server knew it when the backup was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Table {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its engine, as in `system.tables`: says how it must be dropped.
    pub engine: String,
    /// Its rows at that moment, where the engine tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Its bytes on the server's disk at that moment, where the engine tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// For a materialized view: databases beside its own that its definition names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_databases: Option<Vec<String>>,
}

/// Something on the server that this backup does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCovered {
    /// A database, or a table as `database.table`.
    pub what: String,
    /// In words an operator understands.
    pub reason: String,
}

/// What a backup holds, written down before its statement was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Databases that were asked for.
    pub databases: Vec<String>,
    /// Their tables at that moment.
    pub tables: Vec<Table>,
    /// What was left out.
    pub not_covered: Vec<NotCovered>,
    /// What else the server had; `None` in what was written before this was asked.
    #[serde(default)]
    pub inventory: Option<Inventory>,
}

/// Who asked for a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A schedule, for one of its slots.
    Schedule {
        /// Its name.
        schedule: String,
        /// The due time.
        slot: Timestamp,
    },
    /// A client, over the API.
    Client,
    /// Nobody we know of: made by hand, by another tool, or before our memory began.
    Foreign,
}

/// A backup that exists in the destination, or that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Its name in the destination.
    pub name: BackupName,
    /// The name that was asked for: differs from `name` where a dead attempt had blocked that one.
    pub asked_name: BackupName,
    /// Where it lies. A base never crosses places.
    pub place: Place,
    /// The operation that made it; nil for a foreign one.
    pub operation: Uuid,
    /// The number of that operation: the order of backups that ended within the same second.
    pub number: u64,
    /// The attempt that made it: the `backup_id` of its manifest.
    pub attempt: String,
    /// Who asked for it.
    pub origin: Origin,
    /// Whether it stands alone.
    pub kind: BackupKind,
    /// The backup it is built on.
    pub base: Option<BackupName>,
    /// When ClickHouse finished it; for a foreign one, when its manifest was last written.
    pub created_at: Timestamp,
    /// Bytes of everything in it, its base's part included (`total_size`); of a foreign one they are
    /// not known until its manifest was walked by a proof.
    pub bytes: Option<u64>,
    /// Bytes that were written for it (`compressed_size`).
    pub bytes_written: Option<u64>,
    /// Files in it (`num_files`).
    pub files: Option<u64>,
    /// Tables in it, where that is known.
    pub tables: Option<u64>,
    /// It holds definitions only, no rows.
    #[serde(default)]
    pub structure_only: bool,
    /// `serverUUID()` of the server that made it; all zeros is an ordinary value.
    #[serde(default)]
    pub server: Option<Uuid>,
    /// Its manifest, as read in the destination; `None`: never read, so it is *unproven*.
    #[serde(default)]
    pub manifest: Option<ManifestSeen>,
    /// The latest proof of each level.
    #[serde(default)]
    pub proofs: Vec<Proof>,
    /// Somebody wants it kept.
    #[serde(default)]
    pub pinned: Option<Pin>,
    /// It looks like the backup of an emptied server.
    #[serde(default)]
    pub suspect: Option<Suspicion>,
    /// It is being removed: hidden, and its name reserved until the last object is gone.
    #[serde(default)]
    pub deleting: Option<Deleting>,
    /// Since when it is no longer in the destination, though nobody here removed it.
    #[serde(default)]
    pub gone_since: Option<Timestamp>,
    /// When this record last changed: what is published in the destination may be older.
    #[serde(default)]
    pub changed_at: Timestamp,
}

/// The backup that `name` means: the one in the destination under exactly that name, else the newest
/// that was asked for under it (`<name>.2` after a dead attempt had blocked `<name>`).
pub fn resolve<'a>(
    backups: impl Iterator<Item = &'a Backup> + Clone,
    name: &BackupName,
) -> Option<&'a Backup> {
    backups
        .clone()
        .find(|backup| backup.name == *name)
        .or_else(|| {
            backups
                .filter(|backup| backup.asked_name == *name)
                .max_by_key(|backup| backup.created_at)
        })
}
