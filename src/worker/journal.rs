//! The one place where an operation changes its state: written, then logged, then counted.

use std::sync::Arc;

use super::Worker;
use super::prover::after_backup;
use crate::backup::Backup;
use crate::catalog::{CatalogError, Change, Decision, View};
use crate::operation::{Event, IllegalEvent, Operation, OperationId, State, Work};
use crate::retention;

/// An event that was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operation moved on meanwhile; look again.
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
    /// The operation is not in the catalog.
    #[error("there is no operation {0}")]
    Unknown(OperationId),
    /// The catalog could not be written; nothing changed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Worker {
    /// Applies events to an operation, all of them or none, together with other changes.
    pub(super) async fn record(
        &self,
        id: OperationId,
        events: Vec<Event>,
        extra: Vec<Change>,
    ) -> Result<Arc<Operation>, JournalError> {
        let now = self.0.clock.now();
        let decide = move |view: &View| match advanced(view, id, events, now) {
            Ok((before, after)) => {
                let mut changes = extra;
                changes.extend(consequences(view, &after));
                changes.push(Change::PutOperation(Box::new(after.clone())));
                Decision {
                    changes,
                    answer: Ok((before, Arc::new(after))),
                }
            }
            Err(error) => Decision {
                changes: Vec::new(),
                answer: Err(error),
            },
        };
        let (before, after) = self.0.catalog.write(decide).await??;
        self.announce(Some(before), &after);
        Ok(after)
    }

    /// Writes a field that is no state: what is known of an attempt that goes on.
    pub(super) async fn amend(
        &self,
        id: OperationId,
        change: impl FnOnce(&mut Operation) + Send + 'static,
    ) -> Result<(), JournalError> {
        let decide = move |view: &View| {
            let changes = view.operation(id).map(|operation| {
                let mut operation = operation.as_ref().clone();
                change(&mut operation);
                Change::PutOperation(Box::new(operation))
            });
            Decision {
                changes: changes.into_iter().collect(),
                answer: (),
            }
        };
        Ok(self.0.catalog.write(decide).await?)
    }

    /// One log line for a new state, and a count for an end.
    pub(super) fn announce(&self, before: Option<State>, operation: &Operation) {
        log(before, operation);
        if operation.state.is_terminal() {
            self.0.metrics.operation_ended(operation);
            self.0.live.forget_progress(operation.id);
        }
    }
}

fn advanced(
    view: &View,
    id: OperationId,
    events: Vec<Event>,
    now: jiff::Timestamp,
) -> Result<(State, Operation), JournalError> {
    let current = view.operation(id).ok_or(JournalError::Unknown(id))?;
    let mut operation = current.as_ref().clone();
    for event in events {
        operation = operation.apply(event, now)?;
    }
    Ok((current.state, operation))
}

/// What a state means for the rest of the catalog, written in the same transaction.
fn consequences(view: &View, operation: &Operation) -> Vec<Change> {
    if operation.state == State::Succeeded {
        return operation
            .made_backup()
            .map(|backup| made(view, operation, backup))
            .unwrap_or_default();
    }
    if matches!(operation.work, Work::Delete(_)) {
        return match operation.state {
            State::Cancelled => {
                let now = operation.finished_at.unwrap_or(operation.submitted_at);
                super::removal::released(view, operation, now)
            }
            _ => Vec::new(),
        };
    }
    let ended = operation
        .attempts
        .iter()
        .filter(|attempt| attempt.ended_at.is_some());
    ended
        .map(|attempt| Change::DropContents(attempt.id.clone()))
        .collect()
}

/// A backup that became visible: compared with those before it, and proved next where we can see it.
fn made(view: &View, operation: &Operation, mut backup: Backup) -> Vec<Change> {
    let before: Vec<&Backup> = view
        .backups()
        .filter(|other| other.schedule().is_some() && other.schedule() == backup.schedule())
        .collect();
    backup.suspect = retention::suspicion(&backup, &before, view.adoptions());
    if let Some(suspicion) = &backup.suspect {
        tracing::warn!(backup.name = %backup.name, "{} looks like the backup of an emptied server: {suspicion}; retention removes nothing until `clickhouse-backupd retention adopt` says that this is meant", backup.name);
    }
    let proof = backup.manifest.is_some().then(|| {
        let number = view.next_number().max(operation.number + 1);
        Change::PutOperation(Box::new(after_backup(&backup, operation, number)))
    });
    let backup = Change::PutBackup(Box::new(backup));
    [Some(backup), proof].into_iter().flatten().collect()
}

fn log(before: Option<State>, operation: &Operation) {
    let (kind, name, state) = (
        operation.kind(),
        operation.subject(),
        operation.state.as_str(),
    );
    let schedule = operation.schedule().map(ToString::to_string);
    let attempt = operation.attempt().map(|attempt| attempt.id.to_string());
    let from = before.map(State::as_str);
    let id = operation.id.to_string();
    macro_rules! line {
        ($level:ident, $($field:tt)*) => {
            tracing::$level!(operation.id = %id, schedule.name = schedule, attempt.id = attempt, from, state, $($field)*)
        };
    }
    match (&operation.state, &operation.failure, &operation.outcome) {
        (State::Succeeded, _, Some(outcome)) => {
            let took_ms = operation
                .started_at
                .map(|start| outcome_ms(operation, start));
            line!(
                info,
                files = outcome.files,
                bytes = outcome.bytes,
                took_ms,
                "{kind} {name} succeeded"
            );
        }
        (State::Failed, Some(failure), _) => {
            line!(error, failure.kind = %failure.kind, "{kind} {name} failed: {}; {}", failure.message, failure.kind.hint());
        }
        (State::Pending, Some(failure), _) => {
            let not_before = operation.not_before.map(|at| at.to_string());
            line!(warn, failure.kind = %failure.kind, not_before, "{kind} {name} will be tried again: {}", failure.message);
        }
        (State::Skipped, ..) => {
            let reason = operation.skipped.map(|reason| reason.to_string());
            line!(warn, reason, "{kind} {name} skipped");
        }
        _ => line!(info, "{kind} {name} is {state}"),
    }
}

fn outcome_ms(operation: &Operation, start: jiff::Timestamp) -> i128 {
    operation
        .finished_at
        .map_or(0, |end| end.duration_since(start).as_millis())
}
