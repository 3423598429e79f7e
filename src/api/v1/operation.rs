//! Operations as callers see them, and how they ask for one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::backup::ProofLevel;
use super::text::{self, BackupName, DatabasePattern, ScheduleName, TablePattern};
use crate::operation as domain;
use crate::operation::Trigger as DomainTrigger;

/// Anything that takes time, from the moment it was asked for until long after it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// Its id.
    pub id: Uuid,
    /// What it does.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// Who asked for it.
    pub trigger: Trigger,
    /// The schedule it belongs to.
    #[schema(value_type = Option<ScheduleName>)]
    pub schedule: Option<String>,
    /// The due time it belongs to.
    pub slot: Option<Timestamp>,
    /// Which run of that slot this is, from 1; later ones were asked for by hand.
    pub run: Option<u32>,
    /// The backup it is about, by the name asked for; `null` where it is about several, or none: then
    /// see `items`.
    #[schema(value_type = Option<BackupName>)]
    pub backup: Option<String>,
    /// When it was asked for.
    pub submitted_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The next attempt begins no sooner.
    pub not_before: Option<Timestamp>,
    /// Since when ClickHouse has not answered it.
    pub unreachable_since: Option<Timestamp>,
    /// How far it is, while it runs.
    pub progress: Option<Progress>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// What came of it.
    pub result: Option<OperationResult>,
    /// Why it failed, or what it met last.
    pub failure: Option<Failure>,
    /// Why it was never begun.
    pub skipped: Option<String>,
    /// What else its caller should know.
    pub notes: Vec<String>,
    /// The backups that a proof or a removal works on, in that order, and how far each is.
    pub items: Vec<Item>,
}

/// One backup of a proof or a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    /// The backup, or the folder of a broken one.
    #[schema(value_type = BackupName)]
    pub backup: String,
    /// How far it is.
    pub state: ItemState,
    /// Why it is worked on.
    pub reasons: Vec<String>,
    /// Objects that were removed, or files that were looked for; `null` until it is done.
    pub objects: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// Why it was left as it is, where it was.
    pub note: Option<String>,
}

/// How far one backup of a proof or a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Nothing was done.
    Waiting,
    /// It was begun.
    Begun,
    /// It is done.
    Done,
    /// It was left as it is.
    Left,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Makes a backup.
    Backup,
    /// Restores one.
    Restore,
    /// Proves some.
    Verify,
    /// Removes some.
    Delete,
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Waits for its turn, for ClickHouse, or for its next attempt.
    Pending,
    /// Its statement is being sent.
    Starting,
    /// ClickHouse is at work.
    Running,
    /// Its end was asked for, and ClickHouse has not confirmed it yet.
    Cancelling,
    /// It did what was asked for.
    Succeeded,
    /// It ended without its result.
    Failed,
    /// A caller ended it.
    Cancelled,
    /// It was never begun.
    Skipped,
}

impl OperationState {
    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped
        )
    }

    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl From<domain::State> for OperationState {
    fn from(state: domain::State) -> Self {
        match state {
            domain::State::Pending => Self::Pending,
            domain::State::Starting => Self::Starting,
            domain::State::Running => Self::Running,
            domain::State::Cancelling(_) => Self::Cancelling,
            domain::State::Succeeded => Self::Succeeded,
            domain::State::Failed => Self::Failed,
            domain::State::Cancelled => Self::Cancelled,
            domain::State::Skipped => Self::Skipped,
        }
    }
}

/// Who asked for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A schedule, or somebody who ran its slot again.
    Schedule,
    /// A client.
    Client,
    /// The daemon itself: retention, proofs after a backup.
    Daemon,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Files so far.
    pub files_done: u64,
    /// Files in all, where ClickHouse tells: for a backup it does not.
    pub files_total: Option<u64>,
    /// Bytes so far.
    pub bytes_done: u64,
    /// Bytes in all; for a backup an estimate, the size of its tables when it began.
    pub bytes_total: Option<u64>,
}

/// One try of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its id, by which ClickHouse knows it (`system.backups.id`).
    pub id: String,
    /// The name in the destination that it writes or reads.
    #[schema(value_type = BackupName)]
    pub backup: String,
    /// The ClickHouse server that took it, by its host name.
    pub server: Option<String>,
    /// When it was recorded.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// What came of an operation, as ClickHouse tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationResult {
    /// The name in the destination that was written or read.
    #[schema(value_type = BackupName)]
    pub backup: String,
    /// Files in the backup.
    pub files: u64,
    /// Bytes in the backup, its base's included.
    pub bytes: u64,
    /// Bytes written for it; 0 for everything but a backup.
    pub bytes_written: u64,
}

