//! Who goes next, and when to look again: pure functions over the catalog's view.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::catalog::View;
use crate::operation::{Failure, FailureKind, Operation, State, Trigger};

/// Shortest wait between two looks at the server.
const LOOK_MIN: Duration = Duration::from_millis(5);
/// Longest wait between two looks at the server.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// A look after each 25th part of the time that has passed: an end is noticed within 5 %.
const LOOK_FRACTION: u32 = 25;
/// Longest sleep: the wall clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Operations that hold the lane: an attempt of theirs may be at work.
pub(super) fn active(view: &View) -> Vec<Arc<Operation>> {
    view.unfinished()
        .filter(|operation| operation.work.takes_the_lane() && operation.state.is_active())
        .cloned()
        .collect()
}

/// The operation that begins next on a free lane: a client's first, then slots in their order.
pub(super) fn next(view: &View, now: Timestamp) -> Option<Arc<Operation>> {
    let ready = |operation: &&Arc<Operation>| {
        operation.work.takes_the_lane()
            && operation.state == State::Pending
            && operation.not_before.is_none_or(|at| at <= now)
    };
    let order = |operation: &&Arc<Operation>| match &operation.trigger {
        Trigger::Client | Trigger::Daemon => (false, operation.submitted_at, operation.number),
        Trigger::Schedule { slot, .. } => (true, *slot, operation.number),
    };
    view.unfinished().filter(ready).min_by_key(order).cloned()
}

/// Waiting operations whose time is over, and why they are given up.
pub(super) fn expired(view: &View, now: Timestamp) -> Vec<(Arc<Operation>, Failure)> {
    let pending = view
        .unfinished()
        .filter(|operation| operation.state == State::Pending);
    pending
        .filter_map(|operation| Some((operation.clone(), out_of_time(operation, now)?)))
        .collect()
}

fn out_of_time(operation: &Operation, now: Timestamp) -> Option<Failure> {
    let past_deadline = operation
        .limits
        .deadline
        .is_some_and(|deadline| now >= deadline);
    let patience = operation
        .unreachable_since
        .map(|since| elapsed(since, now) >= operation.limits.unreachable);
    match (operation.limits.deadline, past_deadline, patience) {
        (Some(_), true, Some(_)) => Some(waited(operation, "until the deadline")),
        (Some(_), true, None) => Some(operation.failure.clone().unwrap_or_else(|| {
            Failure::new(
                FailureKind::TimedOut,
                "waited behind other operations until its deadline",
            )
        })),
        (None, _, Some(true)) => {
            let seconds = operation.limits.unreachable.as_secs();
            Some(waited(operation, &format!("for {seconds} s")))
        }
        _ => None,
    }
}

/// The reason is what ClickHouse, or its absence, said last.
fn waited(operation: &Operation, how_long: &str) -> Failure {
    match &operation.failure {
        Some(failure) if failure.kind != FailureKind::Unreachable => Failure::new(
            failure.kind,
            format!("waited {how_long}: {}", failure.message),
        ),
        Some(failure) => Failure::new(
            FailureKind::Unreachable,
            format!("ClickHouse did not answer {how_long}: {}", failure.message),
        ),
        None => Failure::new(
            FailureKind::Unreachable,
            format!("ClickHouse did not answer {how_long}"),
        ),
    }
}

/// How long until the server is looked at again.
pub(super) fn next_look(view: &View, now: Timestamp) -> Duration {
    let looks = active(view).into_iter().filter_map(|operation| {
        let began = operation
            .attempt()?
            .started_at
            .max(operation.cancel_asked_at.unwrap_or(Timestamp::MIN));
        Some((elapsed(began, now) / LOOK_FRACTION).clamp(LOOK_MIN, LOOK_MAX))
    });
    looks.min().unwrap_or(SLEEP_MAX)
}

/// How long until something is due by the clock alone: a retry, a deadline, the end of a patience.
pub(super) fn next_moment(view: &View, now: Timestamp) -> Duration {
    let waits = view
        .unfinished()
        .filter(|operation| operation.state == State::Pending)
        .flat_map(|operation| {
            let patience = operation
                .unreachable_since
                .and_then(|at| at.checked_add(operation.limits.unreachable).ok());
            let moments = [
                operation.not_before,
                operation.limits.deadline,
                patience.filter(|_| operation.limits.deadline.is_none()),
            ];
            moments
                .into_iter()
                .flatten()
                .filter(move |at| *at > now)
                .map(move |at| elapsed(now, at))
        });
    waits.min().unwrap_or(SLEEP_MAX).min(SLEEP_MAX)
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or_default()
}
