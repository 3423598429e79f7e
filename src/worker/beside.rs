//! The loop beside the lane: proofs and removals, which run inside us and resume from their journal.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{JournalError, Worker};
use crate::catalog::View;
use crate::clickhouse;
use crate::destination;
use crate::operation::{
    Attempt, Delivery, Event, Failure, FailureKind, ItemState, Operation, OperationId, Outcome,
    State, Trigger, Work,
};

/// Longest sleep: a commit, or news of the destination, ends it.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);
/// Wait after the catalog could not be written.
const CATALOG_RETRY: Duration = Duration::from_secs(5);

/// What runs beside the lane; one of each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Proofs.
    Proofs,
    /// Removals.
    Removals,
}

/// Why an item was not finished.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    /// The destination could not be looked at, or refused something.
    #[error(transparent)]
    Destination(#[from] destination::Error),
    /// ClickHouse did not say what runs.
    #[error(transparent)]
    Server(#[from] clickhouse::Error),
    /// Something works on it now.
    #[error("{0}")]
    Held(String),
    /// Nothing can come of it.
    #[error("{}", .0.message)]
    Impossible(Failure),
    /// Our memory failed, or the operation moved on.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Worker {
    /// Works off proofs, or removals, until `stop`; what is under way then is resumed by the next process.
    pub async fn run_beside(self, kind: Beside, stop: CancellationToken) {
        let mut changes = self.0.catalog.subscribe();
        loop {
            changes.borrow_and_update();
            let news = self.0.live.standing_changed.notified();
            // A removal waits until the view is known to be of the right place; a proof is refused.
            let can_look = self.is_read_in()
                && self.has_listed()
                && (kind == Beside::Proofs || self.needs_bound_view().is_ok());
            let (view, now) = (self.0.catalog.view(), self.0.clock.now());
            let pause = match next(&view, kind, now).filter(|_| can_look) {
                Some(operation) => {
                    let work = self.work_beside(&operation);
                    let done = tokio::select! {
                        () = stop.cancelled() => return,
                        done = work => done,
                    };
                    match done {
                        Ok(()) | Err(JournalError::Illegal(_)) => Duration::ZERO,
                        Err(error) => {
                            tracing::error!(%error, "what runs beside the lane waits");
                            CATALOG_RETRY
                        }
                    }
                }
                None if can_look => until_next(&view, kind, now),
                None => SLEEP_MAX,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                () = news => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn work_beside(&self, operation: &Arc<Operation>) -> Result<(), JournalError> {
        let operation = match operation.state {
            State::Pending => match self.begin_beside(operation).await? {
                Some(begun) => begun,
                None => return Ok(()),
            },
            _ => operation.clone(),
        };
        let result = match operation.work {
            Work::Verify(_) => self.prove_items(operation.id).await,
            _ => self.remove_items(operation.id).await,
        };
        self.end_beside(operation.id, result).await
    }

    /// Records the attempt, with its items; `None` where nothing can come of it.
    async fn begin_beside(
        &self,
        operation: &Arc<Operation>,
    ) -> Result<Option<Arc<Operation>>, JournalError> {
        if let Err(text) = self.needs_bound_view() {
            let failure = Failure::new(FailureKind::Destination, text);
            self.record(operation.id, vec![Event::GaveUp(failure)], Vec::new())
                .await?;
            return Ok(None);
        }
        if let Work::Verify(work) = &operation.work
            && operation.items.is_empty()
        {
            match super::prover::items(&self.0.catalog.view(), &work.selection) {
                Ok(items) => {
                    self.amend(operation.id, move |operation| operation.items = items)
                        .await?;
                }
                Err(failure) => {
                    self.record(operation.id, vec![Event::GaveUp(failure)], Vec::new())
                        .await?;
                    return Ok(None);
                }
            }
        }
        let begun = Event::BegunHere(self.attempt_beside(operation.id).map(Box::new));
        Ok(Some(
            self.record(operation.id, vec![begun], Vec::new()).await?,
        ))
    }

    /// The record of an attempt that runs inside us; none where there is nothing to do.
    fn attempt_beside(&self, id: OperationId) -> Option<Attempt> {
        let view = self.0.catalog.view();
        let operation = view.operation(id)?;
        Some(Attempt {
            id: operation.next_attempt_id(),
            backup: operation.items.first()?.backup.clone(),
            place: self.0.place.clone(),
            started_at: self.0.clock.now(),
            ended_at: None,
            delivery: Delivery::Accepted,
            server: None,
            tables: None,
            bytes_expected: None,
            manifest: None,
            is_cleared: false,
            failure: None,
        })
    }

    /// Why nothing can be looked for or removed through our view; `Ok` where it can.
    pub(super) fn needs_bound_view(&self) -> Result<(), String> {
        use super::ViewState;
        let text = match self.standing().view {
            ViewState::Bound => return Ok(()),
            ViewState::None => {
                "there is no destination.url, so this daemon does not see the destination"
            }
            ViewState::NamesOnServer => {
                "the disk keeps the names of its objects on the ClickHouse server, so nothing in the bucket can be told apart; see docs/configuration.md for an s3_plain disk"
            }
            ViewState::Unbound => {
                "destination.url may be the wrong place: no backup that this ClickHouse server made was read there yet"
            }
        };
        Err(text.to_owned())
    }

    async fn end_beside(
        &self,
        id: OperationId,
        result: Result<Option<Failure>, Interrupted>,
    ) -> Result<(), JournalError> {
        let view = self.0.catalog.view();
        let Some(operation) = view.operation(id) else {
            return Ok(());
        };
        let now = self.0.clock.now();
        if matches!(operation.state, State::Cancelling(_)) {
            return self
                .record(id, vec![Event::Gone], Vec::new())
                .await
                .map(drop);
        }
        let event = match result {
            Ok(None) => Event::Finished(outcome(operation, now)),
            Ok(Some(failure)) => Event::AttemptFailed {
                failure,
                retry_at: None,
            },
            Err(Interrupted::Journal(error)) => return Err(error),
            Err(interrupted) => {
                let failure = interrupted.failure();
                let retry_at = operation.retry_at(failure.kind, now);
                Event::AttemptFailed { failure, retry_at }
            }
        };
        self.record(id, vec![event], Vec::new()).await.map(drop)
    }

    /// Writes how far an item is.
    pub(super) async fn note_item(
        &self,
        id: OperationId,
        index: usize,
        state: ItemState,
    ) -> Result<(), JournalError> {
        self.amend(id, move |operation| {
            if let Some(item) = operation.items.get_mut(index) {
                item.state = state;
            }
        })
        .await?;
        self.0.live.note_step(id, self.0.clock.now());
        Ok(())
    }

    /// Whether it goes on: nobody asked for its end.
    pub(super) fn goes_on(&self, id: OperationId) -> bool {
        let view = self.0.catalog.view();
        view.operation(id)
            .is_some_and(|operation| operation.state == State::Running)
    }
}

impl Interrupted {
    fn failure(self) -> Failure {
        match self {
            Self::Destination(error) => Failure::new(FailureKind::Destination, error.to_string()),
            Self::Server(error) => error.failure("asking ClickHouse what is at work"),
            Self::Held(text) => Failure::new(FailureKind::Busy, text),
            Self::Impossible(failure) => failure,
            Self::Journal(error) => Failure::new(FailureKind::Unknown, error.to_string()),
        }
    }
}

/// A work that is on its way first, then a client's, then in the order of submission.
fn next(view: &View, kind: Beside, now: Timestamp) -> Option<Arc<Operation>> {
    let ready = |operation: &&Arc<Operation>| {
        belongs(operation, kind)
            && (operation.state != State::Pending
                || operation.not_before.is_none_or(|at| at <= now))
    };
    let order = |operation: &&Arc<Operation>| {
        (
            operation.state == State::Pending,
            operation.trigger != Trigger::Client,
            operation.number,
        )
    };
    view.unfinished().filter(ready).min_by_key(order).cloned()
}

fn belongs(operation: &Operation, kind: Beside) -> bool {
    match operation.work {
        Work::Verify(_) => kind == Beside::Proofs,
        Work::Delete(_) => kind == Beside::Removals,
        Work::Backup(_) | Work::Restore(_) => false,
    }
}

fn until_next(view: &View, kind: Beside, now: Timestamp) -> Duration {
    let waiting = view
        .unfinished()
        .filter(|operation| belongs(operation, kind))
        .filter_map(|operation| operation.not_before)
        .filter(|at| *at > now);
    let next = waiting.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    next.min().unwrap_or(SLEEP_MAX).min(SLEEP_MAX)
}

fn outcome(operation: &Operation, now: Timestamp) -> Outcome {
    let mut outcome = Outcome {
        finished_at: now,
        files: 0,
        bytes: 0,
        bytes_written: 0,
    };
    for item in &operation.items {
        if let ItemState::Done { objects, bytes } = item.state {
            outcome.files = outcome.files.saturating_add(objects);
            outcome.bytes = outcome.bytes.saturating_add(bytes);
        }
    }
    outcome
}
