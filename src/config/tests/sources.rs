//! Precedence, the environment, and the variables of the server we replace.

use std::time::Duration;

use rstest::rstest;

use super::{ONLY_PLANS, SMALL, config, given, small_and, with};
use crate::backup::Place;
use crate::config::{DEFAULT_FILE, LogFormat, choose_file, show};
use crate::operation::Action;
use crate::schedule::MissedPolicy;

#[test]
fn the_small_file_has_the_defaults_of_the_documentation() {
    let config = config(SMALL);
    assert_eq!(config.clickhouse.url, "http://127.0.0.1:8123");
    assert_eq!(config.clickhouse.user, "default");
    assert_eq!(config.clickhouse.password, None);
    assert!(config.clickhouse.verify_certificate);
    assert_eq!(config.worker.timeout, Duration::from_secs(4 * 3600));
    assert_eq!(config.worker.client_deadline, Duration::from_secs(300));
    assert_eq!(config.worker.cancel_limit, Duration::from_secs(600));
    assert_eq!(config.destination.place, Place::Disk("s3_backup".into()));
    assert_eq!(config.api.listen, "127.0.0.1:7171");
    assert_eq!(config.log.format, LogFormat::Auto);
    let schedule = &config.schedules["daily"];
    assert_eq!(schedule.missed, MissedPolicy::RunLatest);
    assert_eq!(schedule.calendar.zone_name(), "UTC");
    assert_eq!(
        (schedule.retry.attempts, schedule.retry.delay),
        (3, Duration::from_secs(300))
    );
    assert_eq!(schedule.scope, crate::backup::Scope::everything());
    assert_eq!(schedule.action, Action::Backup);
    assert_eq!(schedule.increments, None);
    assert_eq!(config.retention.every, Duration::from_secs(3600));
    assert_eq!(config.retention.global.unwrap().keep_last, Some(14));
    assert_eq!(config.warnings, [ONLY_PLANS]);
}

#[test]
fn each_source_takes_the_place_of_the_one_below() {
    let old = ("CLICKHOUSE_USERNAME", "old");
    assert_eq!(with(&[]).clickhouse.user, "default");
    assert_eq!(with(&[old]).clickhouse.user, "old");
    let text = small_and("clickhouse", "user = \"file\"");
    assert_eq!(given(&text, &[old]).config().clickhouse.user, "file");
    assert_eq!(
        given(&text, &[old, ("BACKUPD_CLICKHOUSE__USER", "ours")])
            .config()
            .clickhouse
            .user,
        "ours"
    );
}

#[test]
fn the_other_spelling_of_a_secret_or_place_is_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    std::fs::write(&path, "x").unwrap();
    let text = small_and("clickhouse", &format!("password_file = {path:?}"));
    let source = given(&text, &[("CLICKHOUSE_PASSWORD", "old")])
        .config()
        .clickhouse
        .password;
    assert_eq!(source, Some(crate::secret::SecretSource::File(path)));
    let source = given(&text, &[("BACKUPD_CLICKHOUSE__PASSWORD", "ours")])
        .config()
        .clickhouse
        .password;
    assert_eq!(source, Some("ours".into()));
    let place = with(&[("BACKUPD_DESTINATION__COLLECTION", "backups")])
        .destination
        .place;
    assert_eq!(place, Place::Collection("backups".into()));
    let place = with(&[("CLICKHOUSE_EMBEDDED_BACKUP_DISK", "old")])
        .destination
        .place;
    assert_eq!(place, Place::Disk("s3_backup".into()));
}

#[test]
fn variables_add_and_override_schedules_lists_and_tables() {
    let config = with(&[
        ("BACKUPD_SCHEDULES__DAILY__CRON", "0 3 * * *"),
        (
            "BACKUPD_SCHEDULES__DAILY__DATABASES",
            "[\"shop\", \"00712\"]",
        ),
        (
            "BACKUPD_SCHEDULES__DAILY__RETRY",
            "{ attempts = 5, delay = \"1m\" }",
        ),
        ("BACKUPD_SCHEDULES__DAILY__RETRY__ATTEMPTS", "7"),
        (
            "BACKUPD_SCHEDULES__WEEKLY",
            "{ cron = \"0 4 * * 0\", name = \"week-{date}\", missed = \"skip\" }",
        ),
        ("BACKUPD_RETENTION__KEEP_DAILY", "30"),
        ("BACKUPD_API__ALLOW_PARALLEL", "true"),
        ("BACKUPD_STATE__DIR", "712"),
    ]);
    let schedule = &config.schedules["daily"];
    assert_eq!(schedule.calendar.expression(), "0 3 * * *");
    assert_eq!(schedule.scope.databases, ["shop", "00712"]);
    assert_eq!(
        (schedule.retry.attempts, schedule.retry.delay),
        (7, Duration::from_secs(60))
    );
    assert_eq!(config.schedules["weekly"].missed, MissedPolicy::Skip);
    let policy = config.retention.global.unwrap();
    assert_eq!((policy.keep_last, policy.keep_daily), (Some(14), Some(30)));
    assert!(config.api.allow_parallel);
    assert_eq!(config.catalog.dir.to_str(), Some("712"));
}

