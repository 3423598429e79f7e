//! Every bad input is told clearly, with its place.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use rstest::rstest;

use super::{SMALL, given, small_and, with};
use crate::config::{Source, load};

#[rstest]
#[case(
    "clickhouse",
    "username = \"x\"",
    "FILE:8: clickhouse.username: unknown key; did you mean clickhouse.user?"
)]
#[case(
    "destination",
    "diks = \"x\"",
    "FILE:2: destination.diks: unknown key; did you mean destination.disk?"
)]
#[case(
    "schedules.daily",
    "crom = \"x\"",
    "FILE:4: schedules.daily.crom: unknown key; did you mean schedules.daily.cron?"
)]
#[case(
    "schedules.daily",
    "timezone = \"Europe/Sofya\"",
    "FILE:4: schedules.daily.timezone: time zone \"Europe/Sofya\" is unknown; use an IANA name such as \"Europe/Sofia\" or \"UTC\"; did you mean \"Europe/Sofia\"?"
)]
#[case(
    "schedules.daily",
    "kind = \"incremental\"",
    "FILE:4: schedules.daily.kind: \"incremental\" needs destination.url: a base must be proved complete, through our own view of the destination; write destination.url = \"s3://bucket/prefix\""
)]
#[case(
    "schedules.daily",
    "full_every = \"7d\"",
    "FILE:4: schedules.daily.full_every: kind is \"full\", and full_every is only for kind = \"incremental\"; write kind = \"incremental\", or leave full_every out"
)]
#[case(
    "schedules.daily",
    "full_on = \"sunday\"",
    "FILE:4: schedules.daily.full_on: kind is \"full\", and full_on is only for kind = \"incremental\""
)]
#[case(
    "schedules.daily",
    "full_on = 7",
    "schedules.daily.full_on: expected a string in quotes, or a list of them, found an integer"
)]
#[case(
    "schedules.daily",
    "chain_max = 1",
    "schedules.daily.chain_max: 1 is out of bounds; give a number from 2 to 1000"
)]
#[case(
    "schedules.daily",
    "action = \"verify\"",
    "FILE:4: schedules.daily.action: \"verify\" needs destination.url: files are looked for through our own view of the destination; write destination.url"
)]
#[case(
    "schedules.daily",
    "action = \"prove\"",
    "\"prove\" is not one of backup, verify"
)]
#[case(
    "schedules.daily",
    "verify = \"all\"",
    "FILE:4: schedules.daily.verify: action is \"backup\", and verify is only for action = \"verify\""
)]
#[case(
    "retention",
    "every = \"30s\"",
    "retention.every: \"30s\" is out of bounds; give at least 1m and at most 7d"
)]
#[case(
    "destination",
    "s3.virtual_hosted_style = true",
    "destination.s3.virtual_hosted_style: destination.url is missing"
)]
#[case(
    "destination",
    "url = \"s3://b\"\ns3.virtual_hosted_style = \"yes\"",
    "destination.s3.virtual_hosted_style: expected true or false, found a string"
)]
#[case(
    "schedules.daily",
    "kind = \"ful\"",
    "\"ful\" is not one of full, incremental; did you mean \"full\"?"
)]
#[case(
    "schedules.daily",
    "missed = \"run\"",
    "\"run\" is not one of run_latest, skip"
)]
#[case(
    "schedules.daily",
    "databases = []",
    "schedules.daily.databases: an empty list backs up nothing"
)]
#[case(
    "schedules.daily",
    "databases = \"shop\"",
    "expected a list of strings, such as [\"shop\", \"stock\"], found a string"
)]
#[case(
    "schedules.daily",
    "exclude_tables = [\"orders\"]",
    "table pattern \"orders\" has no dot"
)]
#[case(
    "schedules.daily",
    "deadline = \"30x\"",
    "FILE:4: schedules.daily.deadline: \"30x\" is no length of time; write a number and a unit"
)]
#[case(
    "schedules.daily",
    "deadline = \"0s\"",
    "\"0s\" is out of bounds; give at least 1s and at most 30d"
)]
#[case(
    "schedules.daily",
    "deadline = 30",
    "expected a length of time in quotes, such as \"4h\" or \"1h30m\", found an integer"
)]
#[case(
    "schedules.daily",
    "retry = { attempts = 0 }",
    "schedules.daily.retry.attempts: 0 is out of bounds; give a number from 1 to 100"
)]
#[case("schedules.daily", "retry.attempts = 101", "101 is out of bounds")]
#[case("schedules.daily", "retry.attempts = -1", "-1 is out of bounds")]
#[case(
    "schedules.daily",
    "retry = { attempts = 5, delay = \"1h\" }",
    "schedules.daily.retry.delay: 5 attempts with 1h between them wait 4h and never fit into the deadline of 4h"
)]
#[case(
    "schedules.daily",
    "retry = 3",
    "schedules.daily.retry: expected a table, found an integer"
)]
#[case(
    "schedules.hourly",
    "timezone = \"UTC\"",
    "FILE:7: schedules.hourly: schedule hourly has no cron, so it would never be due; add cron = \"0 2 * * *\""
)]
#[case(
    "schedules.hourly",
    "",
    "FILE:7: schedules.hourly: schedule hourly has no cron"
)]
#[case(
    "schedules.manual",
    "cron = \"0 2 * * *\"",
    "schedule name \"manual\" is taken by the daemon itself"
)]
#[case(
    "schedules.Daily",
    "cron = \"0 2 * * *\"",
    "FILE:7: schedules.Daily: schedules.Daily and schedules.daily are one name"
)]
#[case("schedules.Weekly", "cron = \"0 2 * * 0\"", "write [schedules.weekly]")]
#[case(
    "schedules.\"a.b\"",
    "cron = \"0 2 * * *\"",
    "FILE:7: schedules.\"a.b\": no schedule can have this name"
)]
#[case(
    "schedules.\"\"",
    "cron = \"0 2 * * *\"",
    "no schedule can have this name"
)]
#[case(
    "schedules.\"my night\"",
    "cron = \"0 2 * * *\"",
    "schedule name \"my night\" is not 1 to 64"
)]
#[case(
    "schedules.night",
    "cron = \"61 2 * * *\"",
    "FILE:8: schedules.night.cron: cron expression \"61 2 * * *\""
)]
#[case("schedules.night", "cron = \"0 2 31 2 *\"", "never comes due")]
#[case(
    "schedules.night",
    "cron = \"0 3 * * *\"\nname = \"{when}\"",
    "FILE:9: schedules.night.name: name template \"{when}\": unknown placeholder {when}"
)]
#[case(
    "schedules.night",
    "cron = \"0 3 * * *\"\nname = \"nightly\"",
    "would name the backups of two slots \"nightly\""
)]
#[case("schedules.night", "cron = \"\"", "schedules.night.cron: it is empty")]
#[case(
    "destination",
    "collection = \"backups\"",
    "FILE:2: destination.collection: destination.disk is given, too; keep one of the two"
)]
#[case(
    "destination",
    "url = \"gs://b\"",
    "destination.url: this is no place that can be read: it begins with neither s3:// nor file:///"
)]
#[case("destination", "url = \"file://relative\"", "its path is not absolute")]
#[case(
    "destination",
    "s3.endpoint = \"https://s3.example.com\"",
    "destination.s3.endpoint: destination.url is missing"
)]
#[case(
    "destination",
    "url = \"s3://b\"\ns3.access_key_id = \"k\"",
    "destination.s3.access_key_id: this is one half of a pair of keys; add destination.s3.secret_access_key_file"
)]
#[case(
    "destination",
    "url = \"file:///b\"\ns3.region = \"x\"",
    "destination.s3.region: destination.url is a folder, not S3"
)]
#[case(
    "destination",
    "url = \"s3://b\"\ns3.endpoint = \"s3.example.com\"",
    "destination.s3.endpoint: \"s3.example.com\": it does not begin with http:// or https://"
)]
#[case(
    "clickhouse",
    "url = \"tcp://ch:9000\"",
    "it does not begin with http:// or https://; write http://host:8123"
)]
#[case(
    "clickhouse",
    "url = \"http://ch\"",
    "clickhouse.url: \"http://ch\" names no port"
)]
#[case("clickhouse", "user = \"\"", "clickhouse.user: it is empty")]
#[case("clickhouse", "timeout = \"0s\"", "\"0s\" is out of bounds")]
#[case(
    "clickhouse",
    "password = \"a\"\npassword_file = \"/b\"",
    "FILE:9: clickhouse.password_file: clickhouse.password is given, too"
)]
#[case(
    "api",
    "listen = \"7171\"",
    "api.listen: \"7171\" is no host and port; write 127.0.0.1:7171"
)]
#[case(
    "api",
    "user = \"ops\"",
    "FILE:8: api.user: a user without a password protects nothing; add api.password_file"
)]
#[case(
    "api",
    "user = \"ops\"\npassword = \"\"",
    "api.password: the password is empty"
)]
#[case(
    "api",
    "password = \"x\"",
    "api.password: a password without a user; add api.user"
)]
#[case(
    "api",
    "tls.certificate_file = \"/c\"",
    "api.tls.certificate_file: a certificate without its key"
)]
#[case(
    "api",
    "tls.private_key_file = \"/c\"",
    "api.tls.private_key_file: a key without its certificate"
)]
#[case(
    "api",
    "allow_parallel = \"yes\"",
    "api.allow_parallel: expected true or false, found a string"
)]
#[case(
    "log",
    "level = \"loud\"",
    "log.level: \"loud\" is not one of error, warn, info, debug, trace"
)]
#[case(
    "log",
    "level = 2024-01-01",
    "expected a string in quotes, found a date"
)]
#[case("state", "dir = \"\"", "state.dir: it is empty")]
#[case("retention", "keep_last = 0", "is no TOML: duplicate key")]
#[case(
    "retention",
    "keep_daily = 0",
    "retention.keep_daily: 0 is out of bounds"
)]
#[case(
    "retention",
    "keep_daily = 9223372036854775807",
    "9223372036854775807 is out of bounds"
)]
#[case(
    "retention",
    "keep_within = \"1y\"",
    "months and years have no fixed length"
)]
#[case(
    "retention.manual",
    "",
    "FILE:7: retention.manual: there is no rule in it"
)]
#[case(
    "schedules.daily.retention",
    "",
    "FILE:7: schedules.daily.retention: there is no rule in it"
)]
#[case(
    "whatever",
    "a = 1",
    "FILE:7: whatever: unknown key; known at the top: clickhouse, destination, state, api, log, notify, schedules, retention"
)]
fn a_bad_line_is_named(#[case] section: &str, #[case] lines: &str, #[case] expected: &str) {
    let errors = given(small_and(section, lines), &[]).errors();
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[rstest]
#[case(
    "",
    "FILE: destination: nothing says where backups go; write [destination] with disk = \"s3_backup\""
)]
#[case(
    "[destination]\n[schedules.a]\ncron = \"0 2 * * *\"",
    "FILE:1: destination: nothing says where backups go"
)]
#[case(
    "[destination]\ndisk = \"a\"\n[retention]\n",
    "FILE:3: retention: the section is empty; does it mean to keep all or nothing?"
)]
#[case(
    "[destination]\ndisk = \"a\"\n[retention]\ninclude_foreign = true\n",
    "retention.include_foreign: there is no rule to judge foreign backups by"
)]
#[case(
    "[destination]\ndisk = \"a\"\n[[schedules]]\ncron = \"0 2 * * *\"\n",
    "FILE:3: schedules: expected a table, found a list of tables ([[…]]); write [schedules] and its keys below"
)]
#[case(
    "destination = 5",
    "FILE:1: destination: expected a table, found an integer; write [destination] and its keys below"
)]
#[case(
    "[destination]\ndisk = 5",
    "FILE:2: destination.disk: expected a string in quotes, found an integer"
)]
#[case("[destination]\ndisk = s3_backup", "FILE:2: this is no TOML: ")]
#[case("[destination\n", "FILE:1: this is no TOML: ")]
fn a_bad_file_is_named(#[case] text: &str, #[case] expected: &str) {
    let errors = given(text, &[]).errors();
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn files_that_are_no_text_or_not_there_are_named() {
    let latin1 = given(b"[destination]\ndisk = \"\xe9\"\n", &[]).errors();
    assert!(
        latin1.contains("FILE:2: the file is not UTF-8 from byte 22 on; save it as UTF-8"),
        "{latin1}"
    );
    let large = given(vec![b'#'; 1024 * 1024 + 1], &[]).errors();
    assert!(
        large.contains("FILE: the file is larger than 1 MiB"),
        "{large}"
    );
    let mut gone = given("", &[]);
    gone.source.file = Some(gone.dir.path().join("absent.toml"));
    let absent = gone.errors();
    assert!(
        absent.contains("absent.toml: cannot read the configuration file: "),
        "{absent}"
    );
    gone.source.file = Some(gone.dir.path().to_owned());
    let folder = gone.errors();
    assert!(folder.contains("name the file, not its folder"), "{folder}");
}

#[test]
fn without_a_file_the_environment_is_enough_and_what_is_missing_is_told() {
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let errors = load(&Source::default(), now).unwrap_err().to_string();
    assert!(
        errors.starts_with("configuration: destination: nothing says where backups go"),
        "{errors}"
    );
    let environment = vec![(
        OsString::from("BACKUPD_DESTINATION__DISK"),
        OsString::from("s3_backup"),
    )];
    assert!(
        load(
            &Source {
                file: None,
                environment
            },
            now
        )
        .is_ok()
    );
}

#[rstest]
#[case(
    "BACKUPD_API_LISTEN",
    ":1",
    "BACKUPD_API_LISTEN: unknown variable; did you mean BACKUPD_API__LISTEN?"
)]
#[case(
    "BACKUPD_CLICKHOUSE__USRE",
    "x",
    "BACKUPD_CLICKHOUSE__USRE: unknown variable; did you mean BACKUPD_CLICKHOUSE__USER?"
)]
#[case(
    "BACKUPD_",
    "x",
    "BACKUPD_: unknown variable; levels are divided by two underscores"
)]
#[case("BACKUPD_API__", "x", "BACKUPD_API__: unknown variable")]
#[case(
    "BACKUPD_SCHEDULES__DAILY__FULL_EVERY",
    "7d",
    "BACKUPD_SCHEDULES__DAILY__FULL_EVERY: schedules.daily.full_every: kind is \"full\", and full_every is only for kind = \"incremental\""
)]
#[case(
    "BACKUPD_SCHEDULES__DAILY__CRON",
    "99 * * * *",
    "BACKUPD_SCHEDULES__DAILY__CRON: schedules.daily.cron: cron expression"
)]
#[case(
    "BACKUPD_SCHEDULES__DAILY__DATABASES",
    "shop",
    "BACKUPD_SCHEDULES__DAILY__DATABASES: schedules.daily.databases: expected a list of strings"
)]
#[case(
    "BACKUPD_RETENTION__KEEP_LAST",
    "many",
    "BACKUPD_RETENTION__KEEP_LAST: retention.keep_last: expected a whole number, found \"many\""
)]
#[case(
    "BACKUPD_RETENTION",
    "14",
    "BACKUPD_RETENTION: retention: expected a table"
)]
#[case(
    "BACKUPD_RETENTION",
    "{",
    "BACKUPD_RETENTION: retention: expected a table in TOML syntax"
)]
#[case(
    "BACKUPD_RETENTION",
    "{ keep_lats = 3 }",
    "BACKUPD_RETENTION: retention.keep_lats: unknown key; did you mean retention.keep_last?"
)]
#[case(
    "CLICKHOUSE_TIMEOUT",
    "30x",
    "CLICKHOUSE_TIMEOUT: clickhouse.timeout: \"30x\" is no length of time"
)]
#[case("CLICKHOUSE_PORT", "http", "CLICKHOUSE_PORT: \"http\" is no port")]
#[case("CLICKHOUSE_PORT", "0", "CLICKHOUSE_PORT: \"0\" is no port")]
#[case(
    "CLICKHOUSE_HOST",
    "http://ch",
    "CLICKHOUSE_HOST: this is no host name or address"
)]
#[case(
    "CLICKHOUSE_SECURE",
    "yes",
    "CLICKHOUSE_SECURE: \"yes\" is neither true nor false"
)]
#[case(
    "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE",
    "false",
    "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE: the mode that copies files itself does not exist here"
)]
#[case(
    "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE",
    "maybe",
    "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE: \"maybe\" is neither true nor false"
)]
#[case(
    "CLICKHOUSE_SKIP_TABLES",
    "system.*,orders",
    "CLICKHOUSE_SKIP_TABLES: table pattern \"orders\" has no dot"
)]
#[case(
    "LOG_LEVEL",
    "loud",
    "LOG_LEVEL: log.level: \"loud\" is not one of error, warn, info, debug, trace"
)]
#[case(
    "API_LISTEN",
    "7171",
    "API_LISTEN: api.listen: \"7171\" is no host and port"
)]
#[case(
    "API_USERNAME",
    "ops",
    "API_USERNAME: api.user: a user without a password protects nothing"
)]
fn a_bad_variable_is_named(#[case] name: &str, #[case] value: &str, #[case] expected: &str) {
    let errors = given(SMALL, &[(name, value)]).errors();
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[rstest]
#[case("-1")]
#[case("many")]
fn a_wrong_number_to_keep_is_an_error_only_where_it_counts(#[case] count: &str) {
    let without = SMALL.replace("[retention]\nkeep_last = 14\n", "");
    let errors = given(without, &[("BACKUPS_TO_KEEP_LOCAL", count)]).errors();
    assert!(
        errors.contains(&format!(
            "BACKUPS_TO_KEEP_LOCAL: {count:?} is no number of backups"
        )),
        "{errors}"
    );
    let warnings = with(&[("BACKUPS_TO_KEEP_LOCAL", count)]).warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("without effect")),
        "{warnings:?}"
    );
}

