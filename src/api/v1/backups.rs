//! `/api/v1/backups`: what exists.
#![allow(
    unused_qualifications,
    reason = "utoipa's macro writes paths out in full"
)]

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::backup::{Backup, BackupDetails};
use super::document::{Authenticated, NotFound};
use super::error::{ErrorKind, Problem};
use super::input::{Arguments, Named, backup_name, schedule_filter};
use super::page::{Page, PageQuery};
use super::text::{BackupName, ScheduleName};
use crate::api::ApiState;
use crate::backup as domain;
use crate::catalog::View;

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
}

/// What is built on each backup, directly; gathered once, because a page has many rows and each would
/// go through all backups by itself.
struct Dependents<'a>(HashMap<&'a str, Vec<&'a domain::Backup>>);

/// Backups, newest first.
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
    let view = state.catalog.view();
    let mut found: Vec<&domain::Backup> = view
        .backups()
        .filter(|backup| wanted.is_met_by(backup))
        .filter(|backup| before.as_ref().is_none_or(|before| key(backup) < *before))
        .collect();
    found.sort_by_key(|backup| std::cmp::Reverse(key(backup)));
    let next = found
        .get(limit)
        .and(found.get(limit.saturating_sub(1)))
        .map(|last| format!("{}~{}", last.created_at.as_nanosecond(), last.name));
    let dependents = Dependents::in_view(&view);
    let shown = found
        .into_iter()
        .take(limit)
        .map(|backup| Backup::of(backup, dependents.on(backup)));
    Ok(Json(Page {
        items: shown.collect(),
        next,
    }))
}

/// One backup: what it holds, what is built on it, and how to restore it with ClickHouse alone.
#[utoipa::path(get, path = "/api/v1/backups/{name}", tag = "backups",
    params(("name" = BackupName, Path, description = "Its name, as it was asked for or as it was written.")),
    responses((status = 200, description = "The backup.", body = BackupDetails), NotFound, Authenticated))]
pub(in crate::api) async fn show(
    State(state): State<ApiState>,
    Named(name): Named,
) -> Result<Json<BackupDetails>, Problem> {
    let name = backup_name(&name)?;
    let view = state.catalog.view();
    let backup = view.backup(&name).ok_or_else(|| {
        Problem::new(
            ErrorKind::NotFound,
            format!("no backup named {name} is known"),
            "see /api/v1/backups; one that somebody else made is not known here and can be restored all the same",
        )
    })?;
    let reading = |error| Problem::internal("reading what a backup holds", &error);
    let contents = state.catalog.contents(&backup.attempt).await;
    let statement = state.worker.plain_restore(backup).await;
    Ok(Json(BackupDetails {
        backup: Backup::of(backup, Dependents::in_view(&view).on(backup)),
        contents: contents.map_err(reading)?.map(Into::into),
        restore_statement: statement.map_err(reading)?,
    }))
}

fn key(backup: &domain::Backup) -> (Timestamp, &str) {
    (backup.created_at, backup.name.as_str())
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
    fn is_met_by(&self, backup: &domain::Backup) -> bool {
        self.schedule
            .as_ref()
            .is_none_or(|wanted| match &backup.origin {
                domain::Origin::Schedule { schedule, .. } => schedule == wanted,
                domain::Origin::Client | domain::Origin::Foreign => false,
            })
    }
}
