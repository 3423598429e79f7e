//! The state machine: one `match` owns every transition.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Attempt, Failure, FailureKind, Operation, Outcome, Server};
use crate::backup::ManifestSeen;
use crate::schedule::SkipReason;

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for the lane, for ClickHouse, or for its next attempt.
    /// The runner moves it on; a crash leaves it as it is.
    Pending,
    /// An attempt is recorded, and its statement may have been sent.
    /// The runner sends it (again) or finds it on the server; a crash leaves it as it is.
    Starting,
    /// The server knows the attempt.
    /// The server moves it on, and we watch; a crash of ours leaves it running.
    Running,
    /// The end was asked for, and the server has not yet said that it is gone.
    Cancelling(CancelCause),
    /// Finished: a backup is visible, a restore is done.
    Succeeded,
    /// Ended without its result, for the recorded failure.
    Failed,
    /// Ended because a caller asked for it.
    Cancelled,
    /// Never begun, for the recorded reason.
    Skipped,
}

/// Why the end of an attempt was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// A caller.
    Caller,
    /// The attempt ran longer than `clickhouse.timeout`.
    Timeout,
    /// The operation passed its deadline.
    Deadline,
}

/// What can happen to an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An attempt was recorded.
    Begun(Box<Attempt>),
    /// It runs inside us from now on; without an attempt where there is nothing to do.
    BegunHere(Option<Box<Attempt>>),
    /// The server knows the attempt.
    Accepted(Server),
    /// Its manifest was read in the destination.
    Read(ManifestSeen),
    /// It is finished.
    Finished(Outcome),
    /// The attempt ended badly; with a time, another one may follow then.
    AttemptFailed {
        /// Why.
        failure: Failure,
        /// Not before when it is tried again; `None` ends the operation.
        retry_at: Option<Timestamp>,
    },
    /// No attempt could begin, and none will.
    GaveUp(Failure),
    /// The end is asked for.
    Cancel(CancelCause),
    /// The server confirms that the attempt is gone.
    Gone,
    /// The server did not confirm it within the limit.
    Unconfirmed,
    /// It will not be run.
    Skip(SkipReason),
}

/// An event that means nothing in this state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {operation} is {state:?}, where {event} means nothing")]
pub struct IllegalEvent {
    operation: super::OperationId,
    state: State,
    event: &'static str,
}

impl State {
    /// Whether nothing can follow.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped
        )
    }

    /// Whether it holds the lane: an attempt of it may be at work on the server.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Cancelling(_))
    }

    /// The word used in logs, the API and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Cancelling(_) => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// The state after an event; `None` where the event means nothing.
    fn next(self, event: &Event) -> Option<Self> {
        use State::{
            Cancelled, Cancelling, Failed, Pending, Running, Skipped, Starting, Succeeded,
        };
        Some(match (self, event) {
            (Pending, Event::Begun(_)) => Starting,
            (Pending, Event::BegunHere(_)) => Running,
            (Pending, Event::GaveUp(_)) => Failed,
            (Pending, Event::Cancel(_)) => Cancelled,
            (Pending, Event::Skip(_)) => Skipped,
            (Starting, Event::Accepted(_)) => Running,
            (state @ (Running | Cancelling(_)), Event::Read(_)) => state,
            (Running | Cancelling(_), Event::Finished(_)) => Succeeded,
            (
                Starting | Running,
                Event::AttemptFailed {
                    retry_at: Some(_), ..
                },
            ) => Pending,
            (Starting | Running, Event::AttemptFailed { retry_at: None, .. }) => Failed,
            (Starting | Running, Event::Cancel(cause)) => Cancelling(*cause),
            (Cancelling(CancelCause::Caller), Event::Gone) => Cancelled,
            (Cancelling(CancelCause::Timeout | CancelCause::Deadline), Event::Gone) => Failed,
            (Cancelling(_), Event::Unconfirmed) => Failed,
            _ => return None,
        })
    }
}

impl Event {
    /// The word used in errors and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Begun(_) => "begun",
            Self::BegunHere(_) => "begun here",
            Self::Read(_) => "read",
            Self::Accepted(_) => "accepted",
            Self::Finished(_) => "finished",
            Self::AttemptFailed { .. } => "attempt failed",
            Self::GaveUp(_) => "gave up",
            Self::Cancel(_) => "cancel",
            Self::Gone => "gone",
            Self::Unconfirmed => "unconfirmed",
            Self::Skip(_) => "skip",
        }
    }
}

