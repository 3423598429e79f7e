//! Before an attempt: full or on which base, and is the name free?

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::backup::{Backup, BackupName, Place};
use crate::catalog::{Change, Decision, View};
use crate::clickhouse::RunningRow;
use crate::destination::Destination;
use crate::operation::{
    BaseChoice, Event, Failure, FailureKind, Increments, Operation, Work, choose_base,
};
use crate::worker::beside::Interrupted;
use crate::worker::prover::damage;
use crate::worker::reconciler::parse_destination;
use crate::worker::{JournalError, ViewState, Worker};

/// How long an increment waits for the destination to be read in; then it is made a full backup.
const READ_IN_PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// Two looks apart, nothing may change in the remains of a dead attempt.
const REMAINS_WATCH: Duration = Duration::from_secs(4);

impl Worker {
    /// The operation as it can begin now; `None`: not yet.
    pub(super) async fn ready(
        &self,
        operation: &Arc<Operation>,
    ) -> Result<Option<Arc<Operation>>, JournalError> {
        let Some(operation) = self.with_kind(operation).await? else {
            return Ok(None);
        };
        self.with_free_name(&operation).await.map(Some)
    }

    /// Chooses the base of an increment by schedule, and proves it, before its first attempt.
    async fn with_kind(
        &self,
        operation: &Arc<Operation>,
    ) -> Result<Option<Arc<Operation>>, JournalError> {
        let Work::Backup(work) = &operation.work else {
            return Ok(Some(operation.clone()));
        };
        let Some(increments) = &work.increments else {
            return match &work.base {
                Some(base) => self.with_whole_base(operation, base).await,
                None => Ok(Some(operation.clone())),
            };
        };
        let waited = self.0.clock.now().duration_since(operation.submitted_at);
        if !(self.is_read_in() && self.has_listed()) && waited < READ_IN_PATIENCE {
            return Ok(None);
        }
        let (base, reason) = match self.chosen_base(operation, increments).await {
            BaseChoice::Full { reason } => (None, reason),
            BaseChoice::On { base, reason } => (Some(base), reason),
        };
        self.decide_kind(operation, base, reason).await
    }

    /// A base that a client named is proved before the first attempt; one that is damaged is refused.
    async fn with_whole_base(
        &self,
        operation: &Arc<Operation>,
        base: &BackupName,
    ) -> Result<Option<Arc<Operation>>, JournalError> {
        let is_chosen_by_us =
            matches!(&operation.work, Work::Backup(work) if work.kind_reason.is_some());
        let view = self.0.catalog.view();
        let Some(record) = view.backup(base) else {
            return Ok(Some(operation.clone()));
        };
        if record.name != *base {
            // What the statement names is what it is built on, and what must be kept for it.
            let written = record.name.clone();
            self.amend(operation.id, move |operation| {
                if let Work::Backup(work) = &mut operation.work {
                    work.base = Some(written);
                }
            })
            .await?;
            return Ok(None);
        }
        if is_chosen_by_us || !operation.attempts.is_empty() || self.needs_bound_view().is_err() {
            return Ok(Some(operation.clone()));
        }
        let failure = match self.prove(&record.name).await {
            Ok(proof) if proof.passed() => return Ok(Some(operation.clone())),
            Ok(_) => {
                let view = self.0.catalog.view();
                let text = view.record(&record.name).and_then(damage);
                let text = text.unwrap_or_else(|| format!("{base} is damaged"));
                Failure::new(
                    FailureKind::Damaged,
                    format!("no increment is built on it: {text}"),
                )
            }
            Err(error) => Failure::new(
                FailureKind::Destination,
                format!("proving its base {base} first: {error}"),
            ),
        };
        self.record(operation.id, vec![Event::GaveUp(failure)], Vec::new())
            .await?;
        Ok(None)
    }

    async fn chosen_base(&self, operation: &Operation, increments: &Increments) -> BaseChoice {
        let full = |reason: String| BaseChoice::Full { reason };
        if let Err(text) = self.needs_bound_view() {
            return full(format!("full, because no base can be proved: {text}"));
        }
        let (Some(schedule), Some(slot)) = (operation.schedule(), operation.slot()) else {
            return full("full, because it belongs to no schedule".to_owned());
        };
        let contact = self.contact().await;
        let server = contact.answer.ok().map(|(server, _)| server.uuid);
        let choice = choose_base(
            increments,
            schedule.as_str(),
            slot,
            &self.0.place,
            server,
            self.0.catalog.view().backups(),
        );
        let BaseChoice::On { base, reason } = choice else {
            return choice;
        };
        match self.prove(&base).await {
            Ok(proof) if proof.passed() => BaseChoice::On { base, reason },
            Ok(_) => full(format!("full, because its base {base} is damaged")),
            Err(error) => full(format!(
                "full, because its base {base} could not be proved: {error}"
            )),
        }
    }

