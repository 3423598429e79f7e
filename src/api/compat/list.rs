//! `GET /backup/list[/{where}]`: what can be restored.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::answer::Refusal;
use super::{answer, time_text};
use crate::api::ApiState;
use crate::backup::{Backup, Status};
use crate::catalog::View;
use crate::worker::Broken;

/// Where our backups are, in the words of that server.
const LOCAL: &str = "local";

/// A row of the list; the fields that only the old server's own formats had are left out as empty
/// ones always were.
#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    created: String,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    data_size: u64,
    metadata_size: u64,
    location: &'static str,
    required: &'a str,
    desc: Cow<'a, str>,
}

/// The list as it was sent last: it is asked for far more often than it changes.
#[derive(Debug, Clone, Default)]
pub struct KeptList(Arc<RwLock<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    of: Arc<View>,
    broken: Vec<Broken>,
    body: Bytes,
}

/// Everything there is: our backups were `local` to that server, and nothing of ours is `remote`.
pub(in crate::api) async fn list(State(state): State<ApiState>) -> Result<Response, Refusal> {
    must_be_read_in(&state, "list")?;
    Ok(answer::whole(state.kept_list.body(&state)))
}

/// The lines of a list, as `list` of the old command line printed them for a place; none names both.
pub(super) fn lines(state: &ApiState, location: Option<&str>) -> Result<Vec<String>, Refusal> {
    must_be_read_in(state, "list")?;
    if location.is_some_and(|location| location != LOCAL) {
        return Ok(Vec::new());
    }
    let body = state.kept_list.body(state);
    let text = String::from_utf8_lossy(&body);
    Ok(text.lines().map(ToOwned::to_owned).collect())
}

/// Refuses what needs to know everything there is, until what lies in the destination was read in: a
/// list without half of the backups would look like a loss.
pub(super) fn must_be_read_in(state: &ApiState, operation: &'static str) -> Result<(), Refusal> {
    if state.worker.is_read_in() {
        return Ok(());
    }
    let text = "what lies in the destination has not been read in yet; ask again in a moment";
    Err(Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        operation,
        text,
    ))
}

impl KeptList {
    fn body(&self, state: &ApiState) -> Bytes {
        let view = state.catalog.view();
        let broken = state.worker.standing().broken;
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_same = |kept: &&Kept| kept.of.has_backups_of(&view) && kept.broken == broken;
        if let Some(kept) = kept.as_ref().filter(is_same) {
            return kept.body.clone();
        }
        drop(kept);
        let body = answer::body(rows(&view, &broken, &state.zone));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Kept {
            of: view,
            broken,
            body: body.clone(),
        });
        body
    }
}

/// One location; an unknown one is as empty as `remote`.
pub(in crate::api) async fn list_where(
    State(state): State<ApiState>,
    Path(location): Path<String>,
) -> Result<Response, Refusal> {
    match location.as_str() {
        LOCAL => list(State(state)).await,
        _ => Ok(answer::rows::<Row<'_>>([])),
    }
}

/// Rows, oldest first; the remains of attempts that died among them.
fn rows<'a>(view: &'a View, broken: &'a [Broken], zone: &TimeZone) -> Vec<Row<'a>> {
    let mut backups: Vec<&Backup> = view.backups().collect();
    backups.sort_by_key(|backup| (backup.created_at, backup.number));
    let backups = backups
        .into_iter()
        .map(|backup| (backup.created_at, row(backup, zone)));
    let remains = broken.iter().map(|broken| {
        let at = broken.newest.unwrap_or(Timestamp::UNIX_EPOCH);
        (at, remains(broken, at, zone))
    });
    let mut rows: Vec<(Timestamp, Row<'a>)> = backups.chain(remains).collect();
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// `data_size` was ClickHouse's `compressed_size`, the bytes written for this backup, and `size` that
/// and the old server's own metadata files. We write none into a backup, so both are the same. What
/// others made has no size that we know of: 0, which is left out as an empty one always was.
fn row<'a>(backup: &'a Backup, zone: &TimeZone) -> Row<'a> {
    Row {
        name: backup.name.as_str(),
        created: time_text(backup.created_at, zone),
        size: backup.bytes_written.unwrap_or(0),
        data_size: backup.bytes_written.unwrap_or(0),
        metadata_size: 0,
        location: LOCAL,
        required: backup.base.as_ref().map_or("", |base| base.as_str()),
        desc: desc(backup),
    }
}

/// The format, and as a tag what speaks against a backup. It never begins with `broken`: scripts take
/// that word for remains that can be deleted.
fn desc(backup: &Backup) -> Cow<'static, str> {
    match backup.status() {
        status @ (Status::Damaged | Status::Suspect) => format!("embedded, {status}").into(),
        Status::Complete | Status::Unproven | Status::Broken | Status::Deleting | Status::Gone => {
            "embedded".into()
        }
    }
}

