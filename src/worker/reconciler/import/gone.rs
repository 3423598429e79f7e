//! Backups that are not there any more. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Imported;
use crate::backup::{Backup, BackupName};
use crate::catalog::{Change, View};
use crate::operation::AttemptId;

/// Records of backups that are gone, at most; the ones that are gone the longest are forgotten first.
pub const GONE_MAX_BACKUPS: usize = 1_000;

/// Marks backups whose folder is not there any more, and forgets those that are gone the longest.
///
/// `before` is the view that the listing was compared with: whatever changed since is left alone.
#[must_use]
pub fn vanished(
    before: &View,
    view: &View,
    gone: &[BackupName],
    busy: &BTreeSet<BackupName>,
    now: Timestamp,
) -> Imported {
    let mut imported = Imported::default();
    let unchanged =
        |name: &&BackupName| view.record(name) == before.record(name) && !busy.contains(*name);
    for record in gone
        .iter()
        .filter(unchanged)
        .filter_map(|name| view.record(name))
    {
        let mut record = record.clone();
        record.gone_since = Some(now);
        record.changed_at = now;
        imported.changes.push(Change::PutBackup(Box::new(record)));
    }
    let mut all: Vec<(Timestamp, &Backup)> = view
        .all_backups()
        .filter_map(|record| Some((record.gone_since?, record)))
        .collect();
    let excess = (all.len() + imported.changes.len()).saturating_sub(GONE_MAX_BACKUPS);
    all.sort_by_key(|(since, record)| (*since, record.created_at, record.number));
    for (_, record) in all.into_iter().take(excess) {
        imported.changes.extend(forgotten(record));
        imported.leftovers.push(record.name.clone());
    }
    imported
}

/// Everything of a record goes.
pub fn forgotten(record: &Backup) -> impl Iterator<Item = Change> {
    let attempt = AttemptId::parse(&record.attempt);
    let contents = attempt.map(|(attempt, _)| Change::DropContents(attempt));
    std::iter::once(Change::ForgetBackup(record.name.clone())).chain(contents)
}
