//! Our memory: operations with their attempts, backups, last slots.
//!
//! SQLite holds it (write-ahead log, full sync); every read comes from an in-memory [`View`] that is
//! replaced at each commit. Writes run one after the other through [`Catalog::write`], which hands a
//! pure decision the current view, commits what it wants changed, and then publishes the new view:
//! what a reader sees is always on disk already.

mod store;
mod view;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::backup::{Backup, Contents};
use crate::operation::{AttemptId, Operation};
use crate::schedule::ScheduleName;

pub use store::OpenError;
pub use view::{LastSlot, View};

/// Finished operations that are kept; the oldest go first. The server we replace kept 1,000 in memory.
pub const HISTORY_MAX_OPERATIONS: usize = 1_000;

/// Where the memory lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A directory of our own; made if it is not there.
    pub dir: PathBuf,
}

/// Something to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new operation, or a new state of one.
    PutOperation(Box<Operation>),
    /// A backup that became visible.
    PutBackup(Box<Backup>),
    /// What the backup of an attempt holds; too large to keep in memory.
    PutContents(AttemptId, Box<Contents>),
    /// The attempt made no backup.
    DropContents(AttemptId),
    /// How far a schedule has come.
    PutLastSlot(ScheduleName, LastSlot),
}

/// What a pure decision over the current view wants: changes, all of them or none, and an answer.
#[derive(Debug)]
pub struct Decision<T> {
    /// Written in one transaction.
    pub changes: Vec<Change>,
    /// Given back to the caller after the commit.
    pub answer: T,
}

/// Our memory failed us.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// SQLite refused; nothing was changed.
    #[error("writing the catalog: {0}; check that state.dir is writable and not full")]
    Write(#[source] rusqlite::Error),
    /// SQLite refused a read.
    #[error("reading the catalog: {0}")]
    Read(#[source] rusqlite::Error),
    /// A row of a kind this version does not know.
    #[error("a row of the catalog is not readable: {0}; was it written by a newer version?")]
    Encoding(#[from] serde_json::Error),
    /// The blocking thread was ended, which happens at shutdown only.
    #[error("the catalog is closed")]
    Closed,
}

/// A handle on our memory; clones share it.
#[derive(Debug, Clone)]
pub struct Catalog {
    store: Arc<Mutex<store::Store>>,
    view: watch::Sender<Arc<View>>,
}

impl Catalog {
    /// Opens the memory, and makes it where there is none.
    ///
    /// # Errors
    /// When the directory cannot be used, another daemon uses it, or the file is damaged or newer.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let (store, view) = store::Store::open(&settings.dir)?;
        Ok(Self {
            store: Arc::new(Mutex::new(store)),
            view: watch::Sender::new(Arc::new(view)),
        })
    }

    /// The memory as it is now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Wakes at each commit.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Writes what `decide` wants, given the current view; no other write comes between.
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it is.
    pub async fn write<T, F>(&self, decide: F) -> Result<T, CatalogError>
    where
        F: FnOnce(&View) -> Decision<T> + Send + 'static,
        T: Send + 'static,
    {
        let this = self.clone();
        self.blocking(move |store| {
            let current = this.view();
            let decision = decide(&current);
            if !decision.changes.is_empty() {
                let next = current.after(&decision.changes);
                store.commit(&decision.changes, &current.forgotten(&next))?;
                this.view.send_replace(Arc::new(next));
            }
            Ok(decision.answer)
        })
        .await
    }

    /// What the backup of an attempt holds; `None` when that was never written down.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn contents(&self, attempt: &str) -> Result<Option<Contents>, CatalogError> {
        let attempt = attempt.to_owned();
        self.blocking(move |store| store.contents(&attempt)).await
    }

    /// Writes the log into the file, so that what is left behind is one file.
    ///
    /// # Errors
    /// When SQLite refuses; nothing is lost then.
    pub async fn close(&self) -> Result<(), CatalogError> {
        self.blocking(|store| store.checkpoint()).await
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, CatalogError>
    where
        F: FnOnce(&mut store::Store) -> Result<T, CatalogError> + Send + 'static,
        T: Send + 'static,
    {
        let store = self.store.clone();
        let locked = move || {
            // A panic while the lock was held left SQLite's transaction rolled back: the store is sound.
            let mut store = store
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            work(&mut store)
        };
        tokio::task::spawn_blocking(locked)
            .await
            .map_err(|_| CatalogError::Closed)?
    }
}
