//! Publishing what we know in the destination, so that a lost state directory can be rebuilt: a file
//! beside the backups for each of them, and one for the rest.
//!
//! The loop follows the commits of the catalog. It never holds anything up: what cannot be written now
//! is written later, and said once.

pub mod document;
mod due;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::document::{STATE_FILE, Sidecar, StateFile, sidecar_file};
use self::due::Due;
use super::Worker;
use crate::backup::{Backup, BackupName};
use crate::catalog::View;
use crate::destination::{self, Destination, OWN_FILE_MAX_BYTES};

/// Wait after a commit: a burst of them becomes one write.
const SETTLE: Duration = Duration::from_millis(500);
/// Shortest time between two writes of `state.json`.
const STATE_EVERY: Duration = Duration::from_secs(2);
/// Files under way at a time.
const WRITES_AT_A_TIME_MAX: usize = 8;
/// Wait after a write that failed; each further one doubles it.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest wait after writes that failed.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Longest wait while nothing has to be written: every change wakes the loop.
const IDLE: Duration = Duration::from_secs(3_600);
/// How long the last writes may take at the end; less than the whole end may.
const LAST_WRITES_LIMIT: Duration = Duration::from_secs(5);
/// Turns for the files of all backups: two that share one wait for each other without need, now and then.
const TURNS: usize = 64;

/// Who writes the file of a backup now: a removal and the loop must not overtake each other.
#[derive(Debug)]
pub(super) struct Turns([Mutex<()>; TURNS]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    async fn of(&self, name: &BackupName) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let turn = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        self.0[turn].lock().await
    }
}

/// What the loop remembers.
#[derive(Debug, Default)]
struct Publisher {
    due: Due,
    /// `state.json` as it was written last.
    state: Option<Bytes>,
    /// The memory that it was made of.
    state_of: Option<Arc<View>>,
    state_written_at: Option<Instant>,
    failures: u32,
    /// Files that are there were compared with what we remember.
    has_listed: bool,
}

