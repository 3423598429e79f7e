//! The loop that takes operations through the lane. Each round looks, decides with pure functions,
//! and writes; after a crash the next process does the same with the same rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::prepare::{NotReady, Prepared, name_taken};
use super::{JournalError, Worker, lane};
use crate::catalog::Change;
use crate::clickhouse::Error;
use crate::operation::{
    Attempt, Delivery, Event, Failure, FailureKind, Look, Operation, OperationId, RowStatus, Seen,
    State, Step, next_step, observe,
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

/// What the loop remembers between two rounds, and may forget.
#[derive(Debug, Default)]
struct Memory {
    adopted: bool,
    killed_at: HashMap<OperationId, Instant>,
    /// Tries in a row that ClickHouse did not answer.
    unanswered: u32,
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
            memory.adopted = self.told(memory, self.adopt().await);
            self.0.live.set_looked();
        }
        let active = lane::active(&self.0.catalog.view());
        if active.is_empty() {
            self.0.live.set_progress(HashMap::new());
        } else if !quiet && memory.adopted {
            self.watch(memory, &active).await?;
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
                self.note_unreachable(&operation).await?;
            } else {
                self.begin(memory, &operation).await?;
            }
        }
        let pause = lane::pause(&self.0.catalog.view(), self.0.clock.now());
        // While it is quiet nothing is asked, and once it is over only what there is to ask counts.
        let quiet = memory
            .quiet_until
            .map(|until| until.saturating_duration_since(Instant::now()));
        Ok(quiet.filter(|quiet| !quiet.is_zero()).unwrap_or(pause))
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
        self.told(
            memory,
            look.as_ref().map(|_| ()).map_err(ToString::to_string),
        );
        self.0
            .live
            .set_progress(progress(active, look.as_ref().ok()));
        let text = look
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        for operation in active {
            let Some(attempt) = operation.attempt() else {
                continue;
            };
            let seen = observe(look.as_ref().map_err(|_| text.as_str()), attempt);
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
            self.record(operation.id, events, Vec::new()).await?;
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

    /// Begins the next attempt of a waiting operation.
    async fn begin(
        &self,
        memory: &mut Memory,
        operation: &Arc<Operation>,
    ) -> Result<(), JournalError> {
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
        match self.prepare(operation).await {
            Ok(prepared) => self.start(operation, prepared).await,
            Err(NotReady::Server(error @ Error::Unreachable { .. })) => {
                self.told(memory, Err(error.to_string()));
                self.note_unreachable(operation).await
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

    /// Records the attempt, and only then does something about it.
    async fn start(&self, operation: &Operation, prepared: Prepared) -> Result<(), JournalError> {
        let id = prepared.attempt.id.clone();
        let contents = prepared
            .contents
            .clone()
            .map(|contents| Change::PutContents(id, Box::new(contents)));
        let mut attempt = prepared.attempt.clone();
        // Where nothing has to be cleared first, "recorded" and "being sent" are one moment and one write.
        if prepared.clearing.is_empty() {
            attempt.delivery = Delivery::MaybeSent;
        }
        let begun = self
            .record(
                operation.id,
                vec![Event::Begun(Box::new(attempt))],
                contents.into_iter().collect(),
            )
            .await?;
        if let Some(note) = prepared.note.clone() {
            tracing::warn!(operation.id = %operation.id, "{note}");
            self.amend(operation.id, move |operation| operation.notes.push(note))
                .await?;
        }
        self.deliver(&begun, prepared).await
    }

    async fn send_again(
        &self,
        operation: &Arc<Operation>,
        attempt: &Attempt,
    ) -> Result<(), JournalError> {
        match self.prepare_again(operation, attempt).await {
            Ok(prepared) => self.deliver(operation, prepared).await,
            Err(NotReady::Server(Error::Unreachable { .. })) => Ok(()),
            Err(NotReady::Server(error)) => {
                self.attempt_failed(operation, error.failure("asking ClickHouse what it holds"))
                    .await
            }
            Err(NotReady::Impossible(failure)) => self.attempt_failed(operation, failure).await,
            Err(NotReady::Catalog(error)) => Err(error.into()),
        }
    }

    /// Clears the way, marks the statement as being sent, and sends it.
    async fn deliver(&self, operation: &Operation, prepared: Prepared) -> Result<(), JournalError> {
        if !prepared.clearing.is_empty() {
            match self.clear(&prepared).await {
                Ok(()) => {}
                Err(Error::Unreachable { .. }) => return Ok(()),
                Err(error) => {
                    return self
                        .attempt_failed(operation, error.failure("preparing the restore"))
                        .await;
                }
            }
            let marked = |operation: &mut Operation| {
                if let Some(attempt) = operation.attempts.last_mut() {
                    attempt.delivery = Delivery::MaybeSent;
                }
            };
            self.amend(operation.id, marked).await?;
        }
        tracing::debug!(attempt.id = %prepared.attempt.id, statement = %prepared.statement, "sending");
        match self.0.client.execute(&prepared.statement).await {
            // Whether it arrived shows at the next look.
            Ok(()) | Err(Error::Unreachable { .. }) => Ok(()),
            Err(error) => self.refused(operation, &prepared.attempt, &error).await,
        }
    }

    async fn clear(&self, prepared: &Prepared) -> Result<(), Error> {
        let (attempt, clearing) = (&prepared.attempt, &prepared.clearing);
        for database in &clearing.probe {
            self.0
                .client
                .probe(&attempt.place, &attempt.backup, database)
                .await?;
        }
        for table in &clearing.drop {
            tracing::warn!(attempt.id = %attempt.id, "dropping {}.{} before the restore, as asked", table.database, table.name);
            self.0.client.drop_table(table).await?;
        }
        for database in &clearing.create_databases {
            self.0.client.create_database(database).await?;
        }
        Ok(())
    }

    /// A refusal of an id that the server knows means that an earlier sending had arrived.
    async fn refused(
        &self,
        operation: &Operation,
        attempt: &Attempt,
        error: &Error,
    ) -> Result<(), JournalError> {
        match self.0.client.look(&[&attempt.id]).await {
            Ok(look) if look.rows.is_empty() => {
                self.attempt_failed(operation, error.failure("sending the statement"))
                    .await
            }
            _ => Ok(()),
        }
    }

    async fn attempt_failed(
        &self,
        operation: &Operation,
        failure: Failure,
    ) -> Result<(), JournalError> {
        let retry_at = operation.retry_at(failure.kind, self.0.clock.now());
        let event = Event::AttemptFailed { failure, retry_at };
        match self.record(operation.id, vec![event], Vec::new()).await {
            Ok(_) | Err(JournalError::Illegal(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// ClickHouse answered, and not with what an attempt needs: that uses up an attempt.
    async fn refused_before_start(
        &self,
        operation: &Operation,
        failure: Failure,
    ) -> Result<(), JournalError> {
        let now = self.0.clock.now();
        let attempt = Attempt {
            id: operation.next_attempt_id(),
            backup: operation.next_backup_name(),
            place: self.0.place.clone(),
            started_at: now,
            ended_at: None,
            delivery: Delivery::NotSent,
            server: None,
            tables: None,
            failure: None,
        };
        let mut counted = operation.clone();
        counted.attempts.push(attempt.clone());
        let retry_at = counted.retry_at(failure.kind, now);
        let events = vec![
            Event::Begun(Box::new(attempt)),
            Event::AttemptFailed { failure, retry_at },
        ];
        self.record(operation.id, events, Vec::new())
            .await
            .map(drop)
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

    /// Written once per outage: patience is counted from here, also by the next process.
    async fn note_unreachable(&self, operation: &Operation) -> Result<(), JournalError> {
        if operation.unreachable_since.is_some() {
            return Ok(());
        }
        let now = self.0.clock.now();
        self.amend(operation.id, move |operation| {
            operation.unreachable_since = Some(now);
        })
        .await
    }

    async fn note_contact(&self, operation: &Operation, seen: &Seen) -> Result<(), JournalError> {
        match (seen, operation.unreachable_since) {
            (Seen::Unreachable(_), None) => self.note_unreachable(operation).await,
            (Seen::Absent { .. } | Seen::Row(..), Some(_)) => {
                self.amend(operation.id, |operation| operation.unreachable_since = None)
                    .await
            }
            _ => Ok(()),
        }
    }

    /// Takes note of whether ClickHouse answered; logs the beginning and the end of an outage, not
    /// each of its looks.
    fn told(&self, memory: &mut Memory, answer: Result<(), String>) -> bool {
        let Err(error) = answer else {
            if memory.unanswered > 0 {
                tracing::info!("ClickHouse at {} answers again", self.0.client.url());
            }
            (memory.unanswered, memory.quiet_until) = (0, None);
            return true;
        };
        if memory.unanswered == 0 {
            tracing::warn!("{error}");
        }
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

fn progress(
    active: &[Arc<Operation>],
    look: Option<&Look>,
) -> HashMap<OperationId, crate::operation::Progress> {
    let Some(look) = look else {
        return HashMap::new();
    };
    let found = active.iter().filter_map(|operation| {
        let attempt = operation.attempt()?;
        let row = look.rows.iter().find(|row| row.id == attempt.id)?;
        (row.status == RowStatus::Running).then_some((operation.id, row.progress))
    });
    found.collect()
}
