//! Who may ask: an operator may do everything, a read-only caller may only look. Each is known by
//! Basic credentials (or the `user` and `pass` arguments of the server we replace), by a bearer
//! token, or by either.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use super::{Access, Credentials};
use crate::secret::{SecretError, SecretSource};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Operator,
    /// Look.
    ReadOnly,
}

/// Who asks, by the name that let them in; `None` with a token, and where nobody is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Caller(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Why a caller has no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// No credentials were sent. Usual: some clients (wget) send them only after they were asked to.
    Unasked,
    /// Credentials were sent, and they are not the right ones: somebody should know.
    Rejected,
    /// More than one `Authorization` header: which one a proxy before us looked at nobody knows.
    SeveralHeaders,
    /// A secret cannot be read now, so that nobody can tell whether these credentials are right.
    Unreadable,
}

/// What a caller presented, empty where nothing was; it has no `Debug`, so nobody can log it.
#[derive(Default)]
struct Presented {
    user: String,
    password: SecretString,
    token: SecretString,
}

/// The secrets of both roles as they are now.
struct Secrets {
    operator: RoleSecrets,
    read_only: RoleSecrets,
    unreadable: bool,
}

/// The secrets of one role; an empty one (none is configured, the file cannot be read or was caught
/// while it was rewritten) lets nobody in.
struct RoleSecrets {
    password: SecretString,
    token: SecretString,
}

impl Role {
    /// Whether a request with this method may go on.
    pub(super) fn may(self, method: &Method) -> bool {
        self == Self::Operator || is_reading(method)
    }
}

/// Nothing changes on these; on every other method something may.
pub(super) fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The role of a caller, by the headers and the arguments of the request.
///
/// # Errors
/// With the reason why there is none.
pub(super) async fn role(
    access: &Access,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Role, Denial> {
    if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(Denial::SeveralHeaders);
    }
    let secrets = read(access).await;
    let presented = presented(headers, query);
    // Both are compared always, and in full: the time tells neither the role nor the part.
    let operator = secrets.operator.fit(&access.operator, &presented);
    let read_only = secrets.read_only.fit(&access.read_only, &presented);
    match (bool::from(operator), bool::from(read_only)) {
        // One token in the files of both roles: a mistake, which must not make a reader an operator.
        (_, true) => Ok(Role::ReadOnly),
        (true, false) => Ok(Role::Operator),
        (false, false) if !were_sent(headers, query) => Err(Denial::Unasked),
        (false, false) if secrets.unreadable => Err(Denial::Unreadable),
        (false, false) => Err(Denial::Rejected),
    }
}

/// The name of a caller who was let in: that of the header, which is the only way in for the routes that
/// write names down.
pub(super) fn caller(headers: &HeaderMap) -> Caller {
    let user = of_header(headers).map(|presented| presented.user);
    Caller(user.filter(|user| !user.is_empty()))
}

impl RoleSecrets {
    fn fit(&self, credentials: &Credentials, presented: &Presented) -> Choice {
        let user = credentials
            .basic
            .as_ref()
            .map_or("", |basic| basic.user.as_str());
        let basic = same(&presented.user, user)
            & same(
                presented.password.expose_secret(),
                self.password.expose_secret(),
            );
        basic | same(presented.token.expose_secret(), self.token.expose_secret())
    }
}

/// Whether both are the same and not empty. The time depends on what was presented alone: comparing
/// slices would end at once where the lengths differ.
fn same(presented: &str, secret: &str) -> Choice {
    let mut same = presented.len().ct_eq(&secret.len()) & !secret.len().ct_eq(&0);
    for (presented, secret) in presented.bytes().zip(secret.bytes().cycle()) {
        same &= presented.ct_eq(&secret);
    }
    same
}

/// Reads every secret, so that a rotated file counts at once. One that cannot be read is logged, and
/// the others count all the same. A file may lie on a slow mount: a runtime thread must not wait for it.
async fn read(access: &Access) -> Secrets {
    let [operator, read_only] = [&access.operator, &access.read_only];
    let password = |role: &Credentials| role.basic.as_ref().map(|basic| basic.password.clone());
    let sources = [
        password(operator),
        operator.token.clone(),
        password(read_only),
        read_only.token.clone(),
    ];
    let any_file = sources
        .iter()
        .flatten()
        .any(|source| matches!(source, SecretSource::File(_)));
    let read = move || sources.map(|source| source.map(|source| source.read()));
    let found = if any_file {
        match tokio::task::spawn_blocking(read).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!("reading the secrets of the API: {error}");
                return Secrets::none();
            }
        }
    } else {
        read()
    };
    Secrets::of(found)
}

impl Secrets {
    fn of(found: [Option<Result<SecretString, SecretError>>; 4]) -> Self {
        let mut unreadable = false;
        let [operator_password, operator_token, password, token] = found.map(|found| match found {
            None => SecretString::default(),
            Some(Ok(secret)) => secret,
            Some(Err(error)) => {
                tracing::error!("the API lets nobody in by this secret: {error}");
                unreadable = true;
                SecretString::default()
            }
        });
        Self {
            operator: RoleSecrets {
                password: operator_password,
                token: operator_token,
            },
            read_only: RoleSecrets { password, token },
            unreadable,
        }
    }

    /// Nothing could be read.
    fn none() -> Self {
        Self {
            unreadable: true,
            ..Self::of([None, None, None, None])
        }
    }
}

/// The arguments override the header, each by itself; what is missing is empty.
fn presented(headers: &HeaderMap, query: Option<&str>) -> Presented {
    let mut presented = of_header(headers).unwrap_or_default();
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

fn of_header(headers: &HeaderMap) -> Option<Presented> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Presented {
            token: SecretString::from(rest),
            ..Presented::default()
        });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Presented {
        user: user.to_owned(),
        password: SecretString::from(password),
        ..Presented::default()
    })
}

#[cfg(test)]
mod tests;
