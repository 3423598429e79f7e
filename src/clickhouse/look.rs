//! One query that tells where all our attempts stand, and on which server.

use jiff::Timestamp;
use serde::Deserialize;

use super::quote::string;
use super::scope::{SERVER_COLUMNS, ServerRow};
use super::{Client, Error, code};
use crate::operation::{
    AttemptId, AttemptOrigin, Failure, Look, Outcome, Progress, Row, RowStatus, Server,
};

/// A running attempt of ours found on a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoptable {
    /// Its id.
    pub id: AttemptId,
    /// What the id says.
    pub origin: AttemptOrigin,
    /// `system.backups.name`: the destination and the name, as in the statement.
    pub destination: String,
    /// A restore, not a backup.
    pub is_restore: bool,
    /// When the server began it.
    pub started_at: Timestamp,
}

/// A backup or a restore that runs on the server, whoever began it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningRow {
    /// Its id: ours, or whatever its sender chose.
    pub id: String,
    /// `system.backups.name`: the destination and the name, as in the statement.
    pub destination: String,
    /// The backup it is built on, in the same form.
    pub base: Option<String>,
    /// A restore, not a backup.
    pub is_restore: bool,
}

/// `base_backup_name` came with 24.1; an older server answers with this number for a name it does not
/// know (`UNKNOWN_IDENTIFIER`).
const UNKNOWN_IDENTIFIER: u32 = 47;

/// Columns of `system.backups` in a fixed order; by name, because newer servers have more.
const COLUMNS: &str = "id, name, toString(status), error, toInt64(toUnixTimestamp(start_time)), \
     toInt64(toUnixTimestamp(end_time)), num_files, total_size, compressed_size, files_read, bytes_read";

/// A row as an array of those columns.
#[derive(Debug, Deserialize)]
struct Columns(
    String,
    String,
    String,
    String,
    i64,
    i64,
    u64,
    u64,
    u64,
    u64,
    u64,
);

#[derive(Debug, Deserialize)]
struct RunningAnswer {
    found: Vec<(String, String, String, String)>,
}

#[derive(Debug, Deserialize)]
struct IdsAnswer {
    #[serde(flatten)]
    server: ServerRow,
    found: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(flatten)]
    server: ServerRow,
    found: Vec<Columns>,
}

