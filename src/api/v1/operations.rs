//! `/api/v1/operations`: what was asked for, and asking for more.
#![allow(
    unused_qualifications,
    reason = "utoipa's macro writes paths out in full"
)]

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::backups::{not_removed, speaks_against};
use super::document::{Authenticated, Busy, Conflict, NotFound};
use super::error::{ErrorKind, Problem};
use super::input::{
    Arguments, Body, Named, backup_filter, backup_name, bad, operation_id, schedule_filter, shown,
};
use super::operation::{
    Failure, Operation, OperationKind, OperationRequest, OperationState, RestoreAction,
    RestoreCheck, RestoreRequest, RestoredTable,
};
use super::page::{Page, PageQuery};
use super::request;
use super::text::{BackupName, ScheduleName};
use crate::api::ApiState;
use crate::operation::{self as domain, OperationId};
use crate::worker::{self, Action, CancelError, CheckError, SubmitError, Submitted};

/// Longest wait for the end of an operation; proxies often end a silent request after 30 s.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// Most digits of a cursor, which is the number of an operation.
const CURSOR_MAX_DIGITS: usize = 18;

/// Which operations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Wanted {
    /// Rows of the page, 1 to 1,000; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where it begins: `next` of the page before.
    #[param(pattern = "^[1-9][0-9]{0,17}$")]
    cursor: Option<String>,
    /// Only those that do this.
    kind: Option<OperationKind>,
    /// Only those that stand here.
    state: Option<OperationState>,
    /// Only those of this schedule.
    #[param(value_type = Option<ScheduleName>)]
    schedule: Option<String>,
    /// Only those about the backup of this name, also as one of several.
    #[param(value_type = Option<BackupName>)]
    backup: Option<String>,
}

/// How long the answer may wait.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Wait {
    /// Answer when the operation has ended, or after this time, at most `25s`; at once where 64
    /// requests wait already.
    #[param(pattern = "^([01]?[0-9]|2[0-5])s$", example = "25s")]
    wait: Option<String>,
}

/// Operations, newest first.
#[utoipa::path(get, path = "/api/v1/operations", tag = "operations", params(Wanted),
    responses((status = 200, description = "One page.", body = Page<Operation>), Authenticated))]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Arguments(wanted): Arguments<Wanted>,
) -> Result<Json<Page<Operation>>, Problem> {
    let page = PageQuery {
        limit: wanted.limit,
        cursor: wanted.cursor.clone(),
    };
    let limit = page.rows()?;
    schedule_filter(wanted.schedule.as_deref())?;
    backup_filter(wanted.backup.as_deref())?;
    let before = page
        .cursor
        .as_deref()
        .map(|cursor| place_in_list(cursor).ok_or_else(|| page.no_cursor()))
        .transpose()?;
    let view = state.catalog.view();
    let mut found = view
        .operations()
        .rev()
        .filter(|operation| before.is_none_or(|before| operation.number < before))
        .filter(|operation| wanted.is_met_by(operation))
        .take(limit + 1);
    let mut items = Vec::new();
    let mut last = 0;
    for operation in found.by_ref().take(limit) {
        last = operation.number;
        items.push(state.shown(operation));
    }
    let next = found.next().map(|_| last.to_string());
    Ok(Json(Page { items, next }))
}

/// Asks for a backup, a restore, a proof or a removal.
///
/// It is answered as soon as it is written down; `Location` says where to watch it.
/// A restore with `"check": true` changes nothing and answers what it would do.
#[utoipa::path(post, path = "/api/v1/operations", tag = "operations",
    request_body(content = OperationRequest, examples(
        ("backup" = (summary = "One database", value = json!({"kind": "backup", "backup": "before-the-migration", "databases": ["shop"]}))),
        ("increment" = (summary = "What changed since another backup", value = json!({"kind": "backup", "backup": "2026-11-23", "base": "2026-11-22"}))),
        ("restore" = (summary = "One table, beside the one that is there", value = json!({"kind": "restore", "backup": "2026-11-22", "tables": ["shop.orders"], "database_mapping": {"shop": "shop_old"}}))),
        ("verify" = (summary = "Prove that every file of a backup is there", value = json!({"kind": "verify", "backup": "2026-11-22"}))),
        ("delete" = (summary = "Remove a backup and what is built on it", value = json!({"kind": "delete", "backup": "before-the-migration", "force": true}))),
        ("clean" = (summary = "Remove what attempts that died have left behind", value = json!({"kind": "clean"}))),
        ("check" = (summary = "Only say what a restore would do", value = json!({"kind": "restore", "backup": "2026-11-22", "check": true}))),
    )),
    responses(
        (status = 200, description = "What a restore would do; nothing was asked for.", body = RestoreCheck),
        (status = 202, description = "Accepted; or a backup of this name is being made already, and this is its operation.",
            body = Operation, headers(("Location" = String, description = "Where to watch it."))),
        NotFound, Conflict, Busy, Authenticated))]
