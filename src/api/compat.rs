//! The wire format of the server we replace, so that scripts, DAGs and dashboards go on working.
//!
//! Rows are compact JSON, one a line; an empty set is an empty body. Deviations are deliberate and
//! few: errors are `application/json`, bad input is 400, an unknown thing 404, a busy lane 423
//! everywhere, and what would change the result without our doing it is refused instead of ignored.

pub(super) mod actions;
pub(super) mod answer;
mod arguments;
mod callback;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod kill;
pub(super) mod list;
pub(super) mod not_served;
pub(super) mod reference;
pub(super) mod restore;
pub(super) mod status;
pub(super) mod version;

use std::sync::Arc;

use axum::response::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

pub(super) use delete::command as delete_command;
pub use list::KeptList;

use super::ApiState;
use crate::operation::Operation;
use crate::worker::{Request, SubmitError, Submitted};
use answer::Refusal;

/// Times of the old wire format: local, without zone and fraction.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";
/// Name of a backup whose client gave none: local time again.
const DEFAULT_NAME_FORMAT: &str = "%Y-%m-%dT%H-%M-%S";

/// The answer to accepted work.
#[derive(Serialize)]
struct Acknowledged<'a> {
    status: &'static str,
    operation: &'static str,
    backup_name: &'a str,
    operation_id: String,
}

/// Hands work in. A backup whose name is being made already is acknowledged with its operation.
async fn submit(
    state: &ApiState,
    operation: &'static str,
    request: Request,
) -> Result<Arc<Operation>, Refusal> {
    match state.worker.submit(request).await {
        Ok(Submitted::Accepted(accepted) | Submitted::Active(accepted)) => Ok(accepted),
        Err(SubmitError::Busy { command }) => {
            tracing::info!(
                command,
                "{operation} refused: another client's operation is active"
            );
            Err(Refusal::busy(operation))
        }
        Err(error @ SubmitError::Catalog(_)) => Err(Refusal::internal(operation, &error)),
    }
}

fn acknowledged(operation: &'static str, accepted: &Operation) -> Response {
    let name = accepted.subject();
    answer::row(&Acknowledged {
        status: "acknowledged",
        operation,
        backup_name: &name,
        operation_id: accepted.id.to_string(),
    })
}

fn time_text(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime(TIME_FORMAT).to_string()
}

pub(super) fn default_name(now: Timestamp, zone: &TimeZone) -> String {
    now.to_zoned(zone.clone())
        .strftime(DEFAULT_NAME_FORMAT)
        .to_string()
}