fn remains<'a>(broken: &'a Broken, at: Timestamp, zone: &TimeZone) -> Row<'a> {
    Row {
        name: broken.name.as_str(),
        created: time_text(at, zone),
        size: 0,
        data_size: 0,
        metadata_size: 0,
        location: LOCAL,
        required: "",
        desc: format!("broken .backup not found: {}", broken.reason).into(),
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

#[cfg(test)]
mod tests {
    use crate::api::testing::{Fixture, backup};

    #[tokio::test]
    async fn backups_are_listed_oldest_first_and_byte_for_byte() {
        let api = Fixture::new();
        api.put_backup(backup("b", "2026-11-22T13:34:54Z", 11_266_511, Some("a")))
            .await;
        api.put_backup(backup("a", "2026-11-21T13:34:54Z", 0, None))
            .await;
        let expected = "{\"name\":\"a\",\"created\":\"2026-11-21 15:34:54\",\"metadata_size\":0,\"location\":\"local\",\"required\":\"\",\"desc\":\"embedded\"}\n\
            {\"name\":\"b\",\"created\":\"2026-11-22 15:34:54\",\"size\":11266511,\"data_size\":11266511,\"metadata_size\":0,\"location\":\"local\",\"required\":\"a\",\"desc\":\"embedded\"}\n";
        for path in ["/backup/list", "/backup/list/local", "/backup/list?x=1"] {
            let answer = api.get(path).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, expected),
                "{path}"
            );
        }
        assert_eq!(api.operations().len(), 0, "reading leaves no trace");
        api.put_backup(backup("c", "2026-11-23T13:34:54Z", 1, None))
            .await;
        let longer = api.get("/backup/list").await.body;
        assert!(
            longer.starts_with(expected) && longer.contains("\"name\":\"c\""),
            "what is kept is not shown when it is old: {longer}"
        );
    }

    #[tokio::test]
    async fn nothing_is_an_empty_body_with_the_usual_headers() {
        let api = Fixture::new();
        for path in [
            "/backup/list",
            "/backup/list/local",
            "/backup/list/remote",
            "/backup/list/x",
        ] {
            let answer = api.get(path).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
            assert_eq!(
                answer.header("content-type"),
                "application/json; charset=UTF-8"
            );
            assert_eq!(
                answer.header("cache-control"),
                "no-store, no-cache, must-revalidate"
            );
            assert_eq!(answer.header("pragma"), "no-cache");
        }
        api.put_backup(backup("a", "2026-11-21T13:34:54Z", 1, None))
            .await;
        assert_eq!(api.get("/backup/list/remote").await.body, "");
    }

    #[tokio::test]
    async fn head_has_no_body() {
        let api = Fixture::new();
        api.put_backup(backup("a", "2026-11-21T13:34:54Z", 1, None))
            .await;
        for path in ["/backup/list", "/backup/list/local", "/backup/actions"] {
            let answer = api.request("HEAD", path, "").await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        }
    }
}
