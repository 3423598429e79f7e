//! Which backups a removal is about, or why it is refused. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use super::RemovalError;
use crate::backup::{Backup, BackupName, Place, dependents};
use crate::catalog::View;
use crate::clickhouse::RunningRow;
use crate::operation::{Item, Operation, Work};
use crate::worker::Standing;
use crate::worker::hold::holds;

/// What a caller wants gone.
pub(super) struct Wanted<'a> {
    /// The name that was given.
    pub name: &'a BackupName,
    /// Whether what is built on it goes along.
    pub force: bool,
    /// The destination, as it was listed last.
    pub standing: &'a Standing,
    /// The place that our view is of.
    pub place: &'a Place,
}

/// The items of a removal by name: what is built on it first.
pub(super) fn chosen(
    view: &View,
    wanted: &Wanted<'_>,
    running: &[RunningRow],
    now: Timestamp,
) -> Result<Vec<Item>, RemovalError> {
    let name = wanted.name;
    let held = holds(view, running, now);
    let free = |name: &BackupName| match held.get(name) {
        Some(reasons) => Err(RemovalError::Held {
            name: name.clone(),
            reasons: reasons.clone(),
        }),
        None => Ok(()),
    };
    if let Some(removing) = removing(view, name) {
        return Err(RemovalError::Active(name.clone(), removing));
    }
    let exact = view.record(name).filter(|record| record.is_visible());
    let Some(backup) = exact else {
        let broken = wanted
            .standing
            .broken
            .iter()
            .find(|broken| broken.name == *name);
        let broken = match (broken, view.backup(name)) {
            (Some(broken), _) => broken,
            // The one that a restore of this name would take is not removed by it.
            (None, Some(other)) => {
                return Err(RemovalError::Held {
                    name: name.clone(),
                    reasons: vec![format!(
                        "the backup that was asked for under this name was written as {}; name that one",
                        other.name
                    )],
                });
            }
            (None, None) => return Err(RemovalError::NotFound(name.clone())),
        };
        free(name)?;
        let reasons = vec![broken.reason.clone(), "asked for by name".to_owned()];
        return Ok(vec![Item::new(name.clone(), None, reasons)]);
    };
    if backup.place != *wanted.place {
        return Err(RemovalError::Held {
            name: name.clone(),
            reasons: vec![format!(
                "it lies in {}, and this daemon sees {} only",
                backup.place, wanted.place
            )],
        });
    }
    let along = dependents(view.backups(), &backup.name);
    if !along.is_empty() && !wanted.force {
        return Err(RemovalError::HasDependents {
            name: backup.name.clone(),
            dependents: along.iter().map(|other| other.name.clone()).collect(),
        });
    }
    let mut items = Vec::new();
    for other in dependents_first(along) {
        let reason = format!("it is built on {}, whose removal was forced", backup.name);
        items.push(item(other, reason, &free)?);
    }
    items.push(item(backup, "asked for by name".to_owned(), &free)?);
    Ok(items)
}

fn item(
    backup: &Backup,
    reason: String,
    free: &impl Fn(&BackupName) -> Result<(), RemovalError>,
) -> Result<Item, RemovalError> {
    free(&backup.name)?;
    if let Some(pin) = &backup.pinned {
        let by = pin
            .by
            .as_ref()
            .map(|by| format!(" by {by}"))
            .unwrap_or_default();
        let why = pin
            .reason
            .as_ref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        return Err(RemovalError::Held {
            name: backup.name.clone(),
            reasons: vec![format!("it is pinned{by}{why}; unpin it first")],
        });
    }
    Ok(item_of(backup, vec![reason]))
}

/// An item for a backup.
pub(in crate::worker) fn item_of(backup: &Backup, reasons: Vec<String>) -> Item {
    let manifest = backup
        .manifest
        .as_ref()
        .map(|manifest| manifest.uuid.clone());
    Item::new(backup.name.clone(), manifest, reasons)
}

/// The order in which nothing loses its base before it goes itself. `backups` came base by base.
fn dependents_first(mut backups: Vec<&Backup>) -> Vec<&Backup> {
    backups.reverse();
    backups
}

/// The unfinished operation that removes what has this name.
pub(in crate::worker) fn removing(view: &View, name: &BackupName) -> Option<Arc<Operation>> {
    let removes = |operation: &&Arc<Operation>| {
        matches!(operation.work, Work::Delete(_))
            && operation
                .items
                .iter()
                .any(|item| item.backup == *name && !item.is_finished())
    };
    view.unfinished().find(removes).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Pin;
    use crate::catalog::Change;
    use crate::worker::Broken;
    use crate::worker::testing::{at, backup, name, place, view};

    fn put(backup: Backup) -> Change {
        Change::PutBackup(Box::new(backup))
    }

    fn choose(
        changes: Vec<Change>,
        wanted: &str,
        force: bool,
        broken: &[&str],
    ) -> Result<Vec<String>, RemovalError> {
        let broken = broken.iter().map(|text| Broken {
            name: name(text),
            newest: None,
            objects: 1,
            bytes: 1,
            reason: "a lock".to_owned(),
        });
        let standing = Standing {
            broken: broken.collect(),
            ..Standing::default()
        };
        let (wanted, place) = (name(wanted), place());
        let wanted = Wanted {
            name: &wanted,
            force,
            standing: &standing,
            place: &place,
        };
        let items = chosen(&view(changes), &wanted, &[], at("2026-11-22T12:00:00Z"))?;
        Ok(items.iter().map(|item| item.backup.to_string()).collect())
    }

    #[test]
    fn a_name_means_the_backup_or_the_remains_of_exactly_that_name() {
        let second = Backup {
            asked_name: name("x"),
            ..backup("x.2", "2026-11-20T02:00:00Z")
        };
        let refused = choose(vec![put(second.clone())], "x", true, &[]);
        assert!(
            matches!(&refused, Err(RemovalError::Held { reasons, .. }) if reasons[0].contains("x.2")),
            "{refused:?}"
        );
        let remains = choose(vec![put(second.clone())], "x", false, &["x"]).unwrap();
        assert_eq!(remains, ["x"]);
        assert_eq!(
            choose(vec![put(second)], "x.2", false, &["x"]).unwrap(),
            ["x.2"]
        );
        let nothing = choose(Vec::new(), "x", true, &[]);
        assert!(matches!(nothing, Err(RemovalError::NotFound(_))));
    }

    #[test]
    fn what_is_built_on_it_goes_first_and_only_by_force_and_a_pin_keeps_all() {
        let above = |text: &str, base: &str| Backup {
            base: Some(name(base)),
            ..backup(text, "2026-11-21T02:00:00Z")
        };
        let all = || {
            vec![
                put(backup("full", "2026-11-20T02:00:00Z")),
                put(above("one", "full")),
                put(above("two", "one")),
            ]
        };
        let refused = choose(all(), "full", false, &[]);
        assert!(
            matches!(&refused, Err(RemovalError::HasDependents { dependents, .. }) if dependents.len() == 2),
            "{refused:?}"
        );
        assert_eq!(
            choose(all(), "full", true, &[]).unwrap(),
            ["two", "one", "full"]
        );
        let pinned = Backup {
            pinned: Some(Pin {
                at: at("2026-11-21T02:00:00Z"),
                by: None,
                reason: None,
            }),
            ..above("two", "one")
        };
        let mut changes = all();
        changes.push(put(pinned));
        assert!(matches!(
            choose(changes, "full", true, &[]),
            Err(RemovalError::Held { .. })
        ));
    }
}