impl Worker {
    /// Publishes until `stop`, and then once more.
    pub async fn run_publisher(self, stop: CancellationToken) {
        let Some(destination) = self.0.destination.clone() else {
            return;
        };
        self.0.live.started_at(self.0.clock.now());
        let mut changes = self.0.catalog.subscribe();
        let mut publisher = Publisher::default();
        while !stop.is_cancelled() {
            changes.borrow_and_update();
            let pause = self.publish_round(&destination, &mut publisher).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                // Commits while the destination fails do not make it fail more often.
                _ = changes.changed(), if publisher.failures == 0 => {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(SETTLE) => {}
                    }
                }
                () = self.0.live.publish_asked.notified(), if publisher.failures == 0 => {}
            }
        }
        publisher.state_written_at = None;
        let last = self.publish_round(&destination, &mut publisher);
        if timeout(LAST_WRITES_LIMIT, last).await.is_err() || publisher.failures > 0 {
            tracing::warn!(
                "what changed last is not published in the destination; it is after the next start with this state directory"
            );
        }
    }

    /// Writes the file of a backup as it is now. What a backup holds goes with it, except while it is
    /// being removed: then nobody needs that any more.
    ///
    /// # Errors
    /// When it was not written.
    pub(super) async fn publish_backup(&self, backup: &Backup) -> Result<(), destination::Error> {
        let Some(destination) = &self.0.destination else {
            return Ok(());
        };
        let _turn = self.0.live.publishing.of(&backup.name).await;
        self.write_sidecar(destination, backup).await
    }

    /// One round; gives the time after which another one is due in any case.
    async fn publish_round(
        &self,
        destination: &Destination,
        publisher: &mut Publisher,
    ) -> Duration {
        if !self.is_read_in() {
            return RETRY_MIN;
        }
        let result = self.publish_due(destination, publisher).await;
        let failure = result.as_ref().err().map(ToString::to_string);
        match (&failure, publisher.failures) {
            (Some(text), 0) => tracing::warn!("publishing what we know in the destination: {text}"),
            (None, 1..) => tracing::info!("what we know is published in the destination again"),
            _ => {}
        }
        self.0
            .live
            .update_standing(|standing| standing.publish_failure = failure);
        match result {
            Ok(pause) => {
                publisher.failures = 0;
                pause
            }
            Err(_) => {
                publisher.failures += 1;
                let doubled = 2_u32.saturating_pow(publisher.failures - 1);
                RETRY_MIN.saturating_mul(doubled).min(RETRY_MAX)
            }
        }
    }

    async fn publish_due(
        &self,
        destination: &Destination,
        publisher: &mut Publisher,
    ) -> Result<Duration, destination::Error> {
        let standing = self.standing();
        let allowed = due::Allowed {
            view: standing.view,
            started: self.0.live.started_at(self.0.clock.now()),
        };
        if !allowed.anything() {
            return Ok(IDLE);
        }
        let view = self.0.catalog.view();
        if !publisher.has_listed {
            let files = destination.own_files().await?;
            publisher.due.start(view.clone(), &files);
            publisher.has_listed = true;
        }
        publisher.due.follow(view.clone());
        let names = publisher.due.names(&view, &allowed);
        let mut writes = stream::iter(names)
            .map(|name| async {
                let written = self.publish_current(destination, &name).await;
                (name, written)
            })
            .buffer_unordered(WRITES_AT_A_TIME_MAX);
        let mut failure = None;
        while let Some((name, written)) = writes.next().await {
            match written {
                Ok(()) => publisher.due.done(&name),
                Err(error) => failure = Some(error),
            }
        }
        drop(writes);
        let pause = match allowed.state() {
            true => self.publish_state(destination, publisher, view).await?,
            false => IDLE,
        };
        failure.map_or(Ok(pause), Err)
    }

    /// Writes the file of a backup as the catalog has it in this moment, if it still has it.
    async fn publish_current(
        &self,
        destination: &Destination,
        name: &BackupName,
    ) -> Result<(), destination::Error> {
        let _turn = self.0.live.publishing.of(name).await;
        let view = self.0.catalog.view();
        let Some(backup) = view
            .record(name)
            .filter(|backup| due::has_file(&view, backup))
        else {
            return Ok(());
        };
        self.write_sidecar(destination, backup).await?;
        if self.0.catalog.view().record(name).is_none() {
            // It was forgotten meanwhile: its file must not outlive it.
            destination.delete_own(&sidecar_file(name)).await?;
        }
        Ok(())
    }

    async fn write_sidecar(
        &self,
        destination: &Destination,
        backup: &Backup,
    ) -> Result<(), destination::Error> {
        let file = sidecar_file(&backup.name);
        if self.seen().is_left_alone(&file) {
            return Ok(());
        }
        let failed = |text: String| destination::Error::Unavailable {
            doing: format!("publishing the backup {}", backup.name),
            text,
        };
        let contents = match backup.deleting {
            Some(_) => None,
            None => self
                .0
                .catalog
                .contents(&backup.attempt)
                .await
                .map_err(|error| failed(error.to_string()))?,
        };
        let mut sidecar = Sidecar::new(backup.clone(), contents);
        let mut body = serde_json::to_vec(&sidecar).map_err(|error| failed(error.to_string()))?;
        if body.len() as u64 > OWN_FILE_MAX_BYTES {
            sidecar.contents = None;
            body = serde_json::to_vec(&sidecar).map_err(|error| failed(error.to_string()))?;
        }
        destination.write_own(&file, body.into()).await
    }

    /// Writes `state.json` if something in it changed; gives the time after which to look again.
    async fn publish_state(
        &self,
        destination: &Destination,
        publisher: &mut Publisher,
        view: Arc<View>,
    ) -> Result<Duration, destination::Error> {
        let is_old = |of: &Arc<View>| !Arc::ptr_eq(of, &view);
        if !publisher.state_of.as_ref().is_none_or(is_old) || self.seen().is_left_alone(STATE_FILE)
        {
            return Ok(IDLE);
        }
        if let Some(written_at) = publisher.state_written_at {
            let next = written_at + STATE_EVERY;
            let now = Instant::now();
            if now < next {
                return Ok(next.duration_since(now));
            }
        }
        let _turn = self.0.live.state_writing.lock().await;
        let view = self.0.catalog.view();
        let body = self.state_body(&view)?;
        if publisher.state.as_ref() != Some(&body) {
            destination.write_own(STATE_FILE, body.clone()).await?;
            publisher.state = Some(body);
            publisher.state_written_at = Some(Instant::now());
        }
        publisher.state_of = Some(view);
        Ok(IDLE)
    }

    /// Writes `state.json` at once: before something that an older one would contradict.
    pub(super) async fn publish_state_now(&self) -> Result<(), destination::Error> {
        let Some(destination) = &self.0.destination else {
            return Ok(());
        };
        if self.seen().is_left_alone(STATE_FILE) {
            return Ok(());
        }
        let _turn = self.0.live.state_writing.lock().await;
        let body = self.state_body(&self.0.catalog.view())?;
        destination.write_own(STATE_FILE, body).await
    }

    fn state_body(&self, view: &View) -> Result<Bytes, destination::Error> {
        let state = StateFile::of(view, self.0.live.server());
        let body = serde_json::to_vec(&state).map_err(|error| destination::Error::Unavailable {
            doing: format!("publishing {STATE_FILE}"),
            text: error.to_string(),
        })?;
        Ok(Bytes::from(body))
    }
}
