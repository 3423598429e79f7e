//! What a caller asks to be removed, and how anything is removed.
//!
//! A removal begins with one transaction: nothing holds the backup, nothing kept needs it, and from
//! then on it is *deleting*, which hides it and reserves its name until its last object is gone. In
//! the destination the manifest goes first, so that a half-removed backup is never taken for a good
//! one, and our own file there goes last, so that a process that lost its memory finishes the work.

mod selection;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::selection::{Wanted, chosen};
use super::beside::Interrupted;
use super::hold::holds;
use super::publisher::document::{Sidecar, sidecar_file};
use super::reconciler::parse_destination;
use super::{JournalError, Worker};
use crate::backup::{Backup, BackupName, Deleting, Pin};
use crate::catalog::{CatalogError, Change, Decision, View};
use crate::clickhouse::RunningRow;
use crate::destination::Destination;
use crate::operation::{
    AttemptId, DeleteCause, DeleteWork, Failure, Item, ItemState, Limits, Operation, OperationId,
    Retry, Trigger, Work,
};

/// How often a removal that was interrupted is tried again at once; later ones are taken up by the
/// next round of retention.
const RETRY: Retry = Retry {
    attempts: 5,
    delay: Duration::from_secs(60),
};

pub(super) use self::selection::{item_of, removing};

/// A removal that is refused.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// There is no such backup, and no broken one.
    #[error("there is no backup named {0}")]
    NotFound(BackupName),
    /// The destination cannot be looked at, so nothing can be removed.
    #[error("{0}")]
    NoView(String),
    /// Increments are built on it.
    #[error("{name} is the base of {}; remove those first, or ask with force to remove them along", list(.dependents))]
    HasDependents {
        /// The base.
        name: BackupName,
        /// All of them, direct and indirect.
        dependents: Vec<BackupName>,
    },
    /// Something works on it, or it is pinned; in words.
    #[error("{name} is not removed: {}", .reasons.join("; "))]
    Held {
        /// The backup.
        name: BackupName,
        /// Why.
        reasons: Vec<String>,
    },
    /// It is being removed already, by this operation.
    #[error("{0} is being removed already")]
    Active(BackupName, Arc<Operation>),
    /// Our memory failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fn list(names: &[BackupName]) -> String {
    let names: Vec<&str> = names.iter().map(BackupName::as_str).collect();
    names.join(", ")
}

impl Worker {
    /// Removes a backup, or the remains of a broken one; with `force` also what is built on it.
    /// The name is hidden when this returns, the objects go in the background.
    ///
    /// # Errors
    /// See [`RemovalError`].
    pub async fn remove(
        &self,
        name: &BackupName,
        force: bool,
        command: String,
    ) -> Result<Arc<Operation>, RemovalError> {
        self.needs_bound_view().map_err(RemovalError::NoView)?;
        // Somebody may have built on it since the last listing; what runs now is asked before it, so
        // that nothing falls between the two.
        let running = self.running().await?;
        if let Err(error) = self.refresh().await {
            return Err(RemovalError::NoView(error.to_string()));
        }
        let (name, standing, now) = (name.clone(), self.standing(), self.0.clock.now());
        let place = self.0.place.clone();
        let operation = self.removal(Trigger::Client, DeleteCause::Caller, command, now);
        let decide = move |view: &View| {
            let wanted = Wanted {
                name: &name,
                force,
                standing: &standing,
                place: &place,
            };
            match chosen(view, &wanted, &running, now) {
                Ok(items) => begun(view, operation, items, now),
                Err(error) => refused(error),
            }
        };
        let operation = self.0.catalog.write(decide).await??;
        self.announce(None, &operation);
        Ok(operation)
    }

    /// Removes the remains of all dead attempts; the operation has no items where there are none.
    ///
    /// # Errors
    /// See [`RemovalError`].
    pub async fn clean(&self, command: String) -> Result<Arc<Operation>, RemovalError> {
        self.needs_bound_view().map_err(RemovalError::NoView)?;
        if let Err(error) = self.refresh().await {
            return Err(RemovalError::NoView(error.to_string()));
        }
        self.remove_broken(Trigger::Client, DeleteCause::Clean, command)
            .await
    }

