//! Backups as callers see them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::retention::Decision;
use super::text::{BackupName, ScheduleName};
use crate::backup as domain;
use crate::worker::Broken;

/// A backup that exists in the destination, as far as we know, or the remains of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backup {
    /// Its name in the destination.
    #[schema(value_type = BackupName)]
    pub name: String,
    /// The name that was asked for: another one where a dead attempt had blocked it.
    #[schema(value_type = BackupName)]
    pub asked_name: String,
    /// What can be said about it in one word.
    pub status: BackupStatus,
    /// Why that is its status, where it is not `complete`.
    pub status_reason: Option<String>,
    /// Who asked for it.
    pub origin: BackupOrigin,
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
    /// When ClickHouse finished it; of one that others made, when its manifest was written; of a broken
    /// one, when its newest object was. `null` where that is not known.
    pub created_at: Option<Timestamp>,
    /// Bytes of everything in it, its base's part included; `null` where nobody has counted them.
    pub bytes: Option<u64>,
    /// Bytes that lie in the destination for it.
    pub bytes_written: Option<u64>,
    /// Files in it.
    pub files: Option<u64>,
    /// Tables in it, where that is known.
    pub tables: Option<u64>,
    /// It holds definitions only: restoring it brings no rows.
    pub structure_only: bool,
    /// Somebody wants it kept: neither retention nor `force` removes it.
    pub pinned: bool,
    /// Since when, who wants that, and why.
    pub pin: Option<Pin>,
    /// The latest proof of each level.
    pub proofs: Vec<Proof>,
    /// `serverUUID()` of the server that made it.
    pub server: Option<Uuid>,
    /// The operation that made it; the history forgets it sooner than the backup.
    pub operation: Option<Uuid>,
}

/// What can be said about a backup in one word; the graver one where two are true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupStatus {
    /// Its manifest was read; nothing speaks against it.
    Complete,
    /// Its manifest was never read: only the server's word says that it is there.
    Unproven,
    /// It looks like the backup of an emptied server.
    Suspect,
    /// A proof found something missing.
    Damaged,
    /// A folder without a manifest, left by an attempt that died: nothing that could be restored.
    Broken,
    /// It is being removed.
    Deleting,
    /// It is no longer in the destination, though nobody here removed it.
    Gone,
}

/// Who asked for a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupOrigin {
    /// A schedule, for one of its slots.
    Schedule,
    /// A client.
    Client,
    /// Nobody we know of: made by hand, by another tool, or before our memory began.
    Foreign,
}

/// Somebody wants a backup kept, whatever the policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pin {
    /// Since when.
    pub at: Timestamp,
    /// The user of the API who asked for it, where it has users.
    pub by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// What is asked for with `POST /api/v1/backups/{name}/pin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PinRequest {
    /// Why, for whoever wonders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// What is asked for with `POST /api/v1/backups/{name}/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyLevelRequest {
    /// How deep.
    #[serde(default)]
    pub level: ProofLevel,
}

/// How deep a proof looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofLevel {
    /// Every file of the manifest is there with its size, through the whole chain.
    #[default]
    Files,
}

/// One proof of a backup: what was looked for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proof {
    /// How deep it looked.
    pub level: ProofLevel,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What came of it.
    pub outcome: ProofOutcome,
    /// Files that were looked for, through the whole chain.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are missing or have another size.
    pub missing_count: u64,
    /// The first 20 of them.
    pub missing: Vec<MissingFile>,
}

/// What came of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofOutcome {
    /// Nothing is missing.
    Passed,
    /// Something is missing or has another size.
    Damaged,
}

