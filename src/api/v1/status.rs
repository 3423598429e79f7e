//! Everything at a glance.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::operation::{Operation, OperationState};

/// What there is, what runs, what comes, and what is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of this daemon.
    pub version: String,
    /// Its time.
    pub now: Timestamp,
    /// The ClickHouse server.
    pub clickhouse: ClickHouse,
    /// Where backups go, as in the statement: `Disk('s3_backup')`.
    pub destination: String,
    /// The schedules in short.
    pub schedules: Vec<ScheduleSummary>,
    /// Operations at work.
    pub running: Vec<Operation>,
    /// Operations that wait for their turn, for ClickHouse, or for their next attempt.
    pub waiting: Vec<Operation>,
    /// The backups that are known.
    pub backups: BackupSummary,
    /// What is wrong, in words; empty when nothing is.
    pub problems: Vec<StatusProblem>,
}

/// The ClickHouse server, asked just now (an answer is kept for two seconds).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClickHouse {
    /// Where it is.
    pub url: String,
    /// Whether it answered.
    pub reachable: bool,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Its version.
    pub version: Option<String>,
    /// Its host name.
    pub host: Option<String>,
    /// Its `serverUUID()`.
    pub uuid: Option<Uuid>,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// What it said, or why it said nothing.
    pub error: Option<String>,
}

/// A schedule in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleSummary {
    /// Its name.
    pub name: String,
    /// Its next slot.
    pub next_slot: Option<Timestamp>,
    /// Whether it is paused.
    pub paused: bool,
    /// How its newest operation stands.
    pub last_state: Option<OperationState>,
    /// When its newest success ended.
    pub last_success_at: Option<Timestamp>,
}

/// The backups in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupSummary {
    /// How many.
    pub count: u64,
    /// Bytes written for all of them.
    pub bytes_written: u64,
    /// The name of the newest.
    pub newest: Option<String>,
    /// When that was made.
    pub newest_at: Option<Timestamp>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusProblem {
    /// A word for programs: `clickhouse_unreachable`, `schedule_failed`, `schedule_paused`,
    /// `configuration_refused`, `configuration_warning`, `no_schedules`.
    pub kind: String,
    /// What is wrong.
    pub message: String,
    /// What the operator can do.
    pub hint: String,
}
