//! Everything at a glance.

mod stored;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::document::Authenticated;
use super::operation::{Operation, OperationState};
use super::schedules::standings;
use super::text::{BackupName, ScheduleName};
use crate::api::ApiState;
use crate::backup as domain;
use crate::catalog::View;
use crate::operation::{self, FailureKind};
use crate::schedule::SkipReason;
use crate::worker::{Contact, Standing, ViewState};

/// What there is, what runs, what comes, and what is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of this daemon.
    pub version: String,
    /// Its time.
    pub now: Timestamp,
    /// The ClickHouse server.
    pub clickhouse: ClickHouse,
    /// Where backups go, and what is known of that place.
    pub destination: DestinationStatus,
    /// The schedules in short.
    pub schedules: Vec<ScheduleSummary>,
    /// Operations at work.
    pub running: Vec<Operation>,
    /// How many operations wait for their turn, for ClickHouse, or for their next attempt.
    pub waiting_count: u64,
    /// Those of them that have waited longest, at most 100.
    pub waiting: Vec<Operation>,
    /// The backups that are known.
    pub backups: BackupSummary,
    /// What is wrong, in words, at most 100 of them; empty when nothing is.
    pub problems: Vec<StatusProblem>,
}

/// Operations that wait, and problems, of one answer: with a thousand schedules there may be as many.
const SHOWN_MAX: usize = 100;
/// Names of folders of others in one answer.
const OTHERS_SHOWN: usize = 20;

/// The ClickHouse server, asked just now (an answer is kept for two seconds).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClickHouse {
    /// Where it is.
    pub url: String,
    /// Whether it answered.
    pub reachable: bool,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Its version.
    pub version: Option<String>,
    /// Its host name.
    pub host: Option<String>,
    /// Its `serverUUID()`.
    pub uuid: Option<Uuid>,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// What it said, or why it said nothing.
    pub error: Option<String>,
}

/// Where backups go, and what our own view of that place shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationStatus {
    /// The place, as in the statement: `Disk('s3_backup')`.
    pub place: String,
    /// Whether our own view of it can be trusted; only a bound one removes anything.
    pub view: ViewStatus,
    /// Where the view looks.
    pub url: Option<String>,
    /// When it was last listed.
    pub listed_at: Option<Timestamp>,
    /// Why the last listing failed, while it does.
    pub failure: Option<String>,
    /// Backups that are known there.
    pub backups: u64,
    /// Remains of attempts that died.
    pub broken: u64,
    /// How many folders are neither: somebody else's, which nobody here touches.
    pub others_count: u64,
    /// The first 20 of these.
    pub others: Vec<String>,
}

/// Whether our own view of the destination can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViewStatus {
    /// There is no `destination.url`.
    None,
    /// The disk keeps the names of its objects on the server's own disk: the bucket holds random keys.
    NamesOnServer,
    /// It may be the wrong place: no manifest that this server wrote was read through it yet.
    Unbound,
    /// It is the place where this server writes.
    Bound,
}

/// A schedule in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleSummary {
    /// Its name.
    #[schema(value_type = ScheduleName)]
    pub name: String,
    /// Its next slot.
    pub next_slot: Option<Timestamp>,
    /// Whether it is paused.
    pub paused: bool,
    /// How its newest operation stands.
    pub last_state: Option<OperationState>,
    /// When its newest backup was made, or its newest run of proofs ended well.
    pub last_success_at: Option<Timestamp>,
}

/// The backups in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupSummary {
    /// How many.
    pub count: u64,
    /// Bytes written for all of them.
    pub bytes_written: u64,
    /// The name of the newest.
    #[schema(value_type = Option<BackupName>)]
    pub newest: Option<String>,
    /// When that was made.
    pub newest_at: Option<Timestamp>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusProblem {
    /// A word for programs: `catalog_failing`, `clickhouse_unreachable`, `clickhouse_refuses`, `schedule_failed`, `schedule_paused`,
    /// `restore_left_tables_dropped`, `destination_failing`, `names_on_server`, `not_read_in`, `retention_stopped`, `retention_failed`, `removal_failing`,
    /// `newest_damaged`, `broken_backups`, `configuration_refused`, `configuration_warning`, `no_schedules`.
    pub kind: String,
    /// What is wrong.
    pub message: String,
    /// What the operator can do.
    pub hint: String,
}

/// Everything at a glance.
///
/// ClickHouse is asked who it is, for at most 3 s; everything else comes from memory.
#[utoipa::path(get, path = "/api/v1/status", tag = "status",
    responses((status = 200, description = "The status.", body = Status), Authenticated))]
