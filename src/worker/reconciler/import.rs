//! From what was found in the destination to what is written into our memory. Pure.

mod gone;
mod state;
#[cfg(test)]
mod tests;
mod unended;

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use crate::backup::{Backup, BackupKind, BackupName, ManifestSeen, Origin, Place};
use crate::catalog::{Change, View};
use crate::destination::{BaseRef, ManifestHead};
use crate::operation::{Limits, Operation, OperationId, State, Work};
use crate::retention::{Adoption, adopt};

pub use gone::{GONE_MAX_BACKUPS, vanished};
pub use state::{end_what_was_made, state};
use unended::resume;
pub use unended::unended;

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

/// What findings mean. `before` are changes that are written with these: operations that come in.
#[must_use]
pub fn records(
    view: &View,
    before: &[Change],
    findings: Vec<Finding>,
    busy: &BTreeSet<BackupName>,
    terms: &Terms,
) -> Imported {
    let history = History::new(view, before, &findings);
    let adoptions = adoptions(view, before);
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
            Meaning::Backup(mut backup) => {
                // What was published of it may be older than the adoption.
                if adopt(&mut backup, &adoptions) {
                    backup.changed_at = terms.now;
                }
                imported.changes.push(Change::PutBackup(backup));
            }
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

fn adoptions(view: &View, before: &[Change]) -> Vec<Adoption> {
    let imported = before.iter().filter_map(|change| match change {
        Change::PutAdoption(adoption) => Some(adoption),
        _ => None,
    });
    view.adoptions().iter().chain(imported).cloned().collect()
}

/// What is known of backups elsewhere: by operations, and by manifests of others.
struct History<'a> {
    /// Those that made one, by the id of the attempt.
    made: HashMap<&'a str, &'a Operation>,
    /// Those that remove one and have not ended.
    removals: HashMap<&'a BackupName, OperationId>,
    /// Names by the `uuid` of the manifest.
    manifests: HashMap<String, BackupName>,
}

impl<'a> History<'a> {
    fn new(view: &'a View, before: &'a [Change], findings: &[Finding]) -> Self {
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
        Self {
            made,
            removals,
            manifests: manifests(view, findings),
        }
    }

    /// The base that a manifest names. One that was given with its place and keys has no name there,
    /// and is known by its own manifest.
    fn base(&self, base: &BaseRef) -> Option<BackupName> {
        let named = base.name.as_deref();
        let named = named.and_then(|name| BackupName::parse(name).ok());
        named.or_else(|| self.manifests.get(base.uuid.as_deref()?).cloned())
    }
}

fn manifests(view: &View, findings: &[Finding]) -> HashMap<String, BackupName> {
    let of_record = |backup: &Backup| {
        let manifest = backup.manifest.as_ref()?;
        Some((manifest.uuid.clone(), backup.name.clone()))
    };
    let known = view.all_backups().filter_map(of_record);
    let found = findings.iter().filter_map(|finding| match &finding.head {
        Head::Found(head) => Some((head.uuid.clone(), finding.name.clone())),
        Head::NotRead | Head::Missing => finding.sidecar.as_deref().and_then(of_record),
    });
    known.chain(found).collect()
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
        .unwrap_or_else(|| foreign(name, head, history, terms));
    backup.place = terms.place.clone();
    backup.manifest = Some(seen(head, terms.now));
    backup.changed_at = terms.now;
    backup
}

fn foreign(name: &BackupName, head: &ManifestHead, history: &History<'_>, terms: &Terms) -> Backup {
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
        base: base.and_then(|base| history.base(base)),
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
