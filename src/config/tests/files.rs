//! The files that are shipped, and the documentation, against the table of keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rstest::rstest;

use super::{config, given};
use crate::config::{keys, reference};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A line of the shipped file that is out of use: `#key = value` or `#[section]`.
fn commented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[')
        .then_some(rest)
}

/// The shipped file with some of its commented lines in use; headers are kept where needed.
fn shipped(take: impl Fn(&str) -> bool) -> String {
    let mut section = String::new();
    let lines: Vec<String> = read("config/clickhouse-backupd.toml")
        .lines()
        .map(|line| {
            if let Some(name) = commented(line).unwrap_or(line).strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            }
            match commented(line) {
                Some(header) if header.starts_with('[') => header.to_owned(),
                Some(rest) if take(&path_of(&section, rest)) => rest.to_owned(),
                _ => line.to_owned(),
            }
        })
        .collect();
    // A header whose keys are all out of use is out of use, too, except those that stood there before.
    let optional =
        |header: &str| header == "[retention.manual]" || header == "[schedules.daily.retention]";
    let in_use = |index: usize| {
        lines[index + 1..]
            .iter()
            .take_while(|line| !line.starts_with('['))
            .any(|line| line.contains('=') && !line.starts_with('#'))
    };
    let kept = lines
        .iter()
        .enumerate()
        .filter(|(index, line)| !optional(line) || in_use(*index));
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

/// The path of a line in the table's spelling.
fn path_of(section: &str, line: &str) -> String {
    let key = line.split_once(" =").map_or(line, |(key, _)| key);
    format!("{section}.{key}").replace("schedules.daily.", "schedules.*.")
}

fn has_default(path: &str) -> bool {
    keys::all()
        .iter()
        .any(|key| key.path == path && key.default.is_some())
}

#[test]
fn the_shipped_file_backs_up_every_night() {
    let config = config(&shipped(|_| false));
    let schedule = config.schedules.values().next().unwrap();
    assert_eq!(
        (schedule.name.as_str(), schedule.calendar.expression()),
        ("daily", "0 2 * * *")
    );
    assert_eq!(
        config.destination.place,
        crate::backup::Place::Disk("s3_backup".into())
    );
    assert_eq!(config.retention.global.unwrap().keep_last, Some(14));
    assert!(
        config.warnings.len() == 1 && config.warnings[0].starts_with("retention only plans"),
        "{:?}",
        config.warnings
    );
    assert_eq!(
        shipped(|_| false).lines().count() + 2,
        read("config/clickhouse-backupd.toml").lines().count()
    );
}

#[test]
fn what_is_commented_out_stands_at_its_default() {
    let as_shipped = config(&shipped(|_| false));
    assert_eq!(config(&shipped(has_default)), as_shipped);
    for key in keys::all().iter().filter(|key| key.default.is_some()) {
        assert_eq!(
            config(&shipped(|path| path == key.path)),
            as_shipped,
            "{}",
            key.path
        );
    }
}

#[test]
fn the_shipped_file_has_every_key_with_its_meaning() {
    let mut seen = BTreeSet::new();
    let (mut section, mut above) = (String::new(), String::new());
    for line in read("config/clickhouse-backupd.toml").lines() {
        let live = commented(line).unwrap_or(line);
        if let Some(name) = live.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if live.contains(" = ") && !live.starts_with('#') {
            let path = path_of(&section, live);
            let key = keys::all()
                .iter()
                .find(|key| key.path == path)
                .unwrap_or_else(|| panic!("{path} is no key"));
            assert_eq!(above, format!("# {}", key.meaning), "{path}");
            seen.insert(path);
        }
        above = line.to_owned();
    }
    let all: BTreeSet<String> = keys::all().iter().map(|key| key.path.to_string()).collect();
    assert_eq!(seen, all);
}

#[test]
fn what_has_no_default_is_commented_out_with_an_example_of_its_kind() {
    for key in keys::all().iter().filter(|key| key.default.is_none()) {
        if let Err(errors) = given(shipped(|path| path == key.path), &[]).load() {
            let text = errors.to_string();
            assert!(
                !text.contains("unknown key") && !text.contains("expected"),
                "{}: {text}",
                key.path
            );
        }
    }
    let exclusive = [
        "clickhouse.password",
        "destination.collection",
        "destination.s3.access_key_id",
        "destination.s3.secret_access_key",
        "notify.callback_url_file",
        "schedules.*.heartbeat.started_url_file",
        "schedules.*.heartbeat.succeeded_url_file",
        "schedules.*.heartbeat.failed_url_file",
        // For schedules that verify, or make increments; this one makes full backups.
        "schedules.*.verify",
        "schedules.*.full_every",
        "schedules.*.full_on",
        "api.password",
        "api.token",
        "api.read_only.password",
        "api.read_only.token",
    ];
    let full = config(&shipped(|path| !exclusive.contains(&path)));
    assert!(full.destination.view.is_some() && full.api.tls.is_some());
    for role in [&full.api.access.operator, &full.api.access.read_only] {
        assert!(role.basic.is_some() && role.token.is_some());
    }
    assert!(full.retention.manual.is_some() && full.retention.schedules.len() == 1);
}

#[test]
fn the_demo_backs_up_every_fifteen_seconds() {
    let config = given(
        read("config/demo.toml"),
        &[
            ("BACKUPD_STATE__DIR", "/demo"),
            ("BACKUPD_CLICKHOUSE__URL", "http://127.0.0.1:18123"),
        ],
    )
    .config();
    let schedule = config.schedules.values().next().unwrap();
    assert_eq!(
        (schedule.name.as_str(), schedule.calendar.expression()),
        ("demo", "*/15 * * * * *")
    );
    assert_eq!(schedule.scope.databases, ["shop"]);
    assert_eq!(config.clickhouse.url, "http://127.0.0.1:18123");
    assert_eq!(config.catalog.dir, PathBuf::from("/demo"));
}

#[rstest]
#[case("kubernetes")]
#[case("s3-view")]
#[case("named-collection")]
#[case("hourly")]
fn every_example_loads(#[case] name: &str) {
    let config = config(&read(&format!("config/examples/{name}.toml")));
    let absent = |warning: &String| warning.contains("reading the secret file /run/secrets/");
    assert!(config.warnings.iter().all(absent), "{:?}", config.warnings);
    assert!(config.destination.view.is_some());
    let making = config
        .schedules
        .values()
        .filter(|schedule| schedule.action == crate::operation::Action::Backup);
    assert_eq!(making.count(), 1);
    assert!(config.retention.global.is_some());
}

#[test]
fn no_example_goes_untested() {
    let files = std::fs::read_dir(repository("config/examples")).unwrap();
    assert_eq!(
        files.count(),
        4,
        "name the new example in every_example_loads"
    );
}

#[test]
fn the_documentation_has_the_table_of_keys() {
    let documentation = read("docs/configuration.md");
    let missing: Vec<String> = reference()
        .lines()
        .filter(|row| !documentation.contains(row))
        .map(str::to_owned)
        .collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md lacks or contradicts:\n{}",
        missing.join("\n")
    );
    let rows = documentation
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("`BACKUPD_"))
        .count();
    assert_eq!(
        rows,
        keys::all().len(),
        "a row of a key that does not exist"
    );
}
