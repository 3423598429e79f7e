//! A client of `/api/v1/`: one request, one answer, every way it can go wrong told in one line.

use std::time::Duration;

use clickhouse_backupd::api::v1::error::ErrorBody;
use clickhouse_backupd::api::v1::page::{PAGE_MAX_ROWS, Page};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, redirect};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::connection::{Connection, Credentials};
use super::problem::Problem;
use super::text;

/// Longest wait for an answer: the API holds one back for 25 s at most.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(35);
/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const BODY_MAX_BYTES: usize = 64 * 1024 * 1024;
/// How much of an answer that is not ours is told, in characters.
const STRANGE_MAX_CHARS: usize = 120;
/// Rows of a list that are asked for at most.
pub const LIST_MAX_ROWS: usize = 100_000;

/// Asks one daemon.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    credentials: Credentials,
    place: String,
}

/// An answer, read and as it came.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// What it says.
    pub value: T,
    /// Its JSON.
    pub text: String,
}

impl Client {
    /// A client that waits at most `limit` for each answer.
    ///
    /// # Errors
    /// When the options mean nothing.
    pub fn new(connection: &Connection, limit: Duration) -> Result<Self, Problem> {
        let base = connection.url()?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("clickhouse-backupd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_LIMIT.min(limit))
            .timeout(limit)
            // Credentials are for this address alone, and a POST is not to be sent twice.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(authorities) = connection.authorities()? {
            http = http.tls_certs_only(authorities);
        } else if base.scheme() == "http" {
            // An image without certificates must not keep a client from a plain connection.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| {
            let why = innermost(&error);
            Problem::Usage(format!(
                "this machine's certificates cannot be used: {why}; name a file with --ca-file"
            ))
        })?;
        let place = place(&base);
        Ok(Self {
            http,
            base,
            credentials: connection.credentials()?,
            place,
        })
    }

    /// Where it asks, without credentials.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// `GET`, with the parts of a path below the base and the parameters of a query.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer<T>, Problem> {
        let request = self.request(Method::GET, path).query(query);
        self.ask(request).await
    }

    /// `POST` with a body.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Answer<T>, Problem> {
        let request = self.request(Method::POST, path).json(body);
        self.ask(request).await
    }

    /// `DELETE`, with the parameters of a query.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub async fn delete<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer<T>, Problem> {
        let request = self.request(Method::DELETE, path).query(query);
        self.ask(request).await
    }

    /// The first `rows` rows of a list, page by page.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub async fn list<T: DeserializeOwned + Serialize>(
        &self,
        path: &[&str],
        filter: &[(&str, String)],
        rows: usize,
    ) -> Result<Answer<Page<T>>, Problem> {
        let mut first: Option<Answer<Page<T>>> = None;
        loop {
            let (have, cursor) = first.as_ref().map_or((0, None), |list| {
                (list.value.items.len(), list.value.next.clone())
            });
            let limit = (rows - have).min(PAGE_MAX_ROWS as usize);
            let mut query = filter.to_vec();
            query.push(("limit", limit.to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page = self.get::<Page<T>>(path, &query).await?;
            let list = match first.take() {
                None => page,
                Some(mut list) => {
                    let added = page.value.items.len();
                    list.value.items.extend(page.value.items);
                    list.value.next = page.value.next.filter(|_| added > 0);
                    // One page is passed on as it came; several are one list of our making.
                    list.text = serde_json::to_string(&list.value).unwrap_or_default();
                    list
                }
            };
            if list.value.next.is_none() || list.value.items.len() >= rows {
                return Ok(list);
            }
            first = Some(list);
        }
    }

    /// Whether a probe of the daemon says that it is well.
    ///
    /// # Errors
    /// When there is no answer, or something else answers.
    pub async fn probe(&self, path: &[&str]) -> Result<bool, Problem> {
        let answer = self.request(Method::GET, path).send().await;
        let answer = answer.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let text = self.body(answer).await?;
        says_well(status, &text).ok_or_else(|| self.unexpected(status, &text))
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        // A URL of HTTP always has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        // A user in the URL becomes `Authorization` here, too.
        let request = self.http.request(method, url);
        match &self.credentials {
            Credentials::None => request,
            Credentials::Bearer(token) => request.bearer_auth(token.expose_secret()),
            Credentials::Basic(user, password) => {
                request.basic_auth(user, Some(password.expose_secret()))
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Answer<T>, Problem> {
        let answer = request
            .header("accept", "application/json")
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let forwards_to = answer
            .headers()
            .get("location")
            .filter(|_| status.is_redirection())
            .map(|place| String::from_utf8_lossy(place.as_bytes()).into_owned());
        let text = self.body(answer).await?;
        if status.is_success() {
            return match serde_json::from_str(&text) {
                Ok(value) => Ok(Answer { value, text }),
                Err(error) => Err(self.unexpected(status, &format!("{text}: {error}"))),
            };
        }
        match serde_json::from_str::<ErrorBody>(&text) {
            Ok(body) => Err(Problem::refused(body, text)),
            Err(_) => Err(self.unexpected(
                status,
                &forwards_to.map_or(text, |place| format!("it leads to {place}")),
            )),
        }
    }

    async fn body(&self, mut answer: Response) -> Result<String, Problem> {
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| self.unreachable(error))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_MAX_BYTES {
                let status = answer.status();
                return Err(self.unexpected(status, "more than 64 MiB"));
            }
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn unreachable(&self, error: reqwest::Error) -> Problem {
        let reason = if error.is_timeout() {
            "the time limit is over".to_owned()
        } else {
            innermost(&error.without_url())
        };
        Problem::Unreachable {
            place: self.place.clone(),
            reason,
        }
    }

    fn unexpected(&self, status: StatusCode, said: &str) -> Problem {
        Problem::Unexpected {
            place: self.place.clone(),
            answer: strange(status, said),
            is_gateway: [502, 503, 504].contains(&status.as_u16()),
        }
    }
}

/// What a probe says; `None` when it is not the daemon that answers, such as the login page of a proxy,
/// which is 200 as well.
fn says_well(status: StatusCode, text: &str) -> Option<bool> {
    #[derive(Deserialize)]
    struct Probe {
        status: String,
    }
    let probe: Probe = serde_json::from_str(text).ok()?;
    Some(status.is_success() && probe.status == "OK")
}

/// An answer that is not ours, in one line.
fn strange(status: StatusCode, said: &str) -> String {
    let words = text::clean(&said.split_whitespace().collect::<Vec<_>>().join(" "));
    if words.is_empty() {
        return format!("{status} and nothing else");
    }
    format!("{status}: {}", text::beginning(&words, STRANGE_MAX_CHARS))
}

/// What lies at the bottom of a chain of causes: the words of the system.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    text::clean(&innermost.to_string())
}

fn place(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither fails for a URL with a host.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_told_in_one_line() {
        let html = "<html>\r\n<head><title>502 Bad Gateway</title></head>\n<body>\u{1b}[2J</body>";
        insta::assert_snapshot!(strange(StatusCode::BAD_GATEWAY, html), @r"502 Bad Gateway: <html> <head><title>502 Bad Gateway</title></head> <body>\u{1b}[2J</body>");
        insta::assert_snapshot!(strange(StatusCode::NOT_FOUND, " \n"), @"404 Not Found and nothing else");
        let long = strange(StatusCode::OK, &"a".repeat(5_000));
        assert!(long.chars().count() < 140 && long.ends_with('…'), "{long}");
    }

    #[test]
    fn only_the_daemon_says_that_it_is_well() {
        let ok = "{\"status\":\"OK\"}\n";
        assert_eq!(says_well(StatusCode::OK, ok), Some(true));
        let starting = "{\"status\":\"starting\"}\n";
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(says_well(unavailable, starting), Some(false));
        assert_eq!(says_well(StatusCode::OK, starting), Some(false));
        assert_eq!(says_well(unavailable, ok), Some(false));
        for strange in ["<html>Log in</html>", "", "{}", "\"OK\"", "OK"] {
            assert_eq!(says_well(StatusCode::OK, strange), None, "{strange}");
        }
    }

    #[test]
    fn the_place_holds_no_credentials() {
        let url = "https://me:hunter2@backupd.example:7171/below/?key=hunter2";
        assert_eq!(
            place(&url.parse().unwrap()),
            "https://backupd.example:7171/below"
        );
    }
}
