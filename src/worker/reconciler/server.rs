//! Comparing what the server runs with what we remember: attempts of ours that are not in the
//! catalog are taken up again, before anything is begun.

use std::sync::Arc;

use crate::backup::{BackupName, Place, Scope};
use crate::catalog::{Change, Decision, View};
use crate::clickhouse::Adoptable;
use crate::operation::{
    Attempt, AttemptOrigin, BackupWork, Delivery, Event, Existing, Failure, Limits, Operation,
    OperationId, RestoreWork, Server, Trigger, Work,
};
use crate::worker::{JournalError, Worker};

impl Worker {
    /// Looks for attempts of ours and records those that are not known. The inner error is
    /// an answer that did not come.
    pub(in crate::worker) async fn adopt(&self) -> Result<Result<(), Failure>, JournalError> {
        let (look, found) = match self.0.client.adoptable().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error.failure("looking for what runs already"))),
        };
        for running in found {
            let id = running.id.clone();
            if let Some(operation) = self.adopt_one(running, look.server.clone()).await? {
                tracing::warn!(operation.id = %operation.id, attempt.id = %id, "found on the server and taken up again");
            }
        }
        if let Err(error) = self.0.client.drop_left_probes().await {
            tracing::warn!("dropping what earlier probes have left: {error}");
        }
        Ok(Ok(()))
    }

    async fn adopt_one(
        &self,
        running: Adoptable,
        server: Server,
    ) -> Result<Option<Operation>, JournalError> {
        let limits = self.client_limits();
        let now = self.0.clock.now();
        let decide = move |view: &View| {
            let adopted = adopted(view, &running, server, limits, now);
            let changes = adopted
                .iter()
                .map(|operation| Change::PutOperation(Box::new(operation.clone())))
                .collect();
            Decision {
                changes,
                answer: adopted,
            }
        };
        Ok(self.0.catalog.write(decide).await?)
    }
}

/// The operation that a running attempt belongs to; `None` where it is known, or is no work we can tell.
fn adopted(
    view: &View,
    running: &Adoptable,
    server: Server,
    limits: Limits,
    now: jiff::Timestamp,
) -> Option<Operation> {
    let (place, name) = parse_destination(&running.destination)?;
    let (id, trigger, number) = match &running.origin {
        AttemptOrigin::Slot {
            schedule,
            slot,
            number,
        } => (
            OperationId::of_slot(schedule, *slot),
            Trigger::Schedule {
                schedule: schedule.clone(),
                slot: *slot,
                run: 1,
            },
            *number,
        ),
        AttemptOrigin::Client { operation, number } => (*operation, Trigger::Client, *number),
    };
    let mut same_work = runs(view, &running.origin, id);
    let has_attempt = |operation: &&Arc<Operation>| {
        operation
            .attempts
            .iter()
            .any(|attempt| attempt.id == running.id)
    };
    if same_work.clone().any(|operation| has_attempt(&operation)) {
        return None;
    }
    let operation = match same_work.next() {
        Some(latest) => latest.as_ref().clone(),
        None => {
            let (work, command) = work(running, &name);
            let mut operation =
                Operation::new(id, trigger, work, command, limits, running.started_at);
            operation.number = view.next_number();
            operation.attempts_before = number.saturating_sub(1);
            operation.notes.push(
                "found running on the ClickHouse server; what was asked for is not known any more"
                    .to_owned(),
            );
            operation
        }
    };
    let attempt = Attempt {
        id: running.id.clone(),
        backup: name,
        place,
        started_at: running.started_at,
        ended_at: None,
        delivery: Delivery::Accepted,
        server: Some(server.clone()),
        tables: None,
        bytes_expected: None,
        manifest: None,
        is_cleared: false,
        failure: None,
    };
    let begun = operation.apply(Event::Begun(Box::new(attempt)), now).ok()?;
    begun.apply(Event::Accepted(server), now).ok()
}

/// Operations that an attempt of this origin can belong to, newest first: the runs of its slot.
fn runs<'a>(
    view: &'a View,
    origin: &'a AttemptOrigin,
    id: OperationId,
) -> impl Iterator<Item = &'a Arc<Operation>> + Clone {
    view.operations()
        .rev()
        .filter(move |operation| match origin {
            AttemptOrigin::Slot { schedule, slot, .. } => {
                operation.schedule() == Some(schedule) && operation.slot() == Some(*slot)
            }
            AttemptOrigin::Client { .. } => operation.id == id,
        })
}

fn work(running: &Adoptable, name: &BackupName) -> (Work, String) {
    if running.is_restore {
        let work = RestoreWork {
            backup: name.clone(),
            tables: Vec::new(),
            database_mapping: Vec::new(),
            table_mapping: Vec::new(),
            structure_only: false,
            existing: Existing::Refuse,
        };
        (Work::Restore(work), format!("restore {name}"))
    } else {
        let work = BackupWork {
            name: name.clone(),
            scope: Scope::everything(),
            base: None,
            increments: None,
            kind_reason: None,
        };
        (Work::Backup(work), format!("create {name}"))
    }
}

/// Reads `Disk('s3_backup', '2026-11-22')` or `S3(backups, '2026-11-22')`, as `system.backups.name`
/// shows it; names that need escapes are not ours.
pub(in crate::worker) fn parse_destination(text: &str) -> Option<(Place, BackupName)> {
    let (kind, arguments) = text.strip_suffix(')')?.split_once('(')?;
    let (place, name) = arguments.split_once(", ")?;
    let unquoted = |text: &str| Some(text.strip_prefix('\'')?.strip_suffix('\'')?.to_owned());
    let place = match kind {
        "Disk" => Place::Disk(unquoted(place)?),
        "S3" => Place::Collection(place.trim_matches('`').to_owned()),
        _ => return None,
    };
    Some((place, BackupName::parse(&unquoted(name)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_as_the_server_shows_it() {
        let name = BackupName::parse("2026-11-22").unwrap();
        assert_eq!(
            parse_destination("Disk('s3_backup', '2026-11-22')"),
            Some((Place::Disk("s3_backup".into()), name.clone()))
        );
        assert_eq!(
            parse_destination("S3(backups, '2026-11-22')"),
            Some((Place::Collection("backups".into()), name))
        );
        for other in [
            "",
            "Null",
            "File('x')",
            "Disk('s3_backup')",
            "Disk('d', '../x')",
        ] {
            assert_eq!(parse_destination(other), None, "{other}");
        }
    }
}
