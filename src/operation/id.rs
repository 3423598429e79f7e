//! Ids that are computed, not drawn: two processes that know the same slot know the same ids.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::schedule::ScheduleName;

/// Namespace of the version 5 ids of scheduled operations; it must never change.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f0b_6a52_3c1d_4e0f_9a57_c11c_4b0a_7171);
/// First part of every attempt id: how our rows are known in `system.backups`.
const PREFIX: &str = "backupd";
const SLOT_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The id of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(Uuid);

impl OperationId {
    /// The id of a schedule's slot: the same in every process (UUID version 5).
    #[must_use]
    pub fn of_slot(schedule: &ScheduleName, slot: Timestamp) -> Self {
        Self::of_run(schedule, slot, 1)
    }

    /// The id of a run of a slot; the first is that of the slot itself.
    #[must_use]
    pub fn of_run(schedule: &ScheduleName, slot: Timestamp, run: u32) -> Self {
        let mut name = format!("{schedule}/{}", slot_text(slot));
        if run > 1 {
            name.push_str(&format!("/{run}"));
        }
        Self(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// A new id for a client's operation.
    #[must_use]
    pub fn of_client() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for OperationId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl std::fmt::Display for OperationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of one attempt, given to ClickHouse as the `id` of its `BACKUP` or `RESTORE`.
///
/// ClickHouse refuses a used id for as long as it runs (code 36), which makes sending idempotent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(String);

/// What an attempt id says about where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOrigin {
    /// A schedule's slot.
    Slot {
        /// The schedule, which this configuration may no longer have.
        schedule: ScheduleName,
        /// The due time.
        slot: Timestamp,
        /// Number of the attempt, from 1.
        number: u32,
    },
    /// A client's operation.
    Client {
        /// The operation.
        operation: OperationId,
        /// Number of the attempt, from 1.
        number: u32,
    },
}

impl AttemptId {
    /// The text that all our ids begin with in `system.backups`.
    pub const PREFIX: &'static str = "backupd:";

    /// `backupd:<schedule>:<slot>:<n>`.
    #[must_use]
    pub fn of_slot(schedule: &ScheduleName, slot: Timestamp, number: u32) -> Self {
        Self(format!("{PREFIX}:{schedule}:{}:{number}", slot_text(slot)))
    }

    /// `backupd:client:<operation>:<n>`.
    #[must_use]
    pub fn of_client(operation: OperationId, number: u32) -> Self {
        Self(format!("{PREFIX}:client:{operation}:{number}"))
    }

    /// The id as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads an id found on a server; `None` when it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Self, AttemptOrigin)> {
        let mut parts = text.strip_prefix(Self::PREFIX)?.split(':');
        let (owner, what, number) = (parts.next()?, parts.next()?, parts.next()?);
        let number = number.parse().ok().filter(|n| *n > 0)?;
        if parts.next().is_some() {
            return None;
        }
        let origin = if owner == "client" {
            AttemptOrigin::Client {
                operation: OperationId(Uuid::parse_str(what).ok()?),
                number,
            }
        } else {
            let civil = jiff::civil::DateTime::strptime(SLOT_FORMAT, what).ok()?;
            let slot = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
            AttemptOrigin::Slot {
                schedule: ScheduleName::try_from(owner.to_owned()).ok()?,
                slot,
                number,
            }
        };
        Some((Self(text.to_owned()), origin))
    }
}

impl std::fmt::Display for AttemptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn slot_text(slot: Timestamp) -> String {
    slot.strftime(SLOT_FORMAT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily() -> ScheduleName {
        ScheduleName::try_from("daily".to_owned()).unwrap()
    }

    #[test]
    fn ids_of_a_slot_are_the_same_everywhere_and_read_back() {
        let slot: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let id = AttemptId::of_slot(&daily(), slot, 2);
        assert_eq!(id.as_str(), "backupd:daily:20261122T000000Z:2");
        let origin = AttemptOrigin::Slot {
            schedule: daily(),
            slot,
            number: 2,
        };
        assert_eq!(AttemptId::parse(id.as_str()), Some((id, origin)));
        assert_eq!(
            OperationId::of_slot(&daily(), slot).to_string(),
            "179ccff0-2934-5d2a-81e4-9ebce18b73f5"
        );
    }

    #[test]
    fn ids_of_others_are_not_ours() {
        for text in [
            "",
            "backupd",
            "backupd:daily:x:1",
            "backupd:daily:20261122T000000Z:0",
            "backupd:client:nope:1",
            "my:daily:20261122T000000Z:1",
            "backupd:daily:20261122T000000Z:1:2",
        ] {
            assert_eq!(AttemptId::parse(text), None, "{text}");
        }
    }
}
