//! The URL of the destination, and the names that may stand below it.

use std::path::PathBuf;

use super::error::{Error, SetupError};

/// Our own folder in the destination. Its name begins with a dot, as no backup's does.
pub const OWN_FOLDER: &str = ".clickhouse-backupd";

/// The place that a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `s3://bucket/prefix`.
    S3 {
        /// The bucket.
        bucket: String,
        /// Without slashes at its ends; may be empty.
        prefix: String,
    },
    /// `file:///path`.
    Folder(PathBuf),
}

impl Address {
    /// Reads a URL. Both kinds are taken as written: `%20` is three characters, as in the
    /// configuration of ClickHouse.
    ///
    /// # Errors
    /// When it is neither kind, or its path has an empty part or a step upwards.
    pub fn parse(url: &str) -> Result<Self, SetupError> {
        let refuse = |problem: &str| SetupError::Url {
            url: url.to_owned(),
            problem: problem.to_owned(),
        };
        let (is_s3, rest) = match (url.strip_prefix("s3://"), url.strip_prefix("file:///")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(refuse("it begins with neither s3:// nor file:///")),
        };
        let rest = rest.trim_end_matches('/');
        let is_odd = |part: &str| matches!(part, "" | "." | "..");
        if rest.is_empty() || rest.split('/').any(is_odd) || rest.chars().any(char::is_control) {
            return Err(refuse("its path is empty, or has an empty, . or .. part"));
        }
        if !is_s3 {
            return Ok(Self::Folder(PathBuf::from(format!("/{rest}"))));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !bucket.chars().all(is_named) {
            return Err(refuse("its bucket has a character that no bucket has"));
        }
        Ok(Self::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// The one check of a name before it becomes part of a key: nothing that is asked, written or
/// removed can leave its folder.
///
/// # Errors
/// When it is empty, a step (`.`, `..`), has a slash or a control character.
pub fn part(name: &str) -> Result<&str, Error> {
    let refuse = |problem| {
        Err(Error::Name {
            name: name.to_owned(),
            problem,
        })
    };
    match name {
        "" => refuse("it is empty"),
        "." | ".." => refuse("it is a step in a path"),
        _ if name.contains('/') => refuse("it has a slash"),
        _ if name.chars().any(char::is_control) => refuse("it has a control character"),
        _ => Ok(name),
    }
}

/// The name of a backup's folder right under the prefix.
///
/// # Errors
/// As [`part`], and when it is our own folder.
pub fn folder(name: &str) -> Result<&str, Error> {
    if name == OWN_FOLDER {
        return Err(Error::Name {
            name: name.to_owned(),
            problem: "it is the daemon's own folder",
        });
    }
    part(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("s3://bucket", Some(("bucket", "")))]
    #[case("s3://bucket/", Some(("bucket", "")))]
    #[case("s3://bucket/a/b%20c/", Some(("bucket", "a/b%20c")))]
    #[case("s3://", None)]
    #[case("s3://buc ket/x", None)]
    #[case("s3://bucket//x", None)]
    #[case("s3://bucket/../x", None)]
    #[case("gs://bucket/x", None)]
    #[case("file://relative", None)]
    #[case("file:///", None)]
    #[case("file:///a/../b", None)]
    fn urls(#[case] url: &str, #[case] expected: Option<(&str, &str)>) {
        let expected = expected.map(|(bucket, prefix)| Address::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        });
        assert_eq!(Address::parse(url).ok(), expected);
    }

    #[test]
    fn a_folder_is_taken_as_written() {
        let place = Address::parse("file:///var/back ups/%20/").unwrap();
        assert_eq!(place, Address::Folder(PathBuf::from("/var/back ups/%20")));
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("..")]
    #[case("a/b")]
    #[case("a\0")]
    #[case(OWN_FOLDER)]
    fn names_that_lead_elsewhere(#[case] name: &str) {
        assert!(matches!(folder(name), Err(Error::Name { .. })));
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_exactly_one_part(name in ".{0,40}") {
            if folder(&name).is_ok() {
                let joined = std::path::Path::new("/root").join(&name);
                prop_assert_eq!(joined.parent(), Some(std::path::Path::new("/root")));
                let key = object_store::path::Path::parse(format!("prefix/{name}/x")).unwrap();
                prop_assert_eq!(key.as_ref(), format!("prefix/{name}/x"));
            }
        }
    }
}
