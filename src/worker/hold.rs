//! What must not be removed now: a pure function of the catalog and of what runs on the server.
//!
//! An operation holds from the moment it is asked for, not only from its first attempt: a backup that
//! somebody is about to restore stays.

use jiff::{SignedDuration, Timestamp};

use super::reconciler::parse_destination;
use crate::backup::{self, BackupName};
use crate::catalog::View;
use crate::clickhouse::RunningRow;
use crate::operation::{FailureKind, Operation, Selection, State, Work};
use crate::retention::Holds;

/// An attempt whose end ClickHouse never confirmed may still run; so long its holds stay.
const UNCONFIRMED_HOLDS: SignedDuration = SignedDuration::from_hours(24);

/// Everything that is held, and by what, in words.
///
/// `running` is what `system.backups` says is at work, ours or not.
pub(super) fn holds(view: &View, running: &[RunningRow], now: Timestamp) -> Holds {
    let mut holds = Holds::new();
    for operation in view
        .operations()
        .filter(|operation| may_work(operation, now))
    {
        let id = operation.id;
        match &operation.work {
            Work::Backup(work) => {
                let why = format!("operation {id} is writing it");
                hold(&mut holds, &work.name, &why);
                if let Some(attempt) = operation.attempt() {
                    hold(&mut holds, &attempt.backup, &why);
                }
                if let Some(base) = &work.base {
                    let why = format!("operation {id} is building {} on it", work.name);
                    hold_chain(&mut holds, view, base, &why);
                }
            }
            Work::Restore(work) => {
                let why = format!("operation {id} is restoring {}", work.backup);
                hold_chain(&mut holds, view, &work.backup, &why);
            }
            Work::Verify(work) => {
                let why = |name: &BackupName| format!("operation {id} is proving {name}");
                if let Selection::One(name) = &work.selection {
                    hold_chain(&mut holds, view, name, &why(name));
                }
                for item in operation.items.iter().filter(|item| !item.is_finished()) {
                    hold_chain(&mut holds, view, &item.backup, &why(&item.backup));
                }
            }
            Work::Delete(_) => {}
        }
    }
    for row in running {
        let why = match row.is_restore {
            true => format!("the ClickHouse server is restoring it (id {})", row.id),
            false => format!("the ClickHouse server is writing it (id {})", row.id),
        };
        for (text, why) in [
            (Some(&row.destination), why),
            (
                row.base.as_ref(),
                format!("the ClickHouse server is building on it (id {})", row.id),
            ),
        ] {
            let named = text.and_then(|text| parse_destination(text));
            if let Some((_, name)) = named {
                hold_chain(&mut holds, view, &name, &why);
            }
        }
    }
    holds
}

/// Whether an attempt of it may be at work, now or soon.
fn may_work(operation: &Operation, now: Timestamp) -> bool {
    if !operation.state.is_terminal() {
        return true;
    }
    // Its end was asked for, and never confirmed.
    operation.state == State::Failed
        && operation.cancel_asked_at.is_some()
        && operation
            .failure
            .as_ref()
            .is_some_and(|failure| failure.kind == FailureKind::Unknown)
        && operation
            .finished_at
            .is_some_and(|end| now.duration_since(end) < UNCONFIRMED_HOLDS)
}

fn hold(holds: &mut Holds, name: &BackupName, why: &str) {
    let reasons = holds.entry(name.clone()).or_default();
    if !reasons.iter().any(|reason| reason == why) {
        reasons.push(why.to_owned());
    }
}

/// Holds what a name means, and everything that it is built on.
fn hold_chain(holds: &mut Holds, view: &View, name: &BackupName, why: &str) {
    hold(holds, name, why);
    let Some(first) = view.record(name).or_else(|| view.backup(name)) else {
        return;
    };
    let mut link = Some(first);
    // A ring is possible in a forged manifest only; its length is bounded by what exists.
    for _ in 0..=view.all_backups().count() {
        let Some(backup) = link else { return };
        hold(holds, &backup.name, why);
        link = backup.base.as_ref().and_then(|base| view.record(base));
    }
}

/// The names of a backup and of everything it is built on, for the destination.
pub(super) fn chain_names(
    view: &View,
    name: &BackupName,
) -> Result<Vec<String>, backup::ChainError> {
    let Some(first) = view.record(name) else {
        return Ok(vec![name.to_string()]);
    };
    let chain = backup::chain(|name| view.record(name), first)?;
    Ok(chain.iter().map(|link| link.name.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{Backup, BackupKind};
    use crate::catalog::Change;
    use crate::worker::testing::{at, backup, name, view};

    fn chain() -> Vec<Change> {
        let above = |text: &str, base: &str| Backup {
            kind: BackupKind::Incremental,
            base: Some(name(base)),
            ..backup(text, "2026-11-21T02:00:00Z")
        };
        let full = backup("full", "2026-11-20T02:00:00Z");
        [
            full,
            above("one", "full"),
            above("two", "one"),
            backup("alone", "2026-11-21T02:00:00Z"),
        ]
        .map(|backup| Change::PutBackup(Box::new(backup)))
        .into()
    }

    fn row(destination: &str, base: Option<&str>, is_restore: bool) -> RunningRow {
        RunningRow {
            id: "by-hand".to_owned(),
            destination: destination.to_owned(),
            base: base.map(str::to_owned),
            is_restore,
        }
    }

    fn held(rows: &[RunningRow]) -> Vec<String> {
        let holds = holds(&view(chain()), rows, at("2026-11-22T12:00:00Z"));
        holds.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_others_do_on_the_server_holds_the_whole_chain() {
        assert_eq!(held(&[]), Vec::<String>::new());
        let restore = row("Disk('s3_backup', 'two')", None, true);
        assert_eq!(held(&[restore]), ["full", "one", "two"]);
        let increment = row(
            "Disk('s3_backup', 'new')",
            Some("Disk('s3_backup', 'one')"),
            false,
        );
        assert_eq!(held(&[increment]), ["full", "new", "one"]);
    }

    #[test]
    fn a_ring_of_bases_holds_its_members_and_ends() {
        let on = |text: &str, base: &str| {
            Change::PutBackup(Box::new(Backup {
                base: Some(name(base)),
                ..backup(text, "2026-11-21T02:00:00Z")
            }))
        };
        let view = view(vec![on("a", "b"), on("b", "a")]);
        let rows = [row("Disk('s3_backup', 'a')", None, true)];
        let holds = holds(&view, &rows, at("2026-11-22T12:00:00Z"));
        assert_eq!(holds.len(), 2);
        assert!(chain_names(&view, &name("a")).is_err());
    }
}
