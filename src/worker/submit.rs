//! The two verbs of the API: submit and cancel.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::catalog::{CatalogError, Change, Decision, View};
use crate::metrics::Moved;
use crate::notify::CALLBACKS_MAX;
use crate::operation::{
    CancelCause, Event, Limits, Operation, OperationId, Progress, Retry, State, Trigger, Work,
};

/// Client operations that may wait where `allow_parallel` lets them.
const CLIENT_QUEUE_MAX_OPERATIONS: usize = 100;

/// How long a request waits for the first look at the destination.
const FIRST_LOOK_PATIENCE: Duration = Duration::from_secs(10);

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The work.
    pub work: Work,
    /// The same in the words of the wire format of the server we replace.
    pub command: String,
    /// Addresses to call at its end.
    pub callbacks: Vec<String>,
}

/// An accepted request.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// A new operation.
    Accepted(Arc<Operation>),
    /// A backup of this name is being made already; this is its operation.
    Active(Arc<Operation>),
}

/// A request that was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Another client's operation is active.
    #[error("another operation is currently running: {command}")]
    Busy {
        /// That operation, in the words of the wire format.
        command: String,
    },
    /// It could not be written down.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// An operation that cannot be cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// It is not known.
    #[error("there is no such operation")]
    NotFound,
    /// It has ended.
    #[error("operation {} has ended: {}", .0.id, .0.state.as_str())]
    Ended(Arc<Operation>),
    /// It could not be written down.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Worker {
    /// Records what a client asks for; the runner does it.
    ///
    /// # Errors
    /// When another client's operation is active, or the catalog cannot be written.
    pub async fn submit(&self, request: Request) -> Result<Submitted, SubmitError> {
        // An operation of now would stand in the way of the history that is about to be read in.
        let stop = CancellationToken::new();
        let _ = tokio::time::timeout(FIRST_LOOK_PATIENCE, self.first_look(&stop)).await;
        let operation = self.client_operation(request);
        let allow_parallel = self.0.allow_parallel;
        let submitted = self
            .0
            .catalog
            .write(move |view| admit(view, operation, allow_parallel))
            .await??;
        if let Submitted::Accepted(operation) = &submitted {
            self.announce(None, operation);
        }
        Ok(submitted)
    }

    /// Asks for the end of an operation: a waiting one is cancelled at once, one at work is
    /// `cancelling` until ClickHouse confirms it.
    ///
    /// # Errors
    /// When it is not known or has ended.
    pub async fn cancel(&self, id: OperationId) -> Result<Arc<Operation>, CancelError> {
        let view = self.0.catalog.view();
        let operation = view.operation(id).ok_or(CancelError::NotFound)?.clone();
        match operation.state {
            State::Cancelling(_) => Ok(operation),
            state if state.is_terminal() => Err(CancelError::Ended(operation)),
            _ => match self
                .record(id, vec![Event::Cancel(CancelCause::Caller)], Vec::new())
                .await
            {
                Ok(operation) => Ok(operation),
                Err(super::JournalError::Catalog(error)) => Err(error.into()),
                // It ended between our look and the write.
                Err(_) => Err(CancelError::Ended(
                    self.0
                        .catalog
                        .view()
                        .operation(id)
                        .cloned()
                        .unwrap_or(operation),
                )),
            },
        }
    }

    /// How far an operation at work is, as of the last look at the server.
    #[must_use]
    pub fn progress(&self, id: OperationId) -> Option<Progress> {
        self.0.live.progress(id)
    }

    /// How far everything at work has come, and when that last changed.
    #[must_use]
    pub fn moved(&self) -> HashMap<OperationId, Moved> {
        self.0.live.moved()
    }

    /// Wakes at each commit to our memory.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<Arc<View>> {
        self.0.catalog.subscribe()
    }

    /// Whether the first look at ClickHouse was tried: what runs there is adopted, or it is down.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.live.has_looked()
    }

    /// Limits of work that no schedule asked for. It is tried once: a client is there to ask again,
    /// and would be surprised by a restore that begins later.
    pub(super) fn client_limits(&self) -> Limits {
        let settings = &self.0.settings;
        Limits {
            timeout: settings.timeout,
            deadline: None,
            unreachable: settings.client_deadline,
            cancel: settings.cancel_limit,
            retry: Retry {
                attempts: 1,
                delay: Duration::ZERO,
            },
        }
    }

    fn client_operation(&self, mut request: Request) -> Operation {
        if let Work::Backup(work) = &mut request.work {
            work.scope
                .exclude_tables
                .extend(self.0.skip_tables.iter().cloned());
        }
        let mut operation = Operation::new(
            OperationId::of_client(),
            Trigger::Client,
            request.work,
            request.command,
            self.client_limits(),
            self.0.clock.now(),
        );
        operation.callbacks = request.callbacks;
        operation
    }
}