impl Operation {
    /// The operation after an event at `now`.
    ///
    /// # Errors
    /// When the event means nothing in this state: the caller's view was old, and it must look again.
    pub fn apply(mut self, event: Event, now: Timestamp) -> Result<Self, IllegalEvent> {
        let Some(state) = self.state.next(&event) else {
            return Err(IllegalEvent {
                operation: self.id,
                state: self.state,
                event: event.as_str(),
            });
        };
        let ended_cause = match self.state {
            State::Cancelling(cause) => Some(cause),
            _ => None,
        };
        match event {
            Event::Begun(attempt) => {
                self.started_at = self.started_at.or(Some(now));
                self.answered();
                self.attempts.push(*attempt);
            }
            Event::BegunHere(attempt) => {
                self.started_at = self.started_at.or(Some(now));
                self.answered();
                self.attempts.extend(attempt.map(|attempt| *attempt));
            }
            Event::Accepted(server) => {
                if let Some(attempt) = self.attempts.last_mut() {
                    attempt.delivery = super::Delivery::Accepted;
                    attempt.server = Some(server);
                }
            }
            Event::Read(manifest) => {
                if let Some(attempt) = self.attempts.last_mut() {
                    attempt.manifest = Some(manifest);
                }
            }
            Event::Finished(outcome) => {
                self.failure = None;
                self.outcome = Some(outcome);
                self.end_attempt(None, now);
            }
            Event::AttemptFailed { failure, retry_at } => {
                self.not_before = retry_at;
                self.end_attempt(Some(failure), now);
            }
            Event::GaveUp(failure) => self.failure = Some(failure),
            Event::Cancel(_) => self.cancel_asked_at = Some(now),
            Event::Gone => self.end_attempt(Some(gone(ended_cause)), now),
            Event::Unconfirmed => self.end_attempt(Some(unconfirmed()), now),
            Event::Skip(reason) => self.skipped = Some(reason),
        }
        if state.is_terminal() {
            self.finished_at = Some(now);
        }
        self.state = state;
        Ok(self)
    }

    fn end_attempt(&mut self, failure: Option<Failure>, now: Timestamp) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended_at = Some(now);
            attempt.failure.clone_from(&failure);
        }
        self.failure = failure;
    }
}

fn gone(cause: Option<CancelCause>) -> Failure {
    match cause {
        Some(CancelCause::Timeout) => {
            Failure::new(FailureKind::TimedOut, "ended after clickhouse.timeout")
        }
        Some(CancelCause::Deadline) => Failure::new(FailureKind::TimedOut, "ended at the deadline"),
        _ => Failure::new(FailureKind::Cancelled, "cancelled by a caller"),
    }
}

