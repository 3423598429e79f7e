//! What we do: one road for scheduled, manual, retried and recovered work.
//!
//! [`scheduler`] turns due slots into operations, [`submit`](Worker::submit) does the same for a
//! client; the runner takes them through the lane one after the other. All of them read and write
//! the same rows, so a process that starts after a crash simply goes on.

mod beside;
mod check;
mod contact;
mod control;
mod hold;
mod journal;
mod keeper;
mod notifier;
mod prover;
mod pruner;
mod publisher;
mod reconciler;
mod removal;
mod runner;
pub mod scheduler;
mod standing;
mod submit;
#[cfg(test)]
mod testing;
mod timer;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::backup::{Place, TablePattern};
use crate::catalog::Catalog;
use crate::clickhouse::Client;
use crate::clock::Clock;
use crate::destination::Destination;
use crate::metrics::{ClickHouseNow, Metrics, Moved};
use crate::operation::{AttemptId, OperationId, Progress};
use crate::retention::Rules;

pub use beside::Beside;
pub use check::{Action, CheckError, CheckedTable, RestoreCheck};
pub use contact::Contact;
pub use control::{PauseError, RunError};
pub use journal::JournalError;
pub use keeper::{KEEP_REASON_MAX_CHARS, KeepError};
pub use reconciler::{GONE_MAX_BACKUPS, RefreshError};
pub use removal::RemovalError;
pub use standing::{Broken, RetentionNote, Standing, ViewState};
pub use submit::{CancelError, Request, SubmitError, Submitted};

/// Limits of operations that no schedule sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// One `BACKUP` or `RESTORE` (`clickhouse.timeout`).
    pub timeout: Duration,
    /// How long a client's operation waits for a ClickHouse that does not answer.
    pub client_deadline: Duration,
    /// How long ClickHouse may take to confirm that a cancelled attempt is gone.
    pub cancel_limit: Duration,
}

/// What the loops and the API work with; clones share it.
#[derive(Debug, Clone)]
pub struct Worker(Arc<Context>);

/// Everything a loop may touch.
#[derive(Debug)]
pub struct Context {
    /// Our memory.
    pub catalog: Catalog,
    /// The server.
    pub client: Client,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    /// Where backups go.
    pub place: Place,
    /// Our own view of that place, if there is one.
    pub destination: Option<Destination>,
    /// Which policy judges whom, as the configuration says now.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Limits.
    pub settings: Settings,
    /// Whether a client's operation may wait behind another client's (`API_ALLOW_PARALLEL`).
    pub allow_parallel: bool,
    /// Tables that a client's backup of whole databases leaves out (`CLICKHOUSE_SKIP_TABLES`).
    pub skip_tables: Vec<TablePattern>,
    /// What only this process knows.
    pub live: Live,
}

/// What the runner knows and nobody needs after a restart.
#[derive(Debug, Default)]
pub struct Live {
    progress: RwLock<HashMap<OperationId, Progress>>,
    /// How far what is at work was when it last moved; outlives a look that was not answered.
    moved: RwLock<HashMap<OperationId, Moved>>,
    /// Whether ClickHouse answered when it was last asked, by whomever.
    reached: RwLock<ClickHouseNow>,
    /// The last answer to "who are you".
    contact: tokio::sync::Mutex<Option<Contact>>,
    /// Attempts whose statement a server took, until the lane is free again.
    accepted: RwLock<HashSet<AttemptId>>,
    looked: AtomicBool,
    standing: RwLock<Arc<Standing>>,
    /// Wakes whoever waits for news of the destination.
    standing_changed: Notify,
    /// What came of the last rounds of retention.
    retention: RwLock<RetentionNote>,
    /// Wakes retention.
    retention_asked: Notify,
    /// Comparisons with the destination run one after the other.
    refreshing: tokio::sync::Mutex<()>,
    /// `state.json` is written by one at a time, who then looks at what is newest.
    state_writing: tokio::sync::Mutex<()>,
    refresh_asked: Notify,
    publish_asked: Notify,
    /// What was looked at in the destination.
    seen: Mutex<reconciler::Seen>,
    /// Files of ours are written one after the other, by the name of their backup.
    publishing: publisher::Turns,
    /// The server that answered last.
    server: RwLock<Option<Uuid>>,
    /// When this process began to look at the destination.
    started: OnceLock<Timestamp>,
}

