//! Hosts, ports and URLs: what is taken, and in which one spelling it goes on.

/// A host for a URL: a name, an IPv4 address, or an IPv6 address, which gets its brackets.
pub fn host(text: &str) -> Option<String> {
    let inside = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if inside.contains(':') {
        return inside
            .parse::<std::net::Ipv6Addr>()
            .ok()
            .map(|_| format!("[{inside}]"));
    }
    let name = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    name.then(|| text.to_owned())
}

/// `host:port` of a listener; without a host every IPv4 address is meant.
pub fn listen(text: &str) -> Option<String> {
    let (host_part, port) = text.rsplit_once(':')?;
    let port: u16 = port
        .parse()
        .ok()
        .filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
    if host_part.is_empty() {
        return Some(format!("0.0.0.0:{port}"));
    }
    // An IPv6 address needs its brackets here, or its last group would be taken for the port.
    let bare_v6 = host_part.contains(':') && !host_part.starts_with('[');
    host(host_part)
        .filter(|_| !bare_v6)
        .map(|host| format!("{host}:{port}"))
}

/// Whether a listener is reached from this machine alone.
pub fn is_loopback(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The parts of an `http://` or `https://` URL.
#[derive(Debug, PartialEq, Eq)]
pub struct Http {
    /// Host and, if given, port.
    pub port: Option<u16>,
    /// The whole in one spelling, without a slash at its end.
    pub url: String,
}

/// Reads an HTTP URL.
///
/// # Errors
/// With what is wrong. The text is not repeated: a URL is where people write passwords.
pub fn http(text: &str) -> Result<Http, &'static str> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("it does not begin with http:// or https://")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err("it does not begin with http:// or https://");
    }
    if rest.contains('@') {
        return Err("it holds a user or password, which belong into keys of their own");
    }
    if rest.contains(['?', '#']) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it holds a query, a fragment or a blank");
    }
    let (authority, path) = rest
        .split_once('/')
        .map_or((rest, ""), |(authority, path)| (authority, path));
    let (host_part, port) = match authority.rsplit_once(':') {
        Some((host_part, port)) if !port.ends_with(']') => {
            let port: u16 = port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or("its port is no number from 1 to 65535")?;
            (host_part, Some(port))
        }
        _ => (authority, None),
    };
    let host = host(host_part).ok_or("its host is no name and no address")?;
    let port_part = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = path.trim_end_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    Ok(Http {
        port,
        url: format!("{scheme}://{host}{port_part}{slash}{path}"),
    })
}

/// Our view of the destination: `s3://bucket/prefix` or `file:///absolute/path`, without a slash at
/// its end.
///
/// # Errors
/// With what is wrong; the text is not repeated.
pub fn view(text: &str) -> Result<String, &'static str> {
    if text
        .chars()
        .any(|c| c.is_control() || matches!(c, '?' | '#'))
    {
        return Err("it holds a query, a fragment, or a control character");
    }
    if let Some(rest) = text.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let named = bucket
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        if bucket.is_empty() || !named {
            return Err("its bucket is missing or has a character that no bucket has");
        }
        return clean(prefix).map(|prefix| {
            if prefix.is_empty() {
                format!("s3://{bucket}")
            } else {
                format!("s3://{bucket}/{prefix}")
            }
        });
    }
    if let Some(path) = text.strip_prefix("file://") {
        let path = path
            .strip_prefix('/')
            .ok_or("its path is not absolute: three slashes, as in file:///backups")?;
        return match clean(path)? {
            "" => Err("it is the root of the file system"),
            path => Ok(format!("file:///{path}")),
        };
    }
    Err("it begins with neither s3:// nor file:///")
}

/// A prefix without empty parts and without steps upwards: listing and deleting must mean one place.
fn clean(path: &str) -> Result<&str, &'static str> {
    let path = path.trim_end_matches('/');
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if !path.is_empty() && path.split('/').any(odd) {
        Err("its path has an empty, . or .. part")
    } else {
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0.0.0.0:7171", Some("0.0.0.0:7171"))]
    #[case(":7171", Some("0.0.0.0:7171"))]
    #[case("localhost:7171", Some("localhost:7171"))]
    #[case("[::]:7171", Some("[::]:7171"))]
    #[case("127.0.0.1:0", Some("127.0.0.1:0"))]
    #[case("7171", None)]
    #[case("::1:7171", None)]
    #[case("localhost", None)]
    #[case("localhost:70000", None)]
    #[case("localhost:+71", None)]
    #[case("http://localhost:7171", None)]
    #[case("", None)]
    fn listeners(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(listen(text).as_deref(), expected);
    }

    #[rstest]
    #[case("http://ch:8123", "http://ch:8123", Some(8123))]
    #[case(
        "HTTPS://ch.example.com:8443/",
        "https://ch.example.com:8443",
        Some(8443)
    )]
    #[case("http://[::1]:8123/proxy/", "http://[::1]:8123/proxy", Some(8123))]
    #[case("https://fsn1.example.com", "https://fsn1.example.com", None)]
    #[case("http://[::1]", "http://[::1]", None)]
    fn http_urls(#[case] text: &str, #[case] url: &str, #[case] port: Option<u16>) {
        assert_eq!(
            http(text),
            Ok(Http {
                port,
                url: url.to_owned()
            })
        );
    }

    #[rstest]
    #[case("ch:8123")]
    #[case("tcp://ch:9000")]
    #[case("http://user:hunter2@ch:8123")]
    #[case("http://:8123")]
    #[case("http://ch:x")]
    #[case("http://ch:0")]
    #[case("http://ch:8123/?password=hunter2")]
    fn other_urls_are_refused_and_not_repeated(#[case] text: &str) {
        assert!(!http(text).unwrap_err().contains("hunter2"));
    }

    #[rstest]
    #[case("s3://bucket", Ok("s3://bucket"))]
    #[case("s3://bucket/", Ok("s3://bucket"))]
    #[case("s3://bucket/a/b/", Ok("s3://bucket/a/b"))]
    #[case("file:///backups/", Ok("file:///backups"))]
    #[case("s3://", Err("bucket"))]
    #[case("s3://key:secret@bucket", Err("bucket"))]
    #[case("s3://bucket//a", Err("empty"))]
    #[case("s3://bucket/a/../b", Err(".."))]
    #[case("file://backups", Err("absolute"))]
    #[case("file:///", Err("root"))]
    #[case("gs://bucket", Err("neither"))]
    #[case("/backups", Err("neither"))]
    fn views(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        match (view(text), expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url, expected),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (other, _) => panic!("{other:?}"),
        }
    }
}
