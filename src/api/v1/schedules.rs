//! `/api/v1/schedules`: when things are due, and what can be asked of a schedule.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::document::{Authenticated, Busy, Conflict, NotFound};
use super::error::{ErrorKind, Problem};
use super::input::{Body, Named, bad, schedule_name, shown};
use super::operations::accepted;
use super::page::Page;
use super::schedule::{Pause, PauseRequest, RunRequest, Schedule, ScheduleAction, VerifySelection};
use super::text;
use crate::api::ApiState;
use crate::catalog::View;
use crate::operation::{self as domain, Action, Selection, State as DomainState};
use crate::schedule::{ScheduleName, SlotError};
use crate::worker::scheduler::name_of;
use crate::worker::{PauseError, RunError, Submitted};

/// Coming slots that are shown.
const NEXT_SLOTS: usize = 3;

/// All schedules, by name.
#[utoipa::path(get, path = "/api/v1/schedules", tag = "schedules",
    responses((status = 200, description = "All of them: there is one page.", body = Page<Schedule>), Authenticated))]
pub(in crate::api) async fn list(State(state): State<ApiState>) -> Json<Page<Schedule>> {
    let (view, schedules) = (state.catalog.view(), state.schedules());
    let standings = standings(&view);
    let items = schedules.values().map(|schedule| {
        let standing = standings.get(&schedule.name).copied().unwrap_or_default();
        state.schedule(&view, schedule, standing)
    });
    Json(Page {
        items: items.collect(),
        next: None,
    })
}

/// One schedule.
#[utoipa::path(get, path = "/api/v1/schedules/{name}", tag = "schedules",
    params(("name" = text::ScheduleName, Path, description = "Its name.")),
    responses((status = 200, description = "The schedule.", body = Schedule), NotFound, Authenticated))]
pub(in crate::api) async fn show(
    State(state): State<ApiState>,
    Named(name): Named,
) -> Result<Json<Schedule>, Problem> {
    let schedule = state.configured(&name)?;
    Ok(Json(state.one(&schedule)))
}

/// Runs a slot by hand: a failed, cancelled or skipped night again under its own name; without a
/// slot, now.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/run", tag = "schedules",
    params(("name" = text::ScheduleName, Path, description = "Its name.")),
    request_body(content = Option<RunRequest>, examples(
        ("now" = (summary = "A slot that is now", value = json!({}))),
        ("again" = (summary = "A failed night again", value = json!({"slot": "2026-11-22"}))),
    )),
    responses((status = 202, description = "Accepted; or the slot has an operation that has not ended, and this is it.",
            body = super::operation::Operation, headers(("Location" = String, description = "Where to watch it."))),
        NotFound, Conflict, Busy, Authenticated))]
pub(in crate::api) async fn run(
    State(state): State<ApiState>,
    Named(name): Named,
    Body(wanted): Body<Option<RunRequest>>,
) -> Result<Response, Problem> {
    let wanted = wanted.unwrap_or_default();
    let schedule = state.configured(&name)?;
    let slot = wanted
        .slot
        .as_deref()
        .map(|text| schedule.calendar.find_slot(text))
        .transpose()
        .map_err(|error| {
            Problem::new(
                match error {
                    SlotError::Unreadable(_) | SlotError::Several { .. } => ErrorKind::BadRequest,
                    SlotError::NotDue { .. } | SlotError::NoneThatDay { .. } => ErrorKind::NotFound,
                },
                error.to_string(),
                format!("see the slots of {name} in /api/v1/operations?schedule={name}"),
            )
        })?;
    match state.worker.run_slot(&schedule, slot).await {
        Ok(Submitted::Accepted(operation) | Submitted::Active(operation)) => {
            Ok(accepted(&state, &operation))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// Pauses a schedule: slots that become due are skipped, and told as such.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/pause", tag = "schedules",
    params(("name" = text::ScheduleName, Path, description = "Its name.")),
    request_body(content = Option<PauseRequest>, examples(
        ("open" = (summary = "Until somebody resumes it", value = json!({}))),
        ("until" = (summary = "With an end and a reason", value = json!({"until": "2099-01-01T00:00:00Z", "reason": "the server moves"}))),
    )),
    responses((status = 200, description = "It is paused.", body = Schedule), NotFound, Authenticated))]
pub(in crate::api) async fn pause(
    State(state): State<ApiState>,
    Named(name): Named,
    Body(wanted): Body<Option<PauseRequest>>,
) -> Result<Json<Schedule>, Problem> {
    let wanted = wanted.unwrap_or_default();
    let schedule = state.configured(&name)?;
    let paused = state
        .worker
        .pause(&schedule.name, wanted.until, wanted.reason);
    match paused.await {
        Ok(()) => Ok(Json(state.one(&schedule))),
        Err(error @ PauseError::Catalog(_)) => Err(Problem::internal("pausing a schedule", &error)),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// Ends the pause of a schedule; what was skipped stays skipped.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/resume", tag = "schedules",
    params(("name" = text::ScheduleName, Path, description = "Its name.")),
    responses((status = 200, description = "It goes on, or was not paused.", body = Schedule), NotFound, Authenticated))]
pub(in crate::api) async fn resume(
    State(state): State<ApiState>,
    Named(name): Named,
) -> Result<Json<Schedule>, Problem> {
    let schedule = state.configured(&name)?;
    match state.worker.resume(&schedule.name).await {
        Ok(()) => Ok(Json(state.one(&schedule))),
        Err(error) => Err(Problem::internal("resuming a schedule", &error)),
    }
}

/// What the history knows of a schedule.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing<'a> {
    pub last: Option<&'a Arc<domain::Operation>>,
    pub last_success: Option<&'a Arc<domain::Operation>>,
}

