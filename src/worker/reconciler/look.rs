//! Reading what a listing alone does not tell: files of ours, heads of manifests, locks.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::RefreshError;
use super::compare::{Comparison, Listing};
use super::import::{Finding, Head};
use crate::backup::{BackupName, Contents};
use crate::catalog::{Change, Decision, View};
use crate::destination::{Destination, Error};
use crate::operation::{AttemptId, Work};
use crate::worker::publisher::document::{DocumentError, Sidecar, sidecar_file};
use crate::worker::{Broken, Worker};

/// Requests under way at a time.
const READS_AT_A_TIME_MAX: usize = 16;
/// Bytes of files of ours that are held before what they say of contents is written down.
const CONTENTS_AT_A_TIME_MAX_BYTES: usize = 32 * 1024 * 1024;
/// The youngest that the newest object of a broken folder can be.
const BROKEN_AGE: SignedDuration = SignedDuration::from_hours(24);
/// How often a folder that is no backup is looked at again: it may become one.
const OTHERS_AGAIN: SignedDuration = SignedDuration::from_hours(6);

/// What was looked at, so that it is not looked at in every round. Nobody needs it after a restart.
#[derive(Debug, Default)]
pub struct Seen {
    /// Folders without a manifest.
    folders: HashMap<BackupName, Folder>,
    /// Files of ours that could not be understood, and when they were written.
    unreadable: HashMap<BackupName, Timestamp>,
    /// Files of ours that a later version wrote: never written over.
    left_alone: HashSet<String>,
}

#[derive(Debug, Clone)]
enum Folder {
    /// Somebody else's.
    Other { looked_at: Timestamp },
    /// What a dead attempt left, or an attempt that we do not see at work.
    Remains {
        what: Broken,
        /// It was old enough when it was listed: nothing is written there any more.
        is_old: bool,
    },
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Looked {
    /// What may become records.
    pub findings: Vec<Finding>,
    /// Remains of dead attempts.
    pub broken: Vec<Broken>,
    /// Folders that are no backups.
    pub others: Vec<String>,
}

/// What is looked for.
pub struct Round<'a> {
    /// The destination.
    pub destination: &'a Destination,
    /// What was listed.
    pub listing: &'a Listing,
    /// What that means.
    pub comparison: &'a Comparison,
    /// Our memory.
    pub view: &'a View,
    /// Whether ClickHouse told what runs: without that nothing is broken.
    pub knows_what_runs: bool,
    /// The time.
    pub now: Timestamp,
}

impl Seen {
    /// Whether a file of ours must not be written over.
    #[must_use]
    pub fn is_left_alone(&self, file: &str) -> bool {
        self.left_alone.contains(file)
    }

    /// A later version wrote this file.
    pub fn leave_alone(&mut self, file: String) -> bool {
        self.left_alone.insert(file)
    }
}

impl Worker {
    pub(in crate::worker) fn seen(&self) -> MutexGuard<'_, Seen> {
        let seen: &Mutex<Seen> = &self.0.live.seen;
        seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what the comparison leaves open. What backups hold is written down at once, because
    /// all of it together may be large; nothing refers to it until the backups are written.
    pub(super) async fn look(&self, round: &Round<'_>) -> Result<Looked, RefreshError> {
        self.forget_unlisted(round.listing);
        let names = self.to_look_at(round);
        let mut looked = Looked {
            others: round.comparison.strange.clone(),
            ..Looked::default()
        };
        let mut contents = Vec::new();
        let mut bytes = 0;
        let mut reads = stream::iter(names)
            .map(|name| self.look_at(round, name))
            .buffer_unordered(READS_AT_A_TIME_MAX);
        while let Some(read) = reads.try_next().await? {
            bytes += read.bytes;
            contents.extend(read.contents);
            looked.findings.extend(read.finding);
            if bytes > CONTENTS_AT_A_TIME_MAX_BYTES {
                self.keep_found(std::mem::take(&mut contents)).await?;
                bytes = 0;
            }
        }
        drop(reads);
        self.keep_found(contents).await?;
        looked.findings.sort_by(|a, b| a.name.cmp(&b.name));
        self.tell_folders(round, &mut looked);
        Ok(looked)
    }