    pub(super) async fn remove_broken(
        &self,
        trigger: Trigger,
        cause: DeleteCause,
        command: String,
    ) -> Result<Arc<Operation>, RemovalError> {
        let running = self.running().await?;
        let (standing, now) = (self.standing(), self.0.clock.now());
        let operation = self.removal(trigger, cause, command, now);
        let decide = move |view: &View| {
            let held = holds(view, &running, now);
            let free = standing
                .broken
                .iter()
                .filter(|broken| !held.contains_key(&broken.name));
            let items = free
                .map(|broken| Item::new(broken.name.clone(), None, vec![broken.reason.clone()]))
                .collect();
            begun::<RemovalError>(view, operation, items, now)
        };
        let operation = self.0.catalog.write(decide).await??;
        self.announce(None, &operation);
        Ok(operation)
    }

    /// A removal that has no items yet.
    pub(super) fn removal(
        &self,
        trigger: Trigger,
        cause: DeleteCause,
        command: String,
        now: Timestamp,
    ) -> Operation {
        let work = Work::Delete(DeleteWork { cause });
        let limits = limits_beside(self.client_limits());
        let id = OperationId::of_client();
        Operation::new(id, trigger, work, command, limits, now)
    }

    /// What `system.backups` says is at work.
    pub(super) async fn running(&self) -> Result<Vec<RunningRow>, RemovalError> {
        self.0.client.running().await.map_err(|error| {
            RemovalError::NoView(format!(
                "asking ClickHouse what it is working on: {error}; nothing is removed before that is known"
            ))
        })
    }

    /// Removes the items of an operation that are not finished.
    pub(super) async fn remove_items(
        &self,
        id: OperationId,
    ) -> Result<Option<Failure>, Interrupted> {
        let destination = self.our_view()?;
        // Were an older state.json read in after the removal, an operation in it that has ended would
        // wait for a manifest that was removed.
        self.publish_state_now().await?;
        let (mut first_error, mut needed) = (None, BTreeSet::new());
        for (index, item) in self.items_of(id).iter().enumerate() {
            if item.is_finished() {
                continue;
            }
            if !self.goes_on(id) {
                return Ok(None);
            }
            let try_one = async || {
                self.not_at_work(&item.backup).await?;
                let was_begun = item.state == ItemState::Begun;
                if !was_begun && !self.begin_item(id, index).await? {
                    return Ok(None);
                }
                let state = self.remove_item(destination, item, was_begun).await;
                state.map(Some)
            };
            // What an increment is built on goes after it, or not at all.
            if needed.contains(&item.backup) {
                self.note_bases(&item.backup, &mut needed);
                continue;
            }
            let state = match try_one().await {
                Ok(Some(state)) => state,
                Ok(None) => continue,
                Err(error @ Interrupted::Journal(_)) => return Err(error),
                // One that cannot be removed does not keep the others.
                Err(error) => {
                    tracing::warn!(operation.id = %id, backup.name = %item.backup, "removing {}: {error}", item.backup);
                    self.note_bases(&item.backup, &mut needed);
                    first_error.get_or_insert(error);
                    continue;
                }
            };
            match &state {
                ItemState::Left { reason } => {
                    tracing::warn!(operation.id = %id, backup.name = %item.backup, "{} is left as it is: {reason}", item.backup);
                }
                ItemState::Done { objects, bytes } => {
                    self.0.metrics.removed(*bytes);
                    let why = item.reasons.join("; ");
                    tracing::info!(operation.id = %id, backup.name = %item.backup, objects, bytes, "{} was removed: {why}", item.backup);
                }
                ItemState::Waiting | ItemState::Begun => {}
            }
            self.forget(id, index, item.backup.clone(), state).await?;
        }
        first_error.map_or(Ok(None), Err)
    }

    /// Everything that a backup is built on.
    fn note_bases(&self, name: &BackupName, needed: &mut BTreeSet<BackupName>) {
        let view = self.0.catalog.view();
        let mut base = view.record(name).and_then(|record| record.base.clone());
        while let Some(name) = base.filter(|name| needed.insert(name.clone())) {
            base = view.record(&name).and_then(|record| record.base.clone());
        }
    }

