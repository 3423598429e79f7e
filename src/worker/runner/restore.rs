//! Preparing a `RESTORE`: which tables it means, and what stands in their way.

use std::collections::BTreeSet;

use super::prepare::{Clearing, NotReady, Prepared, target};
use crate::backup::Contents;
use crate::clickhouse::{self, ExistingTable, RestorePlan};
use crate::operation::{Attempt, Delivery, Existing, Failure, FailureKind, Operation, RestoreWork};
use crate::worker::Worker;

/// Tables named in one message at most.
const NAMED_MAX_TABLES: usize = 10;

impl Worker {
    /// Prepares an attempt of a restore.
    pub(super) async fn prepare_restore(
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
                refuse_needed(&in_the_way)?;
                clearing.drop = dependents_first(in_the_way);
            }
        }
        Ok(clearing)
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

/// A table that something else needs would be refused in the middle of the dropping.
fn refuse_needed(to_drop: &[ExistingTable]) -> Result<(), NotReady> {
    let goes = |database: &str, name: &str| {
        to_drop
            .iter()
            .any(|other| other.database == database && other.name == name)
    };
    let needed = to_drop.iter().find_map(|found| {
        let (database, name) = found.needed_by.iter().find(|(database, name)| !goes(database, name))?;
        Some(format!(
            "{}.{} cannot be dropped, because {database}.{name} needs it; drop that first, or restore under another database name",
            found.database, found.name
        ))
    });
    match needed {
        Some(text) => Err(NotReady::Impossible(Failure::new(
            FailureKind::NonEmptyTarget,
            text,
        ))),
        None => Ok(()),
    }
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
