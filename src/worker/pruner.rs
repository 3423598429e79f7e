//! Retention: after each success and now and then, a fresh listing, a plan, and the removals it wants.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::hold::holds;
use super::prover::proof_of;
use super::removal::{RemovalError, begun, item_of, limits_beside};
use super::{RetentionNote, Worker};
use crate::backup::{BackupName, Origin, ProofLevel, chain};
use crate::catalog::{CatalogError, Change, Decision, View};
use crate::destination::{self, ManifestHead};
use crate::operation::{DeleteCause, Item, ItemState, Operation, Trigger, Work};
use crate::retention::{Plan, Situation, Verdict, plan};

/// Wait after a round that failed, before the next one.
const FAILED_RETRY: Duration = Duration::from_secs(60);
/// Longest sleep: the wall clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Backups that one removal takes; the next round goes on with the others. The record of a removal is
/// written as a whole at each step of each of its items, and so is `state.json` that holds it: with
/// thousands of items that is gigabytes.
const REMOVED_AT_A_TIME_MAX: usize = 100;

/// Backups of unread manifest that one round looks at.
const UNREAD_AT_A_TIME_MAX: usize = 20;

/// What came of a round.
#[derive(Debug)]
enum Round {
    /// Nothing stands against it; so many removals were begun.
    Done(usize),
    /// Something does, in words.
    Stopped(Vec<String>),
}

/// A round that failed; nothing was removed.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    /// The destination could not be listed.
    #[error("{0}")]
    NotListed(String),
    /// ClickHouse or the view is in the way.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// Our memory failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// What makes a new round worth it: when it differs from that of the last round, one is due.
#[derive(Debug, PartialEq)]
struct Reasons {
    backups: BTreeSet<(BackupName, bool, bool, Option<Timestamp>)>,
    /// Those whose removal is not through: with fewer of them there is room for others.
    hidden: BTreeSet<BackupName>,
    adoptions: usize,
}

