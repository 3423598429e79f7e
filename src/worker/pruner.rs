//! Retention: after each success and now and then, a fresh listing, a plan, and the removals it wants.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::hold::holds;
use super::removal::{RemovalError, begun, item_of};
use super::{RetentionNote, Worker};
use crate::backup::{BackupName, ProofLevel};
use crate::catalog::{CatalogError, Decision, View};
use crate::operation::{DeleteCause, Item, Operation, Trigger, Work};
use crate::retention::{Plan, Situation, Verdict, plan};

/// Wait after a round that failed, before the next one.
const FAILED_RETRY: Duration = Duration::from_secs(60);
/// Longest sleep: the wall clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

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
    adoptions: usize,
}

impl Worker {
    /// Retires backups until `stop`.
    pub async fn run_retention(self, stop: CancellationToken) {
        let mut changes = self.0.catalog.subscribe();
        let mut rules = self.0.rules.clone();
        let (mut last, mut due_at) = (None, self.0.clock.now());
        loop {
            changes.borrow_and_update();
            rules.borrow_and_update();
            let (view, now) = (self.0.catalog.view(), self.0.clock.now());
            let reasons = self.reasons(&view);
            let is_due = last.as_ref() != Some(&reasons) || now >= due_at;
            if self.0.destination.is_some() && self.is_read_in() && is_due && is_quiet(&view) {
                let round = tokio::select! {
                    () = stop.cancelled() => return,
                    round = self.retire() => round,
                };
                let wait = self.note_round(round);
                last = Some(reasons);
                due_at = now.checked_add(wait).unwrap_or(now);
            }
            let until = due_at.duration_since(self.0.clock.now());
            let pause = Duration::try_from(until).unwrap_or_default().min(SLEEP_MAX);
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                _ = rules.changed() => due_at = self.0.clock.now(),
                () = self.0.live.retention_asked.notified() => due_at = self.0.clock.now(),
                // A round that waits for a quiet moment is woken by the commit that brings it.
                () = tokio::time::sleep(pause.max(Duration::from_millis(100))) => {}
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
        Reasons {
            backups: view.backups().map(one).collect(),
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
                self.0.metrics.retention_ended(now, false);
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
                self.0.metrics.retention_ended(now, true);
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
                self.0.metrics.retention_failed(now);
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
        self.refresh()
            .await
            .map_err(|error| RoundError::NotListed(error.to_string()))?;
        let stops = self.stops();
        if !stops.is_empty() {
            return Ok(Round::Stopped(
                stops.iter().map(ToString::to_string).collect(),
            ));
        }
        self.resume_removals().await?;
        let running = self.running().await?;
        let contact = self.contact().await;
        let server = contact.answer.ok().map(|(server, _)| server.uuid);
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
                backups: view.backups().collect(),
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

    /// Takes up removals whose operation ended without them: it failed for good, or is not known any more.
    async fn resume_removals(&self) -> Result<(), RoundError> {
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
                    item_of(backup, vec![reason])
                })
                .collect();
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
        if let Some(operation) = self.0.catalog.write(decide).await?? {
            tracing::warn!(operation.id = %operation.id, "{} removals are taken up again", operation.items.len());
            self.announce(None, &operation);
        }
        Ok(())
    }
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

/// What goes, in the order in which it goes.
fn items(view: &View, plan: &Plan) -> Vec<Item> {
    plan.removals()
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
    tracing::info!(operation.id = %operation.id, kept, removed = operation.items.len(), "retention");
}
