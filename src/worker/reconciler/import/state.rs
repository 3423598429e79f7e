//! What a rebuilt memory takes over of everything that is no backup. Pure.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::Finding;
use crate::backup::Backup;
use crate::catalog::{Change, View};
use crate::operation::{
    Attempt, AttemptId, Delivery, Event, Failure, FailureKind, Operation, Outcome, State, Work,
};
use crate::worker::publisher::document::StateFile;

/// What a rebuilt memory takes over from `state.json`: only what it has nothing of itself.
#[must_use]
pub fn state(view: &View, state: StateFile, server: Option<Uuid>, now: Timestamp) -> Vec<Change> {
    let mut changes = Vec::new();
    if view.operations().next().is_none() {
        let is_same_server = match (state.server, server) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        };
        let operations = sound(state.operations).filter_map(|operation| {
            // What runs on another server is not ours to watch.
            let is_ours = operation.state.is_terminal() || is_same_server;
            is_ours.then(|| taken_over(operation, now))
        });
        changes.extend(operations.map(|operation| Change::PutOperation(Box::new(operation))));
    }
    if view.pauses().next().is_none() {
        let pauses = state.pauses.into_iter();
        changes.extend(pauses.map(|(name, pause)| Change::PutPause(name, Some(pause))));
    }
    if view.adoptions().is_empty() {
        changes.extend(state.adoptions.into_iter().map(Change::PutAdoption));
    }
    let unseen = state.last_slots.into_iter();
    let unseen = unseen.filter(|(name, _)| view.last_slot(name).is_none());
    changes.extend(unseen.map(|(name, last)| Change::PutLastSlot(name, last)));
    changes
}

/// Operations without those that say the same number, id or run a second time, which only a damaged
/// file can: the catalog would refuse all of it.
fn sound(operations: Vec<Operation>) -> impl Iterator<Item = Operation> {
    let (mut numbers, mut ids, mut runs) = (HashSet::new(), HashSet::new(), HashSet::new());
    operations.into_iter().filter(move |operation| {
        let run = operation.schedule().cloned();
        let run = run.map(|schedule| (schedule, operation.slot(), operation.run()));
        i64::try_from(operation.number).is_ok_and(|number| number > 0)
            && numbers.insert(operation.number)
            && ids.insert(operation.id)
            && run.is_none_or(|run| runs.insert(run))
    })
}

/// A restore that surely was not sent is not begun: what is published may be older than what happened,
/// and rows that are added twice, or tables that are dropped, cannot be told apart. A backup under a
/// name that exists does no harm.
fn taken_over(operation: Operation, now: Timestamp) -> Operation {
    let is_unsent = operation
        .attempt()
        .is_none_or(|attempt| attempt.delivery == Delivery::NotSent);
    let event = match operation.state {
        State::Pending => Event::GaveUp(lost()),
        State::Starting if is_unsent => Event::AttemptFailed {
            failure: lost(),
            retry_at: None,
        },
        _ => return operation,
    };
    if !matches!(operation.work, Work::Restore(_)) {
        return operation;
    }
    operation.clone().apply(event, now).unwrap_or(operation)
}

fn lost() -> Failure {
    Failure::new(
        FailureKind::Lost,
        "our memory was lost while it waited, and whether it was begun is not known; look at the tables before you ask again",
    )
}

/// `state.json` is written some seconds after what happened. A backup whose own file is there was made,
/// whatever an older `state.json` says of its operation: that must not go on, and make the record of a
/// backup again that is being removed by now.
pub fn end_what_was_made(changes: &mut [Change], findings: &[Finding], now: Timestamp) {
    let made: HashMap<Uuid, &Backup> = findings
        .iter()
        .filter_map(|finding| finding.sidecar.as_deref())
        .map(|backup| (backup.operation, backup))
        .collect();
    for change in changes {
        let Change::PutOperation(operation) = change else {
            continue;
        };
        let is_open = matches!(operation.work, Work::Backup(_)) && !operation.state.is_terminal();
        let Some(backup) = made.get(&operation.id.as_uuid()).filter(|_| is_open) else {
            continue;
        };
        if let Some(ended) = ended_as(operation, backup, now) {
            **operation = ended;
        }
    }
}

/// The operation after it made this backup.
fn ended_as(operation: &Operation, backup: &Backup, now: Timestamp) -> Option<Operation> {
    let outcome = Outcome {
        finished_at: backup.created_at,
        files: backup.files.unwrap_or_default(),
        bytes: backup.bytes.unwrap_or_default(),
        bytes_written: backup.bytes_written.unwrap_or_default(),
    };
    let begun = match operation.state {
        State::Pending => {
            let (id, _) = AttemptId::parse(&backup.attempt)?;
            let attempt = Attempt {
                id,
                backup: backup.name.clone(),
                place: backup.place.clone(),
                started_at: operation.submitted_at,
                ended_at: None,
                delivery: Delivery::Accepted,
                server: None,
                tables: backup.tables,
                bytes_expected: None,
                manifest: backup.manifest.clone(),
                is_cleared: false,
                failure: None,
            };
            Event::BegunHere(Some(Box::new(attempt)))
        }
        State::Starting => Event::Accepted(operation.attempt()?.server.clone()?),
        _ => {
            let finished = operation.clone().apply(Event::Finished(outcome), now);
            return finished.ok();
        }
    };
    let begun = operation.clone().apply(begun, now).ok()?;
    begun.apply(Event::Finished(outcome), now).ok()
}
