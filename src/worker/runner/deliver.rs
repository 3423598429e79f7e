//! From a prepared attempt to a statement that was sent: the intent is written before each act.

use std::sync::Arc;

use super::prepare::{NotReady, Prepared};
use crate::backup::Backup;
use crate::catalog::{Change, Decision, View};
use crate::clickhouse::{Error, ExistingTable};
use crate::operation::{
    Attempt, Delivery, Event, Failure, FailureKind, Operation, OperationId, State,
};
use crate::worker::prover::damage;
use crate::worker::{JournalError, Worker};

impl Worker {
    /// Records the attempt, and only then does something about it.
    pub(super) async fn start(
        &self,
        operation: &Operation,
        prepared: Prepared,
    ) -> Result<(), JournalError> {
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
        let notes = prepared.notes.clone();
        for note in &notes {
            tracing::warn!(operation.id = %operation.id, "{note}");
        }
        if !notes.is_empty() {
            self.amend(operation.id, move |operation| operation.notes.extend(notes))
                .await?;
        }
        self.deliver(&begun, prepared).await
    }

    /// Sends the statement of a recorded attempt that did not arrive.
    pub(super) async fn send_again(
        &self,
        operation: &Arc<Operation>,
        attempt: &Attempt,
    ) -> Result<(), JournalError> {
        match self.prepare_again(operation, attempt).await {
            Ok(prepared) => {
                self.keep_contents(&prepared).await?;
                self.deliver(operation, prepared).await
            }
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
        if operation
            .attempt()
            .is_some_and(|attempt| attempt.delivery == Delivery::NotSent)
        {
            if !prepared.clearing.drop.is_empty()
                && let Some(failure) = self.damage_before_dropping(&prepared.attempt).await
            {
                return self.attempt_failed(operation, failure).await;
            }
            let mut dropped = Vec::new();
            let cleared = self.clear(operation.id, &prepared, &mut dropped).await;
            self.note_dropped(operation.id, &dropped).await?;
            match cleared {
                Ok(()) => {}
                Err(Error::Unreachable { .. }) => return Ok(()),
                Err(error) => {
                    let failure = error.failure(&format!(
                        "preparing the restore{}",
                        after_dropping(&dropped)
                    ));
                    return self.attempt_failed(operation, failure).await;
                }
            }
            if !self.mark_sending(operation.id).await? {
                return Ok(());
            }
        }
        tracing::debug!(attempt.id = %prepared.attempt.id, statement = %prepared.statement, "sending");
        match self.0.client.execute(&prepared.statement).await {
            Ok(()) => {
                self.note_accepted(&prepared.attempt);
                Ok(())
            }
            // Whether it arrived shows at the next look.
            Err(Error::Unreachable { .. }) => Ok(()),
            Err(error) => self.refused(operation, &prepared.attempt, &error).await,
        }
    }

    /// Why nothing may be dropped for this backup: where we can see its files, all of them must be
    /// there before tables go. Without a view only its manifest is tried, by ClickHouse.
    async fn damage_before_dropping(&self, attempt: &Attempt) -> Option<Failure> {
        let is_known = self
            .0
            .catalog
            .view()
            .record(&attempt.backup)
            .is_some_and(Backup::is_visible);
        if !is_known || self.needs_bound_view().is_err() {
            return None;
        }
        match self.prove(&attempt.backup).await {
            Ok(proof) if proof.passed() => None,
            Ok(_) => {
                let view = self.0.catalog.view();
                let damage = view.record(&attempt.backup).and_then(damage);
                let text = damage.unwrap_or_else(|| format!("{} is damaged", attempt.backup));
                Some(Failure::new(
                    FailureKind::Damaged,
                    format!("nothing was dropped and nothing restored: {text}"),
                ))
            }
            Err(error) => Some(Failure::new(
                FailureKind::Destination,
                format!(
                    "nothing was dropped and nothing restored: proving {} first: {error}",
                    attempt.backup
                ),
            )),
        }
    }

    /// Does what stands before a restore, for as long as nobody cancels it.
    async fn clear(
        &self,
        id: OperationId,
        prepared: &Prepared,
        dropped: &mut Vec<String>,
    ) -> Result<(), Error> {
        let (attempt, clearing) = (&prepared.attempt, &prepared.clearing);
        for database in &clearing.probe {
            self.0
                .client
                .probe(&attempt.place, &attempt.backup, database)
                .await?;
        }
        for table in &clearing.drop {
            if !is_starting(&self.0.catalog.view(), id) {
                return Ok(());
            }
            let ExistingTable { database, name, .. } = table;
            tracing::warn!(attempt.id = %attempt.id, "dropping {database}.{name} before the restore, as asked");
            self.0.client.drop_table(table).await?;
            dropped.push(format!("{database}.{name}"));
        }
        for database in &clearing.create_databases {
            self.0.client.create_database(database).await?;
        }
        Ok(())
    }

    /// Marks the statement as being sent; `false` where it must not be, because it was cancelled.
    async fn mark_sending(&self, id: OperationId) -> Result<bool, JournalError> {
        let decide = move |view: &View| {
            let starting = view.operation(id).filter(|_| is_starting(view, id));
            let changes = starting.map(|operation| {
                let mut operation = operation.as_ref().clone();
                if let Some(attempt) = operation.attempts.last_mut() {
                    attempt.delivery = Delivery::MaybeSent;
                }
                Change::PutOperation(Box::new(operation))
            });
            Decision {
                answer: changes.is_some(),
                changes: changes.into_iter().collect(),
            }
        };
        Ok(self.0.catalog.write(decide).await?)
    }

    /// The tables may have changed since the attempt was recorded.
    async fn keep_contents(&self, prepared: &Prepared) -> Result<(), JournalError> {
        let id = prepared.attempt.id.clone();
        let contents = prepared.contents.clone();
        let changes: Vec<Change> = contents
            .map(|contents| Change::PutContents(id, Box::new(contents)))
            .into_iter()
            .collect();
        Ok(self
            .0
            .catalog
            .write(move |_| Decision {
                changes,
                answer: (),
            })
            .await?)
    }

    /// A refusal because the id is used means that an earlier sending had arrived; so does a row.
    async fn refused(
        &self,
        operation: &Operation,
        attempt: &Attempt,
        error: &Error,
    ) -> Result<(), JournalError> {
        let look = self.0.client.look(&[&attempt.id]).await;
        if look.is_ok_and(|look| !look.rows.is_empty()) {
            Ok(())
        } else if error.says_id_is_used() {
            self.note_accepted(attempt);
            Ok(())
        } else {
            self.attempt_failed(operation, error.failure("sending the statement"))
                .await
        }
    }

    /// A server took the statement. Which one shows when a look finds its row: behind a balancer it
    /// may be another than the one that was asked before, so it must not be sent to that one too.
    /// That is kept in memory only, for the row is written a moment later; a process that dies in
    /// between leaves "maybe sent" behind.
    fn note_accepted(&self, attempt: &Attempt) {
        self.0.live.set_accepted(attempt.id.clone());
    }

    /// What was dropped stays in the history, whatever becomes of the restore.
    async fn note_dropped(&self, id: OperationId, dropped: &[String]) -> Result<(), JournalError> {
        if dropped.is_empty() {
            return Ok(());
        }
        let note = format!(
            "dropped before the restore, as asked: {}",
            dropped.join(", ")
        );
        let dropped = dropped.to_vec();
        self.amend(id, move |operation| {
            operation.notes.push(note);
            operation.dropped.extend(dropped);
        })
        .await
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
    pub(super) async fn refused_before_start(
        &self,
        operation: &Operation,
        failure: Failure,
    ) -> Result<(), JournalError> {
        let now = self.0.clock.now();
        let Some(backup) = operation.next_backup_name() else {
            return Ok(());
        };
        let attempt = Attempt {
            id: operation.next_attempt_id(),
            backup,
            place: self.0.place.clone(),
            started_at: now,
            ended_at: None,
            delivery: Delivery::NotSent,
            server: None,
            tables: None,
            bytes_expected: None,
            manifest: None,
            is_cleared: false,
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
}

fn is_starting(view: &View, id: OperationId) -> bool {
    view.operation(id)
        .is_some_and(|operation| operation.state == State::Starting)
}

fn after_dropping(dropped: &[String]) -> String {
    if dropped.is_empty() {
        String::new()
    } else {
        format!(", after dropping {}", dropped.join(", "))
    }
}