    /// Writes down that an item is begun, where that is still right: its backup is being removed by
    /// this operation. After a loss of our memory it may be visible again, and somebody may rely on it.
    async fn begin_item(&self, id: OperationId, index: usize) -> Result<bool, JournalError> {
        let now = self.0.clock.now();
        let decide = move |view: &View| {
            let Some(operation) = view.operation(id) else {
                return Decision {
                    changes: Vec::new(),
                    answer: false,
                };
            };
            let mut operation = operation.as_ref().clone();
            let mut may = false;
            if let Some(item) = operation.items.get_mut(index) {
                let record = view.record(&item.backup);
                let is_ours = record.is_none_or(|record| {
                    record
                        .deleting
                        .as_ref()
                        .is_some_and(|deleting| deleting.operation == id.as_uuid())
                });
                let is_held = record.is_none() && holds(view, &[], now).contains_key(&item.backup);
                may = is_ours && !is_held;
                item.state = if may {
                    ItemState::Begun
                } else {
                    ItemState::Left {
                        reason: "it is not being removed any more: its removal was decided before our memory was lost, or it is in use".to_owned(),
                    }
                };
            }
            Decision {
                changes: vec![Change::PutOperation(Box::new(operation))],
                answer: may,
            }
        };
        Ok(self.0.catalog.write(decide).await?)
    }

    /// Something that nobody here asked for may have begun on the server meanwhile.
    async fn not_at_work(&self, name: &BackupName) -> Result<(), Interrupted> {
        let running = self.0.client.running().await?;
        let touches = |row: &&RunningRow| {
            let texts = [Some(&row.destination), row.base.as_ref()];
            let mut names = texts
                .into_iter()
                .flatten()
                .filter_map(|text| Some(parse_destination(text)?.1));
            names.any(|other| other == *name)
        };
        match running.iter().find(touches) {
            Some(row) => Err(Interrupted::Held(format!(
                "the ClickHouse server is working on {name} (id {}), so it is not removed now",
                row.id
            ))),
            None => Ok(()),
        }
    }

    async fn remove_item(
        &self,
        destination: &Destination,
        item: &Item,
        was_begun: bool,
    ) -> Result<ItemState, Interrupted> {
        let folder = item.backup.as_str();
        let left = |reason: &str| ItemState::Left {
            reason: reason.to_owned(),
        };
        let head = destination.head(folder).await?;
        let view = self.0.catalog.view();
        let record = view.record(&item.backup);
        match (&head, &item.manifest, record) {
            (Some(head), Some(decided), _) if head.uuid != *decided => {
                return Ok(left("another backup was made under this name"));
            }
            // Its manifest was never read before; it says itself whose it is.
            (Some(head), None, Some(record))
                if head.backup_id.as_deref() == Some(record.attempt.as_str()) => {}
            (Some(_), None, _) => return Ok(left("it is a whole backup by now")),
            _ => {}
        }
        if !was_begun && let Some(pin) = self.foreign_pin(destination, record).await? {
            return Ok(left(&format!("it was pinned through another daemon{pin}")));
        }
        let is_remains = record.is_none();
        if destination.lock(folder).await?.is_some() {
            // Remains of a dead attempt have their lock; where a backup was, it is somebody's new one.
            if !is_remains || was_begun {
                return Ok(left("somebody is writing a backup under this name"));
            }
            destination.remove_lock(folder).await?;
        }
        if let Some(record) = record {
            self.publish_backup(record).await?;
        }
        if head.is_some() {
            destination.remove_manifest(folder).await?;
        }
        let cleared = destination.clear(folder, || true).await?;
        if let Some(reason) = cleared.interrupted {
            return Ok(ItemState::Left { reason });
        }
        destination.delete_own(&sidecar_file(&item.backup)).await?;
        let objects = cleared.objects + u64::from(head.is_some());
        let bytes = cleared.bytes + head.map_or(0, |head| head.size_bytes);
        Ok(ItemState::Done { objects, bytes })
    }

