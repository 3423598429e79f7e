//! From an operation to the statement of its next attempt: reads only, decides everything.

use std::collections::BTreeSet;

use crate::backup::{BackupName, Contents, Place};
use crate::catalog::CatalogError;
use crate::clickhouse::{Error, ExistingTable, Target};
use crate::operation::{Attempt, Delivery, Failure, FailureKind, Operation, Server, Work};
use crate::worker::Worker;

/// An attempt that is ready to be recorded and sent.
#[derive(Debug)]
pub(super) struct Prepared {
    /// To be recorded before anything is done.
    pub attempt: Attempt,
    /// What the backup will hold; a restore writes none.
    pub contents: Option<Contents>,
    /// Done before the statement is sent, once the attempt is recorded.
    pub clearing: Clearing,
    /// The statement.
    pub statement: String,
    /// What the caller should know.
    pub notes: Vec<String>,
}

/// What a restore does to the server before its statement.
#[derive(Debug, Default)]
pub(in crate::worker) struct Clearing {
    /// Databases that table-wise restores write into and that do not exist.
    pub create_databases: Vec<String>,
    /// Tables that the caller asked to be dropped.
    pub drop: Vec<ExistingTable>,
    /// Databases of the backup that must be readable before anything is dropped.
    pub probe: BTreeSet<String>,
}

impl Clearing {
    /// Whether nothing has to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.create_databases.is_empty() && self.drop.is_empty() && self.probe.is_empty()
    }
}

/// Why no attempt can begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    /// ClickHouse did not answer or refused to.
    #[error(transparent)]
    Server(#[from] Error),
    /// What is asked for cannot be done; no retry changes that.
    #[error("{}", .0.message)]
    Impossible(Failure),
    /// Our memory failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Worker {
    /// Prepares the next attempt of a waiting operation.
    pub(super) async fn prepare(&self, operation: &Operation) -> Result<Prepared, NotReady> {
        self.prepare_as(operation, None).await
    }

    /// Prepares an attempt again that is recorded, and whose statement did not arrive.
    pub(super) async fn prepare_again(
        &self,
        operation: &Operation,
        attempt: &Attempt,
    ) -> Result<Prepared, NotReady> {
        self.prepare_as(operation, Some(attempt)).await
    }

    async fn prepare_as(
        &self,
        operation: &Operation,
        again: Option<&Attempt>,
    ) -> Result<Prepared, NotReady> {
        match &operation.work {
            Work::Backup(work) => self.prepare_backup(operation, work, again).await,
            Work::Restore(work) => self.prepare_restore(operation, work, again).await,
            Work::Verify(_) | Work::Delete(_) => Err(NotReady::Impossible(Failure::new(
                FailureKind::Unknown,
                "this is no work for the ClickHouse server",
            ))),
        }
    }

    /// The record of a new attempt.
    pub(super) fn attempt(
        &self,
        operation: &Operation,
        backup: BackupName,
        place: Place,
        server: Server,
    ) -> Attempt {
        Attempt {
            id: operation.next_attempt_id(),
            backup,
            place,
            started_at: self.0.clock.now(),
            ended_at: None,
            delivery: Delivery::NotSent,
            server: Some(server),
            tables: None,
            bytes_expected: None,
            manifest: None,
            is_cleared: false,
            failure: None,
        }
    }
}

/// What the statement of an attempt is about.
pub(super) fn target(attempt: &Attempt) -> Target<'_> {
    Target {
        attempt: &attempt.id,
        place: &attempt.place,
        backup: &attempt.backup,
    }
}
