use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::backup::{Deleting, Status};
use crate::operation::{Event, Outcome};
use crate::worker::publisher::document::{FORMAT, StateFile};
use crate::worker::testing::{at, backup, limits, name, place, running_backup, view};

fn terms() -> Terms {
    Terms {
        place: place(),
        now: at("2026-11-22T12:00:00Z"),
        limits: limits(),
    }
}

fn succeeded(number: u64, text: &str) -> Operation {
    let outcome = Outcome {
        finished_at: terms().now,
        files: 1,
        bytes: 2,
        bytes_written: 3,
    };
    running_backup(number, text)
        .apply(Event::Finished(outcome), terms().now)
        .unwrap()
}

fn state_file(operations: Vec<Operation>) -> StateFile {
    StateFile {
        format: FORMAT,
        version: String::new(),
        server: Some(Uuid::from_u128(7)),
        operations,
        pauses: BTreeMap::new(),
        adoptions: Vec::new(),
        last_slots: BTreeMap::new(),
    }
}

fn head(id: &str, uuid: &str) -> Head {
    Head::Found(Box::new(ManifestHead {
        version: 1,
        timestamp: None,
        uuid: uuid.to_owned(),
        backup_id: Some(id.to_owned()),
        base: None,
        modified: at("2026-11-21T02:00:00Z"),
        size_bytes: 100,
    }))
}

fn operations(changes: &[Change]) -> Vec<u64> {
    let number = |change: &Change| match change {
        Change::PutOperation(operation) => Some(operation.number),
        _ => None,
    };
    changes.iter().filter_map(number).collect()
}

fn backups(changes: &[Change]) -> Vec<&Backup> {
    let mut found = Vec::new();
    for change in changes {
        if let Change::PutBackup(backup) = change {
            found.push(backup.as_ref());
        }
    }
    found
}

#[test]
fn a_state_with_doubled_rows_is_taken_over_without_them() {
    let (one, two) = (succeeded(1, "a"), succeeded(2, "b"));
    let same_id = Operation {
        number: 3,
        ..one.clone()
    };
    let zero = succeeded(0, "z");
    let same_number = succeeded(2, "c");
    let state = state_file(vec![one, two, same_id, zero, same_number]);
    let changes = super::state(&View::default(), state, None, terms().now);
    assert_eq!(operations(&changes), [1, 2]);
    // Nothing of it is refused by the catalog.
    assert_eq!(view(changes).operations().count(), 2);
}

#[test]
fn what_runs_on_another_server_is_not_taken_over() {
    let state = || state_file(vec![succeeded(1, "a"), running_backup(2, "b")]);
    let imported = |server| {
        operations(&super::state(
            &View::default(),
            state(),
            server,
            terms().now,
        ))
    };
    assert_eq!(imported(Some(Uuid::from_u128(7))), [1, 2]);
    assert_eq!(imported(None), [1, 2], "nobody knows");
    assert_eq!(imported(Some(Uuid::from_u128(8))), [1]);
}

#[test]
fn history_stays_what_it_is_where_there_is_one() {
    let view = view(vec![Change::PutOperation(Box::new(succeeded(5, "a")))]);
    let changes = state(
        &view,
        state_file(vec![succeeded(1, "b")]),
        None,
        terms().now,
    );
    assert!(operations(&changes).is_empty());
}

#[test]
fn a_backup_whose_file_was_lost_is_known_by_the_operation_that_made_it() {
    let operation = succeeded(4, "ours");
    let id = operation.attempt().unwrap().id.clone();
    let before = [Change::PutOperation(Box::new(operation.clone()))];
    let finding = |text: &str| Finding {
        name: name(text),
        has_folder: true,
        sidecar: None,
        head: head(id.as_str(), "u"),
    };
    let none = BTreeSet::new();
    let findings = vec![finding("ours"), finding("copied")];
    let imported = records(&View::default(), &before, findings, &none, &terms());
    let found = backups(&imported.changes);
    assert_eq!(found[0].operation, operation.id.as_uuid());
    assert_eq!(
        (&found[0].origin, found[0].bytes),
        (&Origin::Client, Some(2))
    );
    assert_eq!(found[0].manifest.as_ref().unwrap().uuid, "u");
    assert_eq!(
        found[1].origin,
        Origin::Foreign,
        "a copy under another name"
    );
}

#[test]
fn what_was_made_is_not_begun_again_by_an_older_state_file() {
    let open = running_backup(4, "ours");
    let made = Backup {
        operation: open.id.as_uuid(),
        attempt: open.attempt().unwrap().id.to_string(),
        ..backup("ours", "2026-11-22T11:00:00Z")
    };
    let finding = Finding {
        name: name("ours"),
        has_folder: true,
        sidecar: Some(Box::new(made)),
        head: Head::NotRead,
    };
    let other = running_backup(5, "other");
    let mut changes = [open, other].map(|operation| Change::PutOperation(Box::new(operation)));
    end_what_was_made(&mut changes, &[finding], terms().now);
    let states = changes.map(|change| match change {
        Change::PutOperation(operation) => operation.state,
        other => panic!("{other:?}"),
    });
    assert_eq!(states, [State::Succeeded, State::Running]);
}