#[test]
fn what_kubernetes_sets_for_services_is_no_mistake() {
    let config = with(&[
        ("CLICKHOUSE_SERVICE_HOST", "10.0.0.1"),
        ("CLICKHOUSE_SERVICE_PORT", "8123"),
        ("CLICKHOUSE_PORT", "tcp://10.0.0.1:9000"),
        ("CLICKHOUSE_PORT_9000_TCP_ADDR", "10.0.0.1"),
        ("BACKUPD_SERVICE_HOST", "10.0.0.2"),
        ("BACKUPD_SERVICE_PORT_HTTP", "7171"),
        ("BACKUPD_PORT", "tcp://10.0.0.2:7171"),
        ("BACKUPD_PORT_7171_TCP_PROTO", "tcp"),
        ("BACKUPD_API_SERVICE_HOST", "10.0.0.3"),
        ("BACKUPD_CONFIG", "/elsewhere"),
        ("BACKUPD_URL", "http://elsewhere"),
    ]);
    assert_eq!(config.clickhouse.url, "http://127.0.0.1:8123");
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    assert!(
        config.warnings[0].starts_with("CLICKHOUSE_PORT is ignored"),
        "{:?}",
        config.warnings
    );
}

#[rstest]
#[case(&[("CLICKHOUSE_HOST", "ch")], "http://ch:8123", 0)]
#[case(&[("CLICKHOUSE_HOST", "ch"), ("CLICKHOUSE_PORT", "9000")], "http://ch:8123", 1)]
#[case(&[("CLICKHOUSE_HOST", "ch"), ("CLICKHOUSE_PORT", "9440"), ("CLICKHOUSE_SECURE", "true")], "https://ch:8443", 1)]
#[case(&[("CLICKHOUSE_PORT", "8123")], "http://127.0.0.1:8123", 0)]
#[case(&[("CLICKHOUSE_PORT", "18123")], "http://127.0.0.1:18123", 1)]
#[case(&[("CLICKHOUSE_HOST", "fd00::1"), ("CLICKHOUSE_PORT", "tcp://[fd00::1]:9000")], "http://[fd00::1]:8123", 1)]
#[case(&[("CLICKHOUSE_SECURE", "1"), ("CLICKHOUSE_HOST", "")], "https://127.0.0.1:8443", 0)]
fn host_port_and_secure_make_the_url(
    #[case] environment: &[(&str, &str)],
    #[case] url: &str,
    #[case] warnings: usize,
) {
    let config = with(environment);
    assert_eq!(config.clickhouse.url, url);
    // One more says that retention only plans.
    assert_eq!(config.warnings.len(), warnings + 1, "{:?}", config.warnings);
}

#[test]
fn the_file_silences_what_the_old_variables_say_otherwise() {
    let text = small_and("clickhouse", "url = \"http://ch:8123\"\ntimeout = \"6h\"");
    let config = given(
        &text,
        &[
            ("CLICKHOUSE_PORT", "9000"),
            ("CLICKHOUSE_HOST", "x"),
            ("CLICKHOUSE_TIMEOUT", "30x"),
        ],
    )
    .config();
    assert_eq!(
        (config.clickhouse.url.as_str(), config.worker.timeout),
        ("http://ch:8123", Duration::from_secs(6 * 3600))
    );
    assert_eq!(config.warnings, [ONLY_PLANS]);
}