/// A file that a manifest names and that is not there as it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingFile {
    /// The backup of the chain in whose folder it belongs.
    pub backup: String,
    /// The file, as it lies in that folder; `.backup` for a manifest that cannot be read.
    pub file: String,
    /// The size that the manifest names, in bytes; a manifest itself has none.
    pub size_wanted: Option<u64>,
    /// The size that was found; `null`: it is not there.
    pub size_found: Option<u64>,
    /// What is wrong, in words.
    pub problem: String,
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
    /// Backups that cannot be restored without it, directly or through others: what `force` removes
    /// along with it.
    #[schema(value_type = Vec<BackupName>)]
    pub needed_by: Vec<String>,
    /// What it takes to restore it: itself first, the full one last.
    #[schema(value_type = Vec<BackupName>)]
    pub chain: Vec<String>,
    /// Why the chain does not lead to a full backup, where it does not.
    pub chain_problem: Option<String>,
    /// What retention makes of it now; `null` for one that it does not judge.
    pub retention: Option<Verdict>,
    /// What it holds, as the server knew it when it was made; `null` where that was not written down.
    pub contents: Option<Contents>,
    /// The statement that restores it with ClickHouse alone; `null` for a broken one.
    pub restore_statement: Option<String>,
}

/// What retention makes of a backup, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// Whether it stays.
    pub decision: Decision,
    /// Why, in words.
    pub reasons: Vec<String>,
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
    /// What else the server had, that no backup can hold and a restore elsewhere may need.
    pub inventory: Option<Inventory>,
}

/// What a server had when a backup was made, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Inventory {
    /// The version of ClickHouse; empty where it is not known.
    pub version: String,
    /// Storage policies of its configuration, without `default`, with the disks of each.
    pub storage_policies: BTreeMap<String, Vec<String>>,
    /// Macros of its configuration, with their values.
    pub macros: BTreeMap<String, String>,
    /// Named collections.
    pub named_collections: Vec<String>,
    /// Dictionaries of its configuration.
    pub dictionaries: Vec<String>,
    /// What could not be asked, and why.
    pub unknown: Vec<String>,
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

impl BackupStatus {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        domain::Status::from(self).as_str()
    }
}

impl From<domain::Status> for BackupStatus {
    fn from(status: domain::Status) -> Self {
        match status {
            domain::Status::Complete => Self::Complete,
            domain::Status::Unproven => Self::Unproven,
            domain::Status::Suspect => Self::Suspect,
            domain::Status::Damaged => Self::Damaged,
            domain::Status::Broken => Self::Broken,
            domain::Status::Deleting => Self::Deleting,
            domain::Status::Gone => Self::Gone,
        }
    }
}

impl From<BackupStatus> for domain::Status {
    fn from(status: BackupStatus) -> Self {
        match status {
            BackupStatus::Complete => Self::Complete,
            BackupStatus::Unproven => Self::Unproven,
            BackupStatus::Suspect => Self::Suspect,
            BackupStatus::Damaged => Self::Damaged,
            BackupStatus::Broken => Self::Broken,
            BackupStatus::Deleting => Self::Deleting,
            BackupStatus::Gone => Self::Gone,
        }
    }
}

impl Backup {
    /// How callers see a backup.
    #[must_use]
    pub(in crate::api) fn of(backup: &domain::Backup, dependents: Vec<String>) -> Self {
        let (origin, schedule, slot) = match &backup.origin {
            domain::Origin::Client => (BackupOrigin::Client, None, None),
            domain::Origin::Foreign => (BackupOrigin::Foreign, None, None),
            domain::Origin::Schedule { schedule, slot } => {
                (BackupOrigin::Schedule, Some(schedule.clone()), Some(*slot))
            }
        };
        Self {
            name: backup.name.to_string(),
            asked_name: backup.asked_name.to_string(),
            status: backup.status().into(),
            status_reason: status_reason(backup),
            origin,
            schedule,
            slot,
            kind: backup.kind.into(),
            base: backup.base.as_ref().map(ToString::to_string),
            dependents,
            created_at: Some(backup.created_at),
            bytes: backup.bytes,
            bytes_written: backup.bytes_written,
            files: backup.files,
            tables: backup.tables,
            structure_only: backup.structure_only,
            pinned: backup.pinned.is_some(),
            pin: backup.pinned.as_ref().map(Pin::from),
            proofs: backup.proofs.iter().map(Proof::from).collect(),
            server: backup.server,
            operation: (!backup.operation.is_nil()).then_some(backup.operation),
        }
    }

