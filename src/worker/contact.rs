//! Asking ClickHouse who it is, for people who want to know whether it answers.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Worker;
use crate::operation::{Failure, FailureKind, Server};

/// How long an answer is good: whoever looks at the status all the time costs a query each 2 s.
const GOOD_FOR: Duration = Duration::from_secs(2);
/// Longest wait for the answer; somebody is looking at a terminal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

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
        let contact = Contact {
            asked_at: self.0.clock.now(),
            answer,
            fresh_until: Instant::now() + GOOD_FOR,
        };
        *kept = Some(contact.clone());
        contact
    }
}
