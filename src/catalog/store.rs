//! The only SQL of our own store.
//!
//! Rows are documents beside the few columns that constraints need: everything is read into memory
//! at start, so SQL never filters by the rest, and a new field needs no migration.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::view::{Stored, View};
use super::{CatalogError, Change};
use crate::backup::Contents;
use crate::operation::{Operation, Trigger};

const FILE: &str = "catalog.sqlite3";
const LOCK: &str = "lock";
/// What makes each layout out of the one before it, from nothing on; `PRAGMA user_version` counts them.
const LAYOUTS: [&str; 3] = [FIRST, RUNS_AND_PAUSES, ADOPTIONS_AND_FACTS];

const FIRST: &str = "
    CREATE TABLE operations (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        schedule TEXT,
        slot TEXT,
        document TEXT NOT NULL,
        UNIQUE (schedule, slot)
    ) STRICT;
    CREATE TABLE backups (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE contents (attempt TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE last_slots (schedule TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
";

/// A slot can be run again; SQLite cannot change a constraint, so the table is made anew.
const RUNS_AND_PAUSES: &str = "
    ALTER TABLE operations RENAME TO operations_before;
    CREATE TABLE operations (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        schedule TEXT,
        slot TEXT,
        run INTEGER,
        document TEXT NOT NULL,
        UNIQUE (schedule, slot, run)
    ) STRICT;
    INSERT INTO operations
        SELECT number, id, schedule, slot, iif(schedule IS NULL, NULL, 1), document FROM operations_before;
    DROP TABLE operations_before;
    CREATE TABLE pauses (schedule TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
";

/// What retention needs: changes that somebody said are meant, and single facts.
const ADOPTIONS_AND_FACTS: &str = "
    CREATE TABLE adoptions (number INTEGER PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE facts (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
";

/// The memory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or written.
    #[error("opening the state directory {dir}: {source}; check state.dir and who may write there")]
    Directory {
        /// As configured.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another daemon has it.
    #[error(
        "the state directory {0} is in use by another clickhouse-backupd; stop that one, or give this one its own state.dir"
    )]
    InUse(PathBuf),
    /// SQLite cannot read the file.
    #[error(
        "opening the catalog {path}: {source}; if the file is damaged, move it away and start again"
    )]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file was written by a later version.
    #[error(
        "the catalog {path} has layout {found}, and this version knows {}; use the newer version, or move the file away", LAYOUTS.len()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i64,
    },
    /// A row cannot be read.
    #[error(
        "reading the catalog {path}: {source}; if the file is damaged, move it away and start again"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CatalogError,
    },
}

/// The files that grow with what is remembered: the database and its log.
pub(super) fn files(dir: &Path) -> [PathBuf; 2] {
    [dir.join(FILE), dir.join(format!("{FILE}-wal"))]
}

/// The open database, and the lock that keeps a second daemon out.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    _lock: File,
}