/// A failure: a word for programs, ClickHouse's or our text, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// One of `unreachable`, `busy`, `exists`, `not_found`, `non_empty_target`, `denied`,
    /// `out_of_memory`, `lost`, `timed_out`, `cancelled`, `damaged`, `destination`, `held`, `unknown`.
    pub kind: String,
    /// What was being done and what was said to it.
    pub message: String,
    /// What the operator can do.
    pub hint: String,
}

/// What a caller asks for with `POST /api/v1/operations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OperationRequest {
    /// Make a backup.
    Backup(BackupRequest),
    /// Restore one.
    Restore(RestoreRequest),
    /// Prove one.
    Verify(VerifyRequest),
    /// Remove one.
    Delete(DeleteRequest),
    /// Remove what attempts that died have left behind.
    Clean(CleanRequest),
}

/// A backup to be proved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The backup.
    #[schema(value_type = BackupName)]
    pub backup: String,
    /// How deep.
    #[serde(default)]
    pub level: ProofLevel,
}

/// A backup to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// The backup, or the remains of a broken one.
    #[schema(value_type = BackupName)]
    pub backup: String,
    /// Also what is built on it, directly and through others.
    #[serde(default)]
    pub force: bool,
}

/// The remains of all attempts that died, to be removed: the backups of status `broken`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CleanRequest {}

/// A backup to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// Its name; without one, the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BackupName>)]
    pub backup: Option<String>,
    /// Databases by name or with `*` and `?`; without any, every database that holds data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1000, value_type = Vec<DatabasePattern>)]
    pub databases: Vec<String>,
    /// Only these tables, as `database.table` with `*` and `?`; not together with `databases`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1000, value_type = Vec<TablePattern>)]
    pub tables: Vec<String>,
    /// Tables to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1000, value_type = Vec<TablePattern>)]
    pub exclude_tables: Vec<String>,
    /// The backup to build on, for an increment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BackupName>)]
    pub base: Option<String>,
    /// Also users, roles, settings profiles, row policies and quotas.
    #[serde(default)]
    pub access: bool,
    /// Also SQL functions.
    #[serde(default)]
    pub functions: bool,
    /// Definitions only, no rows.
    #[serde(default)]
    pub structure_only: bool,
}

/// A restore to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The backup to restore.
    #[schema(value_type = BackupName)]
    pub backup: String,
    /// Only these tables, as `database.table` with `*` and `?`; without any, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1000, value_type = Vec<TablePattern>)]
    pub tables: Vec<String>,
    /// Databases that get another name: from, to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = text::database_mapping)]
    pub database_mapping: BTreeMap<String, String>,
    /// Tables that get another name: from, to; each a table or `database.table`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = text::table_mapping)]
    pub table_mapping: BTreeMap<String, String>,
    /// Definitions only, no rows.
    #[serde(default)]
    pub structure_only: bool,
    /// What happens where tables of these names hold rows.
    #[serde(default)]
    pub existing: Existing,
    /// Only say what would be done: the answer is 200 and a `RestoreCheck`.
    #[serde(default)]
    pub check: bool,
}

/// What a restore does with tables that exist and hold rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// Refuses, and names them.
    #[default]
    Refuse,
    /// Drops them first.
    Drop,
    /// Adds the rows of the backup to theirs.
    Append,
}

/// What a restore would do, decided as the restore itself decides it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestoreCheck {
    /// The backup that would be read, by its name in the destination.
    #[schema(value_type = BackupName)]
    pub backup: String,
    /// When it was made, where that is known.
    pub created_at: Option<Timestamp>,
    /// The statement that would be sent, without our id.
    pub statement: String,
    /// Databases that would be made first.
    pub create_databases: Vec<String>,
    /// What would happen to each table; `null` where the contents of the backup are not known here.
    pub tables: Option<Vec<RestoredTable>>,
    /// Why it would be refused; `null` where nothing that can be seen now stands against it.
    pub refused: Option<Failure>,
    /// What is known to be wrong with the backup or one that it is built on: files are missing, or it
    /// looks like the backup of an emptied server; `null` where nothing is.
    pub warning: Option<String>,
}

