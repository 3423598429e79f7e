//! Looking at and changing what a restore would write into.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::quote::{identifier, string, table};
use super::scope::Database;
use super::statement::location;
use super::{Client, Error};
use crate::backup::{BackupName, Place};

/// Databases that are attached for the moment of a probe; the first part is that of all our scratch databases.
const PROBE_PREFIX: &str = "_backupd_probe_";

/// A table that is in the way of a restore, or may be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExistingTable {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its engine.
    pub engine: String,
    /// Rows in it, where the engine tells.
    pub total_rows: Option<u64>,
    /// Tables and dictionaries that cannot be loaded without it: ClickHouse refuses to drop it while
    /// they are there (seen: code 630).
    pub needed_by: Vec<(String, String)>,
}

impl Client {
    /// Tables of these databases as they are now.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn existing_tables(
        &self,
        databases: &BTreeSet<String>,
    ) -> Result<Vec<ExistingTable>, Error> {
        let names: Vec<String> = databases.iter().map(|name| string(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.rows(&format!(
            "SELECT database, name, engine, total_rows,
                 arrayZip(loading_dependent_database, loading_dependent_table) AS needed_by
             FROM system.tables
             WHERE database IN ({}) AND NOT is_temporary AND NOT startsWith(name, '.inner') ORDER BY database, name",
            names.join(", ")
        ))
        .await
    }

    /// Names of the databases on the server.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn databases(&self) -> Result<Vec<String>, Error> {
        let found: Vec<Database> = self
            .rows("SELECT name, engine FROM system.databases")
            .await?;
        Ok(found.into_iter().map(|database| database.name).collect())
    }

    /// Makes a database where there is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        self.execute(&format!(
            "CREATE DATABASE IF NOT EXISTS {}",
            identifier(name)
        ))
        .await
    }

    /// Drops what probes of processes that died have left; they hold nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn drop_left_probes(&self) -> Result<(), Error> {
        for name in self
            .databases()
            .await?
            .iter()
            .filter(|name| name.starts_with(PROBE_PREFIX))
        {
            self.execute(&format!("DROP DATABASE IF EXISTS {}", identifier(name)))
                .await?;
        }
        Ok(())
    }

    /// Whether a database of a backup can be read, through all its bases: ClickHouse attaches it
    /// and refuses where the backup or one of its bases is not there (seen: code 599).
    /// The database engine `Backup` exists since 25.2; an older server answers with an error too.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn probe(
        &self,
        place: &Place,
        backup: &BackupName,
        database: &str,
    ) -> Result<(), Error> {
        let scratch = identifier(&format!("{PROBE_PREFIX}{}", uuid::Uuid::new_v4().simple()));
        let engine = format!("Backup({}, {})", string(database), location(place, backup));
        self.execute(&format!("CREATE DATABASE {scratch} ENGINE = {engine}"))
            .await?;
        self.execute(&format!("DROP DATABASE IF EXISTS {scratch}"))
            .await
    }

    /// Drops a table, view or dictionary, and waits until it is gone.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn drop_table(&self, existing: &ExistingTable) -> Result<(), Error> {
        let what = if existing.engine == "Dictionary" {
            "DICTIONARY"
        } else {
            "TABLE"
        };
        self.execute(&format!(
            "DROP {what} IF EXISTS {} SYNC",
            table(&existing.database, &existing.name)
        ))
        .await
    }
}