#[test]
fn every_old_variable_is_taken() {
    let config = given(
        "[schedules.daily]\ncron = \"0 2 * * *\"",
        &[
            ("CLICKHOUSE_USERNAME", "backup"),
            ("CLICKHOUSE_PASSWORD", "00712"),
            ("CLICKHOUSE_SKIP_VERIFY", "true"),
            ("CLICKHOUSE_TIMEOUT", "240m"),
            ("CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE", "true"),
            ("CLICKHOUSE_EMBEDDED_BACKUP_DISK", "s3_backup"),
            ("CLICKHOUSE_SKIP_TABLES", "system.*, *.tmp_*,"),
            ("BACKUPS_TO_KEEP_LOCAL", "7"),
            ("API_LISTEN", ":7171"),
            ("API_USERNAME", "ops"),
            ("API_PASSWORD", "12345"),
            ("API_SECURE", "true"),
            ("API_CERTIFICATE_FILE", "/nowhere/c.pem"),
            ("API_PRIVATE_KEY_FILE", "/nowhere/k.pem"),
            ("API_ALLOW_PARALLEL", "true"),
            ("LOG_LEVEL", "warning"),
        ],
    )
    .config();
    assert_eq!(config.clickhouse.user, "backup");
    assert_eq!(config.clickhouse.password, Some("00712".into()));
    assert!(!config.clickhouse.verify_certificate);
    assert_eq!(config.worker.timeout, Duration::from_secs(4 * 3600));
    assert_eq!(config.destination.place, Place::Disk("s3_backup".into()));
    let patterns: Vec<String> = config.skip_tables.iter().map(ToString::to_string).collect();
    assert_eq!(patterns, ["system.*", "*.tmp_*"]);
    assert_eq!(
        config.schedules["daily"].scope.exclude_tables,
        config.skip_tables
    );
    assert_eq!(config.retention.global.unwrap().keep_last, Some(7));
    assert_eq!(config.api.listen, "0.0.0.0:7171");
    let operator = config.api.access.operator.basic.unwrap();
    assert_eq!(
        (operator.user.as_str(), operator.password),
        ("ops", "12345".into())
    );
    assert_eq!(
        config.api.tls.unwrap().certificate_file.to_str(),
        Some("/nowhere/c.pem")
    );
    assert!(config.api.allow_parallel);
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
    assert!(
        config
            .warnings
            .iter()
            .all(|warning| warning.contains("there is no file /nowhere/") || warning == ONLY_PLANS)
    );
}

#[test]
fn the_files_retention_and_exclusions_take_the_place_of_the_old_ones() {
    let text = "[destination]\ndisk = \"d\"\n[schedules.daily]\ncron = \"0 2 * * *\"\nexclude_tables = []\n[retention]\nkeep_daily = 30\n";
    let config = given(
        text,
        &[
            ("BACKUPS_TO_KEEP_LOCAL", "7"),
            ("CLICKHOUSE_SKIP_TABLES", "a.b"),
        ],
    )
    .config();
    assert_eq!(config.retention.global.unwrap().keep_last, None);
    assert!(config.schedules["daily"].scope.exclude_tables.is_empty());
    let text = "[destination]\ndisk = \"d\"\n[schedules.daily]\ncron = \"0 2 * * *\"\n";
    let all = given(text, &[("BACKUPS_TO_KEEP_LOCAL", "0")]).config();
    assert_eq!(all.retention.global, None);
    assert!(
        all.warnings[0].contains("every backup is kept"),
        "{:?}",
        all.warnings
    );
}

#[test]
fn what_is_not_taken_is_said_once_per_group() {
    let warnings = with(&[
        ("REMOTE_STORAGE", "s3"),
        ("S3_BUCKET", "b"),
        ("S3_SECRET_KEY", "hunter2"),
        ("BACKUPS_TO_KEEP_REMOTE", "0"),
        ("API_CREATE_INTEGRATION_TABLES", "true"),
    ])
    .warnings;
    assert_eq!(
        warnings,
        [
            "REMOTE_STORAGE is not taken: backups go where destination.disk or destination.collection says",
            "S3_BUCKET, S3_SECRET_KEY are not taken: backups go where the disk or collection of ClickHouse says; for our own view of the same place write destination.url = \"s3://bucket/path\", destination.s3.endpoint, region, access_key_id_file and secret_access_key_file",
            "API_CREATE_INTEGRATION_TABLES is not taken: no tables are created in the server; use the API",
            ONLY_PLANS,
        ]
    );
}

