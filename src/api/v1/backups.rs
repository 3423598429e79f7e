//! `/api/v1/backups`: what exists.
#![allow(
    unused_qualifications,
    reason = "utoipa's macro writes paths out in full"
)]

mod change;

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::backup::{Backup, BackupDetails, BackupStatus, Verdict, status_reason};
use super::document::{Authenticated, NotFound};
use super::error::{ErrorKind, Problem};
use super::input::{Arguments, Named, backup_name, schedule_filter};
use super::page::{Page, PageQuery};
use super::text::{BackupName, ScheduleName};
use crate::api::ApiState;
use crate::backup as domain;
use crate::catalog::View;
use crate::worker::Broken;

pub(in crate::api) use change::*;

/// Most digits of the time in a cursor, in nanoseconds: enough until the year 5138.
const CURSOR_TIME_MAX_DIGITS: usize = 20;

/// Which backups.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Wanted {
    /// Rows of the page, 1 to 1,000; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where it begins: `next` of the page before.
    #[param(pattern = "^-?[0-9]{1,20}~[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
    cursor: Option<String>,
    /// Only those that this schedule made.
    #[param(value_type = Option<ScheduleName>)]
    schedule: Option<String>,
    /// Only those of this status. Without it those that are being removed, and those that are gone,
    /// are left out.
    status: Option<BackupStatus>,
}

/// What is built on each backup, directly; gathered once, because a page has many rows and each would
/// go through all backups by itself.
struct Dependents<'a>(HashMap<&'a str, Vec<&'a domain::Backup>>);

/// A row of the list: a backup, or the remains of one.
#[derive(Clone, Copy)]
enum Row<'a> {
    Backup(&'a domain::Backup),
    Broken(&'a Broken),
}

/// Backups, newest first, and the remains of attempts that died.
#[utoipa::path(get, path = "/api/v1/backups", tag = "backups", params(Wanted),
    responses((status = 200, description = "One page.", body = Page<Backup>), Authenticated))]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Arguments(wanted): Arguments<Wanted>,
) -> Result<Json<Page<Backup>>, Problem> {
    let page = PageQuery {
        limit: wanted.limit,
        cursor: wanted.cursor.clone(),
    };
    let limit = page.rows()?;
    schedule_filter(wanted.schedule.as_deref())?;
    let before = page
        .cursor
        .as_deref()
        .map(|cursor| place_in_list(cursor).ok_or_else(|| page.no_cursor()))
        .transpose()?;
    state.must_be_read_in()?;
    let (view, standing) = (state.catalog.view(), state.worker.standing());
    let backups = view.all_backups().map(Row::Backup);
    let mut found: Vec<Row<'_>> = backups
        .chain(standing.broken.iter().map(Row::Broken))
        .filter(|row| wanted.is_met_by(*row))
        .filter(|row| before.as_ref().is_none_or(|before| row.key() < *before))
        .collect();
    found.sort_by_key(|row| std::cmp::Reverse(row.key()));
    let next = found
        .get(limit)
        .and(found.get(limit.saturating_sub(1)))
        .map(|last| format!("{}~{}", last.key().0.as_nanosecond(), last.key().1));
    let dependents = Dependents::in_view(&view);
    let shown = found.into_iter().take(limit).map(|row| match row {
        Row::Backup(backup) => Backup::of(backup, dependents.on(backup)),
        Row::Broken(broken) => Backup::of_broken(broken),
    });
    Ok(Json(Page {
        items: shown.collect(),
        next,
    }))
}

/// One backup: what it holds, what needs it, what it needs, whether it stays, and how to restore it
/// with ClickHouse alone.
#[utoipa::path(get, path = "/api/v1/backups/{name}", tag = "backups",
    params(("name" = BackupName, Path, description = "Its name, as it was asked for or as it was written.")),
    responses((status = 200, description = "The backup.", body = BackupDetails), NotFound, Authenticated))]
pub(in crate::api) async fn show(
    State(state): State<ApiState>,
    Named(name): Named,
) -> Result<Json<BackupDetails>, Problem> {
    let name = backup_name(&name)?;
    state.must_be_read_in()?;
    let view = state.catalog.view();
    let record = || view.record(&name);
    let Some(backup) = view.backup(&name).or_else(record) else {
        let broken = state.worker.standing().broken;
        let broken = broken.iter().find(|broken| broken.name == name);
        return broken
            .map(|broken| Json(remains(broken)))
            .ok_or_else(|| unknown(&name));
    };
    let reading = |error| Problem::internal("reading what a backup holds", &error);
    let contents = state.catalog.contents(&backup.attempt).await;
    let statement = state.worker.plain_restore(backup).await;
    let (chain, chain_problem) = chain(&view, backup);
    let needed_by = domain::dependents(view.backups(), &backup.name);
    Ok(Json(BackupDetails {
        backup: Backup::of(backup, Dependents::in_view(&view).on(backup)),
        needed_by: names(needed_by),
        chain,
        chain_problem,
        retention: state.verdict(&backup.name),
        contents: contents.map_err(reading)?.map(Into::into),
        restore_statement: Some(statement.map_err(reading)?),
    }))
}

