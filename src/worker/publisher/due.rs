//! Which files have to be written. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::document::backup_of;
use crate::backup::{Backup, BackupName, Origin};
use crate::catalog::View;
use crate::destination::OwnFile;
use crate::operation::Work;
use crate::worker::ViewState;

/// The clock of the destination and ours may be apart by this.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Files that were written around the last change of their backup, by two clocks: which of the two came
/// first cannot be told. Only what changed just before the last process ended can be missing, so this
/// many of the latest changes are written again at start.
const DOUBTFUL_MAX: usize = 50;

/// What has to be written.
#[derive(Debug, Default)]
pub struct Due {
    /// The memory up to which `names` is complete.
    seen: Arc<View>,
    names: BTreeSet<BackupName>,
}

/// What may be written.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// Whether our view can be trusted.
    pub view: ViewState,
    /// When this process began: manifests that were read since were read through the view it has.
    pub started: Timestamp,
}

impl Allowed {
    /// Whether anything may be.
    #[must_use]
    pub fn anything(&self) -> bool {
        matches!(self.view, ViewState::Unbound | ViewState::Bound)
    }

    /// Whether `state.json` may be: an unbound view may show a stranger's bucket.
    #[must_use]
    pub fn state(&self) -> bool {
        self.view == ViewState::Bound
    }

    /// Whether the file of a backup may be.
    #[must_use]
    pub fn backup(&self, backup: &Backup) -> bool {
        let read_here = || {
            let manifest = backup.manifest.as_ref();
            manifest.is_some_and(|manifest| manifest.read_at >= self.started)
        };
        match self.view {
            ViewState::Bound => true,
            ViewState::Unbound => read_here(),
            ViewState::None | ViewState::NamesOnServer => false,
        }
    }
}

/// Whether a backup has a file: one that is ours does while it is there, another one when something is
/// known of it that its manifest does not tell. The file of one that is being removed belongs to the
/// removal.
#[must_use]
pub fn has_file(view: &View, backup: &Backup) -> bool {
    if backup.gone_since.is_some() {
        return false;
    }
    if backup.deleting.is_some() {
        let removes = |work: &Work| matches!(work, Work::Delete(_));
        return !view.unfinished().any(|operation| {
            removes(&operation.work)
                && operation
                    .items
                    .iter()
                    .any(|item| item.backup == backup.name)
        });
    }
    backup.origin != Origin::Foreign
        || backup.pinned.is_some()
        || !backup.proofs.is_empty()
        || backup.suspect.is_some()
}

impl Due {
    /// Compares the files that are there with what we remember, once, at start.
    pub fn start(&mut self, view: Arc<View>, files: &[OwnFile]) {
        let files: HashMap<BackupName, Timestamp> = files
            .iter()
            .filter_map(|file| Some((backup_of(&file.name)?, file.modified)))
            .collect();
        let mut doubtful: Vec<(Timestamp, &BackupName)> = Vec::new();
        for backup in view.all_backups().filter(|backup| has_file(&view, backup)) {
            match files.get(&backup.name) {
                None => {
                    self.names.insert(backup.name.clone());
                }
                Some(modified) => match modified.duration_since(backup.changed_at) {
                    since if since < -CLOCK_SKEW => {
                        self.names.insert(backup.name.clone());
                    }
                    since if since <= CLOCK_SKEW => {
                        doubtful.push((backup.changed_at, &backup.name));
                    }
                    _ => {}
                },
            }
        }
        doubtful.sort_by(|a, b| b.cmp(a));
        let latest = doubtful.into_iter().take(DOUBTFUL_MAX);
        self.names.extend(latest.map(|(_, name)| name.clone()));
        self.seen = view;
    }

    /// Notes what changed since.
    pub fn follow(&mut self, view: Arc<View>) {
        if !view.has_backups_of(&self.seen) {
            for backup in view.all_backups() {
                if self.seen.record(&backup.name) != Some(backup) {
                    self.names.insert(backup.name.clone());
                }
            }
        }
        self.seen = view;
    }

    /// What has to be and may be written. What has no file any more is dropped; what may not be written
    /// yet waits.
    pub fn names(&mut self, view: &View, allowed: &Allowed) -> Vec<BackupName> {
        self.names.retain(|name| {
            let record = view.record(name);
            record.is_some_and(|backup| backup.deleting.is_some() || has_file(view, backup))
        });
        let records = self.names.iter().filter_map(|name| view.record(name));
        let due = records.filter(|backup| has_file(view, backup) && allowed.backup(backup));
        due.map(|backup| backup.name.clone()).collect()
    }

