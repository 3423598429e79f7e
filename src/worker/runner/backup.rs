//! Preparing a `BACKUP`: what it contains, and the name it is written under.

use super::prepare::{Clearing, NotReady, Prepared, target};
use crate::backup::Contents;
use crate::catalog::View;
use crate::clickhouse;
use crate::operation::{Attempt, BackupWork, Operation, Work};
use crate::worker::Worker;

impl Worker {
    /// Prepares an attempt of a backup.
    pub(super) async fn prepare_backup(
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
        // One after the other: a user may be limited to one query at a time.
        let preflight = self.0.client.preflight().await?;
        let inventory = self.0.client.inventory().await;
        let (elements, mut contents) = preflight
            .resolve(&work.scope)
            .map_err(|error| NotReady::Impossible(error.into()))?;
        contents.inventory = Some(inventory);
        if work.scope.structure_only {
            // Their rows are not in it, and nobody may believe so.
            for table in &mut contents.tables {
                (table.rows, table.bytes) = (None, None);
            }
        }
        let fresh = || {
            self.attempt(
                operation,
                operation
                    .next_backup_name()
                    .unwrap_or_else(|| work.name.clone()),
                self.0.place.clone(),
                preflight.server,
            )
        };
        let mut attempt = again.cloned().unwrap_or_else(fresh);
        attempt.tables = u64::try_from(contents.tables.len()).ok();
        attempt.bytes_expected = bytes(&contents);
        let notes = (attempt.backup != work.name).then(|| {
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
            notes: notes.into_iter().collect(),
        })
    }
}

/// What the tables hold on the server's disk, as far as their engines tell.
fn bytes(contents: &Contents) -> Option<u64> {
    let known = contents.tables.iter().filter_map(|table| table.bytes);
    known.reduce(u64::saturating_add)
}

/// Whether a waiting backup may begin at all, given what exists.
pub(super) fn name_taken(view: &View, operation: &Operation) -> Option<String> {
    let Work::Backup(work) = &operation.work else {
        return None;
    };
    if view
        .record(&work.name)
        .is_some_and(|record| record.deleting.is_some())
    {
        return Some(format!(
            "the backup {} is being removed, and its name is taken until its last object is gone",
            work.name
        ));
    }
    let taken = view.backup(&work.name)?;
    Some(format!(
        "a backup named {} exists already, made {}",
        work.name, taken.created_at
    ))
}
