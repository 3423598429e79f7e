//! The loop that takes operations through the lane. Each round looks, decides with pure functions,
//! and writes; after a crash the next process does the same with the same rows.

mod backup;
mod deliver;
mod kind;
mod lane;
mod manifest;
mod prepare;
mod quiet;
pub(super) mod restore;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::backup::name_taken;
use self::prepare::NotReady;
use self::quiet::Quiet;
use super::removal::removing;
use super::{JournalError, Worker};
use crate::clickhouse::Error;
use crate::operation::{
    Attempt, Delivery, Event, Failure, FailureKind, Look, Operation, OperationId, Progress,
    RowStatus, Seen, State, Step, Work, next_step, observe,
};
use crate::schedule::SkipReason;

/// Wait after the first try that ClickHouse did not answer; each further one doubles it.
const UNREACHABLE_RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest wait between two tries while ClickHouse does not answer.
const UNREACHABLE_RETRY_MAX: Duration = Duration::from_secs(15);
/// Wait after the catalog could not be written (a full disk, say).
const CATALOG_RETRY: Duration = Duration::from_secs(5);
/// Wait between two `KILL QUERY` for the same attempt.
const KILL_AGAIN: Duration = Duration::from_secs(5);

/// How often a long operation tells how far it is.
const PROGRESS_LOG: Duration = Duration::from_secs(60);

/// What the loop remembers between two rounds, and may forget.
#[derive(Debug, Default)]
struct Memory {
    adopted: bool,
    killed_at: HashMap<OperationId, Instant>,
    /// Folders of attempts that their server does not know.
    quiet: HashMap<OperationId, Quiet>,
    progress_told_at: Option<Instant>,
    /// Tries in a row that ClickHouse did not answer as it must.
    unanswered: u32,
    /// What it said, or why it said nothing, the last time.
    last_failure: Option<Failure>,
    /// Nothing is asked before this: ClickHouse did not answer just now.
    quiet_until: Option<Instant>,
}