pub(in crate::api) async fn submit(
    State(state): State<ApiState>,
    Body(wanted): Body<OperationRequest>,
) -> Result<Response, Problem> {
    let request = match wanted {
        OperationRequest::Backup(wanted) => {
            request::backup(&wanted, state.clock.now(), &state.zone)?
        }
        OperationRequest::Restore(wanted) if wanted.check => {
            return Ok(Json(check(&state, &wanted).await?).into_response());
        }
        OperationRequest::Restore(wanted) => request::restore(&wanted)?,
        OperationRequest::Verify(wanted) => {
            let name = backup_name(&wanted.backup)?;
            let proving = state.proving(&name, wanted.level.into()).await?;
            return Ok(accepted(&state, &proving));
        }
        OperationRequest::Delete(wanted) => {
            let name = backup_name(&wanted.backup)?;
            let removing = state.removed(&name, wanted.force).await?;
            return Ok(accepted(&state, &removing));
        }
        OperationRequest::Clean(_) => {
            state.must_be_read_in()?;
            let cleaning = state.worker.clean("clean_local_broken".to_owned()).await;
            let cleaning = cleaning.map_err(|error| not_removed(&error))?;
            return Ok(accepted(&state, &cleaning));
        }
    };
    match state.worker.submit(request).await {
        Ok(Submitted::Accepted(operation) | Submitted::Active(operation)) => {
            Ok(accepted(&state, &operation))
        }
        Err(SubmitError::Busy { command }) => Err(Problem::new(
            ErrorKind::Busy,
            format!("another operation is currently running: {command}"),
            "wait for its end, or cancel it",
        )),
        Err(error @ SubmitError::Catalog(_)) => {
            Err(Problem::internal("submitting an operation", &error))
        }
    }
}

/// One operation; with `wait`, when it has ended.
#[utoipa::path(get, path = "/api/v1/operations/{id}", tag = "operations",
    params(("id" = uuid::Uuid, Path, description = "Its id."), Wait),
    responses((status = 200, description = "The operation as it is now.", body = Operation), NotFound, Authenticated))]
pub(in crate::api) async fn show(
    State(state): State<ApiState>,
    Named(id): Named,
    Arguments(wait): Arguments<Wait>,
) -> Result<Json<Operation>, Problem> {
    let (id, wait) = (operation_id(&id)?, wait.duration()?);
    let until = Instant::now() + wait;
    // Held until the answer: waits that took all the room of requests would lock everybody out.
    let place = (!wait.is_zero()).then(|| state.waits.enter()).flatten();
    let mut commits = state.worker.commits();
    loop {
        let view = commits.borrow_and_update().clone();
        let operation = view.operation(id).ok_or_else(|| unknown(id))?;
        let shown = state.shown(operation);
        if operation.state.is_terminal() || place.is_none() || Instant::now() >= until {
            return Ok(Json(shown));
        }
        tokio::select! {
            changed = commits.changed() => if changed.is_err() { return Ok(Json(shown)) },
            () = tokio::time::sleep_until(until) => {}
            // Whoever waits must not keep the process from ending.
            () = state.stop.cancelled() => return Ok(Json(shown)),
        }
    }
}

/// Asks for the end of an operation: one that waits is cancelled at once, one at work is
/// `cancelling` until ClickHouse confirms it.
#[utoipa::path(post, path = "/api/v1/operations/{id}/cancel", tag = "operations",
    params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses((status = 202, description = "Its end is asked for.", body = Operation,
            headers(("Location" = String, description = "Where to watch it."))),
        NotFound, Conflict, Authenticated))]
pub(in crate::api) async fn cancel(
    State(state): State<ApiState>,
    Named(id): Named,
) -> Result<Response, Problem> {
    let id = operation_id(&id)?;
    match state.worker.cancel(id).await {
        Ok(operation) => Ok(accepted(&state, &operation)),
        Err(CancelError::NotFound) => Err(unknown(id)),
        Err(error @ CancelError::Ended(_)) => Err(Problem::new(
            ErrorKind::Conflict,
            error.to_string(),
            "there is nothing left to cancel",
        )),
        Err(error @ CancelError::Catalog(_)) => {
            Err(Problem::internal("cancelling an operation", &error))
        }
    }
}

