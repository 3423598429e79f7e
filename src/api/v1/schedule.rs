//! Schedules as callers see them, and what can be asked of one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::backup::BackupKind;
use super::operation::Operation;
use super::text::{BackupName, ScheduleName, SlotText};

/// A schedule, where it stands and when it is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Its name.
    #[schema(value_type = ScheduleName)]
    pub name: String,
    /// Its cron expression.
    pub cron: String,
    /// Its time zone, an IANA name.
    pub timezone: String,
    /// What its slots do.
    pub action: ScheduleAction,
    /// The kind its backups have where nothing stands against it; `null` where it makes none.
    pub kind: Option<BackupKind>,
    /// Which backups it proves; `null` where it makes backups.
    pub verify: Option<VerifySelection>,
    /// How its backups are named, with placeholders; `null` where it makes none.
    pub template: Option<String>,
    /// Databases it backs up, as configured; none where it makes no backups.
    pub databases: Vec<String>,
    /// Tables it leaves out, as configured.
    pub exclude_tables: Vec<String>,
    /// The coming slots, soonest first; they are skipped while it is paused.
    pub next_slots: Vec<Timestamp>,
    /// The name of the backup of the next slot; `null` where it makes none.
    #[schema(value_type = Option<BackupName>)]
    pub next_backup: Option<String>,
    /// The pause, while there is one.
    pub paused: Option<Pause>,
    /// Its newest operation.
    pub last: Option<Operation>,
    /// Its newest success that the history knows.
    pub last_success: Option<Operation>,
}

/// What the slots of a schedule do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleAction {
    /// They make backups.
    Backup,
    /// They prove backups.
    Verify,
}

/// Which backups a schedule proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifySelection {
    /// The newest of each schedule, and the newest that a client asked for.
    Newest,
    /// All, the one that was proved the longest ago first.
    All,
}

/// A pause: slots that become due are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; `null`: when somebody resumes it.
    pub until: Option<Timestamp>,
    /// Why, in the words of whoever paused it.
    pub reason: Option<String>,
}

/// What is asked for with `POST /api/v1/schedules/{name}/run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The slot to run again: a time (`2026-11-22T00:00:00Z`), or a date in the schedule's zone that
    /// has one slot. Without it the slot is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SlotText>)]
    pub slot: Option<String>,
}

/// What is asked for with `POST /api/v1/schedules/{name}/pause`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// When the pause ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, for whoever wonders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}
