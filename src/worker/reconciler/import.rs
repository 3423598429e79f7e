//! From what was found in the destination to what is written into our memory. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use crate::backup::{Backup, BackupKind, BackupName, Deleting, ManifestSeen, Origin, Place};
use crate::catalog::{Change, View};
use crate::destination::ManifestHead;
use crate::operation::{
    DeleteCause, DeleteWork, Event, Failure, FailureKind, Item, Limits, Operation, OperationId,
    State, Trigger, Work,
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

/// A restore that waited is not begun: what is published may be older than what happened, and rows
/// that are added twice cannot be told apart. A backup under a name that exists does no harm.
fn taken_over(operation: Operation, now: Timestamp) -> Operation {
    if operation.state != State::Pending || !matches!(operation.work, Work::Restore(_)) {
        return operation;
    }
    let failure = Failure::new(
        FailureKind::Lost,
        "our memory was lost while it waited, and whether it was begun is not known; look at the tables before you ask again",
    );
    operation
        .clone()
        .apply(Event::GaveUp(failure), now)
        .unwrap_or(operation)
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
            items.push(Item::new(backup.name.clone(), manifest, vec![reason]));
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
                    let items = operation.items.iter();
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
    let attempt = crate::operation::AttemptId::parse(&record.attempt);
    let contents = attempt.map(|(attempt, _)| Change::DropContents(attempt));
    std::iter::once(Change::ForgetBackup(record.name.clone())).chain(contents)
}
