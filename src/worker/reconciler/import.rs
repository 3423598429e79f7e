//! From what was found in the destination to what is written into our memory. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use crate::backup::{Backup, BackupKind, BackupName, Deleting, ManifestSeen, Origin, Place};
use crate::catalog::{Change, View};
use crate::destination::ManifestHead;
use crate::operation::{
    Attempt, AttemptId, DeleteCause, DeleteWork, Delivery, Event, Failure, FailureKind, Item,
    ItemState, Limits, Operation, OperationId, Outcome, State, Trigger, Work,
};
use crate::worker::publisher::document::StateFile;

/// Records of backups that are gone, at most; the ones that are gone the longest are forgotten first.
pub const GONE_MAX_BACKUPS: usize = 1_000;

/// What was found under a name.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The name.
    pub name: BackupName,
    /// Whether there is a folder; without one only our file is left.
    pub has_folder: bool,
    /// What our file says.
    pub sidecar: Option<Box<Backup>>,
    /// What the manifest says.
    pub head: Head,
}

/// A manifest that was looked for, or not.
#[derive(Debug, Clone)]
pub enum Head {
    /// Our file says enough.
    NotRead,
    /// There is none.
    Missing,
    /// This one.
    Found(Box<ManifestHead>),
}

/// What everything that is imported has in common.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What our view shows: the same place under the name that the server has for it now.
    pub place: Place,
    /// The time.
    pub now: Timestamp,
    /// Limits of a removal that goes on.
    pub limits: Limits,
}

/// What becomes of findings.
#[derive(Debug, Default)]
pub struct Imported {
    /// To be written, all of it or none.
    pub changes: Vec<Change>,
    /// Backups whose file is of no use any more.
    pub leftovers: Vec<BackupName>,
    /// Removals that go on.
    pub resumed: Vec<BackupName>,
}

/// What a rebuilt memory takes over from `state.json`: only what it has nothing of itself.
#[must_use]
pub fn state(view: &View, state: StateFile, server: Option<Uuid>, now: Timestamp) -> Vec<Change> {
    let mut changes = Vec::new();
    if view.operations().next().is_none() {
        let is_same_server = match (state.server, server) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        };
        let operations = sound(state.operations).filter_map(|operation| {
            // What runs on another server is not ours to watch.
            let is_ours = operation.state.is_terminal() || is_same_server;
            is_ours.then(|| taken_over(operation, now))
        });
        changes.extend(operations.map(|operation| Change::PutOperation(Box::new(operation))));
    }
    if view.pauses().next().is_none() {
        let pauses = state.pauses.into_iter();
        changes.extend(pauses.map(|(name, pause)| Change::PutPause(name, Some(pause))));
    }
    if view.adoptions().is_empty() {
        changes.extend(state.adoptions.into_iter().map(Change::PutAdoption));
    }
    let unseen = state.last_slots.into_iter();
    let unseen = unseen.filter(|(name, _)| view.last_slot(name).is_none());
    changes.extend(unseen.map(|(name, last)| Change::PutLastSlot(name, last)));
    changes
}

/// Operations without those that say the same number, id or run a second time, which only a damaged
/// file can: the catalog would refuse all of it.
fn sound(operations: Vec<Operation>) -> impl Iterator<Item = Operation> {
    let (mut numbers, mut ids, mut runs) = (HashSet::new(), HashSet::new(), HashSet::new());
    operations.into_iter().filter(move |operation| {
        let run = operation.schedule().cloned();
        let run = run.map(|schedule| (schedule, operation.slot(), operation.run()));
        i64::try_from(operation.number).is_ok_and(|number| number > 0)
            && numbers.insert(operation.number)
            && ids.insert(operation.id)
            && run.is_none_or(|run| runs.insert(run))
    })
}