    /// Writes the choice down: from then on the base is held.
    async fn decide_kind(
        &self,
        operation: &Operation,
        base: Option<BackupName>,
        reason: String,
    ) -> Result<Option<Arc<Operation>>, JournalError> {
        let id = operation.id;
        tracing::info!(operation.id = %id, base = base.as_ref().map(|base| base.as_str()), "{reason}");
        let decide = move |view: &View| {
            let found = view.operation(id).filter(|_| {
                base.as_ref()
                    .is_none_or(|base| view.record(base).is_some_and(Backup::is_visible))
            });
            let changed = found.map(|operation| {
                let mut operation = operation.as_ref().clone();
                if let Work::Backup(work) = &mut operation.work {
                    work.base = base;
                    work.increments = None;
                    work.kind_reason = Some(reason.clone());
                }
                operation.notes.push(reason);
                Arc::new(operation)
            });
            Decision {
                changes: changed
                    .iter()
                    .map(|operation| Change::PutOperation(Box::new(operation.as_ref().clone())))
                    .collect(),
                answer: changed,
            }
        };
        Ok(self.0.catalog.write(decide).await?)
    }

    /// Removes what dead attempts of this operation left under its name, so that it is written under
    /// exactly that one again.
    async fn with_free_name(
        &self,
        operation: &Arc<Operation>,
    ) -> Result<Arc<Operation>, JournalError> {
        let blocked: Vec<BackupName> = operation.blocked_names().cloned().collect();
        let Some(destination) = self
            .0
            .destination
            .as_ref()
            .filter(|_| self.standing().view == ViewState::Bound)
        else {
            return Ok(operation.clone());
        };
        for name in blocked {
            match self.clear_remains(destination, operation, &name).await {
                Ok(None) => {
                    tracing::info!(operation.id = %operation.id, backup.name = %name, "what a dead attempt had left under {name} was removed, so the name is free again");
                    self.note_cleared(operation, name).await?;
                }
                Ok(Some(reason)) => {
                    tracing::warn!(operation.id = %operation.id, backup.name = %name, "{name} is not cleared: {reason}");
                }
                Err(error) => {
                    tracing::warn!(operation.id = %operation.id, backup.name = %name, "{name} is not cleared: {error}");
                }
            }
        }
        let view = self.0.catalog.view();
        Ok(view.operation(operation.id).unwrap_or(operation).clone())
    }

    /// Removes the remains of a dead attempt; gives the reason where they are left.
    ///
    /// The lock goes first, and then nothing may happen for two looks: a writer that lives after all
    /// fails on its missing lock (655), or shows itself.
    async fn clear_remains(
        &self,
        destination: &Destination,
        operation: &Operation,
        name: &BackupName,
    ) -> Result<Option<String>, Interrupted> {
        let view = self.0.catalog.view();
        if !died_there(operation, name, &self.0.place) {
            return Ok(Some(
                "no attempt of ours is known to have died there".into(),
            ));
        }
        if view.record(name).is_some() {
            return Ok(Some("a backup of that name is known".into()));
        }
        let folder = name.as_str();
        if destination.head(folder).await?.is_some() {
            return Ok(Some("a whole backup lies there".into()));
        }
        if writes(&self.0.client.running().await?, name) {
            return Ok(Some("the ClickHouse server is writing it".into()));
        }
        destination.remove_lock(folder).await?;
        tokio::time::sleep(REMAINS_WATCH).await;
        if writes(&self.0.client.running().await?, name)
            || destination.lock(folder).await?.is_some()
            || destination.head(folder).await?.is_some()
        {
            return Ok(Some("somebody is writing it".into()));
        }
        let cleared = destination.clear(folder, || true).await?;
        Ok(cleared.interrupted)
    }

    async fn note_cleared(
        &self,
        operation: &Operation,
        name: BackupName,
    ) -> Result<(), JournalError> {
        self.amend(operation.id, move |operation| {
            for attempt in &mut operation.attempts {
                if attempt.backup == name {
                    attempt.is_cleared = true;
                }
            }
        })
        .await
    }
}

/// Only what was lost with its server is dead for sure; a name that exists may be anybody's.
fn died_there(operation: &Operation, name: &BackupName, place: &Place) -> bool {
    operation.attempts.iter().any(|attempt| {
        attempt.backup == *name
            && attempt.place == *place
            && attempt
                .failure
                .as_ref()
                .is_some_and(|failure| failure.kind == FailureKind::Lost)
    })
}

fn writes(running: &[RunningRow], name: &BackupName) -> bool {
    running
        .iter()
        .filter_map(|row| parse_destination(&row.destination))
        .any(|(_, other)| other == *name)
}
