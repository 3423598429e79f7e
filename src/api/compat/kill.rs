//! `POST /backup/kill`: asks for the end of an operation, and waits for it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Refusal};
use super::status::{history, is_in_progress};
use crate::api::ApiState;
use crate::catalog::View;
use crate::operation::{Operation, OperationId};
use crate::worker::CancelError;

const OPERATION: &str = "kill";
/// How long an answer waits for the end; ClickHouse may take longer, and it goes on without us.
pub(super) const WAIT: Duration = Duration::from_secs(20);

#[derive(Serialize)]
struct Killed<'a> {
    status: &'static str,
    operation: &'static str,
    command: &'a str,
}

/// What became of an operation whose end was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is over, in whatever way.
    Over,
    /// ClickHouse has not confirmed it yet.
    Awaited,
}

impl End {
    /// The word of the wire format: the same two as for work that is done and work that is accepted.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Over => "success",
            Self::Awaited => "acknowledged",
        }
    }
}

/// `command` is the text of a row of `/backup/actions`; without it the oldest row in progress is meant.
pub(in crate::api) async fn kill(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let command = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(name, _)| name == "command")
        .map(|(_, value)| value.into_owned());
    let deadline = Instant::now() + WAIT;
    let (killed, end) = end(&state, command.as_deref(), deadline).await?;
    Ok(answer::row(&Killed {
        status: end.as_str(),
        operation: OPERATION,
        command: &killed.command,
    }))
}

/// Cancels what is meant, and waits for its end until `deadline`.
pub(super) async fn end(
    state: &ApiState,
    command: Option<&str>,
    deadline: Instant,
) -> Result<(Arc<Operation>, End), Refusal> {
    let command = command.filter(|text| !text.is_empty());
    let target = target(&state.catalog.view(), command, state.clock.now());
    let target = target.ok_or_else(|| not_found(command))?;
    match state.worker.cancel(target.id).await {
        // What ended by itself meanwhile is as over as what we end.
        Ok(_) | Err(CancelError::Ended(_)) => {}
        Err(CancelError::NotFound) => return Err(not_found(command)),
        Err(error @ CancelError::Catalog(_)) => return Err(Refusal::internal(OPERATION, &error)),
    }
    let end = wait(state, target.id, deadline).await;
    Ok((target, end))
}

async fn wait(state: &ApiState, id: OperationId, deadline: Instant) -> End {
    let mut views = state.catalog.subscribe();
    let over = views.wait_for(|view: &Arc<View>| {
        view.operation(id)
            .is_none_or(|operation| !is_in_progress(operation))
    });
    match timeout_at(deadline, over).await {
        Ok(Ok(_)) => End::Over,
        Ok(Err(_)) | Err(_) => End::Awaited,
    }
}

/// The operation that is meant. Without a command only what the caller can see counts: a script that
/// cleans up behind itself must not end a night's backup that began meanwhile. By its command
/// everything can be ended, what is seen first.
fn target(view: &View, command: Option<&str>, now: Timestamp) -> Option<Arc<Operation>> {
    let is_meant = |operation: &&Arc<Operation>| {
        is_in_progress(operation) && command.is_none_or(|text| operation.command == text)
    };
    let seen = history(view, now).iter().find(is_meant).cloned();
    seen.or_else(|| {
        command?;
        let mut asked_for = view.unfinished().filter(|other| !other.is_own_work());
        asked_for.find(is_meant).cloned()
    })
}

fn not_found(command: Option<&str>) -> Refusal {
    let text = match command {
        Some(command) => format!("command `{command}` not found"),
        None => "empty command list".to_owned(),
    };
    Refusal::not_found(OPERATION, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{Fixture, operation};
    use crate::operation::{CancelCause, Event, State};
    use jiff::SignedDuration;

    fn running(name: &str, scheduled: bool, at: Timestamp) -> Operation {
        let mut made = operation(name, scheduled, at);
        made.state = State::Running;
        made.started_at = Some(at);
        made
    }

    #[tokio::test]
    async fn a_waiting_operation_is_over_at_once() {
        let api = Fixture::new();
        api.post("/backup/create?name=daily", "").await;
        let answer = api.post("/backup/kill?command=create%20daily", "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.body,
            "{\"status\":\"success\",\"operation\":\"kill\",\"command\":\"create daily\"}\n"
        );
        assert_eq!(api.only_operation().state, State::Cancelled);
    }

    #[tokio::test]
    async fn what_is_not_there_is_404_with_the_known_texts() {
        let api = Fixture::new();
        let answer = api.post("/backup/kill", "").await;
        assert_eq!(answer.status, 404);
        assert_eq!(
            answer.body,
            "{\"status\":\"error\",\"operation\":\"kill\",\"error\":\"empty command list\"}\n"
        );
        let answer = api.post("/backup/kill?command=x", "").await;
        assert_eq!(answer.status, 404);
        assert_eq!(
            answer.body,
            "{\"status\":\"error\",\"operation\":\"kill\",\"error\":\"command `x` not found\"}\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_clickhouse_does_not_confirm_is_only_acknowledged() {
        let api = Fixture::new();
        api.put(running("daily", false, api.start())).await;
        let began = Instant::now();
        let answer = api.post("/backup/kill", "").await;
        assert_eq!(began.elapsed().as_secs(), WAIT.as_secs());
        assert_eq!(
            answer.body,
            "{\"status\":\"acknowledged\",\"operation\":\"kill\",\"command\":\"create daily\"}\n"
        );
        assert_eq!(
            api.only_operation().state,
            State::Cancelling(CancelCause::Caller)
        );
    }

    #[tokio::test]
    async fn it_answers_as_soon_as_the_end_is_confirmed() {
        let api = Fixture::new();
        api.put(running("daily", false, api.start())).await;
        let mut views = api.state.catalog.subscribe();
        let confirm = async {
            let cancelling = |view: &Arc<View>| {
                view.unfinished()
                    .any(|o| o.state == State::Cancelling(CancelCause::Caller))
            };
            views.wait_for(cancelling).await.unwrap();
            let operation = api.only_operation().as_ref().clone();
            api.put_again(operation.apply(Event::Gone, api.start()).unwrap())
                .await;
        };
        let (answer, ()) = tokio::join!(api.post("/backup/kill", ""), confirm);
        assert!(
            answer.body.starts_with("{\"status\":\"success\""),
            "{}",
            answer.body
        );
    }

    #[tokio::test]
    async fn without_a_command_only_what_the_caller_sees_is_ended() {
        let api = Fixture::new();
        let later = api.start() + SignedDuration::from_secs(5);
        let mut own = running("mine", false, api.start());
        own.state = State::Succeeded;
        own.finished_at = Some(later);
        api.put(own).await;
        api.put(running("night", true, later)).await;
        let view = api.state.catalog.view();
        let name = |command, after| {
            let now = later + SignedDuration::from_secs(after);
            target(&view, command, now).map(|operation| operation.subject())
        };
        assert_eq!(name(None, 10), None);
        assert_eq!(name(Some("create night"), 10).as_deref(), Some("night"));
        assert_eq!(name(Some("create mine"), 10), None);
        assert_eq!(name(None, 61).as_deref(), Some("night"));
    }

    #[tokio::test]
    async fn the_oldest_is_ended_first() {
        let api = Fixture::new();
        let later = api.start() + SignedDuration::from_secs(5);
        api.put(running("night", true, api.start())).await;
        api.put(operation("mine", false, later)).await;
        let meant = target(&api.state.catalog.view(), None, later).unwrap();
        assert_eq!(meant.subject().as_str(), "night");
    }
}