fn unconfirmed() -> Failure {
    let text = "the end was asked for, and ClickHouse did not confirm it within clickhouse.cancel_limit; it may still run";
    Failure::new(FailureKind::Unknown, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{attempt, daily as operation, outcome, server};
    use super::*;

    fn states() -> Vec<State> {
        use CancelCause::{Caller, Deadline, Timeout};
        let cancelling = [Caller, Timeout, Deadline].map(State::Cancelling);
        let plain = [
            State::Pending,
            State::Starting,
            State::Running,
            State::Succeeded,
            State::Failed,
            State::Cancelled,
            State::Skipped,
        ];
        plain.into_iter().chain(cancelling).collect()
    }

    fn events() -> Vec<Event> {
        let failure = || Failure::new(FailureKind::Unknown, "x");
        vec![
            Event::Begun(Box::new(attempt(1))),
            Event::Accepted(server()),
            Event::Finished(outcome()),
            Event::AttemptFailed {
                failure: failure(),
                retry_at: Some(Timestamp::UNIX_EPOCH),
            },
            Event::AttemptFailed {
                failure: failure(),
                retry_at: None,
            },
            Event::GaveUp(failure()),
            Event::Cancel(CancelCause::Caller),
            Event::Cancel(CancelCause::Timeout),
            Event::Cancel(CancelCause::Deadline),
            Event::Gone,
            Event::Unconfirmed,
            Event::Skip(SkipReason::Superseded),
        ]
    }

    /// Every pair of state and event: what is not in this table is illegal.
    #[test]
    fn the_whole_table() {
        use CancelCause::{Caller, Deadline, Timeout};
        use State::{
            Cancelled, Cancelling, Failed, Pending, Running, Skipped, Starting, Succeeded,
        };
        let legal: &[(State, &str, State)] = &[
            (Pending, "begun", Starting),
            (Pending, "gave up", Failed),
            (Pending, "cancel", Cancelled),
            (Pending, "skip", Skipped),
            (Starting, "accepted", Running),
            (Starting, "attempt failed, retry", Pending),
            (Starting, "attempt failed", Failed),
            (Starting, "cancel", Cancelling(Caller)),
            (Starting, "cancel timeout", Cancelling(Timeout)),
            (Starting, "cancel deadline", Cancelling(Deadline)),
            (Running, "finished", Succeeded),
            (Running, "attempt failed, retry", Pending),
            (Running, "attempt failed", Failed),
            (Running, "cancel", Cancelling(Caller)),
            (Running, "cancel timeout", Cancelling(Timeout)),
            (Running, "cancel deadline", Cancelling(Deadline)),
            (Pending, "cancel timeout", Cancelled),
            (Pending, "cancel deadline", Cancelled),
            (Cancelling(Caller), "finished", Succeeded),
            (Cancelling(Timeout), "finished", Succeeded),
            (Cancelling(Deadline), "finished", Succeeded),
            (Cancelling(Caller), "gone", Cancelled),
            (Cancelling(Timeout), "gone", Failed),
            (Cancelling(Deadline), "gone", Failed),
            (Cancelling(Caller), "unconfirmed", Failed),
            (Cancelling(Timeout), "unconfirmed", Failed),
            (Cancelling(Deadline), "unconfirmed", Failed),
        ];
        let word = |event: &Event| match event {
            Event::AttemptFailed {
                retry_at: Some(_), ..
            } => "attempt failed, retry".to_owned(),
            Event::Cancel(Timeout) => "cancel timeout".to_owned(),
            Event::Cancel(Deadline) => "cancel deadline".to_owned(),
            other => other.as_str().to_owned(),
        };
        for state in states() {
            for event in events() {
                let expected = legal
                    .iter()
                    .find(|(from, name, _)| *from == state && *name == word(&event))
                    .map(|row| row.2);
                assert_eq!(state.next(&event), expected, "{state:?} and {event:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_sequence_leaves_a_terminal_state(picks in prop::collection::vec(0..12_usize, 0..40)) {
            let mut now = Timestamp::UNIX_EPOCH;
            let mut operation = operation();
            for pick in picks {
                now = now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
                let before = operation.clone();
                match operation.clone().apply(events()[pick].clone(), now) {
                    Ok(after) => {
                        prop_assert!(!before.state.is_terminal());
                        prop_assert_eq!(after.finished_at.is_some(), after.state.is_terminal());
                        prop_assert_eq!(after.outcome.is_some(), after.state == State::Succeeded);
                        if after.state == State::Failed {
                            prop_assert!(after.failure.is_some(), "a failure without a reason");
                        }
                        operation = after;
                    }
                    Err(error) => {
                        prop_assert!(error.to_string().contains(&before.id.to_string()));
                        prop_assert_eq!(&operation, &before);
                    }
                }
            }
        }
    }

    #[test]
    fn the_end_of_a_cancelled_attempt_says_why() {
        let now = Timestamp::UNIX_EPOCH;
        let running = [
            Event::Begun(Box::new(attempt(1))),
            Event::Accepted(server()),
        ];
        let running = running.into_iter().fold(operation(), |operation, event| {
            operation.apply(event, now).unwrap()
        });
        let ended = |cause| {
            let cancelling = running.clone().apply(Event::Cancel(cause), now).unwrap();
            cancelling.apply(Event::Gone, now).unwrap()
        };
        let kind = |operation: &Operation| operation.failure.as_ref().map(|failure| failure.kind);
        assert_eq!(
            kind(&ended(CancelCause::Caller)),
            Some(FailureKind::Cancelled)
        );
        assert_eq!(
            kind(&ended(CancelCause::Deadline)),
            Some(FailureKind::TimedOut)
        );
        assert_eq!(ended(CancelCause::Timeout).attempts[0].ended_at, Some(now));
    }
}