    /// Whether our file says that somebody pinned it, which we do not know: another daemon works here,
    /// too.
    async fn foreign_pin(
        &self,
        destination: &Destination,
        record: Option<&Backup>,
    ) -> Result<Option<String>, Interrupted> {
        let Some(record) = record else {
            return Ok(None);
        };
        let file = sidecar_file(&record.name);
        let Some(bytes) = destination.read_own(&file).await? else {
            return Ok(None);
        };
        let published = Sidecar::read(&record.name, &bytes).ok();
        let pinned = published.and_then(|sidecar| sidecar.backup.pinned);
        let since = record.deleting.as_ref().map(|deleting| deleting.since);
        // An unpinning of ours is published within seconds; a pin of another daemon is there for longer.
        let is_news =
            |pin: &Pin| since.is_some_and(|since| pin.at < since) && record.pinned.is_none();
        Ok(pinned
            .filter(is_news)
            .map(|pin| pin.by.map(|by| format!(" by {by}")).unwrap_or_default()))
    }

    /// Writes down that an item is finished, and forgets its backup.
    async fn forget(
        &self,
        id: OperationId,
        index: usize,
        name: BackupName,
        state: ItemState,
    ) -> Result<(), JournalError> {
        let decide = move |view: &View| {
            let mut changes = Vec::new();
            if let Some(record) = view
                .record(&name)
                .filter(|record| record.deleting.is_some())
            {
                // The next listing finds what is there now, and our file about it.
                changes.push(Change::ForgetBackup(name));
                if matches!(state, ItemState::Done { .. }) {
                    changes.extend(
                        AttemptId::parse(&record.attempt).map(|(id, _)| Change::DropContents(id)),
                    );
                }
            }
            if let Some(operation) = view.operation(id) {
                let mut operation = operation.as_ref().clone();
                if let Some(item) = operation.items.get_mut(index) {
                    item.state = state;
                }
                changes.push(Change::PutOperation(Box::new(operation)));
            }
            Decision {
                changes,
                answer: (),
            }
        };
        self.0.catalog.write(decide).await?;
        self.0.live.note_step(id, self.0.clock.now());
        Ok(())
    }
}

fn refused<T>(error: RemovalError) -> Decision<Result<T, RemovalError>> {
    Decision {
        changes: Vec::new(),
        answer: Err(error),
    }
}

/// The transaction that a removal begins with: the operation is there, and its backups are hidden.
pub(super) fn begun<E>(
    view: &View,
    mut operation: Operation,
    items: Vec<Item>,
    now: Timestamp,
) -> Decision<Result<Arc<Operation>, E>> {
    operation.number = view.next_number();
    let mut seen = BTreeSet::new();
    operation.items = items;
    operation
        .items
        .retain(|item| seen.insert(item.backup.clone()));
    let mut changes = vec![Change::PutOperation(Box::new(operation.clone()))];
    for item in &operation.items {
        let Some(backup) = view.record(&item.backup) else {
            continue;
        };
        let mut backup = backup.clone();
        backup.deleting = Some(Deleting {
            operation: operation.id.as_uuid(),
            since: now,
        });
        backup.changed_at = now;
        changes.push(Change::PutBackup(Box::new(backup)));
    }
    Decision {
        changes,
        answer: Ok(Arc::new(operation)),
    }
}

/// What a cancelled removal had not begun comes to light again.
pub(super) fn released(view: &View, operation: &Operation, now: Timestamp) -> Vec<Change> {
    let waiting = operation
        .items
        .iter()
        .filter(|item| item.state == ItemState::Waiting);
    let records = waiting.filter_map(|item| view.record(&item.backup));
    let mine = records.filter(|record| {
        record
            .deleting
            .as_ref()
            .is_some_and(|deleting| deleting.operation == operation.id.as_uuid())
    });
    mine.map(|record| {
        let mut record = record.clone();
        record.deleting = None;
        record.changed_at = now;
        Change::PutBackup(Box::new(record))
    })
    .collect()
}

/// Limits of work that runs inside us.
pub(super) fn limits_beside(limits: Limits) -> Limits {
    Limits {
        deadline: None,
        retry: RETRY,
        ..limits
    }
}
