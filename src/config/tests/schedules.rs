//! Schedules that make increments, and those that verify.

use std::time::Duration;

use rstest::rstest;

use super::{SMALL, config, given, small_and};
use crate::backup::{BackupKind, ProofLevel};
use crate::operation::{Action, Increments, Selection, VerifyWork};

const URL: &str = "[destination]\nurl = \"file:///backups\"";

/// The small file with a view, and lines added to its schedule.
fn viewed(lines: &str) -> String {
    small_and("schedules.daily", lines).replace("[destination]", URL)
}

fn increments(lines: &str) -> (Increments, Vec<String>) {
    let text = viewed(&format!("kind = \"incremental\"\n{lines}"));
    let config = config(&text);
    let schedule = &config.schedules["daily"];
    assert_eq!(schedule.kind(), BackupKind::Incremental);
    (schedule.increments.clone().unwrap(), config.warnings)
}

#[rstest]
#[case("full_every = \"7d\"", Some(7), &[], 60)]
#[case("full_on = \"Sun\"", None, &[7], 60)]
#[case("full_on = \"sunday\"\nchain_max = 7", None, &[7], 7)]
#[case("full_on = [\"Wed\", \"MONDAY\", \"mon\"]\nfull_every = \"3d\"", Some(3), &[1, 3], 60)]
fn increments_are_full_as_said(
    #[case] lines: &str,
    #[case] full_every_days: Option<u64>,
    #[case] full_on: &[i8],
    #[case] chain_max: u32,
) {
    let (found, warnings) = increments(&format!("timezone = \"Europe/Sofia\"\n{lines}"));
    let expected = Increments {
        full_every: full_every_days.map(|days| Duration::from_secs(days * 86_400)),
        full_on: full_on.to_vec(),
        chain_max,
        zone: "Europe/Sofia".into(),
    };
    assert_eq!(found, expected);
    assert_eq!(warnings, Vec::<String>::new());
}

#[rstest]
#[case("BACKUPD_SCHEDULES__DAILY__FULL_ON", "Sun")]
#[case("BACKUPD_SCHEDULES__DAILY__FULL_ON", "[\"Sunday\"]")]
#[case("BACKUPD_SCHEDULES__DAILY", "{ full_on = \"sun\" }")]
fn days_come_from_a_variable_too(#[case] name: &str, #[case] value: &str) {
    let text = viewed("kind = \"incremental\"");
    let found = given(text, &[(name, value)]).config();
    let increments = found.schedules["daily"].increments.clone();
    assert_eq!(increments.unwrap().full_on, [7]);
}

#[rstest]
#[case(
    "",
    "0 2 * * *",
    "neither full_every nor full_on is given, so a chain grows to chain_max = 60 backups before a full one is made; write full_every = \"7d\""
)]
#[case(
    "full_on = [\"Sun\", \"Mon\"]",
    "0 2 * * 1-5",
    "no slot is on Sun, so no full backup is made for it"
)]
#[case(
    "full_every = \"1d\"",
    "0 2 * * *",
    "slots are 1d or more apart, so with full_every = 1d every backup is full"
)]
#[case(
    "full_every = \"7d\"\nname = \"{date}-{time}\"",
    "0 * * * *",
    "because about 168 slots lie between them and a chain has at most 60 backups; raise chain_max"
)]
#[case(
    "full_on = \"Sun\"\nname = \"{date}-{time}\"",
    "*/30 * * * *",
    "because about 336 slots lie between them"
)]
fn what_works_differently_than_it_reads_is_a_warning(
    #[case] lines: &str,
    #[case] cron: &str,
    #[case] expected: &str,
) {
    let text = viewed(&format!("kind = \"incremental\"\n{lines}"));
    let warnings = config(&text.replace("0 2 * * *", cron)).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(expected), "{warnings:?}");
}

#[rstest]
#[case(
    "full_every = \"7d\"\nname = \"{date}-{time}\"\nchain_max = 200",
    "0 * * * *"
)]
#[case("full_every = \"7d\"\nname = \"{date}-{time}\"", "0 2,3 * * *")]
#[case(
    "full_on = \"Sun\"\nname = \"{date}-{time}\"\nchain_max = 400",
    "*/30 * * * *"
)]
#[case("full_on = \"Sun\"", "0 2 1 * *")]
fn what_works_as_it_reads_is_none(#[case] lines: &str, #[case] cron: &str) {
    let text = viewed(&format!("kind = \"incremental\"\n{lines}"));
    let warnings = config(&text.replace("0 2 * * *", cron)).warnings;
    assert_eq!(warnings, Vec::<String>::new());
}

#[rstest]
#[case(
    "full_on = \"Sunda\"",
    "schedules.daily.full_on: \"Sunda\" is no day of the week; did you mean \"Sunday\"?"
)]
#[case(
    "full_on = [\"Sun\", \"7\"]",
    "\"7\" is no day of the week; write Mon, Tue, Wed, Thu, Fri, Sat or Sun, or a list"
)]
#[case("full_on = []", "an empty list names no day")]
#[case(
    "full_every = \"30m\"",
    "\"30m\" is out of bounds; give at least 1h and at most 366d"
)]
#[case("full_every = \"1y\"", "months and years have no fixed length")]
#[case(
    "name = \"{date}-{kind}\"",
    "FILE:6: schedules.daily.name: {kind} does not go with kind = \"incremental\""
)]
fn a_bad_line_of_an_incremental_schedule_is_named(#[case] lines: &str, #[case] expected: &str) {
    let errors = given(viewed(&format!("kind = \"incremental\"\n{lines}")), &[]).errors();
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

fn proofs(lines: &str) -> String {
    format!(
        "{}[schedules.proofs]\ncron = \"0 2 * * *\"\naction = \"verify\"\n{lines}\n",
        SMALL.replace("[destination]", URL)
    )
}

#[rstest]
#[case("", Selection::Newest)]
#[case("verify = \"newest\"", Selection::Newest)]
#[case("verify = \"all\"", Selection::All)]
fn a_schedule_verifies(#[case] lines: &str, #[case] selection: Selection) {
    // Its slots are those of the backups, whose names it does not take.
    let found = given(proofs(lines), &[("CLICKHOUSE_SKIP_TABLES", "a.b")]).config();
    let action = Action::Verify(VerifyWork {
        selection,
        level: ProofLevel::Files,
    });
    assert_eq!(found.schedules["proofs"].action, action);
    let groups: Vec<&String> = found.retention.schedules.keys().collect();
    assert_eq!(groups, ["daily"]);
    assert_eq!(found.retention.schedules["daily"].policy, None);
    assert_eq!(found.warnings, Vec::<String>::new());
}

#[rstest]
#[case("name = \"{date}\"", "name")]
#[case("kind = \"incremental\"", "kind")]
#[case("full_every = \"7d\"", "full_every")]
#[case("full_on = \"Sun\"", "full_on")]
#[case("chain_max = 7", "chain_max")]
#[case("databases = [\"shop\"]", "databases")]
#[case("exclude_tables = [\"a.b\"]", "exclude_tables")]
#[case("access = true", "access")]
#[case("functions = false", "functions")]
#[case("retention.keep_last = 3", "retention")]
fn what_means_nothing_for_proofs_is_named(#[case] line: &str, #[case] key: &str) {
    let errors = given(proofs(line), &[]).errors();
    let expected = format!(
        "FILE:11: schedules.proofs.{key}: {key} means nothing for a schedule with action = \"verify\", which makes no backup; leave {key} out"
    );
    assert!(errors.starts_with(&expected), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}
