//! From an operation to the statement of its next attempt: reads only, decides everything.

use std::collections::BTreeSet;

use crate::backup::{BackupName, Contents, Place};
use crate::catalog::{CatalogError, View};
use crate::clickhouse::{self, Error, ExistingTable, RestorePlan, Target};
use crate::operation::{
    Attempt, BackupWork, Delivery, Existing, Failure, FailureKind, Operation, RestoreWork, Server,
    Work,
};

use super::Worker;

/// Tables named in one message at most.
const NAMED_MAX_TABLES: usize = 10;

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
    pub note: Option<String>,
}

/// What a restore does to the server before its statement.
#[derive(Debug, Default)]
pub(super) struct Clearing {
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
        }
    }

    async fn prepare_backup(
        &self,
        operation: &Operation,
        work: &BackupWork,
        again: Option<&Attempt>,
    ) -> Result<Prepared, NotReady> {
        let view = self.0.catalog.view();
        let base = work.base.as_ref();
        let base = base.map(|base| {
            view.backup(base)
                .map_or_else(|| base.clone(), |found| found.name.clone())
        });
        let preflight = self.0.client.preflight().await?;
        let (elements, contents) = preflight
            .resolve(&work.scope)
            .map_err(|error| NotReady::Impossible(error.into()))?;
        let fresh = || {
            self.attempt(
                operation,
                operation.next_backup_name(),
                self.0.place.clone(),
                preflight.server,
            )
        };
        let mut attempt = again.cloned().unwrap_or_else(fresh);
        attempt.tables = u64::try_from(contents.tables.len()).ok();
        let note = (attempt.backup != work.name).then(|| {
            let written = &attempt.backup;
            format!(
                "the name {} is blocked by a dead attempt, so the backup is written as {written}",
                work.name
            )
        });
        let statement = clickhouse::backup_statement(
            target(&attempt),
            &elements,
            base.as_ref(),
            work.scope.structure_only,
        );
        Ok(Prepared {
            attempt,
            contents: Some(contents),
            clearing: Clearing::default(),
            statement,
            note,
        })
    }

    async fn prepare_restore(
        &self,
        operation: &Operation,
        work: &RestoreWork,
        again: Option<&Attempt>,
    ) -> Result<Prepared, NotReady> {
        let view = self.0.catalog.view();
        let (name, place, contents) = match view.backup(&work.backup) {
            Some(found) => (
                found.name.clone(),
                found.place.clone(),
                self.0.catalog.contents(&found.attempt).await?,
            ),
            // Not known here says nothing about the destination: ClickHouse decides.
            None => (work.backup.clone(), self.0.place.clone(), None),
        };
        let plan =
            clickhouse::restore_plan(work, contents.as_ref()).map_err(NotReady::Impossible)?;
        let server = self.0.client.server().await?;
        // A statement that may have been sent was cleared for already: a second clearing could drop
        // tables that the restore is filling.
        let clearing = match again {
            Some(attempt) if attempt.delivery != Delivery::NotSent => Clearing::default(),
            _ => self.clearing(work, &plan, contents.as_ref()).await?,
        };
        let note = (name != work.backup).then(|| {
            format!(
                "{} was written as {name}, because a dead attempt had blocked the name",
                work.backup
            )
        });
        let mut attempt = again
            .cloned()
            .unwrap_or_else(|| self.attempt(operation, name, place, server));
        attempt.tables = plan
            .targets
            .as_ref()
            .and_then(|targets| u64::try_from(targets.len()).ok());
        let statement = clickhouse::restore_statement(target(&attempt), &plan, work);
        Ok(Prepared {
            attempt,
            contents: None,
            clearing,
            statement,
            note,
        })
    }

    /// What stands in the way of a restore, and what is therefore done, or why it is refused.
    async fn clearing(
        &self,
        work: &RestoreWork,
        plan: &RestorePlan,
        contents: Option<&Contents>,
    ) -> Result<Clearing, NotReady> {
        let mut clearing = Clearing::default();
        if !plan.into_databases.is_empty() {
            let found = self.0.client.databases().await?;
            clearing.create_databases = plan
                .into_databases
                .iter()
                .filter(|name| !found.contains(name))
                .cloned()
                .collect();
        }
        let (Some(targets), Some(contents)) = (&plan.targets, contents) else {
            return Ok(clearing);
        };
        let targets: BTreeSet<(&str, &str)> = targets
            .iter()
            .map(|t| (t.database.as_str(), t.name.as_str()))
            .collect();
        let databases: BTreeSet<String> = targets
            .iter()
            .map(|(database, _)| (*database).to_owned())
            .collect();
        let mut in_the_way = self.0.client.existing_tables(&databases).await?;
        in_the_way
            .retain(|found| targets.contains(&(found.database.as_str(), found.name.as_str())));
        match work.existing {
            Existing::Refuse if !work.structure_only => refuse_rows(&in_the_way)?,
            Existing::Refuse | Existing::Append => {}
            Existing::Drop => {
                clearing.probe = contents
                    .tables
                    .iter()
                    .map(|table| table.database.clone())
                    .collect();
                clearing.drop = dependents_first(in_the_way);
            }
        }
        Ok(clearing)
    }

    fn attempt(
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
            failure: None,
        }
    }
}

/// Whether a waiting backup may begin at all, given what exists.
pub(super) fn name_taken(view: &View, operation: &Operation) -> Option<String> {
    let Work::Backup(work) = &operation.work else {
        return None;
    };
    let taken = view.backup(&work.name)?;
    Some(format!(
        "a backup named {} exists already, made {}",
        work.name, taken.created_at
    ))
}

fn target(attempt: &Attempt) -> Target<'_> {
    Target {
        attempt: &attempt.id,
        place: &attempt.place,
        backup: &attempt.backup,
    }
}

fn refuse_rows(in_the_way: &[ExistingTable]) -> Result<(), NotReady> {
    let filled: Vec<String> = in_the_way
        .iter()
        .filter(|found| found.total_rows.is_some_and(|rows| rows > 0))
        .map(|found| {
            format!(
                "{}.{} ({} rows)",
                found.database,
                found.name,
                found.total_rows.unwrap_or_default()
            )
        })
        .collect();
    if filled.is_empty() {
        return Ok(());
    }
    let more = filled.len().saturating_sub(NAMED_MAX_TABLES);
    let mut text = format!(
        "the restore would write into tables that hold rows: {}",
        filled[..filled.len() - more].join(", ")
    );
    if more > 0 {
        text.push_str(&format!(", and {more} more"));
    }
    Err(NotReady::Impossible(Failure::new(
        FailureKind::NonEmptyTarget,
        text,
    )))
}

/// Dictionaries and views go before the tables that they read: ClickHouse refuses it the other way
/// round (`check_table_dependencies`).
fn dependents_first(mut tables: Vec<ExistingTable>) -> Vec<ExistingTable> {
    tables.sort_by_key(|found| match found.engine.as_str() {
        "Dictionary" => 0,
        engine if engine.ends_with("View") => 1,
        _ => 2,
    });
    tables
}
