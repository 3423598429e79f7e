//! `[api]`: who may ask.

use rstest::rstest;

use super::{config, given, small_and};
use crate::api::Access;
use crate::config::show;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn access(lines: &str) -> (Access, Vec<String>) {
    let config = config(&small_and("api", lines));
    // What is said of retention is not about access.
    let warnings = config.warnings.into_iter();
    let of_access = warnings.filter(|warning| warning != super::ONLY_PLANS);
    (config.api.access, of_access.collect())
}

#[test]
fn both_roles_have_both_kinds_of_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    let file = path.display();
    let (access, warnings) = access(&format!(
        "user = \"ops\"\npassword = \"a\"\ntoken_file = \"{file}\"\nread_only.user = \"monitor\"\nread_only.password = \"a\"\nread_only.token = \"fedcba9876543210\"\nopen_metrics = true"
    ));
    assert_eq!(warnings, Vec::<String>::new());
    assert!(access.open_metrics && !access.is_open());
    let (operator, read_only) = (access.operator, access.read_only);
    assert_eq!(operator.basic.unwrap().user, "ops");
    assert_eq!(
        operator.token.unwrap(),
        crate::secret::SecretSource::File(path)
    );
    assert_eq!(read_only.basic.unwrap().user, "monitor");
    assert_eq!(read_only.token, Some("fedcba9876543210".into()));
}

#[test]
fn variables_set_every_key_and_nothing_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token").display().to_string();
    let given = given(
        small_and(
            "api",
            "token_file = \"/nowhere/t\"\nread_only.token_file = \"/nowhere/r\"",
        ),
        &[
            ("BACKUPD_API__TOKEN", "hunter2-hunter2-hunter2"),
            ("BACKUPD_API__READ_ONLY__USER", "monitor"),
            ("BACKUPD_API__READ_ONLY__PASSWORD", "hunter2"),
            ("BACKUPD_API__READ_ONLY__TOKEN", "hunter2-hunter2-hunter3"),
            ("BACKUPD_API__OPEN_METRICS", "true"),
            ("BACKUPD_API__USER", "ops"),
            ("BACKUPD_API__PASSWORD_FILE", &path),
        ],
    );
    let loaded = given.load().unwrap();
    let access = &loaded.config.api.access;
    assert_eq!(
        access.operator.token,
        Some("hunter2-hunter2-hunter2".into())
    );
    let read_only = access.read_only.basic.as_ref().unwrap();
    assert_eq!(read_only.password, "hunter2".into());
    assert_eq!(
        access.read_only.token,
        Some("hunter2-hunter2-hunter3".into())
    );
    assert!(access.open_metrics);
    let shown = show(&loaded);
    assert_eq!(shown.matches("\"<redacted>\"").count(), 3, "{shown}");
    for text in [shown, format!("{loaded:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[rstest]
#[case(
    "read_only.user = \"monitor\"",
    "api.read_only.user: a user without a password protects nothing; add api.read_only.password_file"
)]
#[case(
    "read_only.user = \"monitor\"\nread_only.password = \"\"",
    "api.read_only.password: the password is empty"
)]
#[case(
    "read_only.password_file = \"/nowhere\"",
    "api.read_only.password_file: a password without a user; add api.read_only.user"
)]
#[case(
    "user = \"ops\"\npassword = \"a\"\nread_only.user = \"ops\"\nread_only.password = \"b\"",
    "FILE:10: api.read_only.user: \"ops\" is the operator, too"
)]
#[case("user = \"o:ps\"\npassword = \"a\"", "api.user: it has a colon in it")]
#[case(
    "token = \"hunter2-hunter2-hunter2\"\nread_only.token = \"hunter2-hunter2-hunter2\"",
    "FILE:9: api.read_only.token: it is the token of the operator, too"
)]
#[case("token = \"\"", "api.token: the token is empty")]
#[case("read_only.token = \"\"", "api.read_only.token: the token is empty")]
#[case(
    "token = \"hunter2 hunter2 hunter2\"",
    "api.token: the token has a blank or another character"
)]
#[case(
    "token = \"hunter2-hunter2-hunter2ß\"",
    "api.token: the token has a blank or another character"
)]
#[case(
    "token = \"hunter2-hunter2\"\ntoken_file = \"/b\"",
    "api.token_file: api.token is given, too"
)]
#[case(
    "token = 5",
    "api.token: expected a string in quotes, found an integer"
)]
#[case("read_only = true", "api.read_only: expected a table")]
#[case("read_only.tokn = \"a\"", "did you mean api.read_only.token?")]
#[case("open_metrics = \"yes\"", "api.open_metrics: expected true or false")]
fn what_protects_nothing_is_refused(#[case] lines: &str, #[case] expected: &str) {
    let errors = given(small_and("api", lines), &[]).errors();
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[rstest]
#[case(
    "token = \"0123456789abcde\"",
    Some("api.token: the token has less than 16 characters")
)]
#[case("token = \"0123456789abcdef\"", None)]
#[case(
    "token = \"0123456789abcdef\"\nread_only.token = \"short\"",
    Some("api.read_only.token: the token has less than 16 characters")
)]
#[case(
    "read_only.token = \"0123456789abcdef\"",
    Some("nobody can make backups, restore or end operations over the API")
)]
#[case(
    "read_only.user = \"a\"\nread_only.password = \"b\"",
    Some("nobody can make backups, restore or end operations over the API")
)]
#[case("open_metrics = true", None)]
fn what_is_weak_or_odd_is_a_warning(#[case] lines: &str, #[case] expected: Option<&str>) {
    let (_, warnings) = access(lines);
    let expected_count = usize::from(expected.is_some());
    assert_eq!(warnings.len(), expected_count, "{warnings:?}");
    if let Some(expected) = expected {
        assert!(warnings[0].contains(expected), "{warnings:?}");
        assert!(!warnings[0].contains("short\""), "{warnings:?}");
    }
}