impl Worker {
    /// A worker over these parts; nothing runs yet.
    #[must_use]
    pub fn new(context: Context) -> Self {
        if context.destination.is_some() {
            // Until the first look says otherwise.
            context
                .live
                .update_standing(|standing| standing.view = ViewState::Unbound);
        }
        Self(Arc::new(context))
    }
}

impl Live {
    fn progress(&self, id: OperationId) -> Option<Progress> {
        self.progress
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .copied()
    }

    fn standing(&self) -> Standing {
        let standing = self.standing.read();
        standing
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .clone()
    }

    /// Changes what is known of the destination.
    fn update_standing(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = self
            .standing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut standing));
        drop(standing);
        self.standing_changed.notify_waiters();
    }

    fn retention(&self) -> RetentionNote {
        self.retention
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_retention(&self, note: RetentionNote) {
        *self
            .retention
            .write()
            .unwrap_or_else(PoisonError::into_inner) = note;
    }

    /// The server that answered last, once one did.
    fn server(&self) -> Option<Uuid> {
        *self.server.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_server(&self, server: Uuid) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// When this process began to look at the destination: what was read since was read through the
    /// view that it has.
    fn started_at(&self, now: Timestamp) -> Timestamp {
        *self.started.get_or_init(|| now)
    }

    fn was_accepted(&self, attempt: &AttemptId) -> bool {
        self.accepted
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(attempt)
    }

    fn set_accepted(&self, attempt: AttemptId) {
        self.accepted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(attempt);
    }

    /// Nothing is at work any more.
    fn forget_lane(&self) {
        self.accepted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.set_progress(HashMap::new());
    }

    fn has_looked(&self) -> bool {
        self.looked.load(Ordering::Relaxed)
    }

    fn set_looked(&self) {
        self.looked.store(true, Ordering::Relaxed);
    }

    fn moved(&self) -> HashMap<OperationId, Moved> {
        self.moved
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes how far an operation is; nothing where it did not move.
    fn note_progress(&self, id: OperationId, progress: Progress, now: Timestamp) {
        let mut moved = self.moved.write().unwrap_or_else(PoisonError::into_inner);
        if moved
            .get(&id)
            .is_none_or(|moved| moved.progress != progress)
        {
            moved.insert(id, Moved { progress, at: now });
        }
    }

    /// Notes that one more item of an operation is finished.
    fn note_step(&self, id: OperationId, now: Timestamp) {
        let mut moved = self.moved.write().unwrap_or_else(PoisonError::into_inner);
        let progress = Progress::default();
        moved.insert(id, Moved { progress, at: now });
    }

    /// It ended.
    fn forget_progress(&self, id: OperationId) {
        let mut moved = self.moved.write().unwrap_or_else(PoisonError::into_inner);
        moved.remove(&id);
    }

    fn reached(&self) -> ClickHouseNow {
        *self.reached.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether ClickHouse answered as it must.
    fn note_reached(&self, now: Timestamp, is_reachable: bool) {
        let mut reached = self.reached.write().unwrap_or_else(PoisonError::into_inner);
        reached.asked_at = Some(now);
        reached.is_reachable = is_reachable;
        if is_reachable {
            reached.answered_at = Some(now);
        }
    }

    fn set_progress(&self, progress: HashMap<OperationId, Progress>) {
        *self
            .progress
            .write()
            .unwrap_or_else(PoisonError::into_inner) = progress;
    }
}
