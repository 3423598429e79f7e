//! Comparing what lies in the destination with what we remember, and what the server runs with both.
//!
//! One round lists the destination, reads what is new there, and writes what that means in one
//! transaction. The first round on an empty memory also takes over what an earlier process published,
//! so a lost state directory is rebuilt. A listing that fails changes nothing: it is no absence.

mod binding;
mod compare;
mod import;
mod look;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::compare::{Comparison, Listing, busy, compare};
use self::import::{Finding, Imported, Terms};
use self::look::{Looked, Round};
pub(super) use self::server::parse_destination;
use super::publisher::document::{DocumentError, STATE_FILE, StateFile, sidecar_file};
use super::{ViewState, Worker};
use crate::backup::{BackupName, Place};
use crate::catalog::{CatalogError, Change, Decision, View};
use crate::clickhouse::NamesKept;
use crate::destination::{self, Destination};
use crate::metrics;
use crate::operation::Operation;
use crate::retention::Stop;

pub use import::GONE_MAX_BACKUPS;
pub(super) use look::Seen;

/// Names of folders that are no backups, shown at most.
const OTHERS_SHOWN_MAX: usize = 20;
/// Wait after the first round that failed; each further one doubles it.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest wait after a round that failed before anything was read in: lists wait for it.
const FIRST_RETRY_MAX: Duration = Duration::from_secs(30);
/// Longest wait after a later round that failed.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Longest wait after a round while ClickHouse has not answered since the start.
const UNANSWERED_AGAIN: Duration = Duration::from_secs(60);

