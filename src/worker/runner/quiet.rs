//! An attempt that its server knows nothing of, and whose folder does not change: it is dead.

use jiff::{SignedDuration, Timestamp};

use super::Memory;
use crate::destination::FolderSummary;
use crate::operation::{Attempt, Dead, Delivery, Operation, Seen, Work};
use crate::worker::{ViewState, Worker};

/// How long nothing may change in the destination before an attempt that no server knows is dead.
const QUIET: SignedDuration = SignedDuration::from_mins(10);
/// How often its folder is listed meanwhile.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// What a folder held, and since when it holds just that.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quiet {
    summary: FolderSummary,
    since: Timestamp,
    looked_at: Timestamp,
}

impl Quiet {
    fn new(summary: FolderSummary, now: Timestamp) -> Self {
        Self {
            summary,
            since: now,
            looked_at: now,
        }
    }

    /// After one more look. Objects that were written over count as a change by their time.
    fn again(self, summary: FolderSummary, now: Timestamp) -> Self {
        if self.summary == summary {
            Self {
                looked_at: now,
                ..self
            }
        } else {
            Self::new(summary, now)
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        now.duration_since(self.looked_at) >= LOOK_EVERY
    }

    /// Whether the looks, and not just the time, cover it: who slept has seen nothing.
    fn is_long(&self) -> bool {
        self.looked_at.duration_since(self.since) >= QUIET
    }
}

impl Worker {
    /// What was seen on the server, with what the destination says where that decides.
    pub(super) async fn with_destination(
        &self,
        memory: &mut Memory,
        operation: &Operation,
        attempt: &Attempt,
        seen: Seen,
    ) -> Seen {
        let is_open = seen == Seen::Absent { dead: None }
            && attempt.delivery == Delivery::Accepted
            && matches!(operation.work, Work::Backup(_))
            && attempt.place == self.0.place
            && self.standing().view == ViewState::Bound;
        let Some(destination) = self.0.destination.as_ref().filter(|_| is_open) else {
            memory.quiet.remove(&operation.id);
            return seen;
        };
        let now = self.0.clock.now();
        let before = memory.quiet.remove(&operation.id);
        let quiet = match before {
            Some(before) if !before.is_due(now) => before,
            before => match destination.summary(attempt.backup.as_str()).await {
                Ok(summary) => match before {
                    Some(before) => before.again(summary, now),
                    None => Quiet::new(summary, now),
                },
                // Nothing was seen, so nothing is quiet.
                Err(error) => {
                    tracing::debug!(attempt.id = %attempt.id, "listing what it wrote: {error}");
                    return seen;
                }
            },
        };
        let dead = quiet.is_long().then_some(Dead::Quiet);
        memory.quiet.insert(operation.id, quiet);
        Seen::Absent { dead }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::destination::testing::{folder_view, put};
    use crate::worker::testing::{NOBODY, at, running_backup, worker};

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn objects(objects: u64) -> FolderSummary {
        FolderSummary {
            objects,
            ..FolderSummary::default()
        }
    }

    #[test]
    fn only_looks_that_show_the_same_for_ten_minutes_are_quiet() {
        let mut quiet = Quiet::new(objects(1), minute(0));
        for at in 1..10 {
            quiet = quiet.again(objects(1), minute(at));
            assert!(!quiet.is_long(), "{at}");
        }
        let changed = quiet.clone().again(objects(2), minute(10));
        assert!(!changed.is_long());
        assert!(!changed.again(objects(2), minute(19)).is_long());
        assert!(quiet.again(objects(1), minute(10)).is_long());
    }

    #[test]
    fn time_alone_is_not_quiet() {
        let quiet = Quiet::new(FolderSummary::default(), minute(0));
        assert!(!quiet.is_due(Timestamp::from_second(59).unwrap()));
        assert!(quiet.is_due(minute(60)));
        assert!(!quiet.is_long(), "nobody looked again");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_its_server_does_not_know_is_dead_once_its_folder_is_quiet() {
        let [root, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let clock = Clock::anchored(at("2026-11-22T12:00:00Z"));
        let view = Some(folder_view(root.path()));
        let worker = worker(state.path(), view, NOBODY, &clock);
        let bind = |view| worker.0.live.update_standing(move |to| to.view = view);
        bind(ViewState::Bound);
        put(root.path(), "x/data/1", b"1");
        let operation = running_backup(1, "x");
        let attempt = operation.attempt().unwrap();
        let mut memory = Memory::default();
        let mut look = async |seen: Seen| {
            tokio::time::advance(Duration::from_secs(61)).await;
            worker
                .with_destination(&mut memory, &operation, attempt, seen)
                .await
        };
        let absent = Seen::Absent { dead: None };
        for _ in 0..9 {
            assert_eq!(look(absent.clone()).await, absent);
        }
        put(root.path(), "x/data/2", b"2");
        for _ in 0..10 {
            assert_eq!(look(absent.clone()).await, absent, "it was written to");
        }
        let dead = Seen::Absent {
            dead: Some(Dead::Quiet),
        };
        assert_eq!(look(absent.clone()).await, dead);
        // Whoever answered in between begins it anew, and so does a view that may be of another place.
        let away = Seen::Unreachable("no answer".to_owned());
        assert_eq!(look(away.clone()).await, away);
        assert_eq!(look(absent.clone()).await, absent);
        bind(ViewState::Unbound);
        for _ in 0..12 {
            assert_eq!(look(absent.clone()).await, absent);
        }
    }
}
