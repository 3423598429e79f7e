//! Anything that takes time: operations, their attempts, and the state machine that owns them.

mod attempt;
mod base;
mod failure;
mod id;
mod machine;
mod step;
#[cfg(test)]
pub(crate) mod testing;
mod work;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backup::{Backup, BackupKind, BackupName, NameTemplate, Origin, Scope};
use crate::schedule::{Calendar, MissedPolicy, ScheduleName, SkipReason};

pub use attempt::{Attempt, Delivery, Outcome, Server};
pub use base::{BaseChoice, choose_base};
pub use failure::{Failure, FailureKind};
pub use id::{AttemptId, AttemptOrigin, OperationId};
pub use machine::{CancelCause, Event, IllegalEvent, State};
pub use step::{Dead, Look, Progress, Row, RowStatus, Seen, Step, next_step, observe};
pub use work::{
    BackupWork, DeleteCause, DeleteWork, Existing, Increments, Item, ItemState, RestoreWork,
    Selection, VerifyWork, Work,
};

/// A schedule: when something is due, and what is then asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// When it is due.
    pub calendar: Calendar,
    /// What happens to slots that passed while nobody looked.
    pub missed: MissedPolicy,
    /// How its backups are named.
    pub template: NameTemplate,
    /// What a slot does.
    pub action: Action,
    /// When its backups are increments; `None`: never.
    pub increments: Option<Increments>,
    /// What its backups contain.
    pub scope: Scope,
    /// How long after its slot a backup may at most take, retries included.
    pub deadline: Duration,
    /// How often and how soon a failed attempt is tried again.
    pub retry: Retry,
}

impl Schedule {
    /// The kind that its backups have where nothing stands against it.
    #[must_use]
    pub fn kind(&self) -> BackupKind {
        match self.increments {
            Some(_) => BackupKind::Incremental,
            None => BackupKind::Full,
        }
    }
}

/// What a slot of a schedule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It makes a backup.
    Backup,
    /// It proves backups (`action = "verify"`).
    Verify(VerifyWork),
}

/// When a failed attempt is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all; 1 means no retry.
    pub attempts: u32,
    /// Wait between the end of an attempt and the next one.
    pub delay: Duration,
}

/// Anything that takes time, from the moment it was asked for until long after it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its place in the order of submission; given by the catalog, never reused.
    pub number: u64,
    /// Its id.
    pub id: OperationId,
    /// Who asked for it.
    pub trigger: Trigger,
    /// What is to be done.
    pub work: Work,
    /// The same in the words of the wire format of the server we replace.
    pub command: String,
    /// How long it may take, and how often it is tried.
    pub limits: Limits,
    /// Where it stands; only [`Operation::apply`] makes a new one.
    pub state: State,
    /// When it was asked for.
    pub submitted_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The next attempt begins no sooner.
    pub not_before: Option<Timestamp>,
    /// Since when it waits for a ClickHouse that does not answer.
    pub unreachable_since: Option<Timestamp>,
    /// When its end was asked for.
    pub cancel_asked_at: Option<Timestamp>,
    /// Attempts that earlier runs of its slot made: numbers go on, because ClickHouse knows theirs.
    #[serde(default)]
    pub attempts_before: u32,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// The latest failure; a success clears it.
    pub failure: Option<Failure>,
    /// Why it was never begun.
    pub skipped: Option<SkipReason>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// What its caller should know beside the result.
    pub notes: Vec<String>,
    /// Tables that it dropped before a restore, as asked.
    #[serde(default)]
    pub dropped: Vec<String>,
    /// Addresses that its client wants called at its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callbacks: Vec<String>,
    /// The last moment of it that was told to those who want to hear of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// The backups that it works on inside us, in that order: the journal of a proof or a removal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
}

/// A moment of an operation that others hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It began.
    Started,
    /// It ended.
    Ended,
}

/// Who asked for an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A schedule, for a slot; with the run, that is unique.
    Schedule {
        /// Its name.
        schedule: ScheduleName,
        /// The due time.
        slot: Timestamp,
        /// 1 when the slot became due; later runs of the same slot were asked for by hand.
        #[serde(default = "first_run")]
        run: u32,
    },
    /// A client, over the API.
    Client,
    /// The daemon itself: retention, proofs after a backup. Not shown to the scripts of the server we
    /// replace, whose newest row must be their own.
    Daemon,
}

fn first_run() -> u32 {
    1
}

/// How long an operation may take, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// One attempt.
    pub timeout: Duration,
    /// The whole operation; a client's has none but its time-out.
    pub deadline: Option<Timestamp>,
    /// How long it waits for a ClickHouse that does not answer, where there is no deadline.
    pub unreachable: Duration,
    /// How long ClickHouse may take to confirm that a cancelled attempt is gone.
    pub cancel: Duration,
    /// How often and how soon it is tried again.
    pub retry: Retry,
}