#[test]
fn a_file_that_is_about_another_manifest_is_not_believed() {
    let ours = backup("x", "2026-11-01T02:00:00Z");
    let unproven = Backup {
        manifest: None,
        ..ours.clone()
    };
    let finding = |sidecar: &Backup, head| Finding {
        name: name("x"),
        has_folder: true,
        sidecar: Some(Box::new(sidecar.clone())),
        head,
    };
    let origin = |finding| {
        let imported = records(
            &View::default(),
            &[],
            vec![finding],
            &BTreeSet::new(),
            &terms(),
        );
        let origins = backups(&imported.changes)
            .first()
            .map(|backup| backup.origin.clone());
        (origins, imported.leftovers.len())
    };
    assert_eq!(
        origin(finding(&ours, Head::NotRead)),
        (Some(Origin::Client), 0)
    );
    assert_eq!(
        origin(finding(&unproven, head(&ours.attempt, "u"))),
        (Some(Origin::Client), 0)
    );
    assert_eq!(
        origin(finding(&unproven, head("other", "u"))),
        (Some(Origin::Foreign), 1)
    );
    assert_eq!(
        origin(finding(&unproven, Head::Missing)),
        (None, 0),
        "remains"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_known_or_busy_is_never_touched(
        cases in proptest::collection::vec((any::<[bool; 5]>(), 0..3_usize), 0..8)
    ) {
        let sidecar = |text: &str, is_deleting: bool| Backup {
            deleting: is_deleting.then(|| Deleting { operation: Uuid::nil(), since: terms().now }),
            ..backup(text, "2026-11-01T02:00:00Z")
        };
        let names: Vec<_> = (0..cases.len()).map(|n| name(&format!("b{n}"))).collect();
        let (mut known, mut busy, mut findings) = (Vec::new(), BTreeSet::new(), Vec::new());
        for (name, ([is_known, is_busy, has_folder, has_sidecar, is_deleting], which)) in names.iter().zip(&cases) {
            if *is_known {
                let record = sidecar(name.as_str(), *is_deleting);
                known.push(Change::PutBackup(Box::new(record)));
            }
            if *is_busy {
                busy.insert(name.clone());
            }
            findings.push(Finding {
                name: name.clone(),
                has_folder: *has_folder,
                sidecar: has_sidecar.then(|| Box::new(sidecar(name.as_str(), *is_deleting))),
                head: match which {
                    0 => Head::NotRead,
                    1 => Head::Missing,
                    _ => head("x", "another"),
                },
            });
        }
        let view = view(known);
        let imported = records(&view, &[], findings, &busy, &terms());
        prop_assert!(operations(&imported.changes).len() <= 1);
        let mut touched: Vec<_> = backups(&imported.changes).iter().map(|backup| backup.name.clone()).collect();
        for name in touched.iter().chain(&imported.leftovers).chain(&imported.resumed) {
            prop_assert!(view.record(name).is_none() && !busy.contains(name), "{}", name);
        }
        let count = touched.len();
        touched.dedup();
        prop_assert_eq!(touched.len(), count, "one record a name");
        for backup in backups(&imported.changes) {
            prop_assert_eq!(&backup.place, &place());
        }
    }
}

#[test]
fn a_base_that_is_given_with_its_keys_is_known_by_its_manifest() {
    let increment = |base_uuid: &str| {
        let base = BaseRef {
            text: "S3(…)".to_owned(),
            name: None,
            uuid: Some(base_uuid.to_owned()),
        };
        Head::Found(Box::new(ManifestHead {
            version: 1,
            timestamp: None,
            uuid: format!("on {base_uuid}"),
            backup_id: None,
            base: Some(base),
            modified: at("2026-11-21T03:00:00Z"),
            size_bytes: 100,
        }))
    };
    let finding = |text: &str, head| Finding {
        name: name(text),
        has_folder: true,
        sidecar: None,
        head,
    };
    let known = view(vec![Change::PutBackup(Box::new(Backup {
        manifest: Some(ManifestSeen {
            uuid: "known".to_owned(),
            read_at: at("2026-11-21T02:00:00Z"),
        }),
        ..backup("known", "2026-11-21T02:00:00Z")
    }))]);
    let findings = vec![
        finding("full", head("id", "found")),
        finding("a", increment("found")),
        finding("b", increment("known")),
        finding("c", increment("elsewhere")),
    ];
    let imported = records(&known, &[], findings, &BTreeSet::new(), &terms());
    let found = backups(&imported.changes);
    let bases: Vec<_> = found.iter().map(|backup| backup.base.clone()).collect();
    let expected = [None, Some(name("full")), Some(name("known")), None];
    assert_eq!(bases, expected);
}

#[test]
fn an_adoption_that_was_published_after_the_backup_covers_it() {
    let suspect = Backup {
        suspect: Some(crate::backup::Suspicion {
            measure: "tables".to_owned(),
            found: 0,
            usual: 9,
            adopted_at: None,
        }),
        ..backup("x", "2026-11-21T02:00:00Z")
    };
    let finding = Finding {
        name: name("x"),
        has_folder: true,
        sidecar: Some(Box::new(suspect)),
        head: Head::NotRead,
    };
    let status = |at_text: &str| {
        let adoption = Adoption {
            at: at(at_text),
            by: None,
            reason: None,
            servers: Vec::new(),
        };
        let before = [Change::PutAdoption(adoption)];
        let findings = vec![finding.clone()];
        let none = BTreeSet::new();
        let imported = records(&View::default(), &before, findings, &none, &terms());
        backups(&imported.changes)[0].status()
    };
    assert_eq!(status("2026-11-21T02:00:00Z"), Status::Complete);
    assert_eq!(status("2026-11-21T01:59:59Z"), Status::Suspect);
}
