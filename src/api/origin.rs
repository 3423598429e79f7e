//! Pages of other origins change nothing: a browser sends requests for any page that it shows, with
//! the address, and sometimes the credentials, of the person before it.
//!
//! Two checks, on methods that may change something; programs (curl, wget) send none of the headers
//! that they look at, and are never affected. No answer ever has a CORS header, so pages of other
//! origins cannot read answers either.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::csrf::CsrfLayer;

use super::family::Family;
use super::v1::error::ErrorKind;

/// What a refused page of another origin is told, and what its owner can do.
pub(super) const OTHER_ORIGIN: (&str, &str) = (
    "this request comes from a web page of another origin, and such pages may not change anything",
    "send it from a program (curl, a script), or from a page of this address itself; a proxy before this server must pass Host and Origin on as they are",
);
/// The same for a page whose own name leads here.
const REBOUND: (&str, &str) = (
    "this request comes from a web page, and this server asks for no credentials: the page's name may have been made to lead here (DNS rebinding), so it may not change anything",
    "set credentials (api.user and api.password_file, or api.token_file), or use the address itself, such as http://127.0.0.1:7171, or localhost, or send it from a program (curl, a script)",
);

/// Refuses what `Sec-Fetch-Site`, or `Origin` against `Host`, shows to come from elsewhere. Its
/// answer is a bare 403, and becomes [`OTHER_ORIGIN`] in the form that the path's callers read.
pub(super) fn layer() -> CsrfLayer {
    CsrfLayer::new()
}

/// Refuses a browser that found an open server by a name. A name of an attacker's can be made to lead
/// here after his page was loaded, and then the page is of our own origin; an address cannot, and
/// `localhost` never leaves the machine.
pub(super) async fn refuse_rebinding(request: Request, next: Next) -> Response {
    if may_be_rebound(request.method(), request.uri(), request.headers()) {
        let path = request.uri().path();
        let (message, hint) = REBOUND;
        return Family::of(path).error(path, ErrorKind::Forbidden, message, hint);
    }
    next.run(request).await
}

fn may_be_rebound(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is_browser = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    !is_safe && is_browser && !host_is_fixed(uri, headers)
}

/// Whether the host that was asked for is an address or `localhost`: the one of the target, where it
/// has one, else the header. Several headers are nothing that can be relied on.
fn host_is_fixed(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let authority = match (uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => None,
        (Some(authority), _, None) => Some(authority.clone()),
        (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        (None, None, None) => None,
    };
    let Some(authority) = authority else {
        return false;
    };
    let host = authority.host();
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
