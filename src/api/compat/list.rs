//! `GET /backup/list[/{where}]`: what can be restored.

use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{answer, time_text};
use crate::api::ApiState;
use crate::backup::Backup;
use crate::catalog::View;

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
    desc: &'static str,
}

/// The list as it was sent last: it is asked for far more often than it changes.
#[derive(Debug, Clone, Default)]
pub struct KeptList(Arc<RwLock<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    of: Arc<View>,
    body: Bytes,
}

/// Everything there is: our backups were `local` to that server, and nothing of ours is `remote`.
pub(in crate::api) async fn list(State(state): State<ApiState>) -> Response {
    answer::whole(state.kept_list.body(&state))
}

impl KeptList {
    fn body(&self, state: &ApiState) -> Bytes {
        let view = state.catalog.view();
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.of.has_backups_of(&view)) {
            return kept.body.clone();
        }
        drop(kept);
        let body = answer::body(rows(&view, &state.zone));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Kept {
            of: view,
            body: body.clone(),
        });
        body
    }
}

/// One location; an unknown one is as empty as `remote`.
pub(in crate::api) async fn list_where(
    State(state): State<ApiState>,
    Path(location): Path<String>,
) -> Response {
    match location.as_str() {
        "local" => answer::whole(state.kept_list.body(&state)),
        _ => answer::rows::<Row<'_>>([]),
    }
}

/// Rows, oldest first.
fn rows<'a>(view: &'a View, zone: &TimeZone) -> Vec<Row<'a>> {
    let mut backups: Vec<&Backup> = view.backups().collect();
    backups.sort_by_key(|backup| (backup.created_at, backup.number));
    backups
        .into_iter()
        .map(|backup| row(backup, zone))
        .collect()
}

/// `data_size` was ClickHouse's `compressed_size`, the bytes written for this backup, and `size` that
/// and the old server's own metadata files. We write none into a backup, so both are the same.
fn row<'a>(backup: &'a Backup, zone: &TimeZone) -> Row<'a> {
    Row {
        name: backup.name.as_str(),
        created: time_text(backup.created_at, zone),
        size: backup.bytes_written.unwrap_or(0),
        data_size: backup.bytes_written.unwrap_or(0),
        metadata_size: 0,
        location: "local",
        required: backup.base.as_ref().map_or("", |base| base.as_str()),
        desc: "embedded",
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
