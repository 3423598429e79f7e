//! Proofs: is every file of a backup there, with its size, through the whole chain?

use std::time::Duration;

use jiff::Timestamp;

use super::beside::Interrupted;
use super::hold::chain_names;
use super::{JournalError, Worker};
use crate::backup::{Backup, BackupName, Missing, Origin, Proof, ProofLevel, ProofOutcome, Status};
use crate::catalog::{Change, Decision, View};
use crate::destination::{self, Destination, Problem, Proved};
use crate::operation::{
    Failure, FailureKind, Item, ItemState, Limits, Operation, OperationId, Selection, Trigger,
    VerifyWork, Work,
};

/// Backups that one operation proves at most; the rest comes with the next one.
const ITEMS_MAX: usize = 1_000;
/// Missing files that a message names at most.
const NAMED_MAX_FILES: usize = 5;

impl Worker {
    /// Proves the items of an operation that are not finished; gives the failure where something is
    /// missing.
    pub(super) async fn prove_items(
        &self,
        id: OperationId,
    ) -> Result<Option<Failure>, Interrupted> {
        let (items, mut first_error) = (self.items_of(id), None);
        for (index, item) in items.iter().enumerate() {
            if item.is_finished() {
                continue;
            }
            if !self.goes_on(id) {
                return Ok(None);
            }
            let view = self.0.catalog.view();
            let is_there = |record: &Backup| record.is_visible() && record.place == self.0.place;
            if !view.record(&item.backup).is_some_and(is_there) {
                let reason = "it was removed before its turn came, or lies elsewhere".to_owned();
                self.note_item(id, index, ItemState::Left { reason })
                    .await?;
                continue;
            }
            let proof = match self.prove(&item.backup).await {
                Ok(proof) => proof,
                Err(error @ Interrupted::Journal(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(operation.id = %id, backup.name = %item.backup, "proving {}: {error}", item.backup);
                    first_error.get_or_insert(error);
                    continue;
                }
            };
            let state = ItemState::Done {
                objects: proof.files,
                bytes: proof.bytes,
            };
            self.note_item(id, index, state).await?;
        }
        let view = self.0.catalog.view();
        let damaged: Vec<String> = items
            .iter()
            .filter_map(|item| damage(view.record(&item.backup)?))
            .collect();
        if let Some(error) = first_error {
            return Err(error);
        }
        Ok((!damaged.is_empty()).then(|| Failure::new(FailureKind::Damaged, damaged.join("; "))))
    }

    /// Proves one backup and writes down what came of it.
    pub(super) async fn prove(&self, name: &BackupName) -> Result<Proof, Interrupted> {
        let destination = self.our_view()?;
        let began = tokio::time::Instant::now();
        let proved = self.look_for_files(destination, name).await?;
        let took = began.elapsed();
        self.write_proof(name, proved, took).await
    }

    /// What of a chain is there, as it lies in the destination.
    async fn look_for_files(
        &self,
        destination: &Destination,
        name: &BackupName,
    ) -> Result<Looked, Interrupted> {
        let view = self.0.catalog.view();
        let chain = match chain_names(&view, name) {
            Ok(chain) => chain,
            Err(error) => return Ok(Err(error.to_string())),
        };
        // Another backup under the name is not this one, however whole it is.
        let known = view.record(name).and_then(|backup| backup.manifest.clone());
        let head = match destination.head(name.as_str()).await {
            Ok(head) => head,
            // No manifest any more: the proof says so.
            Err(destination::Error::Invalid { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let differs = match (&known, &head) {
            (Some(known), Some(head)) => known.uuid != head.uuid,
            _ => false,
        };
        if differs {
            let why = "it is the manifest of another backup";
            return Ok(Err(why.to_owned()));
        }
        Ok(Ok(destination.prove(&chain).await?))
    }

    async fn write_proof(
        &self,
        name: &BackupName,
        looked: Looked,
        took: Duration,
    ) -> Result<Proof, Interrupted> {
        let now = self.0.clock.now();
        let proof = result_of(name, &looked, now, took);
        let own = looked.map(|proved| proved.own).unwrap_or_default();
        let (wanted, written) = (name.clone(), proof.clone());
        let decide = move |view: &View| {
            let changed = view.record(&wanted).map(|backup| {
                let mut backup = backup.clone();
                // Sizes of a foreign backup are known from its manifest only.
                if backup.origin == Origin::Foreign && written.passed() {
                    backup.files = Some(own.files);
                    backup.bytes = Some(own.bytes);
                    backup.bytes_written = Some(own.bytes_written);
                }
                backup.set_proof(written);
                backup.changed_at = now;
                Change::PutBackup(Box::new(backup))
            });
            Decision {
                changes: changed.into_iter().collect(),
                answer: (),
            }
        };
        self.0
            .catalog
            .write(decide)
            .await
            .map_err(JournalError::from)?;
        if let Some(damage) = self.0.catalog.view().record(name).and_then(damage) {
            tracing::error!(backup.name = %name, "{damage}; {}", FailureKind::Damaged.hint());
        } else {
            tracing::info!(backup.name = %name, files = proof.files, bytes = proof.bytes, took_ms = proof.took_ms, "every file of {name} is there");
        }
        Ok(proof)
    }

    /// Our view of the destination.
    pub(super) fn our_view(&self) -> Result<&Destination, Interrupted> {
        self.0.destination.as_ref().ok_or_else(|| {
            Interrupted::Impossible(Failure::new(
                FailureKind::Destination,
                "there is no destination.url, so this daemon does not see the destination",
            ))
        })
    }

    pub(super) fn items_of(&self, id: OperationId) -> Vec<Item> {
        let view = self.0.catalog.view();
        view.operation(id)
            .map(|operation| operation.items.clone())
            .unwrap_or_default()
    }
}

/// What a proof that is asked for now is about.
pub(super) fn items(view: &View, selection: &Selection) -> Result<Vec<Item>, Failure> {
    let mut chosen: Vec<&Backup> = match selection {
        Selection::One(name) => {
            let found = view.backup(name).ok_or_else(|| {
                Failure::new(
                    FailureKind::NotFound,
                    format!("there is no backup named {name}"),
                )
            })?;
            vec![found]
        }
        Selection::Newest => newest_of_each(view),
        Selection::All => view.backups().collect(),
    };
    if chosen.is_empty() {
        let text = "there is no backup to prove yet";
        return Err(Failure::new(FailureKind::NotFound, text));
    }
    chosen.sort_by_key(|backup| backup.proof(ProofLevel::Files).map(|proof| proof.at));
    let item = |backup: &&Backup| {
        let manifest = backup
            .manifest
            .as_ref()
            .map(|manifest| manifest.uuid.clone());
        Item::new(backup.name.clone(), manifest, Vec::new())
    };
    Ok(chosen.iter().take(ITEMS_MAX).map(item).collect())
}

/// The newest of each schedule, and of the clients'.
fn newest_of_each(view: &View) -> Vec<&Backup> {
    let mut newest = std::collections::BTreeMap::new();
    let ours = view
        .backups()
        .filter(|backup| backup.origin != Origin::Foreign);
    for backup in ours {
        let place = newest.entry(backup.schedule()).or_insert(backup);
        if (backup.slot_or_creation(), backup.number) > (place.slot_or_creation(), place.number) {
            *place = backup;
        }
    }
    newest.into_values().collect()
}

/// The proof that follows a backup by itself.
pub(super) fn after_backup(made: &Backup, by: &Operation, number: u64) -> Operation {
    let now = by.finished_at.unwrap_or(made.created_at);
    proof_of(made, super::removal::limits_beside(by.limits), now, number)
}

/// A proof that nobody asked for.
pub(super) fn proof_of(made: &Backup, limits: Limits, now: Timestamp, number: u64) -> Operation {
    let id = OperationId::of_client();
    let selection = Selection::One(made.name.clone());
    let work = Work::Verify(VerifyWork {
        selection,
        level: ProofLevel::Files,
    });
    let command = format!("verify {}", made.name);
    let mut operation = Operation::new(id, Trigger::Daemon, work, command, limits, now);
    operation.number = number;
    operation
}

/// What one look at the files of a backup gave, or why it could not begin: a broken chain.
type Looked = Result<Proved, String>;

fn result_of(name: &BackupName, looked: &Looked, now: Timestamp, took: Duration) -> Proof {
    let (files, bytes, count, first) = match looked {
        Ok(proved) => {
            let first = proved.missing.iter().take(Proof::MISSING_MAX).map(missing);
            let (files, bytes) = (proved.files, proved.bytes);
            (files, bytes, proved.missing_count, first.collect())
        }
        Err(why) => {
            let manifest = Missing {
                backup: name.to_string(),
                file: ".backup".to_owned(),
                size_wanted: None,
                size_found: None,
                problem: why.clone(),
            };
            (0, 0, 1, vec![manifest])
        }
    };
    Proof {
        level: ProofLevel::Files,
        at: now,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        outcome: match count {
            0 => ProofOutcome::Passed,
            count => ProofOutcome::Damaged { count, first },
        },
        files,
        bytes,
    }
}

fn missing(found: &destination::Missing) -> Missing {
    let problem = match (found.problem, found.size_wanted, found.size_found) {
        (Problem::OtherSize, Some(wanted), Some(size)) => {
            format!("has {size} bytes instead of {wanted}")
        }
        (Problem::OtherSize, ..) => "has another size".to_owned(),
        (Problem::Absent, ..) => "is not there".to_owned(),
        (Problem::Unreadable, ..) => "is cut off, or no manifest".to_owned(),
        (Problem::NotInBase, ..) => "is not in the base, where it should be".to_owned(),
        (Problem::OtherBase, ..) => "is not the base that it was made on".to_owned(),
    };
    Missing {
        backup: found.backup.clone(),
        file: found.file.clone(),
        size_wanted: found.size_wanted,
        size_found: found.size_found,
        problem,
    }
}

/// What its latest proof found missing, in words.
pub(super) fn damage(backup: &Backup) -> Option<String> {
    if backup.status() != Status::Damaged {
        return None;
    }
    let (count, first) = backup
        .proofs
        .iter()
        .find_map(|proof| match &proof.outcome {
            ProofOutcome::Damaged { count, first } => Some((count, first)),
            ProofOutcome::Passed => None,
        })?;
    let named: Vec<String> = first
        .iter()
        .take(NAMED_MAX_FILES)
        .map(|missing| {
            let Missing {
                backup,
                file,
                problem,
                ..
            } = missing;
            format!("{backup}/{file} {problem}")
        })
        .collect();
    let more = count.saturating_sub(u64::try_from(named.len()).unwrap_or(0));
    let rest = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    Some(format!(
        "{} is damaged: {}{rest}",
        backup.name,
        named.join(", ")
    ))
}
