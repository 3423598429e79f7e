//! One try of an operation, the server it runs on, and what came of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AttemptId, Failure};
use crate::backup::{BackupName, ManifestSeen, Place};

/// One try of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id, which ClickHouse and the manifest know.
    pub id: AttemptId,
    /// The backup that is written or read, by its name in the destination.
    pub backup: BackupName,
    /// Where that lies: an edited configuration must not move a running attempt.
    pub place: Place,
    /// When it was recorded.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How far its statement came.
    pub delivery: Delivery,
    /// The server it was meant for, then the one that accepted it.
    pub server: Option<Server>,
    /// Tables it covers, where that is known.
    pub tables: Option<u64>,
    /// Bytes that its tables had on the server's disk when it was prepared, where that is known: what
    /// a backup will come to, for ClickHouse does not tell while it makes one.
    #[serde(default)]
    pub bytes_expected: Option<u64>,
    /// The manifest that it wrote, once it was read in the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ManifestSeen>,
    /// It died, and what it left in the destination was removed: its name is free again.
    #[serde(default)]
    pub is_cleared: bool,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// How far the statement of an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Recorded, surely not sent.
    NotSent,
    /// Being sent; after a crash nobody knows whether it arrived.
    MaybeSent,
    /// The server knows it.
    Accepted,
}

/// A ClickHouse server, as told from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `serverUUID()`: decides. An all-zero one is an ordinary value.
    pub uuid: uuid::Uuid,
    /// `hostName()`: shown.
    pub host: String,
    /// When it started, by its own clock: `now() - uptime()`.
    pub started_at: Timestamp,
}

/// What came of an operation, as `system.backups` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When the server finished, by its own clock.
    pub finished_at: Timestamp,
    /// Files in the backup (`num_files`).
    pub files: u64,
    /// Bytes in the backup, its base's included (`total_size`).
    pub bytes: u64,
    /// Bytes written for it (`compressed_size`); 0 for a restore.
    pub bytes_written: u64,
}