/// A comparison that was not made: nothing is taken for gone because of it.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The destination did not tell what is in it.
    #[error(transparent)]
    Destination(#[from] destination::Error),
    /// Our memory failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Worker {
    /// Compares the destination with our memory until `stop`: at start, every `retention.every`, and
    /// when it is asked for.
    pub async fn run_reconciler(self, stop: CancellationToken) {
        let Some(destination) = &self.0.destination else {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.look_for_the_trap() => {}
            }
            return;
        };
        self.0.live.started_at(self.0.clock.now());
        let url = destination.url().to_owned();
        self.0.live.update_standing(|standing| {
            standing.url = Some(url);
            if standing.view == ViewState::None {
                standing.view = ViewState::Unbound;
            }
        });
        let mut changes = self.0.catalog.subscribe();
        let mut failures = 0;
        loop {
            let seen = changes.borrow_and_update().clone();
            let pause = match self.refresh().await {
                Ok(()) => {
                    failures = 0;
                    let every = self.0.rules.borrow().every;
                    // Without an answer from ClickHouse nothing binds the view.
                    match self.0.live.server() {
                        Some(_) => every,
                        None => every.min(UNANSWERED_AGAIN),
                    }
                }
                Err(_) => {
                    failures += 1;
                    retry_after(failures, self.is_read_in())
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.live.refresh_asked.notified() => {}
                () = self.may_bind(seen, &mut changes) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Makes the reconciler compare now, and does not wait for it.
    pub fn ask_refresh(&self) {
        self.0.live.refresh_asked.notify_one();
    }

    /// The first comparison: what the destination holds is read in. See [`Worker::refresh`].
    ///
    /// # Errors
    /// See [`RefreshError`]; then nothing was read in.
    pub async fn read_in(&self) -> Result<(), RefreshError> {
        if self.is_read_in() {
            return Ok(());
        }
        self.refresh().await
    }

    /// Compares what the destination holds with our memory, once: one listing of its folders, one of
    /// our files, and a request or two for each folder that is new. Rounds run one after the other.
    ///
    /// # Errors
    /// See [`RefreshError`]; then nothing is taken for gone, and [`Worker::standing`] says why.
    pub async fn refresh(&self) -> Result<(), RefreshError> {
        let Some(destination) = &self.0.destination else {
            return Ok(());
        };
        let _turn = self.0.live.refreshing.lock().await;
        let result = self.round_of(destination).await;
        let failure = result.as_ref().err().map(ToString::to_string);
        let before = self.standing().failure;
        match (&before, &failure) {
            (None, Some(text)) => tracing::warn!("comparing with the destination: {text}"),
            (Some(_), None) => tracing::info!("the destination can be read again"),
            _ => {}
        }
        self.0
            .live
            .update_standing(|standing| standing.failure = failure);
        let standing = self.standing();
        self.0.metrics.destination_listed(metrics::Listing {
            at: standing.listed_at.filter(|_| result.is_ok()),
            bound: standing.view == ViewState::Bound,
            broken: standing.broken.len(),
        });
        self.0.live.publish_asked.notify_one();
        result
    }

    async fn round_of(&self, destination: &Destination) -> Result<(), RefreshError> {
        let asked = self.ask_server().await;
        let (server, now) = (self.0.live.server(), self.0.clock.now());
        if asked.keeps_names_on_server {
            return self.set_aside().await;
        }
        // Older than the listing: what ends while it is made has not vanished.
        let before = self.0.catalog.view();
        let (folders, files) = tokio::try_join!(destination.folders(), destination.own_files())?;
        let listing = Listing::new(folders, &files);
        let running = asked.running.as_deref().unwrap_or_default();
        let busy_before = busy(&before, running, &self.0.place);
        let comparison = compare(&before, &listing, &busy_before, &self.0.place);
        let state = self.read_state(destination, &before).await?;
        let looked = self
            .look(&Round {
                destination,
                listing: &listing,
                comparison: &comparison,
                view: &before,
                knows_what_runs: asked.running.is_some(),
                now,
            })
            .await?;
        let Looked {
            findings,
            broken,
            others,
        } = looked;
        let terms = Terms {
            place: self.0.place.clone(),
            now,
            limits: self.client_limits(),
        };
        let imported = self
            .take_in(findings, state, server, busy_before.clone(), terms.clone())
            .await?;
        self.delete_leftovers(destination, &imported.leftovers)
            .await;
        let view = self.view_state(destination, &asked).await?;
        if view == ViewState::Bound {
            self.follow(
                destination,
                before,
                &listing,
                comparison,
                busy_before,
                terms,
            )
            .await?;
        }
        self.0.live.update_standing(|standing| {
            standing.view = view;
            standing.url = Some(destination.url().to_owned());
            standing.listed_at = Some(now);
            standing.broken = broken;
            standing.others_count = others.len();
            standing.others = others.into_iter().take(OTHERS_SHOWN_MAX).collect();
        });
        Ok(())
    }

    /// The disk keeps names where we cannot see them: there is nothing to compare.
    /// Without a view, too, it is told when the backups hang on the server's own disk.
    async fn look_for_the_trap(&self) {
        let Place::Disk(disk) = &self.0.place else {
            return;
        };
        let facts = loop {
            match self.0.client.disk(disk).await {
                Ok(facts) => break facts,
                Err(error) => tracing::debug!("asking for the disk {disk}: {error}"),
            }
            tokio::time::sleep(RETRY_MAX).await;
        };
        if facts.is_some_and(|facts| facts.names_kept() == NamesKept::OnServer) {
            tracing::warn!("{}", Stop::NamesOnServer);
            self.0
                .live
                .update_standing(|standing| standing.view = ViewState::NamesOnServer);
        }
    }

    async fn set_aside(&self) -> Result<(), RefreshError> {
        let now = self.0.clock.now();
        if !self.is_read_in() {
            let decide = move |_: &View| Decision {
                changes: vec![Change::ReadIn(now)],
                answer: (),
            };
            self.0.catalog.write(decide).await?;
        }
        self.0.live.update_standing(|standing| {
            standing.view = ViewState::NamesOnServer;
            standing.broken = Vec::new();
            standing.others = Vec::new();
            standing.others_count = 0;
        });
        Ok(())
    }

    /// What an earlier process published of everything that is no backup, before anything was read in.
    async fn read_state(
        &self,
        destination: &Destination,
        view: &View,
    ) -> Result<Option<StateFile>, RefreshError> {
        if view.read_in().is_some() {
            return Ok(None);
        }
        let bytes = match destination.read_own(STATE_FILE).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(destination::Error::Invalid { text, .. }) => {
                tracing::warn!("{STATE_FILE} in the destination is not used: {text}");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        match StateFile::read(&bytes) {
            Ok(state) => Ok(Some(state)),
            Err(error) => {
                if let DocumentError::Newer(_) = error {
                    self.seen().leave_alone(STATE_FILE.to_owned());
                }
                tracing::warn!("{STATE_FILE} in the destination is not used: {error}");
                Ok(None)
            }
        }
    }

    /// Writes what was found, and that it was read in, in one transaction.
    async fn take_in(
        &self,
        findings: Vec<Finding>,
        state: Option<StateFile>,
        server: Option<uuid::Uuid>,
        busy_before: BTreeSet<BackupName>,
        terms: Terms,
    ) -> Result<Imported, RefreshError> {
        let decide = move |view: &View| {
            let mut changes = state.map_or_else(Vec::new, |state| {
                import::state(view, state, server, terms.now)
            });
            import::end_what_was_made(&mut changes, &findings, terms.now);
            let mut busy = busy(view, &[], &terms.place);
            busy.extend(busy_before);
            let mut imported = import::records(view, &changes, findings, &busy, &terms);
            changes.append(&mut imported.changes);
            if view.read_in().is_none() {
                changes.push(Change::ReadIn(terms.now));
            }
            imported.changes = changes.clone();
            Decision {
                changes,
                answer: imported,
            }
        };
        let first = !self.is_read_in();
        let imported = self.0.catalog.write(decide).await?;
        tell(&imported, first);
        Ok(imported)
    }

    /// What only a view that is surely the right one may say: that a backup is gone, and that nothing
    /// is left of one that was being removed.
    async fn follow(
        &self,
        destination: &Destination,
        before: Arc<View>,
        listing: &Listing,
        comparison: Comparison,
        busy_before: BTreeSet<BackupName>,
        terms: Terms,
    ) -> Result<(), RefreshError> {
        let folders = listing.folders.clone();
        let decide = move |view: &View| {
            let mut busy = busy(view, &[], &terms.place);
            busy.extend(busy_before);
            let mut followed = import::vanished(&before, view, &comparison.gone, &busy, terms.now);
            let mut ended = import::unended(&before, view, &folders, &busy, &terms);
            followed.changes.append(&mut ended.changes);
            followed.leftovers.append(&mut ended.leftovers);
            followed.resumed = ended.resumed;
            Decision {
                changes: followed.changes.clone(),
                answer: followed,
            }
        };
        let followed = self.0.catalog.write(decide).await?;
        tell(&followed, false);
        self.delete_leftovers(destination, &followed.leftovers)
            .await;
        Ok(())
    }

    /// Files of ours that are of no use; one that stays is found again in the next round.
    async fn delete_leftovers(&self, destination: &Destination, names: &[BackupName]) {
        for name in names {
            let file = sidecar_file(name);
            if self.seen().is_left_alone(&file) {
                continue;
            }
            if let Err(error) = destination.delete_own(&file).await {
                tracing::warn!(backup = %name, "deleting our file {file}: {error}");
            }
        }
    }
}

fn retry_after(failures: u32, is_read_in: bool) -> Duration {
    let longest = if is_read_in {
        RETRY_MAX
    } else {
        FIRST_RETRY_MAX
    };
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    RETRY_MIN.saturating_mul(doubled).min(longest)
}

/// One line for a first round, one for each backup that came or went later.
fn tell(imported: &Imported, first: bool) {
    let mut operations: Vec<&Operation> = Vec::new();
    let mut backups = 0;
    for change in &imported.changes {
        match change {
            Change::PutBackup(backup) => {
                backups += 1;
                if !first {
                    let status = backup.status();
                    tracing::info!(backup = %backup.name, %status, "the destination shows a change");
                }
            }
            Change::PutOperation(operation) => operations.push(operation),
            _ => {}
        }
    }
    if first {
        tracing::info!(
            backups,
            operations = operations.len(),
            "read in from the destination"
        );
    }
    for name in &imported.resumed {
        tracing::warn!(backup = %name, "its removal did not end, and is taken up again");
    }
}
