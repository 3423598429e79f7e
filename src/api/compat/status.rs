//! `GET /backup/status`, and which operations a client of the old wire format is shown.
//!
//! Scripts ask for the newest row and take it for their own. So a scheduled operation that began
//! after a client asked for something stays out of sight until that client has surely looked.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::{answer, time_text};
use crate::api::ApiState;
use crate::catalog::View;
use crate::operation::{Failure, FailureKind, Operation, OperationId, State as OperationState};

/// How long a client's operation that ended stays the newest that clients see, in seconds.
pub(super) const COMPAT_QUIET_SECS: i64 = 60;
/// The error text of a row that a caller ended.
const CANCELLED: &str = "canceled from API /backup/kill";

/// A row of `/backup/status` and `/backup/actions`; the optional fields are left out when empty.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) command: String,
    pub(super) status: &'static str,
    pub(super) start: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) finish: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
    pub(super) operation_id: String,
}

/// Without an id: the active operation, else the last one that ended. With one: that one.
pub(in crate::api) async fn status(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Response {
    let view = state.catalog.view();
    let operation = match asked_id(query.as_deref()) {
        // An id shows everything: whoever has it got it from us.
        Some(id) => Uuid::parse_str(&id)
            .ok()
            .and_then(|id| view.operation(OperationId::from(id)).cloned()),
        None => current(&view, state.clock.now()),
    };
    answer::rows(operation.map(|operation| row(&operation, &state.zone)))
}

/// Operations that clients see at `now`, in the order in which they began.
///
/// Hidden are the daemon's own work and proofs, scheduled ones that have not begun or never will, and
/// those that began after a client had asked for something that is not over, or ended less than
/// [`COMPAT_QUIET_SECS`] ago.
pub(super) fn history(view: &View, now: Timestamp) -> Vec<Arc<Operation>> {
    let asked_for = || {
        view.operations()
            .filter(|operation| !operation.is_own_work())
    };
    let newest_seen = asked_for()
        .filter(|operation| operation.is_clients() && is_fresh(operation, now))
        .map(|operation| order(operation))
        .min();
    let is_visible = |operation: &&Arc<Operation>| {
        operation.is_clients()
            || (has_begun(operation) && newest_seen.is_none_or(|limit| order(operation) < limit))
    };
    let mut shown: Vec<Arc<Operation>> = asked_for().filter(is_visible).cloned().collect();
    shown.sort_by_key(|operation| order(operation));
    shown
}

/// The one operation that a client means who names none.
///
/// A client's own goes first, and keeps that place while it is fresh: a scheduled one that waits
/// between two attempts, or began before it, must not answer in its stead.
pub(super) fn current(view: &View, now: Timestamp) -> Option<Arc<Operation>> {
    let shown = history(view, now);
    let newest = |wanted: &dyn Fn(&Operation) -> bool| {
        shown
            .iter()
            .rev()
            .find(|operation| wanted(operation))
            .cloned()
    };
    newest(&|operation| operation.is_clients() && !operation.state.is_terminal())
        .or_else(|| newest(&|operation| operation.is_clients() && is_fresh(operation, now)))
        .or_else(|| newest(&|operation| !operation.state.is_terminal()))
        .or_else(|| {
            shown
                .iter()
                .max_by_key(|operation| operation.finished_at)
                .cloned()
        })
}

/// Whether a row says `in progress`.
pub(super) fn is_in_progress(operation: &Operation) -> bool {
    !operation.state.is_terminal()
}

/// The row of an operation; its retries are part of it.
pub(super) fn row(operation: &Operation, zone: &TimeZone) -> Row {
    let (status, error) = match operation.state {
        OperationState::Pending
        | OperationState::Starting
        | OperationState::Running
        | OperationState::Cancelling(_) => ("in progress", String::new()),
        OperationState::Succeeded => ("success", String::new()),
        OperationState::Cancelled => ("cancel", CANCELLED.to_owned()),
        OperationState::Failed => ("error", failure_text(operation.failure.as_ref())),
        OperationState::Skipped => ("error", skipped_text(operation)),
    };
    let finish = operation.finished_at.filter(|_| !is_in_progress(operation));
    Row {
        command: operation.command.clone(),
        status,
        start: time_text(began_at(operation), zone),
        finish: finish.map_or_else(String::new, |at| time_text(at, zone)),
        error,
        operation_id: operation.id.to_string(),
    }
}

/// A client's operation counts from the request on, a scheduled one from its first attempt; one
/// that could not even begin shows up when it failed.
fn began_at(operation: &Operation) -> Timestamp {
    let asked = operation.is_clients().then_some(operation.submitted_at);
    asked
        .or(operation.started_at)
        .or(operation.finished_at)
        .unwrap_or(operation.submitted_at)
}

fn order(operation: &Operation) -> (Timestamp, u64) {
    (began_at(operation), operation.number)
}

/// Whether a scheduled operation has come as far as an attempt, or failed on the way there.
fn has_begun(operation: &Operation) -> bool {
    operation.started_at.is_some() || operation.state == OperationState::Failed
}

/// Whether the client who asked for it may still be looking for it. An end in the future is that of
/// a clock that was set back, and hides nothing.
fn is_fresh(operation: &Operation, now: Timestamp) -> bool {
    let quiet = SignedDuration::from_secs(COMPAT_QUIET_SECS);
    match operation.finished_at {
        None => true,
        Some(end) => (SignedDuration::ZERO..quiet).contains(&now.duration_since(end)),
    }
}

fn failure_text(failure: Option<&Failure>) -> String {
    match failure {
        None => "no reason was recorded".to_owned(),
        Some(failure) if failure.kind == FailureKind::Unknown => failure.message.clone(),
        Some(failure) => format!("{}; {}", failure.message, failure.kind.hint()),
    }
}

fn skipped_text(operation: &Operation) -> String {
    match &operation.skipped {
        Some(reason) => format!("it was not run: {reason}"),
        None => "it was not run".to_owned(),
    }
}

/// The id that was asked for; an empty one is none. The old spelling has no underscore, while every
/// answer has one, so both are taken.
fn asked_id(query: Option<&str>) -> Option<String> {
    form_urlencoded::parse(query?.as_bytes())
        .find(|(name, value)| {
            matches!(name.as_ref(), "operationid" | "operation_id") && !value.is_empty()
        })
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests;