#[test]
fn tls_of_the_old_variables_needs_both_files() {
    let errors = given(
        SMALL,
        &[("API_SECURE", "true"), ("API_CERTIFICATE_FILE", "/c.pem")],
    )
    .errors();
    assert!(
        errors.contains("API_SECURE: API_SECURE is true and API_PRIVATE_KEY_FILE is not set"),
        "{errors}"
    );
}

#[test]
fn names_equal_after_case_folding_across_file_and_environment_are_both_named() {
    let text = SMALL.replace("schedules.daily", "schedules.Daily");
    let errors = given(text, &[("BACKUPD_SCHEDULES__DAILY__CRON", "0 3 * * *")]).errors();
    assert!(
        errors.contains("schedules.Daily and schedules.daily are one name"),
        "{errors}"
    );
    let text = SMALL.replace("schedules.daily", "schedules.Daily");
    let both = given(
        text.clone()
            + &text.replace("Daily", "DAILY")[text.find("[sch").unwrap()..]
                .replace("[retention]\nkeep_last = 14\n", ""),
        &[],
    )
    .errors();
    assert!(
        both.contains("schedules.DAILY and schedules.Daily are one name"),
        "{both}"
    );
    let twice = given(
        SMALL,
        &[
            ("BACKUPD_LOG__LEVEL", "info"),
            ("BACKUPD_log__level", "warn"),
        ],
    )
    .errors();
    assert!(
        twice.contains("BACKUPD_LOG__LEVEL and BACKUPD_log__level are the same key"),
        "{twice}"
    );
}

