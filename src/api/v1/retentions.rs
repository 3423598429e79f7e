//! `/api/v1/retention`: what would be removed and why, and saying that a change is meant.
#![allow(
    unused_qualifications,
    reason = "utoipa's macro writes paths out in full"
)]

use axum::Json;
use axum::extract::State;

use super::document::Authenticated;
use super::error::{ErrorKind, Problem};
use super::input::{Body, bad};
use super::retention::{AdoptRequest, Adoption, RetentionPlan};
use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::worker::KeepError;

/// What retention would do now: each backup with keep or remove and the reasons, and why nothing goes
/// although lines say so.
#[utoipa::path(get, path = "/api/v1/retention/plan", tag = "retention",
    responses((status = 200, description = "The plan; nothing was done.", body = RetentionPlan), Authenticated))]
pub(in crate::api) async fn plan(State(state): State<ApiState>) -> Json<RetentionPlan> {
    let plan = state.worker.retention_plan();
    let view = state.catalog.view();
    Json(RetentionPlan::of(&plan, &view, state.clock.now()))
}

/// Says that a change is meant: retention goes on although the server was emptied or is another one.
#[utoipa::path(post, path = "/api/v1/retention/adopt", tag = "retention",
    request_body(content = Option<AdoptRequest>, examples(
        ("reason" = (summary = "With a reason", value = json!({"reason": "the old orders were archived"}))),
    )),
    responses((status = 200, description = "It is written down.", body = Adoption), Authenticated))]
pub(in crate::api) async fn adopt(
    State(state): State<ApiState>,
    caller: Caller,
    Body(wanted): Body<Option<AdoptRequest>>,
) -> Result<Json<Adoption>, Problem> {
    let reason = wanted.unwrap_or_default().reason;
    match state.worker.adopt_change(caller.0, reason).await {
        Ok(adoption) => Ok(Json(adoption.into())),
        Err(error) => Err(not_kept(&error)),
    }
}

/// A pin or an adoption that was refused.
pub(super) fn not_kept(error: &KeepError) -> Problem {
    let text = error.to_string();
    match error {
        KeepError::NotFound(_) => Problem::new(
            ErrorKind::NotFound,
            text,
            "clickhouse-backupd backup list (GET /api/v1/backups) has the names",
        ),
        KeepError::ReasonTooLong => bad(text),
        KeepError::ServerUnknown(_) => Problem::new(
            ErrorKind::Unavailable,
            text,
            "what is adopted is the server that answers: try again when clickhouse-backupd status shows one",
        ),
        KeepError::Catalog(_) => Problem::internal("writing down what is to be kept", error),
    }
}
