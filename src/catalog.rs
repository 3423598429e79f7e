//! Our memory: operations with their attempts, backups, last slots.
//!
//! SQLite holds it (write-ahead log, full sync); every read comes from an in-memory [`View`] that is
//! replaced at each commit. Writes run one after the other through [`Catalog::write`], which hands a
//! pure decision the current view, commits what it wants changed, and then publishes the new view:
//! what a reader sees is always on disk already.

mod store;
mod view;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use jiff::Timestamp;

use crate::backup::{Backup, BackupName, Contents};
use crate::operation::{AttemptId, Operation};
use crate::retention::Adoption;
use crate::schedule::{Pause, ScheduleName};

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
    /// A schedule was paused; `None`: it goes on.
    PutPause(ScheduleName, Option<Pause>),
    /// Nothing of a backup is left, or nobody needs to know any more.
    ForgetBackup(BackupName),
    /// Somebody said that a change is meant.
    PutAdoption(Adoption),
    /// What lies in the destination was read in for the first time.
    ReadIn(Timestamp),
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
    /// Why the last write failed, while it did.
    failing: Arc<Mutex<Option<String>>>,
    /// The files that it lies in.
    files: Arc<[PathBuf; 2]>,
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
            failing: Arc::default(),
            files: Arc::new(store::files(&settings.dir)),
        })
    }

    /// The memory as it is now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// What it takes on disk, its log included.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let sizes = self.files.iter().filter_map(|file| file.metadata().ok());
        sizes.map(|found| found.len()).sum()
    }

    /// Why the last write failed; `None` while writing works. Until it does, nothing new is begun.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, error: Option<&CatalogError>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) =
            error.map(ToString::to_string);
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
                let committed = store.commit(
                    &decision.changes,
                    &current.forgotten(&decision.changes, &next),
                );
                this.note(committed.as_ref().err());
                committed?;
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
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut store)
        };
        tokio::task::spawn_blocking(locked)
            .await
            .map_err(|_| CatalogError::Closed)?
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::backup::{BackupName, Scope};
    use crate::operation::{
        BackupWork, Event, Failure, FailureKind, Limits, OperationId, Retry, Trigger, Work,
    };

    fn open(dir: &tempfile::TempDir) -> Catalog {
        Catalog::open(&Settings {
            dir: dir.path().join("state"),
        })
        .unwrap()
    }

    fn operation(trigger: Trigger, id: OperationId) -> Operation {
        let work = BackupWork {
            name: BackupName::parse("one").unwrap(),
            scope: Scope::everything(),
            base: None,
            increments: None,
            kind_reason: None,
        };
        let second = std::time::Duration::from_secs(1);
        let retry = Retry {
            attempts: 1,
            delay: second,
        };
        let limits = Limits {
            timeout: second,
            deadline: None,
            unreachable: second,
            cancel: second,
            retry,
        };
        Operation::new(
            id,
            trigger,
            Work::Backup(work),
            "create one".into(),
            limits,
            Timestamp::UNIX_EPOCH,
        )
    }

    async fn put(catalog: &Catalog, mut operation: Operation) -> Result<(), CatalogError> {
        catalog
            .write(move |view| {
                operation.number = view.next_number();
                Decision {
                    changes: vec![Change::PutOperation(Box::new(operation))],
                    answer: (),
                }
            })
            .await
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let schedule = ScheduleName::try_from("daily".to_owned()).unwrap();
        let slot: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let id = OperationId::of_slot(&schedule, slot);
        let written = {
            let catalog = open(&dir);
            put(
                &catalog,
                operation(
                    Trigger::Schedule {
                        schedule: schedule.clone(),
                        slot,
                        run: 1,
                    },
                    id,
                ),
            )
            .await
            .unwrap();
            let last = LastSlot {
                at: slot,
                calendar: "0 2 * * * UTC".into(),
            };
            let changes = vec![Change::PutLastSlot(schedule.clone(), last)];
            catalog
                .write(move |_| Decision {
                    changes,
                    answer: (),
                })
                .await
                .unwrap();
            catalog.view()
        };
        let view = open(&dir).view();
        assert_eq!(view.operation(id), written.operation(id));
        assert_eq!(view.last_slot(&schedule), written.last_slot(&schedule));
        assert_eq!(view.next_number(), 2);
    }

    #[tokio::test]
    async fn a_slot_is_recorded_once_and_a_refused_write_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = open(&dir);
        let schedule = ScheduleName::try_from("daily".to_owned()).unwrap();
        let trigger = Trigger::Schedule {
            schedule,
            slot: Timestamp::UNIX_EPOCH,
            run: 1,
        };
        put(
            &catalog,
            operation(trigger.clone(), OperationId::of_client()),
        )
        .await
        .unwrap();
        let doubled = put(&catalog, operation(trigger, OperationId::of_client())).await;
        assert!(
            matches!(doubled, Err(CatalogError::Write(_))),
            "{doubled:?}"
        );
        assert_eq!(catalog.view().operations().count(), 1);
        assert_eq!(catalog.view().next_number(), 2);
    }

    #[tokio::test]
    async fn history_forgets_the_oldest_that_ended_and_keeps_what_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = OperationId::of_client();
        let catalog = open(&dir);
        put(&catalog, operation(Trigger::Client, waiting))
            .await
            .unwrap();
        let changes = |view: &View| {
            let ended = (0..HISTORY_MAX_OPERATIONS as u64 + 20).map(|n| {
                let mut operation = operation(Trigger::Client, OperationId::of_client());
                operation.number = view.next_number() + n;
                let failure = Failure::new(FailureKind::Unknown, "x");
                Change::PutOperation(Box::new(
                    operation
                        .apply(Event::GaveUp(failure), Timestamp::UNIX_EPOCH)
                        .unwrap(),
                ))
            });
            Decision {
                changes: ended.collect(),
                answer: (),
            }
        };
        catalog.write(changes).await.unwrap();
        let (newest, kept) = (
            catalog.view().next_number(),
            catalog.view().operations().count(),
        );
        assert_eq!(kept, HISTORY_MAX_OPERATIONS);
        drop(catalog);
        let view = open(&dir).view();
        assert_eq!(
            (view.operations().count(), view.next_number()),
            (kept, newest),
            "the file forgot the same"
        );
        assert!(view.operation(waiting).is_some());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_told_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = open(&dir);
        assert_eq!(catalog.failing(), None);
        let file = dir.path().join("state/catalog.sqlite3");
        let other = rusqlite::Connection::open(file).unwrap();
        let rename = |from: &str, to: &str| {
            let sql = format!("ALTER TABLE {from} RENAME TO {to}");
            other.execute_batch(&sql).unwrap();
        };
        rename("operations", "taken_away");
        let refused = operation(Trigger::Client, OperationId::of_client());
        assert!(put(&catalog, refused.clone()).await.is_err());
        let told = catalog.failing().unwrap();
        assert!(told.contains("state.dir"), "{told}");
        assert_eq!(catalog.view().operations().count(), 0);
        rename("taken_away", "operations");
        put(&catalog, refused).await.unwrap();
        assert_eq!(catalog.failing(), None);
    }

    #[test]
    fn what_cannot_be_opened_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            dir: dir.path().to_owned(),
        };
        let held = Catalog::open(&settings).unwrap();
        assert!(matches!(Catalog::open(&settings), Err(OpenError::InUse(_))));
        drop(held);
        std::fs::write(
            dir.path().join("catalog.sqlite3"),
            "this is no database, but it is longer than a header",
        )
        .unwrap();
        let error = Catalog::open(&settings).unwrap_err();
        assert!(
            matches!(error, OpenError::Database { .. })
                && error.to_string().contains("move it away"),
            "{error}"
        );
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Catalog::open(&Settings { dir: file }).unwrap_err();
        assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    }

    /// The first layout, as the version that had it made it.
    const FIRST_LAYOUT: &str = "
        CREATE TABLE operations (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, schedule TEXT, slot TEXT,
            document TEXT NOT NULL, UNIQUE (schedule, slot)) STRICT;
        CREATE TABLE backups (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
        CREATE TABLE contents (attempt TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
        CREATE TABLE last_slots (schedule TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
        PRAGMA user_version = 1;";

    #[tokio::test]
    async fn an_older_layout_is_brought_up_and_a_slot_can_be_run_again_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let schedule = ScheduleName::try_from("daily".to_owned()).unwrap();
        let slot = Timestamp::UNIX_EPOCH;
        let trigger = |run| Trigger::Schedule {
            schedule: schedule.clone(),
            slot,
            run,
        };
        let mut old = operation(trigger(1), OperationId::of_slot(&schedule, slot));
        old.number = 7;
        let mut document = serde_json::to_value(&old).unwrap();
        // What that version did not know.
        document.as_object_mut().unwrap().remove("attempts_before");
        let of_slot = document["trigger"]["schedule"].as_object_mut().unwrap();
        of_slot.remove("run").unwrap();
        let connection = rusqlite::Connection::open(state.join("catalog.sqlite3")).unwrap();
        connection.execute_batch(FIRST_LAYOUT).unwrap();
        connection
            .execute(
                "INSERT INTO operations VALUES (7, ?1, 'daily', ?2, ?3)",
                [old.id.to_string(), slot.to_string(), document.to_string()],
            )
            .unwrap();
        drop(connection);
        let catalog = open(&dir);
        assert_eq!(catalog.view().operation(old.id).unwrap().as_ref(), &old);
        let again = OperationId::of_run(&schedule, slot, 2);
        put(&catalog, operation(trigger(2), again)).await.unwrap();
        let doubled = operation(trigger(2), OperationId::of_client());
        assert!(put(&catalog, doubled).await.is_err(), "once for each run");
        drop(catalog);
        let view = open(&dir).view();
        assert_eq!(view.operations().count(), 2);
        assert_eq!(view.operation(again).unwrap().number, 8);
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(&dir));
        let connection =
            rusqlite::Connection::open(dir.path().join("state/catalog.sqlite3")).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let error = Catalog::open(&Settings {
            dir: dir.path().join("state"),
        })
        .unwrap_err();
        assert!(
            matches!(error, OpenError::Newer { found: 99, .. }),
            "{error}"
        );
    }
}
