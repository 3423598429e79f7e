//! `callback=<address>`: who wants to be called at the end, as the server we replace took it.

use std::borrow::Cow;

use super::answer::Refusal;
use super::arguments::Arguments;
use crate::notify::{CALLBACKS_MAX, UrlError, check_url};

/// The addresses among the arguments; empty ones never counted.
pub(super) fn callbacks(
    operation: &'static str,
    arguments: &Arguments,
) -> Result<Vec<String>, Refusal> {
    let given = arguments.values("callback").map(str::trim);
    let mut addresses: Vec<String> = Vec::new();
    for text in given.filter(|text| !text.is_empty()) {
        // The address itself may be a secret, and is not repeated.
        let refused = |error: UrlError| {
            Refusal::bad_request(operation, format!("callback cannot be called: {error}"))
        };
        let address = match check_url(text) {
            Err(UrlError::NotHttp) => decoded(text),
            other => other.map(|()| Cow::Borrowed(text)).map_err(refused)?,
        };
        check_url(&address).map_err(refused)?;
        if !addresses.iter().any(|known| *known == address) {
            addresses.push(address.into_owned());
        }
    }
    if addresses.len() > CALLBACKS_MAX {
        let text = format!("callback is given more than {CALLBACKS_MAX} times");
        return Err(Refusal::bad_request(operation, text));
    }
    Ok(addresses)
}

/// The server we replace decoded addresses a second time, so there are clients that encode them twice.
fn decoded(text: &str) -> Cow<'_, str> {
    let pair = format!("address={}", text.replace('&', "%26"));
    let first = form_urlencoded::parse(pair.as_bytes()).next();
    first.map_or(Cow::Borrowed(text), |(_, value)| {
        Cow::Owned(value.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::create::ARGUMENTS;
    use super::*;

    #[rstest]
    #[case("", &[])]
    #[case("callback=", &[])]
    #[case("callback=http://h/x%3Fa%3D1%26b%3D2", &["http://h/x?a=1&b=2"])]
    #[case("callback=http%253A%252F%252Fh%252Fx%253Fa%253D1%2526b%253D2", &["http://h/x?a=1&b=2"])]
    #[case("callback=http://one/&callback=http://two/&callback=http://one/", &["http://one/", "http://two/"])]
    fn addresses_are_taken(#[case] query: &str, #[case] expected: &[&str]) {
        let arguments = Arguments::from_query("create", Some(query), ARGUMENTS).unwrap();
        assert_eq!(callbacks("create", &arguments).unwrap(), expected);
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        let many: Vec<String> = (0..9).map(|n| format!("callback=http://h/{n}")).collect();
        for query in [
            "callback=ftp://hunter2/",
            "callback=hunter2",
            "callback=%zz",
            &many.join("&"),
        ] {
            let arguments = Arguments::from_query("create", Some(query), ARGUMENTS).unwrap();
            let refusal = callbacks("create", &arguments).unwrap_err();
            assert_eq!(refusal.status(), 400);
            assert!(!refusal.line().contains("hunter2"), "{}", refusal.line());
        }
    }
}
