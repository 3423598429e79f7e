//! Asking ClickHouse who it is, for people who want to know whether it answers.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::metrics::ClickHouseNow;
use crate::operation::{Failure, FailureKind, Server};

/// How long an answer is good: whoever looks at the status all the time costs a query each 2 s.
const GOOD_FOR: Duration = Duration::from_secs(2);
/// Longest wait for the answer; somebody is looking at a terminal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often ClickHouse is asked whether it answers, by nobody in particular: whether the next slot
/// will find it is told before, not at night.
const ASKED_EVERY: Duration = Duration::from_secs(60);

/// What ClickHouse said, or why it said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// When it was asked.
    pub asked_at: jiff::Timestamp,
    /// Who it is and its version, or what went wrong.
    pub answer: Result<(Server, String), Failure>,
    fresh_until: Instant,
}

impl Worker {
    /// Where ClickHouse is, as configured; holds no password.
    #[must_use]
    pub fn clickhouse_url(&self) -> &str {
        self.0.client.url()
    }

    /// Where backups go, as in the statement.
    #[must_use]
    pub fn destination(&self) -> String {
        self.0.place.to_string()
    }

    /// Whether ClickHouse answered when it was last asked; asks nobody.
    #[must_use]
    pub fn reached(&self) -> ClickHouseNow {
        self.0.live.reached()
    }

    /// Asks ClickHouse now and then whether it answers, until `stop`, where nobody else has.
    pub async fn run_contact(self, stop: CancellationToken) {
        loop {
            let asked_at = self.reached().asked_at;
            let since = asked_at.map(|at| self.0.clock.now().duration_since(at));
            let quiet = since.and_then(|since| Duration::try_from(since).ok());
            let wait = match quiet.map(|quiet| ASKED_EVERY.saturating_sub(quiet)) {
                Some(wait) if !wait.is_zero() => wait,
                _ => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = self.contact() => ASKED_EVERY,
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Whether ClickHouse answers, asked now or at most 2 s ago; callers at the same time share one
    /// question.
    pub async fn contact(&self) -> Contact {
        let mut kept = self.0.live.contact.lock().await;
        let now = Instant::now();
        if let Some(contact) = kept.as_ref().filter(|contact| now < contact.fresh_until) {
            return contact.clone();
        }
        let answer = match timeout(ANSWER_TIMEOUT, self.0.client.server()).await {
            Ok(answer) => answer.map_err(|error| error.failure("asking ClickHouse who it is")),
            Err(_) => Err(Failure::new(
                FailureKind::Unreachable,
                format!(
                    "ClickHouse at {} does not answer: nothing within {} s",
                    self.0.client.url(),
                    ANSWER_TIMEOUT.as_secs()
                ),
            )),
        };
        if let Ok((server, _)) = &answer {
            self.0.live.set_server(server.uuid);
        }
        let asked_at = self.0.clock.now();
        self.0.live.note_reached(asked_at, answer.is_ok());
        let contact = Contact {
            asked_at,
            answer,
            fresh_until: Instant::now() + GOOD_FOR,
        };
        *kept = Some(contact.clone());
        contact
    }
}
