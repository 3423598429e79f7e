//! Reading what a caller sent: everything that is wrong becomes a [`Problem`] that names it.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::error::{ErrorKind, Problem};
use crate::backup::{BackupName, TablePattern};
use crate::operation::OperationId;
use crate::schedule::ScheduleName;

/// Most names, patterns or mappings of one request.
const LIST_MAX_ITEMS: usize = 1_000;
/// Longest name of a database, in bytes; ClickHouse keeps files under such names.
const DATABASE_MAX_BYTES: usize = 256;
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
