//! Secrets stay as they are and never print.

use proptest::prelude::*;
use rstest::rstest;
use secrecy::ExposeSecret;

use super::{SMALL, given, with};
use crate::config::show;

#[rstest]
#[case("00712")]
#[case("12345")]
#[case("true")]
#[case("{a=b}")]
#[case("[1]")]
#[case("\"quoted\"")]
#[case(" with blanks ")]
#[case("1e5")]
fn a_password_is_what_was_written(#[case] password: &str) {
    for name in ["BACKUPD_CLICKHOUSE__PASSWORD", "CLICKHOUSE_PASSWORD"] {
        let source = with(&[(name, password)]).clickhouse.password.unwrap();
        assert_eq!(source.read().unwrap().expose_secret(), password, "{name}");
    }
}

#[test]
fn an_empty_password_is_none() {
    assert_eq!(
        with(&[("BACKUPD_CLICKHOUSE__PASSWORD", "")])
            .clickhouse
            .password,
        None
    );
    assert_eq!(
        with(&[("CLICKHOUSE_PASSWORD", "")]).clickhouse.password,
        None
    );
}

/// Ways in which a secret can stand in a file that is wrong, in or beside its own key.
const WRONG: [&str; 14] = [
    "[clickhouse]\npassword = SECRET\nuser = 5\n",
    "[clickhouse]\npassword = 00712SECRET\n",
    "[clickhouse]\npassword = \"SECRET\nurl = 5\n",
    "[clickhouse]\npassword = [\"SECRET\"]\nurl = 5\n",
    "[clickhouse]\npassword = { value = \"SECRET\" }\n",
    "[clickhouse]\npassword = \"SECRET\"\npassword_file = \"/x\"\ntimeout = 5\n",
    "[clickhouse]\npasword = \"SECRET\"\n",
    "[clickhouse]\nurl = \"http://default:SECRET@ch:8123\"\n",
    "[clickhouse]\nurl = \"http://ch:8123/?password=SECRET\"\n",
    "[destination]\nurl = \"s3://key:SECRET@bucket\"\n",
    "[destination]\ns3.secret_access_key = \"SECRET\"\ns3.endpoint = \"https://SECRET@host\"\n",
    "[api]\npassword = \"SECRET\"\nlisten = 5\nclickhouse = \"SECRET\"\n",
    "[api]\ntoken = \"SECRET\"\nread_only.token = \"SECRET\"\nlisten = 5\n",
    "[api]\ntoken = \"SECRET SECRET\"\nread_only.password = \"SECRET\"\n",
];

/// Secret variables, and what can be wrong beside them.
const SECRET_VARIABLES: [&str; 8] = [
    "BACKUPD_CLICKHOUSE__PASSWORD",
    "BACKUPD_API__PASSWORD",
    "BACKUPD_DESTINATION__S3__SECRET_ACCESS_KEY",
    "CLICKHOUSE_PASSWORD",
    "API_PASSWORD",
    "BACKUPD_API__TOKEN",
    "BACKUPD_API__READ_ONLY__PASSWORD",
    "BACKUPD_API__READ_ONLY__TOKEN",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_error_text_contains_a_secret(secret in "[A-Za-z0-9_+=]{10,30}|[1-9][0-9]{9,17}", wrong in 0..WRONG.len(), variable in 0..SECRET_VARIABLES.len()) {
        let text = WRONG[wrong].replace("SECRET", &secret);
        let given = given(text, &[
            (SECRET_VARIABLES[variable], &secret),
            ("BACKUPD_CLICKHOUSE", &format!("{{ password = {secret} }}")),
            ("BACKUPD_API__PASSWROD", &secret),
            ("BACKUPD_DESTINATION__S3", &format!("{{ secret_access_key = \"{secret}\", oops = 1 }}")),
            ("CLICKHOUSE_TIMEOUT", "30x"),
        ]);
        let errors = given.load().unwrap_err();
        for text in [errors.to_string(), format!("{errors:?}")] {
            prop_assert!(!text.contains(&secret), "{}", text);
        }
    }

    #[test]
    fn nothing_that_was_loaded_prints_a_secret(secret in "[ -~]{10,30}") {
        let file = format!("{SMALL}[api]\nuser = \"ops\"\npassword = {}\n", toml_edit::Value::from(secret.as_str()));
        let file = file.replace("disk =", "url = \"s3://bucket\"\ndisk =");
        let given = given(file, &[
            ("CLICKHOUSE_PASSWORD", &secret),
            ("BACKUPD_DESTINATION__S3__ACCESS_KEY_ID", &secret),
            ("BACKUPD_DESTINATION__S3__SECRET_ACCESS_KEY", &secret),
        ]);
        let loaded = given.load().unwrap();
        let password = loaded.config.api.access.operator.basic.as_ref().unwrap().password.read().unwrap();
        prop_assert_eq!(password.expose_secret(), &secret);
        for text in [show(&loaded), format!("{loaded:?}"), loaded.config.warnings.join("\n")] {
            prop_assert!(!text.contains(&secret), "{}", text);
        }
    }
}
