//! Why an attempt failed, as kinds: the kind decides the retry and is the metric label; the text never is.

use serde::{Deserialize, Serialize};

/// Kinds of failure, told apart by what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// ClickHouse did not answer.
    Unreachable,
    /// ClickHouse is doing something that excludes this.
    Busy,
    /// The destination already holds something under the name.
    Exists,
    /// The backup, the base, the database or the table is not there.
    NotFound,
    /// A restore would write into tables that hold rows.
    NonEmptyTarget,
    /// A grant, a password, or the server's list of allowed disks is in the way.
    Denied,
    /// ClickHouse ran out of memory.
    OutOfMemory,
    /// The server that ran it restarted or does not know it, and nothing shows that it ended.
    Lost,
    /// It did not end within its timeout or deadline.
    TimedOut,
    /// Someone ended it.
    Cancelled,
    /// A proof found files missing.
    Damaged,
    /// The destination could not be looked at, or refused something.
    Destination,
    /// Something needs the backup, or works on it.
    Held,
    /// Anything else.
    Unknown,
}

impl FailureKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Unreachable,
        Self::Busy,
        Self::Exists,
        Self::NotFound,
        Self::NonEmptyTarget,
        Self::Denied,
        Self::OutOfMemory,
        Self::Lost,
        Self::TimedOut,
        Self::Cancelled,
        Self::Damaged,
        Self::Destination,
        Self::Held,
        Self::Unknown,
    ];

    /// The word used in the API and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Exists => "exists",
            Self::NotFound => "not_found",
            Self::NonEmptyTarget => "non_empty_target",
            Self::Denied => "denied",
            Self::OutOfMemory => "out_of_memory",
            Self::Lost => "lost",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Damaged => "damaged",
            Self::Destination => "destination",
            Self::Held => "held",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the same statement may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Busy
                | Self::OutOfMemory
                | Self::Lost
                | Self::Destination
                | Self::Unknown
        )
    }

    /// What the operator can do.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Unreachable => "check that ClickHouse runs and that clickhouse.url leads to it",
            Self::Busy => {
                "wait for the other backup or restore, or set allow_concurrent_backups on the server"
            }
            Self::Exists => {
                "choose another name; a backup under this one can be deleted first (clickhouse-backupd backup delete), remains of a dead attempt go with clickhouse-backupd clean"
            }
            Self::NotFound => {
                "compare the name with the list of backups, and databases and tables with the server"
            }
            Self::NonEmptyTarget => {
                "restore under another database name, or say what becomes of the rows that are there: drop them first (rm) or add to them (data)"
            }
            Self::Denied => {
                "grant BACKUP, check the password, and list the disk in the server's backups.allowed_disk"
            }
            Self::OutOfMemory => {
                "raise max_server_memory_usage or make the backup smaller with exclude_tables"
            }
            Self::Lost => "see why the ClickHouse server restarted",
            Self::TimedOut => {
                "raise clickhouse.timeout or the schedule's deadline, or look for a slow disk or network"
            }
            Self::Cancelled => "start it again if that was not meant",
            Self::Damaged => {
                "restore from another backup of the list, and see who removes files from the destination"
            }
            Self::Destination => {
                "check destination.url, its keys and the network; nothing is removed while it cannot be listed"
            }
            Self::Held => "wait for what works on it, or remove what is built on it first (force)",
            Self::Unknown => "read the text from ClickHouse",
        }
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What to do next depends on this.
    pub kind: FailureKind,
    /// What we were doing and what was said to it.
    pub message: String,
}

impl Failure {
    /// A failure of a kind, with its text shortened to 4,000 characters: history must stay small.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        const MESSAGE_MAX_CHARS: usize = 4_000;
        let mut message: String = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_MAX_CHARS) {
            message.truncate(end);
            message.push('…');
        }
        Self { kind, message }
    }
}