/// What the history knows of each schedule, in one pass over it.
pub(super) fn standings(view: &View) -> HashMap<ScheduleName, Standing<'_>> {
    let mut standings: HashMap<ScheduleName, Standing<'_>> = HashMap::new();
    for operation in view.operations().rev() {
        let Some(schedule) = operation.schedule() else {
            continue;
        };
        let standing = standings.entry(schedule.clone()).or_default();
        standing.last = standing.last.or(Some(operation));
        if operation.state == DomainState::Succeeded {
            standing.last_success = standing.last_success.or(Some(operation));
        }
    }
    standings
}

/// What its slots do, and which backups they prove.
fn does(action: &Action) -> (ScheduleAction, Option<VerifySelection>) {
    match action {
        Action::Backup => (ScheduleAction::Backup, None),
        Action::Verify(work) => {
            let selection = match work.selection {
                Selection::All => Some(VerifySelection::All),
                Selection::Newest => Some(VerifySelection::Newest),
                // The configuration names no single one.
                Selection::One(_) => None,
            };
            (ScheduleAction::Verify, selection)
        }
    }
}

fn refused(error: &RunError) -> Problem {
    let (kind, hint) = match error {
        RunError::NotDueYet(_) => (ErrorKind::Conflict, "leave the slot out to run it now"),
        RunError::UnknownSlot(_) => (
            ErrorKind::NotFound,
            "run it without a slot, or make a backup under a name of your own",
        ),
        RunError::Done(_) | RunError::NameTaken(_) => (
            ErrorKind::Conflict,
            "make a backup under a name of your own (POST /api/v1/operations)",
        ),
        RunError::Busy(_) => (ErrorKind::Busy, "wait for its end, or cancel it"),
        RunError::Name(_) => (
            ErrorKind::Conflict,
            "change the name template of the schedule",
        ),
        RunError::Catalog(_) => return Problem::internal("running a slot", error),
    };
    Problem::new(kind, error.to_string(), hint)
}

impl ApiState {
    /// The schedule of this name, as it is in use now.
    fn configured(&self, name: &str) -> Result<Arc<domain::Schedule>, Problem> {
        let schedules = self.schedules();
        let found = schedule_name(name).and_then(|name| schedules.get(&name).cloned());
        found.map(Arc::new).ok_or_else(|| {
            let known: Vec<&str> = schedules.keys().map(|name| name.as_str()).collect();
            Problem::new(
                ErrorKind::NotFound,
                format!("there is no schedule {:?}", shown(name)),
                match known.as_slice() {
                    [] => "the configuration has no schedules".to_owned(),
                    known => format!("there are: {}", shown(&known.join(", "))),
                },
            )
        })
    }

    /// One schedule as it stands now.
    fn one(&self, schedule: &domain::Schedule) -> Schedule {
        let view = self.catalog.view();
        let standing = standings(&view)
            .get(&schedule.name)
            .copied()
            .unwrap_or_default();
        self.schedule(&view, schedule, standing)
    }

    /// A schedule with what the history knows of it.
    fn schedule(
        &self,
        view: &View,
        schedule: &domain::Schedule,
        standing: Standing<'_>,
    ) -> Schedule {
        let now = self.clock.now();
        let next: Vec<_> = schedule
            .calendar
            .slots_after(now)
            .take(NEXT_SLOTS)
            .collect();
        let pause = view.pause(&schedule.name);
        let pause = pause.filter(|pause| pause.until.is_none_or(|until| now < until));
        let (action, verify) = does(&schedule.action);
        let makes = action == ScheduleAction::Backup;
        let next_name = next
            .first()
            .filter(|_| makes)
            .and_then(|slot| name_of(schedule, *slot).ok());
        Schedule {
            name: schedule.name.to_string(),
            cron: schedule.calendar.expression().to_owned(),
            timezone: schedule.calendar.zone_name().to_owned(),
            action,
            kind: makes.then(|| schedule.kind().into()),
            verify,
            template: makes.then(|| schedule.template.to_string()),
            databases: schedule.scope.databases.clone(),
            exclude_tables: schedule
                .scope
                .exclude_tables
                .iter()
                .map(ToString::to_string)
                .collect(),
            next_slots: next,
            next_backup: next_name.map(|name| name.to_string()),
            paused: pause.map(|pause| Pause {
                since: pause.since,
                until: pause.until,
                reason: pause.reason.clone(),
            }),
            last: standing.last.map(|operation| self.shown(operation)),
            last_success: standing.last_success.map(|operation| self.shown(operation)),
        }
    }
}