/// What a restore would do with one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestoredTable {
    /// The table in the backup, as `database.table`.
    pub from: String,
    /// Where it would go, as `database.table`.
    pub into: String,
    /// Rows when the backup was made, where that is known.
    pub rows: Option<u64>,
    /// What would happen there.
    pub action: RestoreAction,
    /// Why it is left out, where it is.
    pub reason: Option<String>,
    /// Rows that are there now, where a table of that name exists and tells.
    pub existing_rows: Option<u64>,
}

/// What a restore would do at the place of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestoreAction {
    /// Nothing is there: the table is made.
    Create,
    /// The table is there and stays; rows are added to it, or it is empty.
    Fill,
    /// What is there is dropped first.
    Drop,
    /// What is there holds rows, and the restore is refused for it.
    Refuse,
    /// The table is there and stays as it is: only definitions are restored.
    Keep,
    /// It is not restored: under another name it would go on working on live tables.
    LeftOut,
}

impl Operation {
    /// How callers see an operation; progress is what the last look at the server told.
    #[must_use]
    pub(in crate::api) fn of(
        operation: &domain::Operation,
        progress: Option<domain::Progress>,
    ) -> Self {
        let (trigger, schedule, slot, run) = match &operation.trigger {
            DomainTrigger::Client => (Trigger::Client, None, None, None),
            DomainTrigger::Daemon => (Trigger::Daemon, None, None, None),
            DomainTrigger::Schedule {
                schedule,
                slot,
                run,
            } => (
                Trigger::Schedule,
                Some(schedule.to_string()),
                Some(*slot),
                Some(*run),
            ),
        };
        Self {
            id: operation.id.as_uuid(),
            kind: match operation.work {
                domain::Work::Backup(_) => OperationKind::Backup,
                domain::Work::Restore(_) => OperationKind::Restore,
                domain::Work::Verify(_) => OperationKind::Verify,
                domain::Work::Delete(_) => OperationKind::Delete,
            },
            state: operation.state.into(),
            trigger,
            schedule,
            slot,
            run,
            backup: operation.backup_name().map(ToString::to_string),
            submitted_at: operation.submitted_at,
            started_at: operation.started_at,
            finished_at: operation.finished_at,
            not_before: operation.not_before,
            unreachable_since: operation.unreachable_since,
            progress: progress.map(Progress::from),
            attempts: operation.attempts.iter().map(Attempt::from).collect(),
            result: result(operation),
            failure: operation.failure.as_ref().map(Failure::from),
            skipped: operation.skipped.map(|reason| reason.to_string()),
            notes: operation.notes.clone(),
            items: operation.items.iter().map(Item::from).collect(),
        }
    }
}

impl From<&domain::Item> for Item {
    fn from(item: &domain::Item) -> Self {
        let (state, done, note) = match &item.state {
            domain::ItemState::Waiting => (ItemState::Waiting, None, None),
            domain::ItemState::Begun => (ItemState::Begun, None, None),
            domain::ItemState::Done { objects, bytes } => {
                (ItemState::Done, Some((*objects, *bytes)), None)
            }
            domain::ItemState::Left { reason } => (ItemState::Left, None, Some(reason.clone())),
        };
        let (objects, bytes) = done.unzip();
        Self {
            backup: item.backup.to_string(),
            state,
            reasons: item.reasons.clone(),
            objects,
            bytes,
            note,
        }
    }
}

fn result(operation: &domain::Operation) -> Option<OperationResult> {
    let (outcome, attempt) = (operation.outcome?, operation.attempt()?);
    Some(OperationResult {
        backup: attempt.backup.to_string(),
        files: outcome.files,
        bytes: outcome.bytes,
        bytes_written: outcome.bytes_written,
    })
}

impl From<domain::Progress> for Progress {
    fn from(progress: domain::Progress) -> Self {
        let known = |total: u64| (total > 0).then_some(total);
        Self {
            files_done: progress.files_done,
            files_total: known(progress.files_total),
            bytes_done: progress.bytes_done,
            bytes_total: known(progress.bytes_total),
        }
    }
}

impl From<&domain::Attempt> for Attempt {
    fn from(attempt: &domain::Attempt) -> Self {
        Self {
            id: attempt.id.to_string(),
            backup: attempt.backup.to_string(),
            server: attempt.server.as_ref().map(|server| server.host.clone()),
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            failure: attempt.failure.as_ref().map(Failure::from),
        }
    }
}

impl From<&domain::Failure> for Failure {
    fn from(failure: &domain::Failure) -> Self {
        Self {
            kind: failure.kind.as_str().to_owned(),
            message: failure.message.clone(),
            hint: failure.kind.hint().to_owned(),
        }
    }
}