impl Worker {
    /// Retires backups until `stop`.
    pub async fn run_retention(self, stop: CancellationToken) {
        if self.0.destination.is_none() {
            return;
        }
        let mut changes = self.0.catalog.subscribe();
        let mut rules = self.0.rules.clone();
        let (mut last, mut due_at) = (None, self.0.clock.now());
        loop {
            changes.borrow_and_update();
            rules.borrow_and_update();
            let (view, now) = (self.0.catalog.view(), self.0.clock.now());
            let reasons = self.reasons(&view);
            let is_due = last.as_ref() != Some(&reasons) || now >= due_at;
            let may = self.is_read_in() && is_quiet(&view);
            if may && is_due {
                let round = tokio::select! {
                    () = stop.cancelled() => return,
                    round = self.retire() => round,
                };
                let wait = self.note_round(round);
                last = Some(reasons);
                due_at = now.checked_add(wait).unwrap_or(now);
            }
            let until = due_at.duration_since(self.0.clock.now());
            let pause = match may {
                true => Duration::try_from(until).unwrap_or_default().min(SLEEP_MAX),
                // The commit that brings a quiet moment wakes us.
                false => SLEEP_MAX,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                _ = rules.changed() => due_at = self.0.clock.now(),
                () = self.0.live.retention_asked.notified() => due_at = self.0.clock.now(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks for a round of retention soon.
    pub fn ask_retention(&self) {
        self.0.live.retention_asked.notify_one();
    }

    fn reasons(&self, view: &View) -> Reasons {
        let one = |backup: &crate::backup::Backup| {
            (
                backup.name.clone(),
                backup.pinned.is_some(),
                backup.suspect.is_some(),
                backup.proof(ProofLevel::Files).map(|proof| proof.at),
            )
        };
        let hidden = view
            .all_backups()
            .filter(|backup| backup.deleting.is_some());
        Reasons {
            backups: view.backups().map(one).collect(),
            hidden: hidden.map(|backup| backup.name.clone()).collect(),
            adoptions: view.adoptions().len(),
        }
    }

    fn note_round(&self, round: Result<Round, RoundError>) -> Duration {
        let now = self.0.clock.now();
        let every = self.0.rules.borrow().every;
        let before = self.0.live.retention();
        let rounds = before.rounds + 1;
        match round {
            Ok(Round::Done(removals)) => {
                if removals == 0 {
                    tracing::debug!("retention: nothing has to go");
                }
                if before.failure.is_some() {
                    tracing::info!("retention works again");
                }
                self.0.live.set_retention(RetentionNote {
                    rounds,
                    succeeded_at: Some(now),
                    failed_at: before.failed_at,
                    failure: None,
                    stopped: Vec::new(),
                });
                every
            }
            Ok(Round::Stopped(reasons)) => {
                if before.stopped != reasons {
                    for reason in &reasons {
                        tracing::warn!("retention removes nothing: {reason}");
                    }
                }
                self.0.live.set_retention(RetentionNote {
                    rounds,
                    stopped: reasons,
                    failure: None,
                    ..before
                });
                every
            }
            Err(error) => {
                let text = error.to_string();
                if before.failure.as_ref() != Some(&text) {
                    tracing::error!("retention failed, and nothing was removed: {text}");
                }
                self.0.live.set_retention(RetentionNote {
                    rounds,
                    failed_at: Some(now),
                    failure: Some(text),
                    ..before
                });
                FAILED_RETRY.min(every)
            }
        }
    }

    async fn retire(&self) -> Result<Round, RoundError> {
        // What ends between the two questions and the listing is in one of them.
        let mut running = self.running().await?;
        self.refresh()
            .await
            .map_err(|error| RoundError::NotListed(error.to_string()))?;
        let stops = self.stops();
        if !stops.is_empty() {
            return Ok(Round::Stopped(
                stops.iter().map(ToString::to_string).collect(),
            ));
        }
        if self.resume_removals().await? {
            // What could not be removed before comes first, or what is hidden would grow without end.
            return Ok(Round::Done(0));
        }
        self.read_unproven().await?;
        running.extend(self.running().await?);
        let contact = self.contact().await;
        let server = match contact.answer {
            Ok((server, _)) => Some(server.uuid),
            // Whether it is the same server as ever is not known.
            Err(failure) => return Err(RoundError::NotListed(failure.message)),
        };
        let place = self.0.place.clone();
        let (rules, now) = (self.0.rules.borrow().clone(), self.0.clock.now());
        let sweeps = rules.sweep_broken;
        let operation = self.removal(
            Trigger::Daemon,
            DeleteCause::Retention,
            "retention".to_owned(),
            now,
        );
        let decide = move |view: &View| {
            let holds = holds(view, &running, now);
            let plan = plan(&Situation {
                rules: &rules,
                backups: view
                    .backups()
                    .filter(|backup| backup.place == place)
                    .collect(),
                holds: &holds,
                adoptions: view.adoptions(),
                server,
                now,
            });
            let items = items(view, &plan);
            if !plan.stops.is_empty() || items.is_empty() {
                return Decision {
                    changes: Vec::new(),
                    answer: Ok((plan, None)),
                };
            }
            let Decision { changes, answer } = begun::<RemovalError>(view, operation, items, now);
            Decision {
                changes,
                answer: answer.map(|operation| (plan, Some(operation))),
            }
        };
        let (plan, operation) = self.0.catalog.write(decide).await??;
        tell(&plan, operation.as_deref());
        if let Some(operation) = &operation {
            self.announce(None, operation);
        }
        if sweeps && plan.stops.is_empty() && !self.standing().broken.is_empty() {
            self.remove_broken(Trigger::Daemon, DeleteCause::Sweep, "sweep".to_owned())
                .await?;
        }
        if plan.stops.is_empty() {
            Ok(Round::Done(
                operation.map_or(0, |operation| operation.items.len()),
            ))
        } else {
            Ok(Round::Stopped(
                plan.stops.iter().map(ToString::to_string).collect(),
            ))
        }
    }

    /// Backups whose manifest could not be read when they were made are looked at again; then they are
    /// proved as any other.
    async fn read_unproven(&self) -> Result<(), RoundError> {
        let Some(destination) = &self.0.destination else {
            return Ok(());
        };
        let view = self.0.catalog.view();
        let unread = view.backups().filter(|backup| {
            backup.manifest.is_none()
                && backup.origin != Origin::Foreign
                && backup.place == self.0.place
        });
        for backup in unread.take(UNREAD_AT_A_TIME_MAX) {
            let head = match destination.head(backup.name.as_str()).await {
                Ok(head) => head,
                // One that refuses, or is no manifest, does not keep the others.
                Err(
                    error
                    @ (destination::Error::Invalid { .. } | destination::Error::Denied { .. }),
                ) => {
                    tracing::debug!(backup.name = %backup.name, "reading its manifest: {error}");
                    continue;
                }
                Err(error) => return Err(RoundError::NotListed(error.to_string())),
            };
            let is_its = |head: &ManifestHead| head.backup_id.as_deref() == Some(&*backup.attempt);
            let Some(head) = head.filter(is_its) else {
                continue;
            };
            let (name, manifest, now) = (
                backup.name.clone(),
                self.read_here(&head),
                self.0.clock.now(),
            );
            let limits = limits_beside(self.client_limits());
            let decide = move |view: &View| {
                let changes =
                    view.record(&name)
                        .filter(|record| record.is_visible())
                        .map(|record| {
                            let mut record = record.clone();
                            record.manifest = Some(manifest);
                            record.changed_at = now;
                            let proof = proof_of(&record, limits, now, view.next_number());
                            [
                                Change::PutBackup(Box::new(record)),
                                Change::PutOperation(Box::new(proof)),
                            ]
                        });
                Decision {
                    changes: changes.into_iter().flatten().collect(),
                    answer: (),
                }
            };
            self.0.catalog.write(decide).await?;
        }
        Ok(())
    }

    /// Takes up removals whose operation ended without them: it failed for good, or is not known any more.
    async fn resume_removals(&self) -> Result<bool, RoundError> {
        let now = self.0.clock.now();
        let operation = self.removal(
            Trigger::Daemon,
            DeleteCause::Resumed,
            "resume removals".to_owned(),
            now,
        );
        let decide = move |view: &View| {
            let items: Vec<Item> = view
                .all_backups()
                .filter(|backup| {
                    backup.deleting.is_some()
                        && super::removal::removing(view, &backup.name).is_none()
                })
                .map(|backup| {
                    let reason = "an earlier removal did not end".to_owned();
                    // How far that one came is not known: it is no whole backup any more.
                    let mut item = item_of(backup, vec![reason]);
                    item.state = ItemState::Begun;
                    item
                })
                .collect();
            let mut items = dependents_first(view, items);
            items.truncate(REMOVED_AT_A_TIME_MAX);
            if items.is_empty() {
                return Decision {
                    changes: Vec::new(),
                    answer: Ok(None),
                };
            }
            let Decision { changes, answer } = begun::<RemovalError>(view, operation, items, now);
            Decision {
                changes,
                answer: answer.map(Some),
            }
        };
        let resumed = self.0.catalog.write(decide).await??;
        if let Some(operation) = &resumed {
            tracing::warn!(operation.id = %operation.id, "{} removals are taken up again", operation.items.len());
            self.announce(None, operation);
        }
        Ok(resumed.is_some())
    }
}

/// What is built on another one goes before it.
fn dependents_first(view: &View, mut items: Vec<Item>) -> Vec<Item> {
    let depth = |item: &Item| {
        let record = view.record(&item.backup);
        let chain = record.map(|record| chain(|name| view.record(name), record));
        chain.map_or(0, |chain| chain.map_or(usize::MAX, |links| links.len()))
    };
    items.sort_by_cached_key(|item| std::cmp::Reverse(depth(item)));
    items
}

/// A round waits while a backup is proved that was just made, and while one removal is under way:
/// the plan would be made from half of what is known.
fn is_quiet(view: &View) -> bool {
    !view.unfinished().any(|operation| {
        operation.trigger == Trigger::Daemon
            && match &operation.work {
                Work::Verify(_) => true,
                Work::Delete(work) => matches!(
                    work.cause,
                    DeleteCause::Retention | DeleteCause::Resumed | DeleteCause::Sweep
                ),
                Work::Backup(_) | Work::Restore(_) => false,
            }
    })
}

/// What goes next, in the order in which it goes: after any of them, nothing that is left lacks its base.
fn items(view: &View, plan: &Plan) -> Vec<Item> {
    plan.removals()
        .take(REMOVED_AT_A_TIME_MAX)
        .filter_map(|line| {
            let reasons = line.reasons.iter().map(ToString::to_string).collect();
            Some(item_of(view.record(&line.backup)?, reasons))
        })
        .collect()
}

fn tell(plan: &Plan, operation: Option<&Operation>) {
    let kept = plan
        .lines
        .iter()
        .filter(|line| line.verdict == Verdict::Keep)
        .count();
    let Some(operation) = operation else { return };
    for item in &operation.items {
        tracing::info!(operation.id = %operation.id, backup.name = %item.backup, "retention removes {}: {}", item.backup, item.reasons.join("; "));
    }
    let removed = operation.items.len();
    let later = plan.removals().count().saturating_sub(removed);
    tracing::info!(operation.id = %operation.id, kept, removed, later, "retention");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::clock::Clock;
    use crate::destination::testing::folder_view;
    use crate::retention::{Policy, Rules};
    use crate::worker::Beside;
    use crate::worker::testing::{
        FakeServer, at, backup, put_backups, put_folder_of, worker_with_rules,
    };

    fn rules(keep_last: u32) -> Arc<Rules> {
        Arc::new(Rules {
            global: Some(Policy {
                keep_last: Some(keep_last),
                ..Policy::default()
            }),
            ..Rules::default()
        })
    }

    #[tokio::test]
    async fn many_go_in_removals_of_limited_size_that_leave_nothing_out() {
        let [root, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let server = FakeServer::start().await;
        let worker = worker_with_rules(
            state.path(),
            Some(folder_view(root.path())),
            &server.url,
            &Clock::anchored(at("2026-11-22T12:00:00Z")),
            watch::Sender::new(rules(1)).subscribe(),
        );
        let first = at("2026-11-20T02:00:00Z");
        let backups: Vec<_> = (0..2 * REMOVED_AT_A_TIME_MAX + 5)
            .map(|minute| {
                let created = first + jiff::SignedDuration::from_mins(minute.try_into().unwrap());
                backup(&format!("b{minute:04}"), &created.to_string())
            })
            .collect();
        for backup in &backups {
            put_folder_of(root.path(), backup);
        }
        put_backups(&worker, &backups).await;
        let stop = CancellationToken::new();
        let removals = worker.clone().run_beside(Beside::Removals, stop.clone());
        let removals = tokio::spawn(removals);
        let mut taken = Vec::new();
        while taken.last() != Some(&0) {
            match worker.retire().await.unwrap() {
                Round::Done(count) => taken.push(count),
                Round::Stopped(reasons) => panic!("{reasons:?}"),
            }
            let mut changes = worker.0.catalog.subscribe();
            while !is_quiet(&changes.borrow_and_update().clone()) {
                changes.changed().await.unwrap();
            }
        }
        stop.cancel();
        removals.await.unwrap();
        assert_eq!(
            taken,
            [REMOVED_AT_A_TIME_MAX, REMOVED_AT_A_TIME_MAX, 4, 0],
            "in rounds"
        );
        let view = worker.0.catalog.view();
        let names: Vec<_> = view.all_backups().map(|one| one.name.to_string()).collect();
        assert_eq!(names, [backups.last().unwrap().name.to_string()]);
        let folders = std::fs::read_dir(root.path()).unwrap();
        let folders: Vec<_> = folders.map(|one| one.unwrap().file_name()).collect();
        assert_eq!(folders.len(), 2, "ours and the newest: {folders:?}");
    }

    #[tokio::test]
    async fn what_could_not_be_removed_is_taken_up_in_parts_and_before_anything_else_goes() {
        let [root, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let server = FakeServer::start().await;
        let worker = worker_with_rules(
            state.path(),
            Some(folder_view(root.path())),
            &server.url,
            &Clock::anchored(at("2026-11-22T12:00:00Z")),
            watch::Sender::new(rules(1)).subscribe(),
        );
        let made = |name: String| backup(&name, "2026-11-20T02:00:00Z");
        let left: Vec<_> = (0..REMOVED_AT_A_TIME_MAX + 7)
            .map(|number| crate::backup::Backup {
                deleting: Some(crate::backup::Deleting {
                    operation: uuid::Uuid::nil(),
                    since: at("2026-11-21T02:00:00Z"),
                }),
                ..made(format!("left{number:04}"))
            })
            .collect();
        let there = ["old", "new"].map(|name| made(name.to_owned()));
        for backup in &there {
            put_folder_of(root.path(), backup);
        }
        put_backups(&worker, &[left, there.to_vec()].concat()).await;
        assert!(worker.resume_removals().await.unwrap());
        let view = worker.0.catalog.view();
        let resumed = view.unfinished().next().unwrap();
        assert_eq!(resumed.items.len(), REMOVED_AT_A_TIME_MAX);
        assert_eq!(view.unfinished().count(), 1);
        assert_eq!(view.backups().count(), 2, "nothing else is hidden");
    }
}
