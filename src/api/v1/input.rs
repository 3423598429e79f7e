//! Reading what a caller sent: everything that is wrong becomes a [`Problem`] that names it.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::error::{ErrorKind, Problem};
use crate::backup::{BackupName, TablePattern};
use crate::operation::OperationId;
use crate::schedule::{ScheduleName, ScheduleNameError};

/// Most names, patterns or mappings of one request.
pub(super) const LIST_MAX_ITEMS: usize = 1_000;
/// Longest name of a database, in bytes; ClickHouse keeps files under such names.
pub(super) const DATABASE_MAX_BYTES: usize = 256;
/// Longest name of a table with its database, in bytes: as long as a pattern of tables may be.
pub(super) const TABLE_MAX_BYTES: usize = 512;
/// Most characters of a caller's text that an error repeats.
const SHOWN_MAX_CHARS: usize = 100;
const SEE_DOCUMENT: &str = "see /api/v1/openapi.json";

/// The arguments of a query.
pub(in crate::api) struct Arguments<T>(pub T);

/// The body, as JSON; without a body the default, where the type has one and the route allows it.
pub(in crate::api) struct Body<T>(pub T);

/// The one name or id in a path.
pub(in crate::api) struct Named(pub String);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Arguments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(arguments)) => Ok(Self(arguments)),
            Err(error) => Err(bad(format!("reading the query: {}", error.body_text()))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(error) => Err(bad(format!("reading the path: {}", error.body_text()))),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                ErrorKind::TooLarge,
                "the request body is longer than 1 MiB",
                "use patterns such as shop.* in place of long lists",
            ),
            _ => bad(format!("reading the body: {}", error.body_text())),
        })?;
        // serde reads the fields of an object out of a list as well, in their order; ours have none.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(bad(
                "reading the body: it is a list, and an object is expected",
            ));
        }
        // `{}` is what an empty body means; a type that needs something says so by itself.
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        if !bytes.is_empty() && !is_json {
            return Err(Problem::new(
                ErrorKind::UnsupportedMediaType,
                "the body is not declared as JSON",
                "send the header Content-Type: application/json",
            ));
        }
        let parsed = serde_json::from_slice(text);
        parsed
            .map(Self)
            .map_err(|error| bad(format!("reading the body: {error}")))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// The request is wrong, and the document says how it must be.
pub(super) fn bad(message: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::BadRequest, message, SEE_DOCUMENT)
}

/// The id of an operation.
pub(super) fn operation_id(text: &str) -> Result<OperationId, Problem> {
    let id: uuid::Uuid = text.parse().map_err(|_| {
        bad(format!(
            "{:?} is no id of an operation, which is a UUID",
            shown(text)
        ))
    })?;
    Ok(id.into())
}

/// The name of a backup.
pub(super) fn backup_name(text: &str) -> Result<BackupName, Problem> {
    BackupName::parse(text).map_err(|error| {
        Problem::new(
            ErrorKind::BadRequest,
            error.to_string(),
            "names are [A-Za-z0-9_][A-Za-z0-9._-]{0,127}",
        )
    })
}

/// The name of a schedule, as one that can exist; `None` names none.
pub(super) fn schedule_name(text: &str) -> Option<ScheduleName> {
    ScheduleName::try_from(text.to_owned()).ok()
}

/// The name of a backup that a list is narrowed to.
pub(super) fn backup_filter(wanted: Option<&str>) -> Result<(), Problem> {
    wanted.map(backup_name).transpose().map(|_| ())
}

/// The name of a schedule that a list is narrowed to. One that cannot exist is a mistake of the
/// caller, and an empty list would hide it; a taken one (`client`) only finds nothing.
pub(super) fn schedule_filter(wanted: Option<&str>) -> Result<(), Problem> {
    let parsed = wanted.map(|name| ScheduleName::try_from(name.to_owned()));
    match parsed {
        Some(Err(error @ ScheduleNameError::Malformed(_))) => {
            Err(bad(format!("schedule: {error}")))
        }
        _ => Ok(()),
    }
}

/// Patterns of tables.
pub(super) fn patterns(field: &str, texts: &[String]) -> Result<Vec<TablePattern>, Problem> {
    limited(field, texts.len())?;
    let parsed = texts.iter().map(|text| TablePattern::parse(text));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("{field}: {error}")))
}

/// Names or patterns of databases.
pub(super) fn databases(field: &str, names: &[String]) -> Result<(), Problem> {
    limited(field, names.len())?;
    let is_wrong = |name: &&String| name.is_empty() || name.len() > DATABASE_MAX_BYTES;
    match names.iter().find(is_wrong) {
        Some(name) => Err(bad(format!(
            "{field}: {:?} is no name of a database: it has {} bytes, and 1 to {DATABASE_MAX_BYTES} are possible",
            shown(name),
            name.len()
        ))),
        None => Ok(()),
    }
}

/// A list that is not too long.
pub(super) fn limited(field: &str, items: usize) -> Result<(), Problem> {
    if items > LIST_MAX_ITEMS {
        return Err(bad(format!(
            "{field} has {items} entries, and at most {LIST_MAX_ITEMS} are taken; use patterns such as shop.*"
        )));
    }
    Ok(())
}

/// A caller's text, shortened for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use crate::api::testing::Fixture;
    use axum::body::Body;
    use axum::http::{Request, header};
    use rstest::rstest;

    /// What is read in one spelling only is described by one pattern in the document.
    #[rstest]
    #[case("operations?cursor=1", 200)]
    #[case("operations?cursor=0", 400)]
    #[case("operations?cursor=01", 400)]
    #[case("operations?cursor=%2B1", 400)]
    #[case("operations?cursor=1000000000000000000", 400)]
    #[case("backups?cursor=1795330800000000000~2026-11-22", 200)]
    #[case("backups?cursor=-1~a", 200)]
    #[case("backups?cursor=2026-11-22T00:00:00Z~a", 400)]
    #[case("backups?cursor=%2B1~a", 400)]
    #[case("backups?cursor=1~a%20b", 400)]
    #[case("backups?cursor=1000000000000000000000~a", 400)]
    #[case("operations?schedule=client", 200)]
    #[case("operations?schedule=Daily", 400)]
    #[case("backups?schedule=", 400)]
    #[case("operations?backup=a%2Fb", 400)]
    #[tokio::test]
    async fn arguments_have_one_spelling(#[case] path: &str, #[case] status: u16) {
        let answer = Fixture::new().get(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }

    #[rstest]
    #[case("25s", 404)]
    #[case("05s", 404)]
    #[case("0s", 404)]
    #[case("26s", 400)]
    #[case("100s", 400)]
    #[case("s", 400)]
    #[case("5", 400)]
    #[case("%2B5s", 400)]
    #[case("PT5S", 400)]
    #[case("0.5m", 400)]
    #[tokio::test]
    async fn a_wait_has_one_spelling(#[case] wait: &str, #[case] status: u16) {
        let id = "e3e70682-c209-4cac-a29f-6fbed82c07cd";
        let path = format!("/api/v1/operations/{id}?wait={wait}");
        let answer = Fixture::new().get(&path).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }

    #[rstest]
    #[case("[]")]
    #[case(" [\"backup\", \"a\"]")]
    #[tokio::test]
    async fn a_list_is_no_request(#[case] body: &str) {
        let api = Fixture::new();
        let request = Request::post("/api/v1/operations")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()));
        let answer = api.send(request.unwrap()).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.body.contains("an object is expected"));
        assert_eq!(api.operations().len(), 0);
    }
}