/// Whether a client's operation is taken in, given everything that is known.
fn admit(
    view: &View,
    mut operation: Operation,
    allow_parallel: bool,
) -> Decision<Result<Submitted, SubmitError>> {
    let refuse = |answer| Decision {
        changes: Vec::new(),
        answer,
    };
    if let Some(active) = making(view, &operation) {
        return also_calling(active, &operation.callbacks);
    }
    let is_like = |other: &&Arc<Operation>| {
        other.is_clients() && other.work.takes_the_lane() == operation.work.takes_the_lane()
    };
    let mut clients = view.unfinished().filter(is_like);
    let waiting_max = if allow_parallel || !operation.work.takes_the_lane() {
        CLIENT_QUEUE_MAX_OPERATIONS
    } else {
        1
    };
    if clients.clone().count() >= waiting_max {
        let command = clients
            .next()
            .map(|other| other.command.clone())
            .unwrap_or_default();
        return refuse(Err(SubmitError::Busy { command }));
    }
    operation.number = view.next_number();
    let changes = vec![Change::PutOperation(Box::new(operation.clone()))];
    Decision {
        changes,
        answer: Ok(Submitted::Accepted(Arc::new(operation))),
    }
}

/// The same work was asked for by somebody else, too: both are called at its end.
fn also_calling(
    active: &Arc<Operation>,
    callbacks: &[String],
) -> Decision<Result<Submitted, SubmitError>> {
    let new = callbacks
        .iter()
        .filter(|address| !active.callbacks.contains(address));
    let room = CALLBACKS_MAX.saturating_sub(active.callbacks.len());
    let new: Vec<String> = new.take(room).cloned().collect();
    if new.is_empty() {
        return Decision {
            changes: Vec::new(),
            answer: Ok(Submitted::Active(active.clone())),
        };
    }
    let mut operation = active.as_ref().clone();
    operation.callbacks.extend(new);
    Decision {
        changes: vec![Change::PutOperation(Box::new(operation.clone()))],
        answer: Ok(Submitted::Active(Arc::new(operation))),
    }
}

/// The unfinished operation that makes the same backup: a schedule's of that name, or another
/// client's that asked for exactly the same.
fn making<'a>(view: &'a View, operation: &Operation) -> Option<&'a Arc<Operation>> {
    let wanted = match &operation.work {
        Work::Backup(wanted) => wanted,
        Work::Verify(wanted) => {
            return view
                .unfinished()
                .find(|other| other.work == Work::Verify(wanted.clone()));
        }
        Work::Restore(_) | Work::Delete(_) => return None,
    };
    view.unfinished().find(|other| match &other.work {
        Work::Backup(work) if other.is_clients() => work == wanted,
        Work::Backup(work) => work.name == wanted.name,
        Work::Restore(_) | Work::Verify(_) | Work::Delete(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_the_same_is_called_too() {
        let url = |name: &str| format!("http://h/{name}");
        let mut active = crate::operation::testing::daily();
        active.callbacks = vec![url("one")];
        let active = Arc::new(active);
        let changes = also_calling(&active, &[url("one")]).changes;
        assert!(changes.is_empty());
        let decision = also_calling(&active, &[url("two"), url("one")]);
        let Some(Change::PutOperation(changed)) = decision.changes.first() else {
            panic!("{:?}", decision.changes);
        };
        assert_eq!(changed.callbacks, [url("one"), url("two")]);
        let many: Vec<String> = (0..20).map(|n| url(&n.to_string())).collect();
        let decision = also_calling(&active, &many);
        let Some(Change::PutOperation(changed)) = decision.changes.first() else {
            panic!("{:?}", decision.changes);
        };
        assert_eq!(changed.callbacks.len(), CALLBACKS_MAX);
    }
}