/// A restore that surely was not sent is not begun: what is published may be older than what happened,
/// and rows that are added twice, or tables that are dropped, cannot be told apart. A backup under a
/// name that exists does no harm.
fn taken_over(operation: Operation, now: Timestamp) -> Operation {
    let is_unsent = operation
        .attempt()
        .is_none_or(|attempt| attempt.delivery == Delivery::NotSent);
    let event = match operation.state {
        State::Pending => Event::GaveUp(lost()),
        State::Starting if is_unsent => Event::AttemptFailed {
            failure: lost(),
            retry_at: None,
        },
        _ => return operation,
    };
    if !matches!(operation.work, Work::Restore(_)) {
        return operation;
    }
    operation.clone().apply(event, now).unwrap_or(operation)
}

fn lost() -> Failure {
    Failure::new(
        FailureKind::Lost,
        "our memory was lost while it waited, and whether it was begun is not known; look at the tables before you ask again",
    )
}

/// `state.json` is written some seconds after what happened. A backup whose own file is there was made,
/// whatever an older `state.json` says of its operation: that must not go on, and make the record of a
/// backup again that is being removed by now.
pub fn end_what_was_made(changes: &mut [Change], findings: &[Finding], now: Timestamp) {
    let made: HashMap<Uuid, &Backup> = findings
        .iter()
        .filter_map(|finding| finding.sidecar.as_deref())
        .map(|backup| (backup.operation, backup))
        .collect();
    for change in changes {
        let Change::PutOperation(operation) = change else {
            continue;
        };
        let is_open = matches!(operation.work, Work::Backup(_)) && !operation.state.is_terminal();
        let Some(backup) = made.get(&operation.id.as_uuid()).filter(|_| is_open) else {
            continue;
        };
        if let Some(ended) = ended_as(operation, backup, now) {
            **operation = ended;
        }
    }
}

/// The operation after it made this backup.
fn ended_as(operation: &Operation, backup: &Backup, now: Timestamp) -> Option<Operation> {
    let outcome = Outcome {
        finished_at: backup.created_at,
        files: backup.files.unwrap_or_default(),
        bytes: backup.bytes.unwrap_or_default(),
        bytes_written: backup.bytes_written.unwrap_or_default(),
    };
    let begun = match operation.state {
        State::Pending => {
            let (id, _) = AttemptId::parse(&backup.attempt)?;
            let attempt = Attempt {
                id,
                backup: backup.name.clone(),
                place: backup.place.clone(),
                started_at: operation.submitted_at,
                ended_at: None,
                delivery: Delivery::Accepted,
                server: None,
                tables: backup.tables,
                bytes_expected: None,
                manifest: backup.manifest.clone(),
                is_cleared: false,
                failure: None,
            };
            Event::BegunHere(Some(Box::new(attempt)))
        }
        State::Starting => Event::Accepted(operation.attempt()?.server.clone()?),
        _ => {
            let finished = operation.clone().apply(Event::Finished(outcome), now);
            return finished.ok();
        }
    };
    let begun = operation.clone().apply(begun, now).ok()?;
    begun.apply(Event::Finished(outcome), now).ok()
}

/// What findings mean. `before` are changes that are written with these: operations that come in.
#[must_use]
pub fn records(
    view: &View,
    before: &[Change],
    findings: Vec<Finding>,
    busy: &BTreeSet<BackupName>,
    terms: &Terms,
) -> Imported {
    let history = History::new(view, before);
    let mut imported = Imported::default();
    let mut unended = Vec::new();
    for finding in findings {
        let name = finding.name.clone();
        let is_known = view
            .record(&name)
            .is_some_and(|record| record.gone_since.is_none());
        if is_known || busy.contains(&name) {
            continue;
        }
        match meaning(finding, view, &history, terms) {
            Meaning::Backup(backup) => imported.changes.push(Change::PutBackup(backup)),
            Meaning::Replaced(backup) => {
                imported.leftovers.push(name);
                imported.changes.push(Change::PutBackup(backup));
            }
            Meaning::Unended(backup) => unended.push(*backup),
            Meaning::Leftover => imported.leftovers.push(name),
            Meaning::Nothing => {}
        }
    }
    resume(unended, &history, view, before, terms, &mut imported);
    imported
}

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
        &History::new(view, &[]),
        view,
        &[],
        terms,
        &mut imported,
    );
    imported
}