impl Worker {
    /// Runs the lane until `stop`. A running backup goes on in ClickHouse, and the next process adopts it.
    pub async fn run_lane(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let mut changes = self.0.catalog.subscribe();
        loop {
            changes.borrow_and_update();
            let pause = match self.round(&mut memory).await {
                Ok(pause) => pause,
                // It moved on while we decided, by a caller's hand: look again.
                Err(JournalError::Illegal(_)) => Duration::ZERO,
                Err(error) => {
                    tracing::error!(%error, "the lane waits");
                    CATALOG_RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One round; gives the longest time to sleep before the next.
    async fn round(&self, memory: &mut Memory) -> Result<Duration, JournalError> {
        let quiet = memory
            .quiet_until
            .is_some_and(|until| Instant::now() < until);
        if !quiet && !memory.adopted {
            let adopted = self.adopt().await?;
            memory.adopted = self.told(memory, adopted);
            self.0.live.set_looked();
        }
        let active = lane::active(&self.0.catalog.view());
        if active.is_empty() {
            memory.progress_told_at = None;
            memory.quiet.clear();
            self.0.live.forget_lane();
        } else if !quiet && memory.adopted {
            self.watch(memory, &active).await?;
        }
        if memory.adopted && memory.unanswered == 0 {
            self.note_answered().await?;
        }
        let now = self.0.clock.now();
        for (operation, failure) in lane::expired(&self.0.catalog.view(), now) {
            self.record(operation.id, vec![Event::GaveUp(failure)], Vec::new())
                .await?;
        }
        let view = self.0.catalog.view();
        if let Some(operation) = lane::next(&view, now).filter(|_| lane::active(&view).is_empty()) {
            if memory
                .quiet_until
                .is_some_and(|until| Instant::now() < until)
            {
                self.note_waiting(&operation, memory.last_failure.clone())
                    .await?;
            } else {
                self.begin(memory, &operation).await?;
            }
        }
        let (view, now) = (self.0.catalog.view(), self.0.clock.now());
        let quiet = memory
            .quiet_until
            .map(|until| until.saturating_duration_since(Instant::now()));
        // While it is quiet nothing is asked, but time goes on for those who wait.
        let ask = match quiet.filter(|quiet| !quiet.is_zero()) {
            Some(quiet) => quiet,
            None => lane::next_look(&view, now),
        };
        Ok(ask.min(lane::next_moment(&view, now)))
    }

    /// Looks at everything that may be at work: one query.
    async fn watch(
        &self,
        memory: &mut Memory,
        active: &[Arc<Operation>],
    ) -> Result<(), JournalError> {
        let attempts: Vec<_> = active
            .iter()
            .filter_map(|operation| Some(&operation.attempt()?.id))
            .collect();
        let look = self.0.client.look(&attempts).await;
        if let Ok(look) = &look {
            self.0.live.set_server(look.server.uuid);
        }
        self.told(
            memory,
            look.as_ref()
                .map(|_| ())
                .map_err(|error| error.failure("looking at what runs")),
        );
        let progress = progress(active, look.as_ref().ok());
        tell_progress(memory, active, &progress);
        let now = self.0.clock.now();
        for (id, progress) in &progress {
            self.0.live.note_progress(*id, *progress, now);
        }
        self.0.live.set_progress(progress);
        let text = look
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        for operation in active {
            let operation = &self.as_delivered(operation);
            let Some(attempt) = operation.attempt() else {
                continue;
            };
            let seen = observe(look.as_ref().map_err(|_| text.as_str()), attempt);
            let seen = self
                .with_destination(memory, operation, attempt, seen)
                .await;
            match self.step(memory, operation, attempt, &seen).await {
                // It was cancelled since we looked; the next round sees that.
                Ok(()) | Err(JournalError::Illegal(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn step(
        &self,
        memory: &mut Memory,
        operation: &Arc<Operation>,
        attempt: &Attempt,
        seen: &Seen,
    ) -> Result<(), JournalError> {
        self.note_contact(operation, seen).await?;
        let now = self.0.clock.now();
        let (events, step) = foreseen(operation, seen, now);
        if !events.is_empty() {
            // Whether a backup is there is not the server's word alone, where we can see for ourselves.
            if let Some(events) = self.confirmed(operation, attempt, events).await {
                self.record(operation.id, events, Vec::new()).await?;
            }
            return Ok(());
        }
        match step {
            Step::Send => self.send_again(operation, attempt).await,
            Step::Kill => {
                self.kill(memory, operation, attempt).await;
                Ok(())
            }
            Step::Wait | Step::Record(_) => Ok(()),
        }
    }

    /// The operation with what its server said to the statement, which nobody wrote down: the next
    /// look will find the row, and that is written.
    fn as_delivered(&self, operation: &Arc<Operation>) -> Arc<Operation> {
        let is_ahead = |attempt: &Attempt| {
            attempt.delivery != Delivery::Accepted && self.0.live.was_accepted(&attempt.id)
        };
        let mut operation = operation.clone();
        if operation.attempt().is_some_and(is_ahead)
            && let Some(attempt) = Arc::make_mut(&mut operation).attempts.last_mut()
        {
            attempt.delivery = Delivery::Accepted;
        }
        operation
    }

    /// Begins the next attempt of a waiting operation.
    async fn begin(
        &self,
        memory: &mut Memory,
        operation: &Arc<Operation>,
    ) -> Result<(), JournalError> {
        if let (Some(name), false) = (operation.backup_name(), operation.is_clients())
            && matches!(operation.work, Work::Backup(_))
            && removing(&self.0.catalog.view(), name).is_some()
        {
            // The commit that ends the removal wakes the lane.
            return Ok(());
        }
        if let Some(text) = name_taken(&self.0.catalog.view(), operation) {
            let event = match operation.is_clients() {
                true => Event::GaveUp(Failure::new(FailureKind::Exists, text)),
                false => Event::Skip(SkipReason::NameTaken),
            };
            return self
                .record(operation.id, vec![event], Vec::new())
                .await
                .map(drop);
        }
        let operation = &match self.ready(operation).await? {
            Some(operation) => operation,
            None => return Ok(()),
        };
        match self.prepare(operation).await {
            Ok(prepared) => self.start(operation, prepared).await,
            Err(NotReady::Server(error @ Error::Unreachable { .. })) => {
                self.told(
                    memory,
                    Err(error.failure("asking ClickHouse what it holds")),
                );
                self.note_waiting(operation, memory.last_failure.clone())
                    .await
            }
            Err(NotReady::Server(error)) => {
                self.refused_before_start(
                    operation,
                    error.failure("asking ClickHouse what it holds"),
                )
                .await
            }
            Err(NotReady::Impossible(failure)) => self
                .record(operation.id, vec![Event::GaveUp(failure)], Vec::new())
                .await
                .map(drop),
            Err(NotReady::Catalog(error)) => Err(error.into()),
        }
    }

    async fn kill(&self, memory: &mut Memory, operation: &Operation, attempt: &Attempt) {
        let now = Instant::now();
        if memory
            .killed_at
            .get(&operation.id)
            .is_some_and(|at| now.duration_since(*at) < KILL_AGAIN)
        {
            return;
        }
        memory
            .killed_at
            .retain(|_, at| now.duration_since(*at) < KILL_AGAIN);
        memory.killed_at.insert(operation.id, now);
        if let Err(error) = self.0.client.kill(&attempt.id).await {
            tracing::warn!(attempt.id = %attempt.id, "asking ClickHouse to end it: {error}");
        }
    }

    /// Written once per outage and reason: patience is counted from here, also by the next process,
    /// and the reason is what the caller reads when it is over.
    async fn note_waiting(
        &self,
        operation: &Operation,
        reason: Option<Failure>,
    ) -> Result<(), JournalError> {
        let is_told = |told: &Failure| {
            reason
                .as_ref()
                .is_none_or(|reason| reason.kind == told.kind)
        };
        if operation.unreachable_since.is_some() && operation.failure.as_ref().is_some_and(is_told)
        {
            return Ok(());
        }
        let now = self.0.clock.now();
        let change = move |operation: &mut Operation| {
            operation.unreachable_since = operation.unreachable_since.or(Some(now));
            operation.failure = reason;
        };
        self.amend(operation.id, change).await
    }

    /// The outage is over for those who wait, too.
    async fn note_answered(&self) -> Result<(), JournalError> {
        let view = self.0.catalog.view();
        let waited = view.unfinished().filter(|operation| {
            operation.state == State::Pending && operation.unreachable_since.is_some()
        });
        for operation in waited {
            self.amend(operation.id, Operation::answered).await?;
        }
        Ok(())
    }

    async fn note_contact(&self, operation: &Operation, seen: &Seen) -> Result<(), JournalError> {
        let now = self.0.clock.now();
        match (seen, operation.unreachable_since) {
            (Seen::Unreachable(_), None) => {
                self.amend(operation.id, move |operation| {
                    operation.unreachable_since = Some(now);
                })
                .await
            }
            (Seen::Absent { .. } | Seen::Row(..), Some(_)) => {
                self.amend(operation.id, Operation::answered).await
            }
            _ => Ok(()),
        }
    }

    /// Takes note of whether ClickHouse answered; logs the beginning and the end of an outage, not
    /// each of its looks.
    fn told(&self, memory: &mut Memory, answer: Result<(), Failure>) -> bool {
        self.0.live.note_reached(self.0.clock.now(), answer.is_ok());
        let Err(failure) = answer else {
            if memory.unanswered > 0 {
                tracing::info!("ClickHouse at {} answers again", self.0.client.url());
            }
            (memory.unanswered, memory.quiet_until, memory.last_failure) = (0, None, None);
            return true;
        };
        if memory.unanswered == 0 {
            tracing::warn!("{}; {}", failure.message, failure.kind.hint());
        }
        memory.last_failure = Some(failure);
        let doubled = UNREACHABLE_RETRY_MIN.saturating_mul(1 << memory.unanswered.min(10));
        memory.unanswered = memory.unanswered.saturating_add(1);
        memory.quiet_until = Some(Instant::now() + doubled.min(UNREACHABLE_RETRY_MAX));
        false
    }
}

/// All events that one look justifies, and the first step that is none.
fn foreseen(operation: &Operation, seen: &Seen, now: Timestamp) -> (Vec<Event>, Step) {
    let mut operation = operation.clone();
    let mut events = Vec::new();
    loop {
        let step = next_step(&operation, seen, now);
        let Step::Record(event) = step else {
            return (events, step);
        };
        match operation.clone().apply(event.clone(), now) {
            Ok(after) => operation = after,
            Err(_) => return (events, Step::Wait),
        }
        events.push(event);
        if !matches!(operation.state, State::Running) {
            return (events, Step::Wait);
        }
    }
}

/// A line now and then while something takes long: silence for hours reads as a hang.
fn tell_progress(
    memory: &mut Memory,
    active: &[Arc<Operation>],
    progress: &HashMap<OperationId, Progress>,
) {
    let now = Instant::now();
    let told_at = *memory.progress_told_at.get_or_insert(now);
    if now.duration_since(told_at) < PROGRESS_LOG {
        return;
    }
    memory.progress_told_at = Some(now);
    for operation in active {
        let Some(Progress {
            files_done,
            bytes_done,
            bytes_total,
            ..
        }) = progress.get(&operation.id)
        else {
            continue;
        };
        let total = if *bytes_total > 0 {
            format!(" of {bytes_total}")
        } else {
            String::new()
        };
        tracing::info!(operation.id = %operation.id, "{} {}: {files_done} files, {bytes_done}{total} bytes so far", operation.kind(), operation.subject());
    }
}

/// ClickHouse does not tell what a backup will come to; the size of its tables does, roughly.
fn estimated(progress: Progress, attempt: &Attempt) -> Progress {
    let bytes_total = match (progress.bytes_total, attempt.bytes_expected) {
        (0, Some(expected)) => expected.max(progress.bytes_done),
        (known, _) => known,
    };
    Progress {
        bytes_total,
        ..progress
    }
}

fn progress(active: &[Arc<Operation>], look: Option<&Look>) -> HashMap<OperationId, Progress> {
    let Some(look) = look else {
        return HashMap::new();
    };
    let found = active.iter().filter_map(|operation| {
        let attempt = operation.attempt()?;
        let row = look.rows.iter().find(|row| row.id == attempt.id)?;
        (row.status == RowStatus::Running).then(|| (operation.id, estimated(row.progress, attempt)))
    });
    found.collect()
}