pub(in crate::api) async fn status(State(state): State<ApiState>) -> Json<Status> {
    let contact = state.worker.contact().await;
    let view = state.catalog.view();
    let now = state.clock.now();
    let schedules = state.schedules();
    let (standings, newest) = (standings(&view), newest_backups(&view));
    let mut problems = Vec::from_iter(state.catalog.failing().map(not_written));
    problems.extend(unreachable(&contact));
    let mut summaries = Vec::with_capacity(schedules.len());
    for schedule in schedules.values() {
        let standing = standings.get(&schedule.name).copied().unwrap_or_default();
        let pause = view.pause(&schedule.name);
        let pause = pause.filter(|pause| pause.until.is_none_or(|until| now < until));
        let name = schedule.name.as_str();
        problems.extend(pause.map(|pause| paused(name, pause)));
        problems.extend(standing.last.and_then(|last| failed(name, last)));
        let next_slot = schedule.calendar.next_after(now);
        summaries.push(ScheduleSummary {
            name: name.to_owned(),
            next_slot,
            paused: pause.is_some(),
            last_state: standing.last.map(|last| last.state.into()),
            last_success_at: match schedule.action {
                operation::Action::Backup => newest.get(name).copied(),
                operation::Action::Verify(_) => {
                    standing.last_success.and_then(|last| last.finished_at)
                }
            },
        });
    }
    problems.extend(emptied(&view));
    let standing = state.worker.standing();
    problems.extend(stored::problems(&state, &view, &standing));
    problems.extend(state.configuration_problems());
    problems.truncate(SHOWN_MAX);
    let (running, waiting): (Vec<_>, Vec<_>) = view
        .unfinished()
        .partition(|operation| operation.state.is_active());
    let shown = |operations: &[&Arc<operation::Operation>]| -> Vec<Operation> {
        let first = operations.iter().take(SHOWN_MAX);
        first.map(|operation| state.shown(operation)).collect()
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now,
        clickhouse: ClickHouse::of(state.worker.clickhouse_url(), contact),
        destination: DestinationStatus::of(&state, &view, standing),
        schedules: summaries,
        running: shown(&running),
        waiting_count: waiting.len() as u64,
        waiting: shown(&waiting),
        backups: backups(&view),
        problems,
    })
}

/// When the newest backup of each schedule was made; the history may have forgotten its operation.
fn newest_backups(view: &View) -> HashMap<&str, Timestamp> {
    let mut newest = HashMap::new();
    for backup in view.backups() {
        if let domain::Origin::Schedule { schedule, .. } = &backup.origin {
            let at = newest.entry(schedule.as_str()).or_insert(backup.created_at);
            *at = backup.created_at.max(*at);
        }
    }
    newest
}

fn backups(view: &View) -> BackupSummary {
    let newest = view
        .backups()
        .max_by_key(|backup: &&domain::Backup| (backup.created_at, backup.number));
    BackupSummary {
        count: view.backups().count() as u64,
        bytes_written: view
            .backups()
            .filter_map(|backup| backup.bytes_written)
            .sum(),
        newest: newest.map(|backup| backup.name.to_string()),
        newest_at: newest.map(|backup| backup.created_at),
    }
}

/// A restore that dropped tables and did not bring them back, with no successful one after it.
fn emptied(view: &View) -> Option<StatusProblem> {
    let restores = view.operations().rev().filter(|operation| {
        matches!(operation.work, operation::Work::Restore(_)) && operation.state.is_terminal()
    });
    let last = restores
        .take_while(|restore| restore.state != operation::State::Succeeded)
        .find(|restore| !restore.dropped.is_empty())?;
    let shown: Vec<&str> = last.dropped.iter().take(10).map(String::as_str).collect();
    Some(StatusProblem {
        kind: "restore_left_tables_dropped".to_owned(),
        message: format!(
            "the restore of {} dropped {} and did not finish",
            last.subject(),
            shown.join(", ")
        ),
        hint: format!(
            "look at these tables, and restore them again; why it failed: clickhouse-backupd operation show {}",
            last.id
        ),
    })
}

fn not_written(message: String) -> StatusProblem {
    StatusProblem {
        kind: "catalog_failing".to_owned(),
        message: format!("nothing new is begun, because nothing can be written down: {message}"),
        hint:
            "make room on the disk of state.dir, or make it writable; the daemon goes on by itself"
                .to_owned(),
    }
}

fn unreachable(contact: &Contact) -> Option<StatusProblem> {
    let failure = contact.answer.as_ref().err()?;
    let kind = match failure.kind {
        FailureKind::Unreachable => "clickhouse_unreachable",
        _ => "clickhouse_refuses",
    };
    Some(StatusProblem {
        kind: kind.to_owned(),
        message: failure.message.clone(),
        hint: failure.kind.hint().to_owned(),
    })
}