    async fn keep_found(&self, contents: Vec<(AttemptId, Contents)>) -> Result<(), RefreshError> {
        let change = |(id, contents)| Change::PutContents(id, Box::new(contents));
        let changes: Vec<Change> = contents.into_iter().map(change).collect();
        if !changes.is_empty() {
            let decide = |_: &View| Decision {
                changes,
                answer: (),
            };
            self.0.catalog.write(decide).await?;
        }
        Ok(())
    }

    /// Forgets what is not there any more.
    fn forget_unlisted(&self, listing: &Listing) {
        let mut seen = self.seen();
        seen.folders.retain(|name, _| listing.has(name));
        seen.unreadable
            .retain(|name, at| listing.sidecars.get(name) == Some(at));
    }

    fn to_look_at(&self, round: &Round<'_>) -> Vec<BackupName> {
        let seen = self.seen();
        let is_due = |name: &&BackupName| match seen.folders.get(*name) {
            Some(Folder::Other { looked_at }) => {
                round.now.duration_since(*looked_at) >= OTHERS_AGAIN
            }
            Some(Folder::Remains { .. }) | None => true,
        };
        let Comparison {
            unknown,
            back,
            orphans,
            ..
        } = round.comparison;
        let orphans = orphans
            .iter()
            .filter(|name| !seen.unreadable.contains_key(*name));
        let folders = unknown.iter().chain(back).filter(is_due);
        folders.chain(orphans).cloned().collect()
    }

    async fn look_at(&self, round: &Round<'_>, name: BackupName) -> Result<Read, Error> {
        let has_folder = round.listing.has(&name);
        let mut read = Read::default();
        // What we remember is never older than our file.
        let sidecar = match round.view.record(&name) {
            None => self.read_sidecar(round, &name, &mut read).await?,
            Some(_) => None,
        };
        // A file of ours that says that the manifest was read says enough; the rest must show it.
        let is_enough = sidecar
            .as_ref()
            .is_some_and(|backup| backup.manifest.is_some() && backup.deleting.is_none());
        let head = if !has_folder || is_enough {
            Head::NotRead
        } else {
            match round.destination.head(name.as_str()).await {
                Ok(Some(head)) => Head::Found(Box::new(head)),
                Ok(None) | Err(Error::NotFound { .. }) => Head::Missing,
                // One folder that refuses (an object in cold storage, say) does not hide the others.
                Err(error @ (Error::Invalid { .. } | Error::Denied { .. })) => {
                    self.other(&name, round.now, Some(error.to_string()));
                    return Ok(read);
                }
                Err(error) => return Err(error),
            }
        };
        if matches!(head, Head::Missing)
            && sidecar
                .as_ref()
                .is_none_or(|backup| backup.deleting.is_none())
        {
            self.look_at_remains(round, &name, sidecar.is_some())
                .await?;
        } else {
            self.seen().folders.remove(&name);
        }
        read.finding = Some(Finding {
            name,
            has_folder,
            sidecar,
            head,
        });
        Ok(read)
    }

    async fn read_sidecar(
        &self,
        round: &Round<'_>,
        name: &BackupName,
        read: &mut Read,
    ) -> Result<Option<Box<crate::backup::Backup>>, Error> {
        let Some(modified) = round.listing.sidecars.get(name) else {
            return Ok(None);
        };
        if self.seen().unreadable.contains_key(name) {
            return Ok(None);
        }
        let file = sidecar_file(name);
        let problem = match round.destination.read_own(&file).await {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => match Sidecar::read(name, &bytes) {
                Ok(sidecar) => {
                    read.bytes = bytes.len();
                    let attempt = AttemptId::parse(&sidecar.backup.attempt);
                    read.contents = attempt
                        .zip(sidecar.contents)
                        .map(|((id, _), contents)| (id, contents));
                    return Ok(Some(Box::new(sidecar.backup)));
                }
                Err(error) => {
                    if let DocumentError::Newer(_) = error {
                        self.seen().leave_alone(file.clone());
                    }
                    error.to_string()
                }
            },
            Err(error @ (Error::Invalid { .. } | Error::Denied { .. })) => error.to_string(),
            Err(error) => return Err(error),
        };
        tracing::warn!(backup = %name, "our file {file} in the destination is left as it is: {problem}");
        self.seen().unreadable.insert(name.clone(), *modified);
        Ok(None)
    }

