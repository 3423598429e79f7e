//! Saying what a restore would do, by the same decisions that the restore itself takes.

use jiff::Timestamp;

use super::Worker;
use super::runner::restore::{Meaning, Survey, clearing};
use crate::backup::{Backup, BackupName};
use crate::catalog::CatalogError;
use crate::clickhouse::{self, RestoredTable};
use crate::operation::{Existing, Failure, RestoreWork};

/// What a restore would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreCheck {
    /// The backup that would be read, by its name in the destination.
    pub backup: BackupName,
    /// When it was made, where that is known.
    pub created_at: Option<Timestamp>,
    /// The statement, without our id.
    pub statement: String,
    /// Databases that would be made first.
    pub create_databases: Vec<String>,
    /// What would happen to each table; `None` where the contents are not known.
    pub tables: Option<Vec<CheckedTable>>,
    /// Why it would be refused.
    pub refused: Option<Failure>,
}

/// What a restore would do with one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedTable {
    /// Where it comes from and goes.
    pub table: RestoredTable,
    /// What would happen there.
    pub action: Action,
    /// Why it is left out, where it is.
    pub reason: Option<String>,
    /// Rows that are there now.
    pub existing_rows: Option<u64>,
}

/// What a restore would do at the place of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing is there: it is made.
    Create,
    /// It is there, and rows are added to it, or it is empty.
    Fill,
    /// What is there is dropped first.
    Drop,
    /// What is there holds rows, and the restore is refused for it.
    Refuse,
    /// What is there stays as it is: only definitions are restored.
    Keep,
    /// It is not restored, although it was chosen.
    LeftOut,
}

/// A check that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// What is asked for means nothing.
    #[error("{}", .0.message)]
    Impossible(Failure),
    /// ClickHouse did not answer or refused to.
    #[error("{}", .0.message)]
    Server(Failure),
    /// Our memory failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Worker {
    /// What a restore would do now. Changes nothing.
    ///
    /// # Errors
    /// When it means nothing, or ClickHouse cannot be asked.
    pub async fn check_restore(&self, work: &RestoreWork) -> Result<RestoreCheck, CheckError> {
        let meaning = self.meaning(work).await?.map_err(CheckError::Impossible)?;
        let survey = self.survey(&meaning).await;
        let survey = survey.map_err(|error| {
            CheckError::Server(error.failure("looking at what the restore would meet"))
        })?;
        Ok(checked(work, &meaning, survey))
    }

    /// The statement that restores a whole backup with ClickHouse alone.
    ///
    /// # Errors
    /// When our memory cannot be read.
    pub async fn plain_restore(&self, backup: &Backup) -> Result<String, CatalogError> {
        let work = RestoreWork {
            backup: backup.name.clone(),
            tables: Vec::new(),
            database_mapping: Vec::new(),
            table_mapping: Vec::new(),
            structure_only: false,
            existing: Existing::Refuse,
        };
        let contents = self.0.catalog.contents(&backup.attempt).await?;
        // Contents without a single table restore nothing by name.
        let plan = clickhouse::restore_plan(&work, contents.as_ref())
            .or_else(|_| clickhouse::restore_plan(&work, None));
        Ok(plan.map_or_else(
            |failure| failure.message,
            |plan| clickhouse::plain_restore_statement(&backup.place, &backup.name, &plan, &work),
        ))
    }
}

fn checked(work: &RestoreWork, meaning: &Meaning, survey: Survey) -> RestoreCheck {
    let plan = &meaning.plan;
    let tables = plan.targets.as_ref().map(|targets| {
        let each = |table: &RestoredTable| {
            let existing = survey.in_the_way.iter().find(|found| {
                found.database == table.into_database && found.name == table.into_name
            });
            let existing_rows = existing.and_then(|found| found.total_rows);
            CheckedTable {
                table: table.clone(),
                action: action(work, existing.map(|found| found.total_rows)),
                reason: None,
                existing_rows,
            }
        };
        let left_out = plan.left_out.iter().map(|left_out| CheckedTable {
            table: left_out.table.clone(),
            action: Action::LeftOut,
            reason: Some(left_out.reason.clone()),
            existing_rows: None,
        });
        targets.iter().map(each).chain(left_out).collect()
    });
    RestoreCheck {
        backup: meaning.backup.clone(),
        created_at: meaning.created_at,
        statement: clickhouse::plain_restore_statement(&meaning.place, &meaning.backup, plan, work),
        create_databases: survey.create_databases.clone(),
        tables,
        refused: clearing(work, meaning, survey).err(),
    }
}

/// What happens to a table, given the rows of what is there.
fn action(work: &RestoreWork, existing: Option<Option<u64>>) -> Action {
    match (work.existing, existing) {
        (_, None) => Action::Create,
        (Existing::Drop, Some(_)) => Action::Drop,
        (_, Some(_)) if work.structure_only => Action::Keep,
        (Existing::Refuse, Some(Some(1..))) => Action::Refuse,
        (Existing::Refuse | Existing::Append, Some(_)) => Action::Fill,
    }
}