#[rstest]
#[case("BACKUPD_CLICKHOUSE__PASSWORD")]
#[case("BACKUPD_STATE__DIR")]
#[case("CLICKHOUSE_PASSWORD")]
fn a_value_that_is_no_text_is_named(#[case] name: &str) {
    let mut given = given(SMALL, &[]);
    given
        .source
        .environment
        .push((name.into(), OsString::from_vec(vec![b'x', 0xff])));
    let errors = given.errors();
    assert!(
        errors.starts_with(&format!("{name}: the value is not UTF-8")),
        "{errors}"
    );
}

#[test]
fn a_name_template_that_collides_is_refused_at_load() {
    let text = SMALL.replace("0 2 * * *", "0 2,14 * * *");
    let errors = given(text, &[]).errors();
    let expected = "FILE:3: schedules.daily.name: schedule \"daily\" would name the backups of two slots \"2026-11-23\": 2026-11-23T02:00:00+00:00[UTC] and 2026-11-23T14:00:00+00:00[UTC]";
    assert!(errors.starts_with(expected), "{errors}");
    let text = format!("{SMALL}[schedules.weekly]\ncron = \"0 2 * * 0\"\nname = \"{{date}}\"\n");
    let errors = given(text, &[]).errors();
    assert!(
        errors.contains("schedules \"daily\" and \"weekly\" would both name a backup"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

/// The promise: one run, every mistake, in the file's order and then the environment's.
#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = "\
[clickhouse]
url = 8123
usr = \"default\"
timeout = \"30x\"
[destination]
dsik = \"s3_backup\"
[schedules.daily]
cron = \"61 2 * * *\"
timezone = \"Mars/Olympus\"
deadline = 4
[schedules.Nightly]
cron = \"0 2 * * *\"
[retention]
";
    let errors = given(
        text,
        &[
            ("BACKUPD_API__LISTNE", ":1"),
            ("CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE", "false"),
        ],
    )
    .errors();
    let expected = "\
FILE:2: clickhouse.url: expected a string in quotes, found an integer
FILE:3: clickhouse.usr: unknown key; did you mean clickhouse.user?
FILE:6: destination.dsik: unknown key; did you mean destination.disk?
FILE:10: schedules.daily.deadline: expected a length of time in quotes, such as \"4h\" or \"1h30m\", found an integer
BACKUPD_API__LISTNE: unknown variable; did you mean BACKUPD_API__LISTEN?
CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE: the mode that copies files itself does not exist here: ClickHouse makes its own backups; set it to true or unset it
FILE:4: clickhouse.timeout: \"30x\" is no length of time; write a number and a unit, such as 90s, 5m, 4h, 1h30m or 7d
FILE:5: destination: nothing says where backups go; write [destination] with disk = \"s3_backup\" (a disk of the ClickHouse server) or collection = \"backups\" (a named collection)
FILE:11: schedules.Nightly: schedule name \"Nightly\" is not 1 to 64 of the characters a-z, 0-9, _ and -; write [schedules.nightly]
FILE:9: schedules.daily.timezone: time zone \"Mars/Olympus\" is unknown; use an IANA name such as \"Europe/Sofia\" or \"UTC\"
FILE:8: schedules.daily.cron: cron expression \"61 2 * * *\"";
    assert!(errors.starts_with(expected), "{errors}");
    assert!(errors.ends_with("FILE:13: retention: the section is empty; does it mean to keep all or nothing?; write keep_last = 14, or leave the section out to keep every backup"), "{errors}");
}

#[test]
fn a_name_of_any_length_and_with_any_character_makes_one_line() {
    let text = format!("{SMALL}[schedules.\"{}\\n\"]\n", "A".repeat(100_000));
    let errors = given(text, &[]).errors();
    assert!(
        errors.len() < 5_000 && errors.lines().count() == 2,
        "{errors}"
    );
}

#[test]
fn a_million_mistakes_do_not_fill_a_log() {
    let text: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
    let errors = given(text, &[]).errors();
    assert!(
        errors.lines().count() <= 101 && errors.contains("more errors"),
        "{}",
        errors.lines().count()
    );
}
