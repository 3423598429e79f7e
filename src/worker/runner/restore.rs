//! Preparing a `RESTORE`: which tables it means, and what stands in their way.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::prepare::{Clearing, NotReady, Prepared, target};
use crate::backup::{BackupName, Contents, Place};
use crate::catalog::CatalogError;
use crate::clickhouse::{self, Error, ExistingTable, RestorePlan};
use crate::operation::{Attempt, Delivery, Existing, Failure, FailureKind, Operation, RestoreWork};
use crate::worker::Worker;

/// Tables named in one message at most.
const NAMED_MAX_TABLES: usize = 10;

/// What a restore means, before anybody looks at what is in its way.
#[derive(Debug)]
pub(in crate::worker) struct Meaning {
    /// The backup that is read, by its name in the destination.
    pub backup: BackupName,
    /// Where that lies.
    pub place: Place,
    /// When it was made, where we know it.
    pub created_at: Option<Timestamp>,
    /// The elements and their targets.
    pub plan: RestorePlan,
    contents: Option<Contents>,
    /// The backup holds definitions only.
    structure_only: bool,
}

/// What a restore would meet on the server.
#[derive(Debug, Default)]
pub(in crate::worker) struct Survey {
    /// Databases that table-wise restores write into and that do not exist.
    pub create_databases: Vec<String>,
    /// Tables that are there already under the names of its targets.
    pub in_the_way: Vec<ExistingTable>,
}

impl Worker {
    /// Prepares an attempt of a restore.
    pub(super) async fn prepare_restore(
        &self,
        operation: &Operation,
        work: &RestoreWork,
        again: Option<&Attempt>,
    ) -> Result<Prepared, NotReady> {
        let meaning = self.meaning(work).await?;
        let meaning = meaning.map_err(NotReady::Impossible)?;
        let (server, _) = self.0.client.server().await?;
        // A statement that may have been sent was cleared for already: a second clearing could drop
        // tables that the restore is filling.
        let clearing = match again {
            Some(attempt) if attempt.delivery != Delivery::NotSent => Clearing::default(),
            _ => {
                let survey = self.survey(&meaning).await?;
                clearing(work, &meaning, survey).map_err(NotReady::Impossible)?
            }
        };
        let Meaning {
            backup,
            place,
            plan,
            ..
        } = meaning;
        let mut notes = left_out_notes(&plan);
        notes.extend((backup != work.backup).then(|| {
            format!(
                "{} was written as {backup}, because a dead attempt had blocked the name",
                work.backup
            )
        }));
        let mut attempt = again
            .cloned()
            .unwrap_or_else(|| self.attempt(operation, backup, place, server));
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
            notes,
        })
    }

    /// Which backup a restore reads, and which tables it means. The inner error is final.
    pub(in crate::worker) async fn meaning(
        &self,
        work: &RestoreWork,
    ) -> Result<Result<Meaning, Failure>, CatalogError> {
        let view = self.0.catalog.view();
        let found = view.backup(&work.backup);
        if found.is_none()
            && let Some(record) = view.record(&work.backup)
            && record.deleting.is_some()
        {
            let text = format!("the backup {} is being removed", work.backup);
            return Ok(Err(Failure::new(FailureKind::NotFound, text)));
        }
        let contents = match found {
            Some(found) => self.0.catalog.contents(&found.attempt).await?,
            None => None,
        };
        // Not known here says nothing about the destination: ClickHouse decides.
        let (backup, place) = found.map_or_else(
            || (work.backup.clone(), self.0.place.clone()),
            |found| (found.name.clone(), found.place.clone()),
        );
        let created_at = found.map(|found| found.created_at);
        let structure_only = found.is_some_and(|found| found.structure_only);
        let plan = clickhouse::restore_plan(work, contents.as_ref());
        Ok(plan.map(|plan| Meaning {
            backup,
            place,
            created_at,
            plan,
            contents,
            structure_only,
        }))
    }

    /// What the server has under the names of the targets.
    pub(in crate::worker) async fn survey(&self, meaning: &Meaning) -> Result<Survey, Error> {
        let plan = &meaning.plan;
        let mut survey = Survey::default();
        if !plan.into_databases.is_empty() {
            let found = self.0.client.databases().await?;
            let missing = plan
                .into_databases
                .iter()
                .filter(|name| !found.contains(name));
            survey.create_databases = missing.cloned().collect();
        }
        let Some(targets) = &plan.targets else {
            return Ok(survey);
        };
        let names: BTreeSet<(&str, &str)> = targets
            .iter()
            .map(|t| (t.into_database.as_str(), t.into_name.as_str()))
            .collect();
        let databases: BTreeSet<String> = names
            .iter()
            .map(|(database, _)| (*database).to_owned())
            .collect();
        survey.in_the_way = self.0.client.existing_tables(&databases).await?;
        survey
            .in_the_way
            .retain(|found| names.contains(&(found.database.as_str(), found.name.as_str())));
        Ok(survey)
    }
}

/// What is done before the statement, or why the restore is refused.
pub(in crate::worker) fn clearing(
    work: &RestoreWork,
    meaning: &Meaning,
    survey: Survey,
) -> Result<Clearing, Failure> {
    let mut clearing = Clearing {
        create_databases: survey.create_databases,
        ..Clearing::default()
    };
    let Some(contents) = &meaning.contents else {
        return Ok(clearing);
    };
    match work.existing {
        Existing::Refuse if !work.structure_only => refuse_rows(&survey.in_the_way)?,
        Existing::Refuse | Existing::Append => {}
        Existing::Drop => {
            if meaning.structure_only && !work.structure_only {
                refuse_rows_for_nothing(&survey.in_the_way)?;
            }
            clearing.probe = contents
                .tables
                .iter()
                .map(|table| table.database.clone())
                .collect();
            refuse_needed(&survey.in_the_way)?;
            clearing.drop = dependents_first(survey.in_the_way);
        }
    }
    Ok(clearing)
}

/// What is not restored although it was chosen, for the history.
fn left_out_notes(plan: &RestorePlan) -> Vec<String> {
    let named = plan.left_out.iter().take(NAMED_MAX_TABLES);
    named
        .map(|left_out| {
            let from = &left_out.table.from;
            format!(
                "left out {}.{}: {}",
                from.database, from.name, left_out.reason
            )
        })
        .collect()
}

fn refuse_rows(in_the_way: &[ExistingTable]) -> Result<(), Failure> {
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
    Err(Failure::new(FailureKind::NonEmptyTarget, text))
}

/// Rows would be dropped, and none come back.
fn refuse_rows_for_nothing(to_drop: &[ExistingTable]) -> Result<(), Failure> {
    let rows: u64 = to_drop.iter().filter_map(|found| found.total_rows).sum();
    if rows == 0 {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::NonEmptyTarget,
        format!(
            "this backup holds definitions only: {rows} rows would be dropped, and none come back; \
             where that is meant, ask for definitions only (schema)"
        ),
    ))
}

/// A table that something else needs would be refused in the middle of the dropping.
fn refuse_needed(to_drop: &[ExistingTable]) -> Result<(), Failure> {
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
    needed.map_or(Ok(()), |text| {
        Err(Failure::new(FailureKind::NonEmptyTarget, text))
    })
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