fn paused(name: &str, pause: &crate::schedule::Pause) -> StatusProblem {
    let until = pause.until.map_or_else(String::new, |until| {
        format!(" until {}", to_the_second(until))
    });
    let reason = pause
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    StatusProblem {
        kind: "schedule_paused".to_owned(),
        message: format!(
            "schedule {name} is paused since {}{until}{reason}",
            to_the_second(pause.since)
        ),
        hint: format!("clickhouse-backupd schedule resume {name}"),
    }
}

fn slot_text(last: &operation::Operation) -> String {
    last.slot()
        .map_or_else(String::new, |slot| format!(" of {slot}"))
}

/// Nobody reads nanoseconds in a sentence.
fn to_the_second(at: Timestamp) -> Timestamp {
    at.round(jiff::Unit::Second).unwrap_or(at)
}

fn failed(name: &str, last: &operation::Operation) -> Option<StatusProblem> {
    let (what, message, hint) = match (last.state, &last.failure, last.skipped) {
        (operation::State::Failed, Some(failure), _) => {
            ("failed", failure.message.clone(), failure.kind.hint())
        }
        (operation::State::Cancelled, ..) => (
            "was cancelled",
            "somebody ended it".to_owned(),
            FailureKind::Cancelled.hint(),
        ),
        // Somebody made that backup: the night is not without one, but its schedule did not make it.
        (operation::State::Skipped, _, Some(SkipReason::NameTaken)) => {
            return Some(StatusProblem {
                kind: "schedule_failed".to_owned(),
                message: format!(
                    "the last slot{} of schedule {name} was skipped: a backup named {} existed already",
                    slot_text(last),
                    last.subject()
                ),
                hint: "make one of now under another name: clickhouse-backupd backup create NAME"
                    .to_owned(),
            });
        }
        (operation::State::Skipped, _, Some(reason)) => (
            "was skipped",
            reason.to_string(),
            "run it again if that was not meant",
        ),
        _ => return None,
    };
    let slot = last.slot().map(|slot| format!(" --slot {slot}"));
    Some(StatusProblem {
        kind: "schedule_failed".to_owned(),
        message: format!(
            "the last slot{} of schedule {name} {what}: {message}",
            slot_text(last)
        ),
        hint: format!(
            "{hint}; then: clickhouse-backupd schedule run {name}{}",
            slot.unwrap_or_default()
        ),
    })
}

impl ClickHouse {
    fn of(url: &str, contact: Contact) -> Self {
        let (answer, error) = match contact.answer {
            Ok(answer) => (Some(answer), None),
            Err(failure) => (None, Some(failure.message)),
        };
        let (server, version) = answer.unzip();
        Self {
            url: url.to_owned(),
            reachable: error.is_none(),
            asked_at: contact.asked_at,
            version,
            host: server.as_ref().map(|server| server.host.clone()),
            uuid: server.as_ref().map(|server| server.uuid),
            started_at: server.map(|server| server.started_at),
            error,
        }
    }
}

impl DestinationStatus {
    fn of(state: &ApiState, view: &View, standing: Standing) -> Self {
        Self {
            place: state.worker.destination(),
            view: match standing.view {
                // Before the first listing nothing is known of it.
                ViewState::None if state.worker.has_view() => ViewStatus::Unbound,
                ViewState::None => ViewStatus::None,
                ViewState::NamesOnServer => ViewStatus::NamesOnServer,
                ViewState::Unbound => ViewStatus::Unbound,
                ViewState::Bound => ViewStatus::Bound,
            },
            url: standing.url,
            listed_at: standing.listed_at,
            failure: standing.failure,
            backups: view.backups().count() as u64,
            broken: standing.broken.len() as u64,
            others_count: standing.others.len() as u64,
            others: standing.others.into_iter().take(OTHERS_SHOWN).collect(),
        }
    }
}

impl ApiState {
    /// What is wrong with the configuration, or should be known of it.
    fn configuration_problems(&self) -> Vec<StatusProblem> {
        let notices = self.notices.borrow();
        let mut problems: Vec<StatusProblem> = notices
            .refused
            .iter()
            .map(|text| StatusProblem {
                kind: "configuration_refused".to_owned(),
                message: format!(
                    "the configuration file as it is now is not valid, and the one before it stays in use: {text}"
                ),
                hint: "clickhouse-backupd config check".to_owned(),
            })
            .collect();
        problems.extend(notices.warnings.iter().map(|text| StatusProblem {
            kind: "configuration_warning".to_owned(),
            message: text.clone(),
            hint: "see docs/configuration.md".to_owned(),
        }));
        if self.schedules().is_empty() {
            problems.push(StatusProblem {
                kind: "no_schedules".to_owned(),
                message: "nothing is backed up by itself: there is no schedule".to_owned(),
                hint: "add [schedules.daily] with a cron to the configuration".to_owned(),
            });
        }
        problems
    }
}