    fn other(&self, name: &BackupName, looked_at: Timestamp, problem: Option<String>) {
        let before = self
            .seen()
            .folders
            .insert(name.clone(), Folder::Other { looked_at });
        if let (Some(problem), None) = (problem, before) {
            tracing::warn!(folder = %name, "a folder in the destination is taken for no backup: {problem}");
        }
    }

    /// A folder without a manifest: what a dead attempt left, or somebody else's.
    async fn look_at_remains(
        &self,
        round: &Round<'_>,
        name: &BackupName,
        has_sidecar: bool,
    ) -> Result<(), Error> {
        // Listed whole only once, and once more when it seems to be old enough.
        match self.seen().folders.get(name) {
            Some(Folder::Remains { is_old: true, .. }) => return Ok(()),
            Some(Folder::Remains { what, .. }) if !is_old(what, round.now) => return Ok(()),
            _ => {}
        }
        let ours = match has_sidecar {
            true => Some("our record of it lies in the destination".to_owned()),
            false => attempt_of_ours(round.view, name),
        };
        let reason = match ours {
            Some(reason) => reason,
            None => match round.destination.lock(name.as_str()).await? {
                Some(since) => format!("a .lock lies in it since {since}"),
                None => {
                    self.other(name, round.now, None);
                    return Ok(());
                }
            },
        };
        let summary = round.destination.summary(name.as_str()).await?;
        if summary.has_manifest {
            return Ok(());
        }
        let what = Broken {
            name: name.clone(),
            newest: summary.newest,
            objects: summary.objects,
            bytes: summary.bytes,
            reason,
        };
        let is_old = is_old(&what, round.now);
        let remains = Folder::Remains { what, is_old };
        self.seen().folders.insert(name.clone(), remains);
        Ok(())
    }

    fn tell_folders(&self, round: &Round<'_>, looked: &mut Looked) {
        let Comparison { unknown, back, .. } = round.comparison;
        let meant: HashSet<&BackupName> = unknown.iter().chain(back).collect();
        let seen = self.seen();
        let folders = seen.folders.iter();
        for (name, folder) in folders.filter(|(name, _)| meant.contains(name)) {
            match folder {
                Folder::Other { .. } => looked.others.push(name.to_string()),
                Folder::Remains { what, is_old: true } if round.knows_what_runs => {
                    looked.broken.push(what.clone());
                }
                Folder::Remains { .. } => {}
            }
        }
        looked.others.sort();
        looked.broken.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// What came of one look.
#[derive(Debug, Default)]
struct Read {
    finding: Option<Finding>,
    contents: Option<(AttemptId, Contents)>,
    /// Size of our file.
    bytes: usize,
}

fn is_old(remains: &Broken, now: Timestamp) -> bool {
    remains
        .newest
        .is_some_and(|newest| now.duration_since(newest) > BROKEN_AGE)
}

/// How we know that an attempt of ours wrote there.
fn attempt_of_ours(view: &View, name: &BackupName) -> Option<String> {
    if view.record(name).is_some() {
        return Some("it was a backup, as we remember".to_owned());
    }
    let attempts = view
        .operations()
        .rev()
        .filter(|operation| matches!(operation.work, Work::Backup(_)))
        .flat_map(|operation| &operation.attempts);
    let mut of_name = attempts.filter(|attempt| attempt.backup == *name);
    let attempt = of_name.next()?;
    Some(format!("the attempt {} wrote there", attempt.id))
}
