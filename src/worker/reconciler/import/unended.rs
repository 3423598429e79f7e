//! Removals that nobody works on any more. Pure.

use std::collections::BTreeSet;

use super::gone::forgotten;
use super::{History, Imported, Terms};
use crate::backup::{Backup, BackupName, Deleting};
use crate::catalog::{Change, View};
use crate::operation::{
    DeleteCause, DeleteWork, Item, ItemState, Operation, OperationId, Trigger, Work,
};

/// Removals that nobody works on any more: one operation takes up those of which something is left, and
/// the rest is forgotten. `before` is the view that the listing of `folders` was compared with.
#[must_use]
pub fn unended(
    before: &View,
    view: &View,
    folders: &BTreeSet<String>,
    busy: &BTreeSet<BackupName>,
    terms: &Terms,
) -> Imported {
    let records = view.all_backups().filter(|record| {
        record.deleting.is_some()
            && record.place == terms.place
            && !busy.contains(&record.name)
            && before.record(&record.name) == Some(*record)
    });
    let (left, ended): (Vec<&Backup>, Vec<&Backup>) =
        records.partition(|record| folders.contains(record.name.as_str()));
    let mut imported = Imported::default();
    for record in ended {
        imported.changes.extend(forgotten(record));
        imported.leftovers.push(record.name.clone());
    }
    let left = left.into_iter().cloned().collect();
    resume(
        left,
        &History::new(view, &[], &[]),
        view,
        &[],
        terms,
        &mut imported,
    );
    imported
}

/// One operation takes up all of them.
pub(super) fn resume(
    backups: Vec<Backup>,
    history: &History<'_>,
    view: &View,
    before: &[Change],
    terms: &Terms,
    imported: &mut Imported,
) {
    let id = OperationId::of_client();
    let mut items = Vec::new();
    for mut backup in backups {
        let since = backup
            .deleting
            .as_ref()
            .map_or(terms.now, |deleting| deleting.since);
        let operation = history.removals.get(&backup.name);
        if operation.is_none() {
            let manifest = backup
                .manifest
                .as_ref()
                .map(|manifest| manifest.uuid.clone());
            let reason = format!("its removal began at {since} and did not end");
            let mut item = Item::new(backup.name.clone(), manifest, vec![reason]);
            // How far it came is not known: it is no whole backup any more.
            item.state = ItemState::Begun;
            items.push(item);
            imported.resumed.push(backup.name.clone());
        }
        let operation = operation.copied().unwrap_or(id).as_uuid();
        backup.deleting = Some(Deleting { operation, since });
        backup.changed_at = terms.now;
        imported.changes.push(Change::PutBackup(Box::new(backup)));
    }
    if items.is_empty() {
        return;
    }
    let work = Work::Delete(DeleteWork {
        cause: DeleteCause::Resumed,
    });
    let names: Vec<&str> = items.iter().map(|item| item.backup.as_str()).collect();
    let command = format!("delete {}", names.join(" "));
    let mut operation = Operation::new(id, Trigger::Daemon, work, command, terms.limits, terms.now);
    operation.number = next_number(view, before);
    operation.items = items;
    imported
        .changes
        .push(Change::PutOperation(Box::new(operation)));
}

fn next_number(view: &View, before: &[Change]) -> u64 {
    let imported = before.iter().filter_map(|change| match change {
        Change::PutOperation(operation) => Some(operation.number + 1),
        _ => None,
    });
    imported.fold(view.next_number(), u64::max)
}