    /// How callers see a broken one.
    #[must_use]
    pub(in crate::api) fn of_broken(broken: &Broken) -> Self {
        Self {
            name: broken.name.to_string(),
            asked_name: broken.name.to_string(),
            status: BackupStatus::Broken,
            status_reason: Some(broken.reason.clone()),
            origin: BackupOrigin::Foreign,
            schedule: None,
            slot: None,
            kind: BackupKind::Full,
            base: None,
            dependents: Vec::new(),
            created_at: broken.newest,
            bytes: None,
            bytes_written: Some(broken.bytes),
            files: Some(broken.objects),
            tables: None,
            structure_only: false,
            pinned: false,
            pin: None,
            proofs: Vec::new(),
            server: None,
            operation: None,
        }
    }
}

/// Why a backup has its status, in a sentence.
pub(in crate::api) fn status_reason(backup: &domain::Backup) -> Option<String> {
    Some(match backup.status() {
        domain::Status::Complete | domain::Status::Broken => return None,
        domain::Status::Unproven => {
            "its manifest was not read; that it is there is ClickHouse's word alone".to_owned()
        }
        domain::Status::Suspect => {
            format!(
                "it looks like the backup of an emptied server: {}",
                backup.suspect.as_ref()?
            )
        }
        domain::Status::Damaged => {
            let damaged = backup.proofs.iter().find(|proof| !proof.passed())?;
            let proof = Proof::from(damaged);
            let first = proof.missing.first().map_or_else(String::new, |missing| {
                format!(", the first is {}/{}", missing.backup, missing.file)
            });
            format!(
                "{} of the files that its restore needs are missing or have another size{first}",
                proof.missing_count
            )
        }
        domain::Status::Deleting => {
            let deleting = backup.deleting.as_ref()?;
            format!("operation {} removes it", deleting.operation)
        }
        domain::Status::Gone => {
            let since = backup.gone_since?;
            let since = since.round(jiff::Unit::Second).unwrap_or(since);
            format!("it was no longer in the destination at {since}, and nobody here removed it")
        }
    })
}

impl From<domain::BackupKind> for BackupKind {
    fn from(kind: domain::BackupKind) -> Self {
        match kind {
            domain::BackupKind::Full => Self::Full,
            domain::BackupKind::Incremental => Self::Incremental,
        }
    }
}

impl From<&domain::Pin> for Pin {
    fn from(pin: &domain::Pin) -> Self {
        Self {
            at: pin.at,
            by: pin.by.clone(),
            reason: pin.reason.clone(),
        }
    }
}

impl From<domain::ProofLevel> for ProofLevel {
    fn from(level: domain::ProofLevel) -> Self {
        match level {
            domain::ProofLevel::Files => Self::Files,
        }
    }
}

impl From<ProofLevel> for domain::ProofLevel {
    fn from(level: ProofLevel) -> Self {
        match level {
            ProofLevel::Files => Self::Files,
        }
    }
}

impl From<&domain::Proof> for Proof {
    fn from(proof: &domain::Proof) -> Self {
        let (outcome, missing_count, missing) = match &proof.outcome {
            domain::ProofOutcome::Passed => (ProofOutcome::Passed, 0, Vec::new()),
            domain::ProofOutcome::Damaged { count, first } => (
                ProofOutcome::Damaged,
                *count,
                first.iter().map(MissingFile::from).collect(),
            ),
        };
        Self {
            level: proof.level.into(),
            at: proof.at,
            took_ms: proof.took_ms,
            outcome,
            files: proof.files,
            bytes: proof.bytes,
            missing_count,
            missing,
        }
    }
}

impl From<&domain::Missing> for MissingFile {
    fn from(missing: &domain::Missing) -> Self {
        Self {
            backup: missing.backup.clone(),
            file: missing.file.clone(),
            size_wanted: missing.size_wanted,
            size_found: missing.size_found,
            problem: missing.problem.clone(),
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
            inventory: contents.inventory.map(Inventory::from),
        }
    }
}

impl From<domain::Inventory> for Inventory {
    fn from(inventory: domain::Inventory) -> Self {
        let domain::Inventory {
            version,
            storage_policies,
            macros,
            named_collections,
            dictionaries,
            unknown,
        } = inventory;
        Self {
            version,
            storage_policies,
            macros,
            named_collections,
            dictionaries,
            unknown,
        }
    }
}
