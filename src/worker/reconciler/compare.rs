//! What is in the destination, held against what we remember. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::backup::{BackupName, Place};
use crate::catalog::View;
use crate::clickhouse::RunningRow;
use crate::destination::OwnFile;
use crate::operation::Work;
use crate::worker::publisher::document::backup_of;

use super::server::parse_destination;

/// One listing of the destination.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Folders right below the prefix.
    pub folders: BTreeSet<String>,
    /// When the file of each backup was written.
    pub sidecars: BTreeMap<BackupName, Timestamp>,
}

/// What a listing says about our memory, and what has to be looked at to know more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Folders without a record.
    pub unknown: Vec<BackupName>,
    /// Folders of backups that were gone.
    pub back: Vec<BackupName>,
    /// Backups whose folder is not there any more.
    pub gone: Vec<BackupName>,
    /// Files of backups that have neither folder nor record.
    pub orphans: Vec<BackupName>,
    /// Folders that no backup can have: somebody else's.
    pub strange: Vec<String>,
}

impl Listing {
    /// Of what the destination listed.
    #[must_use]
    pub fn new(folders: BTreeSet<String>, files: &[OwnFile]) -> Self {
        let sidecar = |file: &OwnFile| Some((backup_of(&file.name)?, file.modified));
        Self {
            folders,
            sidecars: files.iter().filter_map(sidecar).collect(),
        }
    }

    /// Whether there is a folder of this name.
    #[must_use]
    pub fn has(&self, name: &BackupName) -> bool {
        self.folders.contains(name.as_str())
    }
}

/// Names that something is just writing or removing: what is seen of them means nothing yet.
#[must_use]
pub fn busy(view: &View, running: &[RunningRow], place: &Place) -> BTreeSet<BackupName> {
    let mut busy = BTreeSet::new();
    for operation in view.unfinished() {
        match &operation.work {
            Work::Backup(_) => {
                busy.extend(
                    operation
                        .attempts
                        .iter()
                        .map(|attempt| attempt.backup.clone()),
                );
            }
            Work::Delete(_) => {
                busy.extend(operation.items.iter().map(|item| item.backup.clone()));
            }
            Work::Restore(_) | Work::Verify(_) => {}
        }
    }
    for row in running.iter().filter(|row| !row.is_restore) {
        match parse_destination(&row.destination) {
            Some((at, name)) if at == *place => {
                busy.insert(name);
            }
            _ => {}
        }
    }
    busy
}

/// Compares.
///
/// `view` must be older than the listing: a backup that ended while it was made is then no vanished one.
#[must_use]
pub fn compare(
    view: &View,
    listing: &Listing,
    busy: &BTreeSet<BackupName>,
    place: &Place,
) -> Comparison {
    let mut comparison = Comparison::default();
    for folder in &listing.folders {
        let Ok(name) = BackupName::parse(folder) else {
            comparison.strange.push(folder.clone());
            continue;
        };
        match view.record(&name) {
            _ if busy.contains(&name) => {}
            None => comparison.unknown.push(name),
            Some(record) if record.gone_since.is_some() => comparison.back.push(name),
            Some(_) => {}
        }
    }
    let vanished = view.backups().filter(|record| {
        // What lies elsewhere is not seen through this view.
        record.place == *place && !listing.has(&record.name) && !busy.contains(&record.name)
    });
    comparison.gone = vanished.map(|record| record.name.clone()).collect();
    let orphans = listing
        .sidecars
        .keys()
        .filter(|name| !listing.has(name) && view.record(name).is_none() && !busy.contains(*name));
    comparison.orphans = orphans.cloned().collect();
    comparison
}
