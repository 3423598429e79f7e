//! What a caller asks of a schedule: run a slot, pause, resume.

use std::sync::Arc;

use jiff::Timestamp;

use super::scheduler::{SlotWork, name_of, operation_of};
use super::{Submitted, Worker};
use crate::backup::{BackupName, BackupNameError};
use crate::catalog::{CatalogError, Change, Decision, View};
use crate::operation::{Operation, Schedule, State, Work};
use crate::schedule::{PAUSE_REASON_MAX_CHARS, Pause, ScheduleName};

/// A slot that is not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The slot lies ahead.
    #[error("the slot {0} is not due yet")]
    NotDueYet(Timestamp),
    /// No operation of the slot is known, so there is no night to be made good.
    #[error("nothing is known of the slot {0}: it was never due to this daemon, or too long ago")]
    UnknownSlot(Timestamp),
    /// Its backup was made.
    #[error("the slot was done already, as {0}")]
    Done(String),
    /// Its name is taken.
    #[error("a backup named {0} exists already")]
    NameTaken(BackupName),
    /// Another operation of the schedule, or of that name, has not ended.
    #[error("operation {} for {} has not ended", .0.id, .0.subject())]
    Busy(Arc<Operation>),
    /// The name cannot be made.
    #[error("naming the backup: {0}")]
    Name(#[from] BackupNameError),
    /// It could not be written down.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A pause that is not made.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// Its end is not ahead.
    #[error("the pause would end at {0}, which is not ahead")]
    OverAlready(Timestamp),
    /// The reason is an essay.
    #[error("the reason is longer than {PAUSE_REASON_MAX_CHARS} characters")]
    ReasonTooLong,
    /// It could not be written down.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Worker {
    /// Runs a slot by hand: a failed, cancelled or skipped one again, under its own name; without a
    /// slot, now. The pause of a schedule does not stand against it.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn run_slot(
        &self,
        schedule: &Schedule,
        slot: Option<Timestamp>,
    ) -> Result<Submitted, RunError> {
        let (schedule, worker) = (schedule.clone(), self.0.settings.clone());
        let now = self.0.clock.now();
        let decide = move |view: &View| match admit(view, &schedule, &worker, slot, now) {
            Ok(Submitted::Accepted(operation)) => Decision {
                changes: vec![Change::PutOperation(Box::new(operation.as_ref().clone()))],
                answer: Ok(Submitted::Accepted(operation)),
            },
            answer => Decision {
                changes: Vec::new(),
                answer,
            },
        };
        let submitted = self.0.catalog.write(decide).await??;
        if let Submitted::Accepted(operation) = &submitted {
            self.announce(None, operation);
        }
        Ok(submitted)
    }

    /// Pauses a schedule: slots that become due are skipped. A pause that is there is replaced.
    ///
    /// # Errors
    /// See [`PauseError`].
    pub async fn pause(
        &self,
        schedule: &ScheduleName,
        until: Option<Timestamp>,
        reason: Option<String>,
    ) -> Result<(), PauseError> {
        let since = self.0.clock.now();
        if let Some(until) = until.filter(|until| *until <= since) {
            return Err(PauseError::OverAlready(until));
        }
        let is_long = |text: &String| text.chars().nth(PAUSE_REASON_MAX_CHARS).is_some();
        if reason.as_ref().is_some_and(is_long) {
            return Err(PauseError::ReasonTooLong);
        }
        let until_text = until.map(|until| until.to_string());
        let pause = Pause {
            since,
            until,
            reason: reason.clone(),
        };
        self.put_pause(schedule, Some(pause)).await?;
        tracing::warn!(schedule.name = %schedule, until = until_text, reason, "the schedule is paused");
        Ok(())
    }

    /// Ends the pause of a schedule; nothing happens where there is none. Slots that were skipped
    /// stay skipped.
    ///
    /// # Errors
    /// When it could not be written down.
    pub async fn resume(&self, schedule: &ScheduleName) -> Result<(), CatalogError> {
        if self.0.catalog.view().pause(schedule).is_none() {
            return Ok(());
        }
        self.put_pause(schedule, None).await?;
        tracing::info!(schedule.name = %schedule, "the schedule goes on");
        Ok(())
    }

    async fn put_pause(
        &self,
        schedule: &ScheduleName,
        pause: Option<Pause>,
    ) -> Result<(), CatalogError> {
        let change = Change::PutPause(schedule.clone(), pause);
        let decide = move |_: &View| Decision {
            changes: vec![change],
            answer: (),
        };
        self.0.catalog.write(decide).await
    }
}

/// Whether a slot is run by hand, given everything that is known.
fn admit(
    view: &View,
    schedule: &Schedule,
    worker: &super::Settings,
    slot: Option<Timestamp>,
    now: Timestamp,
) -> Result<Submitted, RunError> {
    let at = slot.unwrap_or_else(|| whole_seconds(now));
    if at > now {
        return Err(RunError::NotDueYet(at));
    }
    let earlier: Vec<&Arc<Operation>> = view
        .operations_of(&schedule.name)
        .filter(|operation| operation.slot() == Some(at))
        .collect();
    let last = earlier
        .iter()
        .max_by_key(|operation| operation.run().unwrap_or_default());
    match last {
        Some(last) if matches!(last.state, State::Cancelling(_)) => {
            return Err(RunError::Busy((*last).clone()));
        }
        Some(last) if !last.state.is_terminal() => return Ok(Submitted::Active((*last).clone())),
        Some(last) if last.state == State::Succeeded => {
            return Err(RunError::Done(last.subject()));
        }
        None if slot.is_some() => return Err(RunError::UnknownSlot(at)),
        _ => {}
    }
    let work = SlotWork {
        slot: at,
        run: last.map_or(1, |last| last.run().unwrap_or_default().saturating_add(1)),
        attempts_before: last.map_or(0, |last| last.attempts_in_all()),
        number: view.next_number(),
    };
    let mut operation = operation_of(schedule, work, worker, now)?;
    let notes = pushed_out(schedule, &operation, now);
    operation.notes.extend(notes);
    let name = operation.backup_name();
    if let (Some(name), Work::Backup(_)) = (name, &operation.work)
        && let Some(taken) = view.backup(name)
    {
        return Err(RunError::NameTaken(taken.name.clone()));
    }
    let stands_against = |other: &&Arc<Operation>| {
        let is_waiting_slot =
            other.state == State::Pending && other.schedule() == Some(&schedule.name);
        is_waiting_slot
            || (operation.kind() == "backup"
                && other.kind() == "backup"
                && other.backup_name() == name)
    };
    match view.unfinished().find(stands_against) {
        Some(other) => Err(RunError::Busy(other.clone())),
        None => Ok(Submitted::Accepted(Arc::new(operation))),
    }
}

/// A run of now can take the name of the next slot, which is then skipped.
fn pushed_out(schedule: &Schedule, operation: &Operation, now: Timestamp) -> Option<String> {
    let next = schedule.calendar.next_after(now)?;
    let name = name_of(schedule, next).ok()?;
    (Some(&name) == operation.backup_name()).then(|| {
        format!("the slot of {next} has the same name, {name}, and will be skipped once this backup is made")
    })
}

/// Slots are whole seconds.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