impl Client {
    /// Looks at these attempts: one query, and the same answer tells which server gave it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn look(&self, attempts: &[&AttemptId]) -> Result<Look, Error> {
        let ids: Vec<String> = attempts.iter().map(|id| string(id.as_str())).collect();
        let answer = self.ask(&format!("id IN ({})", ids.join(", "))).await?;
        let rows = answer
            .found
            .iter()
            .filter_map(|columns| columns.as_row().transpose())
            .collect::<Result<_, _>>()?;
        Ok(Look {
            server: answer.server.try_into()?,
            rows,
        })
    }

    /// Attempts of ours that run on the server, whoever sent them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn adoptable(&self) -> Result<(Look, Vec<Adoptable>), Error> {
        let filter = format!(
            "startsWith(id, {}) AND status IN ('CREATING_BACKUP', 'RESTORING')",
            string(AttemptId::PREFIX)
        );
        let answer = self.ask(&filter).await?;
        let rows = answer
            .found
            .iter()
            .filter_map(|columns| columns.as_row().transpose())
            .collect::<Result<_, _>>()?;
        let found = answer
            .found
            .iter()
            .filter_map(Columns::as_adoptable)
            .collect();
        Ok((
            Look {
                server: answer.server.try_into()?,
                rows,
            },
            found,
        ))
    }

    /// Every backup and restore that runs on the server, ours or not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn running(&self) -> Result<Vec<RunningRow>, Error> {
        match self.running_with("base_backup_name").await {
            Err(Error::Refused { code, .. }) if code == UNKNOWN_IDENTIFIER => {
                self.running_with("''").await
            }
            answer => answer,
        }
    }

    async fn running_with(&self, base: &str) -> Result<Vec<RunningRow>, Error> {
        let sql = format!(
            "SELECT groupArray((id, name, {base}, toString(status))) AS found FROM system.backups \
             WHERE status IN ('CREATING_BACKUP', 'RESTORING')"
        );
        let answers: Vec<RunningAnswer> = self.rows(&sql).await?;
        let found = answers.into_iter().flat_map(|answer| answer.found);
        let row = |(id, destination, base, status): (String, String, String, String)| RunningRow {
            id,
            destination,
            base: Some(base).filter(|base| !base.is_empty()),
            is_restore: status == "RESTORING",
        };
        Ok(found.map(row).collect())
    }

    /// Which of these ids the server remembers as backups that it finished, and which server it is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn finished_backups(&self, ids: &[&str]) -> Result<(Server, Vec<String>), Error> {
        let ids: Vec<String> = ids.iter().map(|id| string(id)).collect();
        let sql = format!(
            "SELECT {SERVER_COLUMNS}, groupArray(id) AS found FROM system.backups \
             WHERE status = 'BACKUP_CREATED' AND id IN ({})",
            ids.join(", ")
        );
        let answers: Vec<IdsAnswer> = self.rows(&sql).await?;
        let answer = answers
            .into_iter()
            .next()
            .ok_or_else(|| Error::Answer("no row from system.backups".to_owned()))?;
        Ok((answer.server.try_into()?, answer.found))
    }

    /// Asks the server to end an attempt. It answers at once; the end shows in `system.backups`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn kill(&self, attempt: &AttemptId) -> Result<(), Error> {
        let id = string(attempt.as_str());
        self.execute(&format!("KILL QUERY WHERE query_id IN (SELECT query_id FROM system.backups WHERE id = {id}) ASYNC")).await
    }

    async fn ask(&self, filter: &str) -> Result<Answer, Error> {
        // An aggregate without GROUP BY gives one row even where nothing is found.
        let sql = format!(
            "SELECT {SERVER_COLUMNS}, groupArray(({COLUMNS})) AS found FROM system.backups WHERE {filter}"
        );
        let answers: Vec<Answer> = self.rows(&sql).await?;
        answers
            .into_iter()
            .next()
            .ok_or_else(|| Error::Answer("no row from system.backups".to_owned()))
    }
}

impl Columns {
    fn as_row(&self) -> Result<Option<Row>, Error> {
        let Self(id, _, status, error, _, end, files, bytes, written, files_read, bytes_read) =
            self;
        let Some((id, _)) = AttemptId::parse(id) else {
            return Ok(None);
        };
        let finished_at =
            || Timestamp::from_second(*end).map_err(|error| Error::Answer(error.to_string()));
        let is_restore = status.starts_with("RESTOR");
        let status = match status.as_str() {
            "CREATING_BACKUP" | "RESTORING" => RowStatus::Running,
            "BACKUP_CREATED" | "RESTORED" => {
                let bytes_written = if is_restore { 0 } else { *written };
                RowStatus::Finished(Outcome {
                    finished_at: finished_at()?,
                    files: *files,
                    bytes: *bytes,
                    bytes_written,
                })
            }
            "BACKUP_FAILED" | "RESTORE_FAILED" => RowStatus::Failed(Failure::new(
                code::kind_of_text(error),
                code::without_trace(error),
            )),
            "BACKUP_CANCELLED" | "RESTORE_CANCELLED" => RowStatus::Cancelled,
            other => {
                return Err(Error::Answer(format!(
                    "the status {other} in system.backups"
                )));
            }
        };
        // While a backup is made, its totals grow: they are what is done. A restore knows its totals.
        let progress = if is_restore {
            Progress {
                files_done: *files_read,
                files_total: *files,
                bytes_done: *bytes_read,
                bytes_total: *bytes,
            }
        } else {
            Progress {
                files_done: *files,
                files_total: 0,
                bytes_done: *bytes,
                bytes_total: 0,
            }
        };
        Ok(Some(Row {
            id,
            status,
            progress,
        }))
    }

    fn as_adoptable(&self) -> Option<Adoptable> {
        let (id, origin) = AttemptId::parse(&self.0)?;
        let started_at = Timestamp::from_second(self.4).ok()?;
        Some(Adoptable {
            id,
            origin,
            destination: self.1.clone(),
            is_restore: self.2 == "RESTORING",
            started_at,
        })
    }
}