/// There is no backup of that name, and no remains of one.
fn unknown(name: &domain::BackupName) -> Problem {
    Problem::new(
        ErrorKind::NotFound,
        format!("no backup named {name} is known"),
        "see /api/v1/backups (clickhouse-backupd backup list); without destination.url, one that somebody else made is not known here and can be restored all the same",
    )
}

fn remains(broken: &Broken) -> BackupDetails {
    BackupDetails {
        backup: Backup::of_broken(broken),
        needed_by: Vec::new(),
        chain: Vec::new(),
        chain_problem: None,
        retention: None,
        contents: None,
        restore_statement: None,
    }
}

/// The names of a chain as far as it can be followed, and why it ends there.
fn chain(view: &View, backup: &domain::Backup) -> (Vec<String>, Option<String>) {
    let visible = |name: &domain::BackupName| view.record(name).filter(|found| found.is_visible());
    match domain::chain(visible, backup) {
        Ok(chain) => (names(chain), None),
        Err(error) => (vec![backup.name.to_string()], Some(error.to_string())),
    }
}

/// What is known to be wrong with a backup or with one that it is built on, for whoever is about to
/// restore it.
pub(super) fn speaks_against(view: &View, name: &domain::BackupName) -> Option<String> {
    let backup = view.record(name)?;
    let visible = |name: &domain::BackupName| view.record(name).filter(|found| found.is_visible());
    let chain = match domain::chain(visible, backup) {
        Ok(chain) => chain,
        Err(error) => return Some(error.to_string()),
    };
    // That a base is suspect is nothing against the increment, which was looked at by itself.
    let bad = chain.into_iter().find(|one| one.is_damaged());
    let bad = bad.or(Some(backup).filter(|backup| backup.is_suspect()))?;
    let reason = status_reason(bad)?;
    Some(format!(
        "{} is {}: {reason}",
        bad.name,
        bad.status().as_str()
    ))
}

fn names(backups: Vec<&domain::Backup>) -> Vec<String> {
    let names = backups.iter().map(|backup| backup.name.to_string());
    names.collect()
}

fn place_in_list(cursor: &str) -> Option<(Timestamp, &str)> {
    let (at, name) = cursor.split_once('~')?;
    // One spelling only: the one that the document describes.
    let digits = at.strip_prefix('-').unwrap_or(at);
    let is_plain =
        digits.len() <= CURSOR_TIME_MAX_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    let at: i128 = at.parse().ok().filter(|_| is_plain)?;
    domain::BackupName::parse(name).ok()?;
    Some((Timestamp::from_nanosecond(at).ok()?, name))
}

impl<'a> Row<'a> {
    /// Its place: by time, then by name. What has no time comes last.
    fn key(self) -> (Timestamp, &'a str) {
        match self {
            Self::Backup(backup) => (backup.created_at, backup.name.as_str()),
            Self::Broken(broken) => {
                let at = broken.newest.unwrap_or(Timestamp::UNIX_EPOCH);
                (at, broken.name.as_str())
            }
        }
    }
}

impl<'a> Dependents<'a> {
    fn in_view(view: &'a View) -> Self {
        let mut dependents: HashMap<_, Vec<_>> = HashMap::new();
        for backup in view.backups() {
            if let Some(base) = &backup.base {
                dependents.entry(base.as_str()).or_default().push(backup);
            }
        }
        Self(dependents)
    }

    /// Names, in the order of the view.
    fn on(&self, backup: &domain::Backup) -> Vec<String> {
        let dependents = self.0.get(backup.name.as_str()).into_iter().flatten();
        dependents.map(|other| other.name.to_string()).collect()
    }
}

impl Wanted {
    fn is_met_by(&self, row: Row<'_>) -> bool {
        let (status, schedule, is_listed) = match row {
            Row::Backup(backup) => (backup.status(), backup.schedule(), backup.is_visible()),
            Row::Broken(_) => (domain::Status::Broken, None, true),
        };
        let has_status = match self.status {
            Some(wanted) => wanted == status.into(),
            None => is_listed,
        };
        has_status && (self.schedule.is_none() || self.schedule.as_deref() == schedule)
    }
}

impl ApiState {
    /// Lists are told when they are whole: before, a backup that is missing would seem to be gone.
    pub(super) fn must_be_read_in(&self) -> Result<(), Problem> {
        if self.worker.is_read_in() {
            return Ok(());
        }
        Err(Problem::new(
            ErrorKind::Unavailable,
            "what lies in the destination has not been read in yet",
            "ask again in a moment; clickhouse-backupd status says what it waits for",
        ))
    }

    /// What retention makes of a backup now.
    fn verdict(&self, name: &domain::BackupName) -> Option<Verdict> {
        let plan = self.worker.retention_plan();
        let line = plan.lines.iter().find(|line| line.backup == *name)?;
        Some(Verdict {
            decision: line.verdict.into(),
            reasons: line.reasons.iter().map(ToString::to_string).collect(),
        })
    }
}
