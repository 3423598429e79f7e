//! Who may ask: Basic credentials, or the `user` and `pass` arguments of the server we replace.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::Credentials;
use crate::secret::{SecretError, SecretSource};

/// What a caller presented; it has no `Debug`, so nobody can log it.
struct Presented {
    user: String,
    password: SecretString,
}

/// What became of a caller's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The caller may go on.
    Granted,
    /// Credentials were sent, and they are not the right ones: somebody should know.
    Rejected,
    /// None were sent. Usual: some clients (wget) send them only after they were asked to.
    Unasked,
}

/// Whether a caller may go on.
///
/// # Errors
/// When the password cannot be read: then nobody may, because we cannot tell.
pub(super) async fn access(
    credentials: &Credentials,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Access, SecretError> {
    let password = read(&credentials.password).await?;
    let presented = presented(headers, query);
    Ok(if matches(&presented, &credentials.user, &password) {
        Access::Granted
    } else if were_sent(headers, query) {
        Access::Rejected
    } else {
        Access::Unasked
    })
}

/// The answer to a caller who may not go on, as the server we replace gives it.
pub(super) fn refusal() -> Response {
    let headers = [
        (
            header::WWW_AUTHENTICATE,
            "Basic realm=\"Provide username and password\"",
        ),
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    (StatusCode::UNAUTHORIZED, headers, "401 Unauthorized\n").into_response()
}

/// A file may lie on a slow mount; a runtime thread must not wait for it.
async fn read(source: &SecretSource) -> Result<SecretString, SecretError> {
    match source {
        SecretSource::Value(value) => Ok(value.clone()),
        SecretSource::File(path) => {
            let source = source.clone();
            let read = tokio::task::spawn_blocking(move || source.read()).await;
            read.unwrap_or_else(|error| {
                Err(SecretError::Unreadable {
                    path: path.clone(),
                    source: std::io::Error::other(error),
                })
            })
        }
    }
}

/// Both parts are compared in constant time and in full, so that the time tells nothing of either.
/// An empty password (a file caught while it is being rewritten) lets nobody in.
fn matches(presented: &Presented, user: &str, password: &SecretString) -> bool {
    let password = password.expose_secret().as_bytes();
    let presented_password = presented.password.expose_secret().as_bytes();
    let same_user = presented.user.as_bytes().ct_eq(user.as_bytes());
    let same_password = presented_password.ct_eq(password);
    !password.is_empty() && bool::from(same_user & same_password)
}

/// The arguments override the header, each by itself; what is missing is empty.
fn presented(headers: &HeaderMap, query: Option<&str>) -> Presented {
    let mut presented = basic(headers).unwrap_or_else(|| Presented {
        user: String::new(),
        password: SecretString::from(""),
    });
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "user" => presented.user = value.into_owned(),
            "pass" => presented.password = SecretString::from(value.into_owned()),
            _ => {}
        }
    }
    presented
}

/// Also true of what cannot be read as credentials: it was an attempt all the same.
fn were_sent(headers: &HeaderMap, query: Option<&str>) -> bool {
    headers.contains_key(header::AUTHORIZATION)
        || form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .any(|(name, _)| name == "user" || name == "pass")
}

fn basic(headers: &HeaderMap) -> Option<Presented> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Presented {
        user: user.to_owned(),
        password: SecretString::from(password),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn allowed(user_password: Option<&str>, query: &str, password: &str) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(text) = user_password {
            let value = format!("Basic {}", STANDARD.encode(text));
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let presented = presented(&headers, Some(query));
        matches(&presented, "backup", &SecretString::from(password))
    }

    #[rstest]
    #[case(Some("backup:s3:cret"), "", true)]
    #[case(Some("backup:s3:cre"), "", false)]
    #[case(Some("Backup:s3:cret"), "", false)]
    #[case(Some("backup"), "", false)]
    #[case(None, "", false)]
    #[case(None, "user=backup&pass=s3%3Acret", true)]
    #[case(Some("other:s3:cret"), "user=backup", true)]
    #[case(Some("backup:s3:cret"), "pass=wrong", false)]
    fn credentials_come_from_the_header_and_the_arguments(
        #[case] header: Option<&str>,
        #[case] query: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(allowed(header, query, "s3:cret"), expected);
    }

    #[rstest]
    #[case(None, "", Access::Unasked)]
    #[case(None, "name=daily", Access::Unasked)]
    #[case(None, "pass=wrong", Access::Rejected)]
    #[case(None, "user=backup", Access::Rejected)]
    #[case(Some("Bearer abc"), "", Access::Rejected)]
    #[case(Some("Basic YmFja3VwOndyb25n"), "", Access::Rejected)]
    #[case(Some("Basic YmFja3VwOnMzY3JldA=="), "", Access::Granted)]
    #[tokio::test]
    async fn wrong_credentials_are_told_from_none(
        #[case] header: Option<&str>,
        #[case] query: &str,
        #[case] expected: Access,
    ) {
        let credentials = Credentials {
            user: "backup".into(),
            password: SecretSource::Value(SecretString::from("s3cret")),
        };
        let mut headers = HeaderMap::new();
        if let Some(text) = header {
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
        }
        let found = access(&credentials, &headers, Some(query)).await;
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn an_empty_password_lets_nobody_in() {
        assert!(!allowed(Some("backup:"), "", ""));
        assert!(!allowed(None, "user=backup&pass=", ""));
    }

    #[test]
    fn what_is_no_basic_header_is_nothing() {
        for text in ["Bearer abc", "Basic", "Basic !!!", "Basic /w=="] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            assert!(basic(&headers).is_none(), "{text}");
        }
    }
}
