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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backup::Backup;
    use crate::catalog::{Catalog, Change, Decision, Settings};
    use crate::worker::testing::{at, backup, name, place};

    /// What is remembered of a name.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Known {
        Nothing,
        Visible,
        Elsewhere,
        Gone,
        Deleting,
    }

    fn record(text: &str, known: Known) -> Option<Backup> {
        let mut record = backup(text, "2026-11-01T02:00:00Z");
        match known {
            Known::Nothing => return None,
            Known::Visible => {}
            Known::Elsewhere => record.place = Place::Disk("another".to_owned()),
            Known::Gone => record.gone_since = Some(at("2026-11-02T02:00:00Z")),
            Known::Deleting => {
                record.deleting = Some(crate::backup::Deleting {
                    operation: uuid::Uuid::nil(),
                    since: at("2026-11-02T02:00:00Z"),
                });
            }
        }
        Some(record)
    }

    async fn view(records: Vec<Backup>) -> std::sync::Arc<View> {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            dir: dir.path().to_owned(),
        };
        let catalog = Catalog::open(&settings).unwrap();
        let put = |record| Change::PutBackup(Box::new(record));
        let changes = records.into_iter().map(put).collect();
        let decide = |_: &View| Decision {
            changes,
            answer: (),
        };
        catalog.write(decide).await.unwrap();
        catalog.view()
    }

    fn known() -> impl Strategy<Value = Known> {
        prop_oneof![
            Just(Known::Nothing),
            Just(Known::Visible),
            Just(Known::Elsewhere),
            Just(Known::Gone),
            Just(Known::Deleting)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_name_means_one_thing(cases in proptest::collection::vec((known(), any::<[bool; 3]>()), 0..8)) {
            let names: Vec<_> = (0..cases.len()).map(|n| name(&format!("b{n}"))).collect();
            let cases: Vec<_> = names.iter().zip(cases).collect();
            let records = cases.iter().filter_map(|(name, (known, _))| record(name.as_str(), *known)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let view = runtime.block_on(view(records));
            let chosen = |which: usize| cases.iter().filter(move |(_, (_, has))| has[which]).map(|(name, _)| (*name).clone());
            let listing = Listing {
                folders: chosen(0).map(String::from).collect(),
                sidecars: chosen(1).map(|name| (name, Timestamp::UNIX_EPOCH)).collect(),
            };
            let busy: BTreeSet<_> = chosen(2).collect();
            let found = compare(&view, &listing, &busy, &place());
            prop_assert!(found.strange.is_empty());
            for (name, (known, [has_folder, has_sidecar, is_busy])) in &cases {
                let wanted = match (known, has_folder, has_sidecar) {
                    _ if *is_busy => "",
                    (Known::Nothing, true, _) => "unknown",
                    (Known::Nothing, false, true) => "orphan",
                    (Known::Gone, true, _) => "back",
                    (Known::Visible, false, _) => "gone",
                    _ => "",
                };
                let lists = [("unknown", &found.unknown), ("orphan", &found.orphans), ("back", &found.back), ("gone", &found.gone)];
                for (word, list) in lists {
                    prop_assert_eq!(list.contains(name), word == wanted, "{} {:?} {}", name, known, word);
                }
            }
        }
    }

    #[tokio::test]
    async fn what_the_server_writes_in_our_place_is_busy() {
        let row = |destination: &str, is_restore| RunningRow {
            id: String::new(),
            destination: destination.to_owned(),
            base: None,
            is_restore,
        };
        let rows = [
            row("Disk('s3_backup', 'one')", false),
            row("Disk('s3_backup', 'two')", true),
            row("Disk('another', 'three')", false),
            row("File('four')", false),
        ];
        let busy = busy(&*view(Vec::new()).await, &rows, &place());
        assert_eq!(busy, BTreeSet::from([name("one")]));
    }

    #[test]
    fn no_folder_is_strange_twice_and_our_files_are_told_apart() {
        let file = |name: &str| OwnFile {
            name: name.to_owned(),
            modified: Timestamp::UNIX_EPOCH,
        };
        let folders = BTreeSet::from(["ok".to_owned(), "not ok".to_owned(), "ü".to_owned()]);
        let listing = Listing::new(folders, &[file("state.json"), file("ok.json"), file("x")]);
        assert_eq!(listing.sidecars.keys().collect::<Vec<_>>(), [&name("ok")]);
        let found = compare(&View::default(), &listing, &BTreeSet::new(), &place());
        assert_eq!(
            (found.unknown, found.strange),
            (vec![name("ok")], vec!["not ok".to_owned(), "ü".to_owned()])
        );
    }
}