fn resume(
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

/// What operations know of backups.
struct History<'a> {
    /// Those that made one, by the id of the attempt.
    made: HashMap<&'a str, &'a Operation>,
    /// Those that remove one and have not ended.
    removals: HashMap<&'a BackupName, OperationId>,
}

impl<'a> History<'a> {
    fn new(view: &'a View, before: &'a [Change]) -> Self {
        let imported = before.iter().filter_map(|change| match change {
            Change::PutOperation(operation) => Some(operation.as_ref()),
            _ => None,
        });
        let all = view
            .operations()
            .map(std::sync::Arc::as_ref)
            .chain(imported);
        let (mut made, mut removals) = (HashMap::new(), HashMap::new());
        for operation in all {
            match (&operation.work, operation.state, operation.attempt()) {
                (Work::Backup(_), State::Succeeded, Some(attempt)) => {
                    made.insert(attempt.id.as_str(), operation);
                }
                (Work::Delete(_), state, _) if !state.is_terminal() => {
                    let items = operation.items.iter().filter(|item| !item.is_finished());
                    removals.extend(items.map(|item| (&item.backup, operation.id)));
                }
                _ => {}
            }
        }
        Self { made, removals }
    }
}

enum Meaning {
    /// A backup that is there, or that is gone.
    Backup(Box<Backup>),
    /// A backup that is another one than our file says.
    Replaced(Box<Backup>),
    /// A removal that did not end.
    Unended(Box<Backup>),
    /// A file of ours that outlived its backup.
    Leftover,
    /// Nothing that can be told.
    Nothing,
}

fn meaning(finding: Finding, view: &View, history: &History<'_>, terms: &Terms) -> Meaning {
    let Finding {
        name,
        has_folder,
        sidecar,
        head,
    } = finding;
    let record = view.record(&name).cloned().map(Box::new);
    let is_remembered = record.is_some();
    match (record.or(sidecar), head) {
        (Some(backup), _) if !has_folder && backup.deleting.is_some() => Meaning::Leftover,
        (Some(backup), _) if !has_folder => gone(backup, terms),
        (Some(backup), Head::Found(head)) if !is_manifest_of(&head, &backup) => {
            Meaning::Replaced(Box::new(found(&name, &head, history, terms)))
        }
        // A manifest is what makes a backup: without one these are remains.
        (Some(backup), Head::Missing) if backup.deleting.is_none() => Meaning::Nothing,
        (Some(mut backup), head) => {
            backup.place = terms.place.clone();
            backup.gone_since = None;
            if let Head::Found(head) = head {
                backup.manifest = Some(seen(&head, terms.now));
            }
            if is_remembered {
                backup.changed_at = terms.now;
            }
            match backup.deleting {
                Some(_) => Meaning::Unended(backup),
                None => Meaning::Backup(backup),
            }
        }
        (None, Head::Found(head)) => Meaning::Backup(Box::new(found(&name, &head, history, terms))),
        (None, Head::Missing | Head::NotRead) => Meaning::Nothing,
    }
}

fn gone(mut backup: Box<Backup>, terms: &Terms) -> Meaning {
    backup.place = terms.place.clone();
    backup.gone_since = backup.gone_since.or(Some(terms.now));
    Meaning::Backup(backup)
}

/// Whether this is the manifest that the record is about.
fn is_manifest_of(head: &ManifestHead, backup: &Backup) -> bool {
    match &backup.manifest {
        Some(seen) => seen.uuid == head.uuid,
        None => head.backup_id.as_deref() == Some(backup.attempt.as_str()),
    }
}