#[test]
fn tokens_in_files_are_looked_at_as_they_are_now() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let both = |one: String, other: String| {
        access(&format!(
            "token_file = \"{one}\"\nread_only.token_file = \"{other}\""
        ))
        .1
    };
    let warnings = both(write("a", TOKEN), write("b", &format!("{TOKEN}\n")));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("the token of the operator, too"));
    let warnings = both(write("a", "short\n"), write("b", ""));
    assert!(
        warnings[0].starts_with("api.token_file: the token has less than 16"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("is empty now"), "{warnings:?}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let absent = dir.path().join("absent").display().to_string();
    let warnings = both(absent, write("b", TOKEN));
    assert!(
        warnings.iter().all(|text| text.contains("absent")),
        "{warnings:?}"
    );
}

#[rstest]
#[case("[::]:7171", true)]
#[case("0.0.0.0:7171", true)]
#[case(":7171", true)]
#[case("10.0.0.7:7171", true)]
#[case("backup.example.com:7171", true)]
#[case("localhost.example.com:7171", true)]
#[case("127.0.0.1:7171", false)]
#[case("127.0.0.2:7171", false)]
#[case("[::1]:7171", false)]
#[case("localhost:7171", false)]
fn a_listener_that_others_reach_is_warned_about_until_somebody_is_asked(
    #[case] listen: &str,
    #[case] warned: bool,
) {
    let warnings = |more: &str| access(&format!("listen = \"{listen}\"\n{more}")).1;
    let open = warnings("open_metrics = true");
    assert_eq!(open.len(), usize::from(warned), "{open:?}");
    assert!(
        open.iter()
            .all(|text| text.starts_with("api: whoever reaches ")
                && text.contains("may make backups, restore")
                && text.contains("api.token_file"))
    );
    assert_eq!(
        warnings("user = \"a\"\npassword = \"b\""),
        Vec::<String>::new()
    );
    assert_eq!(
        warnings(&format!("token = \"{TOKEN}\"")),
        Vec::<String>::new()
    );
}