/// The number that a cursor names, in the one spelling that pages give.
fn place_in_list(cursor: &str) -> Option<u64> {
    let number: u64 = cursor.parse().ok()?;
    let is_plain = number.to_string() == cursor && cursor.len() <= CURSOR_MAX_DIGITS;
    (number > 0 && is_plain).then_some(number)
}

/// The answer to work that was taken in.
pub(super) fn accepted(state: &ApiState, operation: &domain::Operation) -> Response {
    let location = format!("/api/v1/operations/{}", operation.id);
    let shown = Json(state.shown(operation));
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], shown).into_response()
}

async fn check(state: &ApiState, wanted: &RestoreRequest) -> Result<RestoreCheck, Problem> {
    let work = request::restore_work(wanted)?;
    match state.worker.check_restore(&work).await {
        Ok(check) => {
            let warning = speaks_against(&state.catalog.view(), &check.backup);
            let check = RestoreCheck::from(check);
            Ok(RestoreCheck { warning, ..check })
        }
        // The request is right by itself; what the backup holds stands against it.
        Err(CheckError::Impossible(failure)) => Err(Problem::new(
            ErrorKind::Conflict,
            failure.message,
            failure.kind.hint(),
        )),
        // Also where ClickHouse answered and refused: nothing of it is the caller's mistake.
        Err(CheckError::Server(failure)) => Err(Problem::new(
            ErrorKind::Unavailable,
            failure.message,
            failure.kind.hint(),
        )),
        Err(error @ CheckError::Catalog(_)) => Err(Problem::internal("checking a restore", &error)),
    }
}

fn unknown(id: OperationId) -> Problem {
    Problem::new(
        ErrorKind::NotFound,
        format!("there is no operation {id}"),
        "the history keeps the last 1,000; see /api/v1/operations",
    )
}

impl ApiState {
    /// An operation with what the last look at the server told.
    pub(super) fn shown(&self, operation: &domain::Operation) -> Operation {
        Operation::of(operation, self.worker.progress(operation.id))
    }
}

impl Wanted {
    fn is_met_by(&self, operation: &domain::Operation) -> bool {
        let kind = match operation.work {
            domain::Work::Backup(_) => OperationKind::Backup,
            domain::Work::Restore(_) => OperationKind::Restore,
            domain::Work::Verify(_) => OperationKind::Verify,
            domain::Work::Delete(_) => OperationKind::Delete,
        };
        let schedule = operation.schedule().map(|name| name.as_str());
        self.kind.is_none_or(|wanted| wanted == kind)
            && self
                .state
                .is_none_or(|wanted| wanted == operation.state.into())
            && (self.schedule.is_none() || self.schedule.as_deref() == schedule)
            && self.backup.as_deref().is_none_or(|wanted| {
                let mut items = operation.items.iter();
                operation
                    .backup_name()
                    .is_some_and(|name| name.as_str() == wanted)
                    || items.any(|item| item.backup.as_str() == wanted)
            })
    }
}

impl Wait {
    fn duration(&self) -> Result<Duration, Problem> {
        let Some(text) = &self.wait else {
            return Ok(Duration::ZERO);
        };
        // One spelling, that of the document: `25s`, and not `PT25S` or `0.4m` as well.
        let seconds = text.strip_suffix('s').filter(|digits| {
            (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        });
        let wait = seconds.and_then(|digits| digits.parse().ok().map(Duration::from_secs));
        wait.filter(|wait| *wait <= WAIT_MAX).ok_or_else(|| {
            bad(format!(
                "wait: {:?} is no time from 0s to {}s",
                shown(text),
                WAIT_MAX.as_secs()
            ))
        })
    }
}

impl From<worker::RestoreCheck> for RestoreCheck {
    fn from(check: worker::RestoreCheck) -> Self {
        let table = |checked: worker::CheckedTable| {
            let (from, table) = (&checked.table.from, &checked.table);
            RestoredTable {
                from: format!("{}.{}", from.database, from.name),
                into: format!("{}.{}", table.into_database, table.into_name),
                rows: from.rows,
                action: checked.action.into(),
                reason: checked.reason.clone(),
                existing_rows: checked.existing_rows,
            }
        };
        Self {
            backup: check.backup.to_string(),
            created_at: check.created_at,
            statement: check.statement,
            create_databases: check.create_databases,
            tables: check
                .tables
                .map(|tables| tables.into_iter().map(table).collect()),
            refused: check.refused.as_ref().map(Failure::from),
            warning: None,
        }
    }
}

impl From<Action> for RestoreAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Create => Self::Create,
            Action::Fill => Self::Fill,
            Action::Drop => Self::Drop,
            Action::Refuse => Self::Refuse,
            Action::Keep => Self::Keep,
            Action::LeftOut => Self::LeftOut,
        }
    }
}