/// A backup that no file of ours is about: the operation that made it says what it is; without one it
/// is foreign.
fn found(name: &BackupName, head: &ManifestHead, history: &History<'_>, terms: &Terms) -> Backup {
    let id = head.backup_id.as_deref().unwrap_or_default();
    let made = history
        .made
        .get(id)
        .and_then(|operation| operation.made_backup());
    let mut backup = made
        .filter(|backup| backup.name == *name)
        .unwrap_or_else(|| foreign(name, head, terms));
    backup.place = terms.place.clone();
    backup.manifest = Some(seen(head, terms.now));
    backup.changed_at = terms.now;
    backup
}

fn foreign(name: &BackupName, head: &ManifestHead, terms: &Terms) -> Backup {
    let base = head.base.as_ref();
    Backup {
        name: name.clone(),
        asked_name: name.clone(),
        place: terms.place.clone(),
        operation: Uuid::nil(),
        number: 0,
        attempt: head.backup_id.clone().unwrap_or_default(),
        origin: Origin::Foreign,
        kind: if base.is_some() {
            BackupKind::Incremental
        } else {
            BackupKind::Full
        },
        base: base
            .and_then(|base| base.name.as_deref())
            .and_then(|base| BackupName::parse(base).ok()),
        created_at: head.modified,
        bytes: None,
        bytes_written: None,
        files: None,
        tables: None,
        structure_only: false,
        server: None,
        manifest: None,
        proofs: Vec::new(),
        pinned: None,
        suspect: None,
        deleting: None,
        gone_since: None,
        changed_at: terms.now,
    }
}

fn seen(head: &ManifestHead, now: Timestamp) -> ManifestSeen {
    ManifestSeen {
        uuid: head.uuid.clone(),
        read_at: now,
    }
}

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::backup::Scope;
    use crate::operation::{Attempt, BackupWork, Delivery, Outcome, Retry, Server};
    use crate::worker::publisher::document::FORMAT;
    use crate::worker::testing::{at, backup, name, place, view};

    fn terms() -> Terms {
        Terms {
            place: place(),
            now: at("2026-11-22T12:00:00Z"),
            limits: Limits {
                timeout: Duration::from_secs(1),
                deadline: None,
                unreachable: Duration::from_secs(1),
                cancel: Duration::from_secs(1),
                retry: Retry {
                    attempts: 1,
                    delay: Duration::ZERO,
                },
            },
        }
    }

    /// A client's backup that is at work.
    fn running(number: u64, text: &str) -> Operation {
        let work = Work::Backup(BackupWork {
            name: name(text),
            scope: Scope::everything(),
            base: None,
            increments: None,
            kind_reason: None,
        });
        let (id, terms) = (OperationId::of_client(), terms());
        let mut operation = Operation::new(
            id,
            Trigger::Client,
            work,
            "x".into(),
            terms.limits,
            terms.now,
        );
        operation.number = number;
        let server = Server {
            uuid: Uuid::from_u128(7),
            host: "ch-0".into(),
            started_at: Timestamp::UNIX_EPOCH,
        };
        let attempt = Attempt {
            id: operation.next_attempt_id(),
            backup: name(text),
            place: place(),
            started_at: terms.now,
            ended_at: None,
            delivery: Delivery::Accepted,
            server: Some(server.clone()),
            tables: Some(1),
            bytes_expected: None,
            manifest: None,
            is_cleared: false,
            failure: None,
        };
        let begun = operation
            .apply(Event::Begun(Box::new(attempt)), terms.now)
            .unwrap();
        begun.apply(Event::Accepted(server), terms.now).unwrap()
    }

    fn succeeded(number: u64, text: &str) -> Operation {
        let outcome = Outcome {
            finished_at: terms().now,
            files: 1,
            bytes: 2,
            bytes_written: 3,
        };
        running(number, text)
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
        let state = || state_file(vec![succeeded(1, "a"), running(2, "b")]);
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
        let open = running(4, "ours");
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
        let other = running(5, "other");
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
}
