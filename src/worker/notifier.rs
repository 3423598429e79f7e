//! The loop that tells others what became of operations.
//!
//! What was told is written into the operation afterwards: a process that dies in between tells it
//! once more, and none is forgotten.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::catalog::View;
use crate::notify::{Caller, Message, MessageKind, Settings, owed};
use crate::operation::{Operation, OperationId, Told};

/// Calls for one message, at most.
const TRIES_MAX: u32 = 5;
/// Wait after the first call that did not work; each further one doubles it.
const RETRY_MIN: Duration = Duration::from_secs(10);
/// Operations that are told of at a time.
const AT_A_TIME_MAX: usize = 8;
/// What ended longer ago is news to nobody; whoever begins to listen hears of no more than this.
const OWED_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Longest sleep: what is owed changes with commits, which wake the loop.
const IDLE: Duration = Duration::from_secs(3_600);

/// What was tried of one operation.
struct Tried {
    told: Told,
    times: u32,
    /// Which of its messages arrived.
    arrived: Vec<bool>,
    again_at: Instant,
}

/// One operation whose turn it is.
struct Turn {
    operation: Arc<Operation>,
    told: Told,
    messages: Vec<(usize, Message)>,
    /// Messages in all.
    count: usize,
}

impl Worker {
    /// Tells what operations owe, until `stop`.
    pub async fn run_notifier(
        self,
        caller: Caller,
        mut settings: watch::Receiver<Arc<Settings>>,
        stop: CancellationToken,
    ) {
        let mut changes = self.0.catalog.subscribe();
        let mut tried: HashMap<OperationId, Tried> = HashMap::new();
        loop {
            let view = changes.borrow_and_update().clone();
            let wanted = settings.borrow_and_update().clone();
            let now = self.0.clock.now();
            let (turns, next) = turns(&view, &wanted, &tried, now);
            let has_more = !turns.is_empty();
            let told = stream::iter(turns)
                .map(|turn| self.tell(&caller, turn, wanted.timeout))
                .buffer_unordered(AT_A_TIME_MAX)
                .collect::<Vec<_>>();
            let told = tokio::select! {
                () = stop.cancelled() => return,
                told = told => told,
            };
            for (turn, arrived) in told {
                self.note_told(&mut tried, turn, arrived).await;
            }
            tried.retain(|id, _| view.operation(*id).is_some());
            if has_more {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                changed = settings.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    async fn tell(&self, caller: &Caller, turn: Turn, timeout: Duration) -> (Turn, Vec<usize>) {
        let operation = &turn.operation;
        let calls = turn.messages.iter().map(async |(index, message)| {
            let (id, kind) = (operation.id, message.kind.as_str());
            let told = caller.tell(message, timeout).await;
            self.0.metrics.told(kind, told.is_ok());
            match told {
                Ok(()) => {
                    tracing::debug!(operation.id = %id, "the {kind} arrived");
                    Some(*index)
                }
                Err(error) => {
                    tracing::warn!(operation.id = %id, "the {kind} of {} {} did not arrive: {error}", operation.kind(), operation.subject());
                    None
                }
            }
        });
        let arrived = join_all(calls).await.into_iter().flatten().collect();
        (turn, arrived)
    }

    async fn note_told(
        &self,
        tried: &mut HashMap<OperationId, Tried>,
        turn: Turn,
        arrived: Vec<usize>,
    ) {
        let (id, told) = (turn.operation.id, turn.told);
        let fresh = || Tried {
            told,
            times: 0,
            arrived: vec![false; turn.count],
            again_at: Instant::now(),
        };
        let mut one = tried
            .remove(&id)
            .filter(|one| one.told == told && one.arrived.len() == turn.count)
            .unwrap_or_else(fresh);
        one.times += 1;
        for index in arrived {
            one.arrived[index] = true;
        }
        let is_done = one.arrived.iter().all(|arrived| *arrived);
        if !is_done && one.times < TRIES_MAX {
            one.again_at = Instant::now() + RETRY_MIN.saturating_mul(1 << (one.times - 1));
            tried.insert(id, one);
            return;
        }
        if !is_done {
            tracing::error!(operation.id = %id, "gave up telling of {} {} after {TRIES_MAX} calls", turn.operation.kind(), turn.operation.subject());
        }
        let note = move |operation: &mut Operation| {
            operation.told = operation.told.max(Some(told));
            if told == Told::Ended {
                // They may hold secrets, and nobody needs them any more.
                operation.callbacks.clear();
            }
        };
        if let Err(error) = self.amend(id, note).await {
            tracing::warn!(operation.id = %id, "writing down what was told: {error}");
            // Told again later rather than at once for ever.
            one.again_at = Instant::now() + RETRY_MIN;
            one.times = 0;
            tried.insert(id, one);
        }
    }
}

/// Whether no later operation of its schedule has begun.
fn is_newest_run(view: &View, operation: &Operation) -> bool {
    let Some(schedule) = operation.schedule() else {
        return true;
    };
    let newest = view
        .operations_of(schedule)
        .find(|other| other.started_at.is_some());
    newest.is_none_or(|newest| newest.number <= operation.number)
}

/// Whose turn it is now, and when the next one comes.
fn turns(
    view: &View,
    settings: &Settings,
    tried: &HashMap<OperationId, Tried>,
    now: Timestamp,
) -> (Vec<Turn>, Instant) {
    let at = Instant::now();
    let mut next = at + IDLE;
    let mut turns = Vec::new();
    for operation in view.operations() {
        let is_old = operation
            .finished_at
            .is_some_and(|end| now.duration_since(end) > OWED_MAX);
        if is_old || turns.len() >= AT_A_TIME_MAX {
            continue;
        }
        let Some((told, mut messages)) = owed(operation, settings) else {
            continue;
        };
        if !is_newest_run(view, operation) {
            // A switch believes what it hears last.
            messages.retain(|message| message.kind != MessageKind::Heartbeat);
        }
        if messages.is_empty() {
            continue;
        }
        let count = messages.len();
        let before = tried
            .get(&operation.id)
            .filter(|one| one.told == told && one.arrived.len() == count);
        if let Some(one) = before.filter(|one| one.again_at > at) {
            next = next.min(one.again_at);
            continue;
        }
        let is_open = |index: &usize| before.is_none_or(|one| !one.arrived[*index]);
        let messages = messages.into_iter().enumerate();
        turns.push(Turn {
            operation: operation.clone(),
            told,
            messages: messages.filter(|(index, _)| is_open(index)).collect(),
            count,
        });
    }
    (turns, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Change;
    use crate::notify::Heartbeat;
    use crate::operation::State;
    use crate::operation::testing::daily;
    use crate::secret::SecretSource;
    use crate::worker::testing::{at, view};

    const NOW: &str = "1970-01-03T00:00:00Z";

    fn run(number: u64, state: State, ended: &str) -> Operation {
        let slot = Timestamp::from_second(i64::try_from(number).unwrap() * 3_600).unwrap();
        let mut operation = daily();
        if let crate::operation::Trigger::Schedule {
            slot: of, schedule, ..
        } = &mut operation.trigger
        {
            *of = slot;
            operation.id = OperationId::of_slot(schedule, slot);
        }
        Operation {
            number,
            state,
            started_at: Some(at(ended)),
            finished_at: state.is_terminal().then(|| at(ended)),
            ..operation
        }
    }

    fn told(operations: &[Operation]) -> Vec<(u64, Vec<&'static str>)> {
        let put = |operation: &Operation| Change::PutOperation(Box::new(operation.clone()));
        let view = view(operations.iter().map(put).collect());
        let address = || Some(SecretSource::from("http://127.0.0.1:1/"));
        let heartbeat = Heartbeat {
            started: address(),
            succeeded: address(),
            failed: address(),
        };
        let settings = Settings {
            heartbeats: [(daily().schedule().unwrap().clone(), heartbeat)].into(),
            callback_url: address(),
            ..Settings::default()
        };
        let (turns, _) = turns(&view, &settings, &HashMap::new(), at(NOW));
        let kinds = |turn: &Turn| {
            turn.messages
                .iter()
                .map(|(_, message)| message.kind.as_str())
                .collect()
        };
        turns
            .iter()
            .map(|turn| (turn.operation.number, kinds(turn)))
            .collect()
    }

    #[test]
    fn a_switch_hears_of_the_newest_run_alone() {
        let failed = run(1, State::Failed, "1970-01-02T23:10:00Z");
        assert_eq!(
            told(std::slice::from_ref(&failed)),
            [(1, vec!["heartbeat", "callback"])]
        );
        let later = run(2, State::Succeeded, "1970-01-02T23:40:00Z");
        let both = [failed.clone(), later];
        let expected = [(1, vec!["callback"]), (2, vec!["heartbeat", "callback"])];
        assert_eq!(told(&both), expected);
        let running = run(3, State::Running, "1970-01-02T23:50:00Z");
        assert_eq!(
            told(&[failed, running]),
            [(1, vec!["callback"]), (3, vec!["heartbeat"])]
        );
    }

    #[test]
    fn what_ended_long_ago_is_news_to_nobody() {
        let old = run(1, State::Failed, "1970-01-02T22:59:00Z");
        assert!(told(&[old]).is_empty());
    }
}