    /// A file was written, from a memory not older than the last that was followed: a change that came
    /// after that is noted when the next one is followed.
    pub fn done(&mut self, name: &BackupName) {
        self.names.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{ManifestSeen, Pin};
    use crate::catalog::{Catalog, Change, Decision, Settings};
    use crate::worker::publisher::document::sidecar_file;
    use crate::worker::testing::{at, backup, name};

    const THEN: &str = "2026-11-22T02:00:00Z";

    async fn view(records: &[Backup]) -> Arc<View> {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            dir: dir.path().to_owned(),
        };
        let catalog = Catalog::open(&settings).unwrap();
        let put = |record: &Backup| Change::PutBackup(Box::new(record.clone()));
        let changes = records.iter().map(put).collect();
        let decide = |_: &View| Decision {
            changes,
            answer: (),
        };
        catalog.write(decide).await.unwrap();
        catalog.view()
    }

    fn allowed(view: ViewState) -> Allowed {
        Allowed {
            view,
            started: at(THEN),
        }
    }

    #[tokio::test]
    async fn what_is_missing_or_older_is_written_again_at_start() {
        let records = ["missing", "older", "same", "newer"].map(|text| backup(text, THEN));
        let file = |text: &str, minutes: i64| OwnFile {
            name: sidecar_file(&name(text)),
            modified: at(THEN) + SignedDuration::from_mins(minutes),
        };
        let files = [
            file("older", -6),
            file("same", 0),
            file("newer", 6),
            file("nobodys", 0),
        ];
        let view = view(&records).await;
        let mut due = Due::default();
        due.start(view.clone(), &files);
        let names = due.names(&view, &allowed(ViewState::Bound));
        assert_eq!(names, ["missing", "older", "same"].map(name));
    }

    #[tokio::test]
    async fn of_the_doubtful_ones_only_the_latest_are_written_again() {
        let minute = |n: usize| at(THEN) + SignedDuration::from_mins(i64::try_from(n).unwrap());
        let records: Vec<_> = (0..DOUBTFUL_MAX + 20)
            .map(|n| Backup {
                changed_at: minute(n),
                ..backup(&format!("b{n}"), THEN)
            })
            .collect();
        let files: Vec<_> = records
            .iter()
            .map(|record| OwnFile {
                name: sidecar_file(&record.name),
                modified: record.changed_at,
            })
            .collect();
        let view = view(&records).await;
        let mut due = Due::default();
        due.start(view.clone(), &files);
        let names = due.names(&view, &allowed(ViewState::Bound));
        assert_eq!(names.len(), DOUBTFUL_MAX);
        assert!(names.contains(&name("b69")) && !names.contains(&name("b19")));
    }

    #[tokio::test]
    async fn an_unbound_view_gets_only_what_was_read_through_it() {
        let read_here = Backup {
            manifest: Some(ManifestSeen {
                uuid: "x".into(),
                read_at: at("2026-11-22T02:00:01Z"),
            }),
            ..backup("here", THEN)
        };
        let before = Backup {
            manifest: Some(ManifestSeen {
                uuid: "x".into(),
                read_at: at("2026-11-22T01:59:59Z"),
            }),
            ..backup("before", THEN)
        };
        let unproven = Backup {
            manifest: None,
            ..backup("unproven", THEN)
        };
        let view = view(&[read_here, before, unproven]).await;
        let mut due = Due::default();
        due.start(view.clone(), &[]);
        let unbound = allowed(ViewState::Unbound);
        assert_eq!(due.names(&view, &unbound), [name("here")]);
        assert!(!unbound.state() && allowed(ViewState::Bound).state());
        let bound = due.names(&view, &allowed(ViewState::Bound));
        assert_eq!(bound.len(), 3, "the rest has waited");
        for other in [ViewState::None, ViewState::NamesOnServer] {
            assert!(!allowed(other).anything());
            assert_eq!(due.names(&view, &allowed(other)), []);
        }
    }

    #[tokio::test]
    async fn only_what_changed_is_followed_and_strangers_have_a_file_only_for_what_we_know() {
        let (ours, foreign) = (
            backup("ours", THEN),
            Backup {
                origin: Origin::Foreign,
                ..backup("foreign", THEN)
            },
        );
        let bound = allowed(ViewState::Bound);
        let mut due = Due::default();
        due.follow(view(&[ours.clone(), foreign.clone()]).await);
        let first = view(&[ours.clone(), foreign.clone()]).await;
        assert_eq!(due.names(&first, &bound), [name("ours")]);
        due.done(&name("ours"));
        let pinned = Backup {
            pinned: Some(Pin {
                at: at(THEN),
                by: None,
                reason: None,
            }),
            ..foreign
        };
        let second = view(&[ours.clone(), pinned]).await;
        due.follow(second.clone());
        assert_eq!(due.names(&second, &bound), [name("foreign")]);
        due.done(&name("foreign"));
        let gone = Backup {
            gone_since: Some(at(THEN)),
            ..ours
        };
        let third = view(&[gone]).await;
        due.follow(third.clone());
        assert_eq!(
            due.names(&third, &bound),
            [],
            "gone and forgotten ones have none"
        );
    }
}