impl Store {
    pub(super) fn open(dir: &Path) -> Result<(Self, View), OpenError> {
        let directory = |source| OpenError::Directory {
            dir: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(directory)?;
        let lock = File::create(dir.join(LOCK)).map_err(directory)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::InUse(dir.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(directory(source)),
        }
        let path = dir.join(FILE);
        let database = |source| OpenError::Database {
            path: path.clone(),
            source,
        };
        let connection = connect(&path).map_err(database)?;
        let found: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(database)?;
        let steps = usize::try_from(found)
            .ok()
            .and_then(|found| LAYOUTS.get(found..));
        let steps = steps.ok_or_else(|| OpenError::Newer {
            path: path.clone(),
            found,
        })?;
        if !steps.is_empty() {
            let (steps, layout) = (steps.concat(), LAYOUTS.len());
            connection
                .execute_batch(&format!(
                    "BEGIN; {steps} PRAGMA user_version = {layout}; COMMIT;"
                ))
                .map_err(database)?;
        }
        let store = Self {
            connection,
            _lock: lock,
        };
        let view = store
            .load()
            .map_err(|source| OpenError::Content { path, source })?;
        Ok((store, view))
    }

    fn load(&self) -> Result<View, CatalogError> {
        Ok(View::of(Stored {
            operations: self.documents("SELECT document FROM operations ORDER BY number")?,
            backups: self.documents("SELECT document FROM backups")?,
            last_slots: self.documents("SELECT document FROM last_slots")?,
            pauses: self.documents("SELECT document FROM pauses")?,
            adoptions: self.documents("SELECT document FROM adoptions ORDER BY number")?,
            read_in: self
                .documents("SELECT document FROM facts WHERE name = 'read_in'")?
                .pop(),
        }))
    }

    fn documents<T: serde::de::DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, CatalogError> {
        let mut statement = self.connection.prepare(sql).map_err(CatalogError::Read)?;
        let rows = statement
            .query_map([], |row| row.get::<_, String>(0))
            .map_err(CatalogError::Read)?;
        rows.map(|row| Ok(serde_json::from_str(&row.map_err(CatalogError::Read)?)?))
            .collect()
    }

    /// Writes all of it or nothing, and deletes the operations that history forgets with it.
    pub(super) fn commit(
        &mut self,
        changes: &[Change],
        forgotten: &[u64],
    ) -> Result<(), CatalogError> {
        let transaction = self.connection.transaction().map_err(CatalogError::Write)?;
        for change in changes {
            write(&transaction, change)?;
        }
        for number in forgotten {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            transaction
                .execute("DELETE FROM operations WHERE number = ?1", [number])
                .map_err(CatalogError::Write)?;
        }
        transaction.commit().map_err(CatalogError::Write)
    }

    pub(super) fn contents(&self, attempt: &str) -> Result<Option<Contents>, CatalogError> {
        let sql = "SELECT document FROM contents WHERE attempt = ?1";
        let row: Option<String> = self
            .connection
            .query_row(sql, [attempt], |row| row.get(0))
            .optional()
            .map_err(CatalogError::Read)?;
        Ok(row.map(|text| serde_json::from_str(&text)).transpose()?)
    }

    pub(super) fn checkpoint(&self) -> Result<(), CatalogError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(CatalogError::Write)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit survives a power cut, not only a crash of ours.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

fn write(transaction: &rusqlite::Transaction<'_>, change: &Change) -> Result<(), CatalogError> {
    let run = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| {
        transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map_err(CatalogError::Write)
    };
    match change {
        Change::PutOperation(operation) => put_operation(transaction, operation)?,
        Change::PutBackup(backup) => {
            let document = serde_json::to_string(backup)?;
            run(
                "INSERT OR REPLACE INTO backups (name, document) VALUES (?1, ?2)",
                &[&backup.name.as_str(), &document],
            )?;
        }
        Change::PutContents(attempt, contents) => {
            let document = serde_json::to_string(contents)?;
            run(
                "INSERT OR REPLACE INTO contents (attempt, document) VALUES (?1, ?2)",
                &[&attempt.as_str(), &document],
            )?;
        }
        Change::DropContents(attempt) => {
            run(
                "DELETE FROM contents WHERE attempt = ?1",
                &[&attempt.as_str()],
            )?;
        }
        Change::PutPause(schedule, Some(pause)) => {
            let document = serde_json::to_string(&(schedule, pause))?;
            run(
                "INSERT OR REPLACE INTO pauses (schedule, document) VALUES (?1, ?2)",
                &[&schedule.as_str(), &document],
            )?;
        }
        Change::PutPause(schedule, None) => {
            run(
                "DELETE FROM pauses WHERE schedule = ?1",
                &[&schedule.as_str()],
            )?;
        }
        Change::ForgetBackup(name) => {
            run("DELETE FROM backups WHERE name = ?1", &[&name.as_str()])?;
        }
        Change::PutAdoption(adoption) => {
            let document = serde_json::to_string(adoption)?;
            run("INSERT INTO adoptions (document) VALUES (?1)", &[&document])?;
        }
        Change::ReadIn(at) => {
            let document = serde_json::to_string(at)?;
            run(
                "INSERT OR REPLACE INTO facts (name, document) VALUES ('read_in', ?1)",
                &[&document],
            )?;
        }
        Change::PutLastSlot(schedule, last) => {
            let document = serde_json::to_string(&(schedule, last))?;
            run(
                "INSERT OR REPLACE INTO last_slots (schedule, document) VALUES (?1, ?2)",
                &[&schedule.as_str(), &document],
            )?;
        }
    }
    Ok(())
}

/// Not `INSERT OR REPLACE`: that would delete the other row of a doubled slot instead of failing.
fn put_operation(
    transaction: &rusqlite::Transaction<'_>,
    operation: &Operation,
) -> Result<(), CatalogError> {
    let (schedule, slot, run) = match &operation.trigger {
        Trigger::Schedule {
            schedule,
            slot,
            run,
        } => (Some(schedule.as_str()), Some(slot.to_string()), Some(*run)),
        Trigger::Client | Trigger::Daemon => (None, None, None),
    };
    let sql = "INSERT INTO operations (number, id, schedule, slot, run, document)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (number) DO UPDATE SET document = excluded.document";
    let number = i64::try_from(operation.number).unwrap_or(i64::MAX);
    let parameters = params![
        number,
        operation.id.to_string(),
        schedule,
        slot,
        run,
        serde_json::to_string(operation)?
    ];
    transaction
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(parameters))
        .map_err(CatalogError::Write)?;
    Ok(())
}