#[test]
fn what_is_valid_and_should_be_known_is_a_warning() {
    let config = config(
        "[destination]\ndisk = \"d\"\n[api]\nlisten = \":7171\"\n[clickhouse]\nurl = \"http://ch:9000\"\npassword_file = \"/nowhere/p\"\n",
    );
    let text = config.warnings.join("\n");
    for part in [
        "may make backups, restore (with rm, after dropping tables) and end operations",
        "port 9000 is usually the native protocol",
        "clickhouse.password_file: reading the secret file /nowhere/p",
        "schedules: there are none",
        "every backup is kept",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(config.warnings.len(), 5, "{text}");
}

#[test]
fn without_a_policy_every_backup_is_kept_and_that_is_said() {
    let text = "[destination]\ndisk = \"d\"\n[schedules.daily]\ncron = \"@daily\"\n";
    assert_eq!(
        config(text).warnings,
        ["no [retention]: every backup is kept"]
    );
    let own = format!("{text}[schedules.daily.retention]\nkeep_last = 3\n");
    assert_eq!(
        config(&own).warnings,
        [
            "no rule in [retention]: every backup is kept, except where a section of its own says otherwise",
            ONLY_PLANS,
        ]
    );
}

#[test]
fn the_file_is_chosen_flag_first() {
    let environment = [("BACKUPD_CONFIG".into(), "/from/variable".into())];
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    let chosen = |flag: Option<&str>, environment: &[_], default| {
        choose_file(flag.map(Into::into), environment, default)
    };
    assert_eq!(
        chosen(Some("/flag"), &environment, &absent),
        Some("/flag".into())
    );
    assert_eq!(
        chosen(None, &environment, &absent),
        Some("/from/variable".into())
    );
    assert_eq!(chosen(None, &[], &absent), None);
    assert_eq!(
        chosen(None, &[("BACKUPD_CONFIG".into(), "".into())], dir.path()),
        Some(dir.path().into())
    );
    assert!(DEFAULT_FILE.starts_with('/'));
}

#[test]
fn show_names_the_source_of_every_value_and_is_toml() {
    let text = small_and("clickhouse", "password = \"hunter2hunter2\"");
    let given = given(
        &text,
        &[
            ("CLICKHOUSE_TIMEOUT", "6h"),
            ("BACKUPD_LOG__LEVEL", "debug"),
            ("CLICKHOUSE_SKIP_TABLES", "a.b"),
        ],
    );
    let shown = show(&given.load().unwrap()).replace(&given.file().display().to_string(), "FILE");
    let line = |key: &str| {
        shown
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("{key}: {shown}"))
    };
    let split = |key: &str| {
        line(key)
            .split_once("  # ")
            .map(|(left, right)| (left.trim().to_owned(), right.to_owned()))
            .unwrap()
    };
    for (key, value, source) in [
        ("clickhouse.url", "\"http://127.0.0.1:8123\"", "built in"),
        ("clickhouse.password", "\"<redacted>\"", "FILE:8"),
        ("clickhouse.timeout", "\"6h\"", "CLICKHOUSE_TIMEOUT"),
        ("log.level", "\"debug\"", "BACKUPD_LOG__LEVEL"),
        ("schedules.daily.cron", "\"0 2 * * *\"", "FILE:4"),
        (
            "schedules.daily.exclude_tables",
            "[\"a.b\"]",
            "CLICKHOUSE_SKIP_TABLES",
        ),
        ("schedules.daily.retry.attempts", "3", "built in"),
        ("retention.keep_last", "14", "FILE:6"),
    ] {
        assert_eq!(split(key), (format!("{key} = {value}"), source.to_owned()));
    }
    let document: toml_edit::DocumentMut = shown.parse().unwrap();
    assert_eq!(document["destination"]["disk"].as_str(), Some("s3_backup"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn only_sections_that_need_a_restart_are_named() {
    let old = config(SMALL);
    let text = SMALL
        .replace("keep_last = 14", "keep_last = 7")
        .replace("0 2 * * *", "0 3 * * *");
    assert_eq!(old.restart_sections(&config(&text)), Vec::<&str>::new());
    let text = format!(
        "{text}[clickhouse]\ntimeout = \"5h\"\n[state]\ndir = \"/x\"\n[api]\nlisten = \"localhost:1\"\n[log]\nlevel = \"warn\"\n"
    );
    let text = text.replace("s3_backup", "other");
    assert_eq!(
        old.restart_sections(&config(&text)),
        ["clickhouse", "destination", "state", "api", "log"]
    );
}
