//! Answers, byte for byte as the server we replace writes them.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

const CONTENT_TYPE: &str = "application/json; charset=UTF-8";
const CACHE_CONTROL: &str = "no-store, no-cache, must-revalidate";
/// What every caller of that server knows a busy one by.
const BUSY: &str = "another operation is currently running";

/// An answer that is an error.
#[derive(Debug)]
pub(in crate::api) struct Refusal {
    status: StatusCode,
    operation: Cow<'static, str>,
    text: String,
}

#[derive(Serialize)]
struct ErrorRow<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    operation: &'a str,
    error: &'a str,
}

impl Refusal {
    /// An error with this status, of this operation (or path; empty leaves it out).
    pub(in crate::api) fn new(
        status: StatusCode,
        operation: impl Into<Cow<'static, str>>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            status,
            operation: operation.into(),
            text: text.into(),
        }
    }

    /// The caller must ask in another way.
    pub(in crate::api) fn bad_request(
        operation: impl Into<Cow<'static, str>>,
        text: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, operation, text)
    }

    /// What is asked for is not there.
    pub(in crate::api) fn not_found(
        operation: impl Into<Cow<'static, str>>,
        text: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::NOT_FOUND, operation, text)
    }

    /// The caller may ask again later.
    pub(in crate::api) fn busy(operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::LOCKED, operation, BUSY)
    }

    /// This server does not do it.
    pub(in crate::api) fn not_served(
        operation: impl Into<Cow<'static, str>>,
        text: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, operation, text)
    }

    /// Something of ours failed; it is logged here, once.
    pub(in crate::api) fn internal(
        operation: impl Into<Cow<'static, str>>,
        error: &dyn std::error::Error,
    ) -> Self {
        let operation = operation.into();
        tracing::error!("answering {operation:?}: {error}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            operation,
            error.to_string(),
        )
    }

    /// The status that it is sent with.
    pub(in crate::api) fn status(&self) -> StatusCode {
        self.status
    }

    /// The text, without the line end.
    pub(in crate::api) fn line(&self) -> String {
        line(&ErrorRow {
            status: "error",
            operation: &self.operation,
            error: &self.text,
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        lines(self.status, [self.line()])
    }
}

/// One row.
pub(in crate::api) fn row(row: &impl Serialize) -> Response {
    row_with_status(StatusCode::OK, row)
}

/// One row, not with 200.
pub(in crate::api) fn row_with_status(status: StatusCode, row: &impl Serialize) -> Response {
    lines(status, [line(row)])
}

/// Rows, one a line; none is an empty body.
pub(super) fn rows<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Response {
    lines(StatusCode::OK, rows.into_iter().map(|row| line(&row)))
}

/// Rows as the body of an answer.
pub(super) fn body<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Bytes {
    joined(rows.into_iter().map(|row| line(&row))).into()
}

/// A body that is written already.
pub(super) fn whole(body: Bytes) -> Response {
    let mut response = body.into_response();
    set_headers(&mut response, CONTENT_TYPE);
    response
}

/// Lines that are written already.
pub(super) fn lines(status: StatusCode, lines: impl IntoIterator<Item = String>) -> Response {
    let mut response = (status, joined(lines)).into_response();
    set_headers(&mut response, CONTENT_TYPE);
    response
}

fn joined(lines: impl IntoIterator<Item = String>) -> String {
    let mut body = String::new();
    for line in lines {
        body.push_str(&line);
        body.push('\n');
    }
    body
}

/// The three headers that every answer has.
pub(in crate::api) fn set_headers(response: &mut Response, content_type: &'static str) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(CACHE_CONTROL),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

/// Compact JSON as Go's `encoding/json` writes it, which also escapes what HTML and old JavaScript
/// would trip over. In JSON these characters occur inside strings only.
pub(super) fn line(row: &impl Serialize) -> String {
    let json = serde_json::to_string(row).unwrap_or_else(|error| {
        // A row is a flat struct of strings and numbers, which serde_json always writes.
        tracing::error!("writing a row: {error}");
        String::new()
    });
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let text = "<a href=\"x\">&\u{2028}\u{2029}\n\t\\ й\u{1}";
        assert_eq!(
            line(&text),
            r#""\u003ca href=\"x\"\u003e\u0026\u2028\u2029\n\t\\ й\u0001""#
        );
    }

    #[test]
    fn an_error_names_its_operation_where_there_is_one() {
        assert_eq!(
            Refusal::busy("create").line(),
            r#"{"status":"error","operation":"create","error":"another operation is currently running"}"#
        );
        assert_eq!(
            Refusal::bad_request("", "x").line(),
            r#"{"status":"error","error":"x"}"#
        );
    }
}