impl Operation {
    /// A new operation, waiting; its number is given by the catalog.
    #[must_use]
    pub fn new(
        id: OperationId,
        trigger: Trigger,
        work: Work,
        command: String,
        limits: Limits,
        now: Timestamp,
    ) -> Self {
        Self {
            number: 0,
            id,
            trigger,
            work,
            command,
            limits,
            state: State::Pending,
            submitted_at: now,
            started_at: None,
            finished_at: None,
            not_before: None,
            unreachable_since: None,
            cancel_asked_at: None,
            attempts_before: 0,
            attempts: Vec::new(),
            failure: None,
            skipped: None,
            outcome: None,
            notes: Vec::new(),
            dropped: Vec::new(),
            callbacks: Vec::new(),
            told: None,
            items: Vec::new(),
        }
    }

    /// The attempt at work, or the last one.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// The word for what it does, as in the API and the metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.work {
            Work::Backup(_) => "backup",
            Work::Restore(_) => "restore",
            Work::Verify(_) => "verify",
            Work::Delete(_) => "delete",
        }
    }

    /// The backup it is about, by the name asked for; `None` where it is about several or none.
    #[must_use]
    pub fn backup_name(&self) -> Option<&BackupName> {
        match &self.work {
            Work::Backup(work) => Some(&work.name),
            Work::Restore(work) => Some(&work.backup),
            Work::Verify(VerifyWork {
                selection: Selection::One(name),
                ..
            }) => Some(name),
            Work::Verify(_) | Work::Delete(_) => match self.items.as_slice() {
                [item] => Some(&item.backup),
                _ => None,
            },
        }
    }

    /// What it is about, for people: the name of its backup, or how many there are.
    #[must_use]
    pub fn subject(&self) -> String {
        match self.backup_name() {
            Some(name) => name.to_string(),
            None => format!("{} backups", self.items.len()),
        }
    }

    /// Whether it belongs to what clients and schedules asked for, which the scripts of the server we
    /// replace may see.
    #[must_use]
    pub fn is_own_work(&self) -> bool {
        self.trigger == Trigger::Daemon || matches!(self.work, Work::Verify(_))
    }

    /// Whether a client asked for it.
    #[must_use]
    pub fn is_clients(&self) -> bool {
        self.trigger == Trigger::Client
    }

    /// The schedule it belongs to.
    #[must_use]
    pub fn schedule(&self) -> Option<&ScheduleName> {
        match &self.trigger {
            Trigger::Schedule { schedule, .. } => Some(schedule),
            Trigger::Client | Trigger::Daemon => None,
        }
    }

    /// The slot that it belongs to.
    #[must_use]
    pub fn slot(&self) -> Option<Timestamp> {
        match &self.trigger {
            Trigger::Schedule { slot, .. } => Some(*slot),
            Trigger::Client | Trigger::Daemon => None,
        }
    }

    /// Which run of its slot it is.
    #[must_use]
    pub fn run(&self) -> Option<u32> {
        match &self.trigger {
            Trigger::Schedule { run, .. } => Some(*run),
            Trigger::Client | Trigger::Daemon => None,
        }
    }

    /// Attempts of this and of all earlier runs of its slot.
    #[must_use]
    pub fn attempts_in_all(&self) -> u32 {
        let attempts = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        self.attempts_before.saturating_add(attempts)
    }

    /// The id of its next attempt.
    #[must_use]
    pub fn next_attempt_id(&self) -> AttemptId {
        let number = self.attempts_in_all().saturating_add(1);
        match &self.trigger {
            Trigger::Schedule { schedule, slot, .. } => AttemptId::of_slot(schedule, *slot, number),
            Trigger::Client | Trigger::Daemon => AttemptId::of_client(self.id, number),
        }
    }

    /// The name the next attempt writes under.
    ///
    /// An attempt that was lost leaves its `.lock` behind, and ClickHouse then refuses the name for
    /// ever (598, ClickHouse issue 114109). Where nobody can clear it, the next one takes `<name>.2`,
    /// `<name>.3`. `None`: it writes no backup.
    #[must_use]
    pub fn next_backup_name(&self) -> Option<BackupName> {
        let asked = self.backup_name()?;
        Some(match self.blocked_names().count() {
            0 => asked.clone(),
            dead => asked.with_suffix(dead + 1),
        })
    }

    /// Names that its dead attempts block, oldest first.
    pub fn blocked_names(&self) -> impl Iterator<Item = &BackupName> {
        let blocked = |attempt: &&Attempt| {
            let kind = attempt.failure.as_ref().map(|failure| failure.kind);
            matches!(kind, Some(FailureKind::Lost | FailureKind::Exists)) && !attempt.is_cleared
        };
        self.attempts
            .iter()
            .filter(blocked)
            .map(|attempt| &attempt.backup)
    }

    /// When a failure of this kind is tried again; `None` when it is not.
    ///
    /// A name that exists is tried again only after an attempt of our own had died under it.
    #[must_use]
    pub fn retry_at(&self, kind: FailureKind, now: Timestamp) -> Option<Timestamp> {
        let left_behind = || {
            self.attempts_before > 0
                || self
                    .attempts
                    .iter()
                    .rev()
                    .skip(1)
                    .any(|attempt| attempt.failure.is_some())
        };
        // What a backup is to contain is looked up for each attempt: a table that vanished between
        // the look and the statement is no reason to give up.
        let worth_it = match (kind, &self.work) {
            (FailureKind::Exists, _) => left_behind(),
            (FailureKind::NotFound, Work::Backup(work)) => work.base.is_none(),
            (kind, _) => kind.is_transient(),
        };
        let attempts_left = self.attempts.len() < self.limits.retry.attempts as usize;
        let at = now.checked_add(self.limits.retry.delay).ok()?;
        let in_time = self.limits.deadline.is_none_or(|deadline| at < deadline);
        (worth_it && attempts_left && in_time).then_some(at)
    }

    /// ClickHouse answers again: what is wrong, if anything, is what the last attempt met.
    pub fn answered(&mut self) {
        self.unreachable_since = None;
        self.failure = self.attempt().and_then(|attempt| attempt.failure.clone());
    }

    /// The backup that a finished attempt made; `None` for other work.
    #[must_use]
    pub fn made_backup(&self) -> Option<Backup> {
        let (Work::Backup(work), Some(outcome), Some(attempt)) =
            (&self.work, self.outcome, self.attempt())
        else {
            return None;
        };
        Some(Backup {
            name: attempt.backup.clone(),
            asked_name: work.name.clone(),
            place: attempt.place.clone(),
            operation: self.id.as_uuid(),
            number: self.number,
            attempt: attempt.id.to_string(),
            origin: match &self.trigger {
                Trigger::Schedule { schedule, slot, .. } => Origin::Schedule {
                    schedule: schedule.to_string(),
                    slot: *slot,
                },
                Trigger::Client | Trigger::Daemon => Origin::Client,
            },
            kind: if work.base.is_some() {
                BackupKind::Incremental
            } else {
                BackupKind::Full
            },
            base: work.base.clone(),
            created_at: outcome.finished_at,
            bytes: Some(outcome.bytes),
            bytes_written: Some(outcome.bytes_written),
            files: Some(outcome.files),
            tables: attempt.tables,
            structure_only: work.scope.structure_only,
            server: attempt.server.as_ref().map(|server| server.uuid),
            manifest: attempt.manifest.clone(),
            proofs: Vec::new(),
            pinned: None,
            suspect: None,
            deleting: None,
            gone_since: None,
            changed_at: self.finished_at.unwrap_or(outcome.finished_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{attempt, daily as operation};
    use super::*;

    fn failed(operation: Operation, kind: FailureKind) -> Operation {
        let number = u32::try_from(operation.attempts.len()).unwrap() + 1;
        let attempt = Attempt {
            backup: operation.next_backup_name().unwrap(),
            ..attempt(number)
        };
        let now = Timestamp::UNIX_EPOCH;
        let failure = Failure::new(kind, "x");
        let operation = operation
            .apply(Event::Begun(Box::new(attempt)), now)
            .unwrap();
        operation
            .apply(
                Event::AttemptFailed {
                    failure,
                    retry_at: Some(now),
                },
                now,
            )
            .unwrap()
    }

    #[test]
    fn a_lost_attempt_blocks_its_name_and_another_failure_does_not() {
        let operation = failed(operation(), FailureKind::OutOfMemory);
        assert_eq!(operation.next_backup_name().unwrap().as_str(), "1970-01-01");
        let operation = failed(operation, FailureKind::Lost);
        assert_eq!(
            operation.next_backup_name().unwrap().as_str(),
            "1970-01-01.2"
        );
        assert_eq!(
            operation.next_attempt_id().as_str(),
            "backupd:daily:19700101T000000Z:3"
        );
    }

    #[test]
    fn a_retry_needs_a_transient_kind_an_attempt_left_and_time() {
        let begun = |number| {
            operation()
                .apply(
                    Event::Begun(Box::new(attempt(number))),
                    Timestamp::UNIX_EPOCH,
                )
                .unwrap()
        };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let once = begun(1);
        assert_eq!(
            once.retry_at(FailureKind::Lost, at("1970-01-01T01:00:00Z")),
            Some(at("1970-01-01T01:05:00Z"))
        );
        assert_eq!(
            once.retry_at(FailureKind::Lost, at("1970-01-01T03:56:00Z")),
            None,
            "no time left"
        );
        assert_eq!(
            once.retry_at(FailureKind::Denied, at("1970-01-01T01:00:00Z")),
            None
        );
        assert_eq!(
            once.retry_at(FailureKind::Exists, at("1970-01-01T01:00:00Z")),
            None,
            "somebody else's"
        );
        let mut thrice = once;
        thrice.attempts.extend([attempt(2), attempt(3)]);
        assert_eq!(
            thrice.retry_at(FailureKind::Lost, at("1970-01-01T01:00:00Z")),
            None,
            "no attempt left"
        );
    }

    #[test]
    fn the_name_of_an_attempt_of_ours_that_died_is_tried_again_under_another() {
        let mut operation = failed(operation(), FailureKind::Unknown);
        operation = operation
            .apply(Event::Begun(Box::new(attempt(2))), Timestamp::UNIX_EPOCH)
            .unwrap();
        assert!(
            operation
                .retry_at(FailureKind::Exists, Timestamp::UNIX_EPOCH)
                .is_some()
        );
    }
}
