//! Full or increment, night by night.

use super::*;
use crate::backup::{
    Deleting, ManifestSeen, Missing, Origin, Proof, ProofLevel, ProofOutcome, Suspicion,
};
use crate::schedule::Calendar;
use rstest::rstest;

const SERVER: Uuid = Uuid::from_u128(1);

fn name(text: &str) -> BackupName {
    BackupName::parse(text).unwrap()
}

fn disk() -> Place {
    Place::Disk("s3_backup".into())
}

fn increments() -> Increments {
    Increments {
        full_every: None,
        full_on: Vec::new(),
        chain_max: 30,
        zone: "Europe/Sofia".into(),
    }
}

fn passed(at: Timestamp) -> Proof {
    Proof {
        level: ProofLevel::Files,
        at,
        took_ms: 1,
        outcome: ProofOutcome::Passed,
        files: 1,
        bytes: 1,
    }
}

fn damaged(at: Timestamp) -> Proof {
    let first = Missing {
        backup: "x".into(),
        file: "data.bin".into(),
        size_wanted: Some(1),
        size_found: None,
        problem: "it is not there".to_owned(),
    };
    Proof {
        outcome: ProofOutcome::Damaged {
            count: 1,
            first: vec![first],
        },
        ..passed(at)
    }
}

/// A proved success of `daily`.
fn backup(text: &str, slot: Timestamp, base: Option<&str>) -> Backup {
    Backup {
        name: name(text),
        asked_name: name(text),
        place: disk(),
        operation: Uuid::nil(),
        number: 1,
        attempt: String::new(),
        origin: Origin::Schedule {
            schedule: "daily".into(),
            slot,
        },
        kind: match base {
            Some(_) => BackupKind::Incremental,
            None => BackupKind::Full,
        },
        base: base.map(name),
        created_at: slot,
        bytes: Some(100),
        bytes_written: Some(100),
        files: Some(1),
        tables: Some(1),
        structure_only: false,
        server: Some(SERVER),
        manifest: Some(ManifestSeen {
            uuid: text.into(),
            read_at: slot,
        }),
        proofs: vec![passed(slot)],
        pinned: None,
        suspect: None,
        deleting: None,
        gone_since: None,
        changed_at: slot,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn choose(increments: &Increments, slot: Timestamp, backups: &[Backup]) -> BaseChoice {
    choose_base(
        increments,
        "daily",
        slot,
        &disk(),
        Some(SERVER),
        backups.iter(),
    )
}

/// Runs `nights` slots of a cron expression; gives for each its date and whether it was full.
fn nights(increments: &Increments, cron: &str, from: &str, nights: usize) -> Vec<(Date, bool)> {
    let calendar = Calendar::parse(cron, &increments.zone).unwrap();
    let mut backups: Vec<Backup> = Vec::new();
    let mut made = Vec::new();
    for slot in calendar.slots_after(at(from)).take(nights) {
        let base = match choose(increments, slot, &backups) {
            BaseChoice::Full { .. } => None,
            BaseChoice::On { base, .. } => Some(base),
        };
        let text = format!("b{}", slot.as_second());
        backups.push(backup(&text, slot, base.as_ref().map(BackupName::as_str)));
        let date = slot.to_zoned(calendar.zone().clone()).date();
        made.push((date, base.is_none()));
    }
    made
}

fn gaps_between_fulls(made: &[(Date, bool)]) -> Vec<usize> {
    let fulls: Vec<usize> = (0..made.len()).filter(|index| made[*index].1).collect();
    fulls.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[rstest]
#[case::spring("2026-03-15T12:00:00Z", "0 2 * * *")]
#[case::autumn("2026-10-11T12:00:00Z", "0 2 * * *")]
#[case::in_the_gap("2026-03-15T12:00:00Z", "30 3 * * *")]
#[case::in_the_repeated_hour("2026-10-11T12:00:00Z", "30 3 * * *")]
#[case::across_the_year("2026-12-10T12:00:00Z", "0 2 * * *")]
fn a_week_has_seven_nights_also_where_clocks_change(#[case] from: &str, #[case] cron: &str) {
    let weekly = Increments {
        full_every: Some(Duration::from_secs(7 * DAY_SECS)),
        ..increments()
    };
    let made = nights(&weekly, cron, from, 36);
    assert!(made[0].1, "the first one is full");
    assert_eq!(gaps_between_fulls(&made), [7; 5]);
}

#[test]
fn less_than_whole_days_are_counted_by_the_clock() {
    let often = Increments {
        full_every: Some(Duration::from_secs(36 * 3_600)),
        ..increments()
    };
    // The night of 2026-03-29 has 23 hours: slots of `0 */6` are 6 hours apart but for that one.
    let made = nights(&often, "0 */6 * * *", "2026-03-20T12:00:00Z", 25);
    assert_eq!(gaps_between_fulls(&made), [6; 4]);
}

#[test]
fn the_named_days_are_full_once() {
    let sundays = Increments {
        full_on: vec![7],
        ..increments()
    };
    // 2026-11-22 is a Sunday in Sofia from 2026-11-21T22:00Z on.
    let made = nights(&sundays, "0 */8 * * *", "2026-11-20T23:00:00Z", 3 * 9);
    let fulls: Vec<String> = made
        .iter()
        .filter(|(_, is_full)| *is_full)
        .map(|(date, _)| date.to_string())
        .collect();
    assert_eq!(fulls, ["2026-11-21", "2026-11-22", "2026-11-29"]);
}

#[test]
fn a_damaged_full_one_of_that_day_is_none() {
    let sundays = Increments {
        full_on: vec![7],
        ..increments()
    };
    let mut sunday = backup("sunday", at("2026-11-22T00:00:00Z"), None);
    sunday.set_proof(damaged(at("2026-11-22T01:00:00Z")));
    let choice = choose(
        &sundays,
        at("2026-11-22T06:00:00Z"),
        &[backup("saturday", at("2026-11-21T00:00:00Z"), None), sunday],
    );
    let reason = "full_on names Sunday, and that day has no full one yet".to_owned();
    assert_eq!(choice, BaseChoice::Full { reason });
}

#[test]
fn a_chain_has_chain_max_backups_at_most() {
    let short = Increments {
        chain_max: 3,
        ..increments()
    };
    let made = nights(&short, "0 2 * * *", "2026-11-20T12:00:00Z", 10);
    assert_eq!(gaps_between_fulls(&made), [3; 3]);
    let alone = Increments {
        chain_max: 1,
        ..increments()
    };
    let made = nights(&alone, "0 2 * * *", "2026-11-20T12:00:00Z", 4);
    assert!(made.iter().all(|(_, is_full)| *is_full));
}

#[test]
fn the_reasons_are_sentences() {
    let full = backup("2026-11-21", at("2026-11-21T00:00:00Z"), None);
    let slot = at("2026-11-22T00:00:00Z");
    let BaseChoice::On { base, reason } = choose(&increments(), slot, std::slice::from_ref(&full))
    else {
        panic!("an increment");
    };
    assert_eq!(base, full.name);
    assert_eq!(
        reason,
        "2026-11-21 is the newest proved backup of daily; with this one its chain has 2 backups"
    );
    let daily = Increments {
        full_every: Some(Duration::from_secs(DAY_SECS)),
        ..increments()
    };
    let reason = "the last full one, 2026-11-21, is full_every = 1d or more ago".to_owned();
    assert_eq!(
        choose(&daily, slot, std::slice::from_ref(&full)),
        BaseChoice::Full { reason }
    );
    let one = Increments {
        chain_max: 1,
        ..increments()
    };
    let reason = "the chain of 2026-11-21 has 1 of the 1 backups that chain_max allows".to_owned();
    assert_eq!(choose(&one, slot, &[full]), BaseChoice::Full { reason });
    let reason = "there is no backup of daily to build on".to_owned();
    assert_eq!(
        choose(&increments(), slot, &[]),
        BaseChoice::Full { reason }
    );
}

type Spoil = fn(&mut Backup);

fn suspect(backup: &mut Backup) {
    backup.suspect = Some(Suspicion {
        measure: "tables".into(),
        found: 0,
        usual: 12,
        adopted_at: None,
    });
}

#[rstest]
#[case(|b: &mut Backup| b.server = Some(Uuid::from_u128(2)), "another server made it")]
#[case(|b: &mut Backup| b.server = None, "another server made it")]
#[case(|b: &mut Backup| b.structure_only = true, "it holds definitions only")]
#[case(|b: &mut Backup| b.manifest = None, "it is unproven")]
#[case(suspect, "it is suspect")]
#[case(|b: &mut Backup| b.set_proof(damaged(b.created_at)), "it is damaged")]
#[case(|b: &mut Backup| b.proofs.clear(), "it was not proved yet")]
#[case(
    |b: &mut Backup| b.base = Some(name("lost")),
    "newest is built on lost, which is not there"
)]
#[case(|b: &mut Backup| b.base = Some(name("newest")), "the chain of newest leads back to itself")]
fn what_fails_a_check_is_no_base_and_an_older_one_is(#[case] spoil: Spoil, #[case] problem: &str) {
    let older = backup("older", at("2026-11-20T00:00:00Z"), None);
    let mut newest = backup("newest", at("2026-11-21T00:00:00Z"), None);
    spoil(&mut newest);
    let slot = at("2026-11-22T00:00:00Z");
    let reason = format!("no earlier backup can be a base; the newest, newest: {problem}");
    assert_eq!(
        choose(&increments(), slot, std::slice::from_ref(&newest)),
        BaseChoice::Full { reason }
    );
    let choice = choose(&increments(), slot, &[newest, older]);
    assert!(matches!(choice, BaseChoice::On { base, .. } if base.as_str() == "older"));
}

#[rstest]
#[case(|b: &mut Backup| b.place = Place::Disk("other".into()))]
#[case(|b: &mut Backup| b.gone_since = Some(Timestamp::UNIX_EPOCH))]
#[case(|b: &mut Backup| b.deleting = Some(Deleting { operation: Uuid::nil(), since: Timestamp::UNIX_EPOCH }))]
#[case(|b: &mut Backup| b.origin = Origin::Client)]
fn what_is_elsewhere_or_going_is_not_seen(#[case] spoil: Spoil) {
    let mut newest = backup("newest", at("2026-11-21T00:00:00Z"), None);
    spoil(&mut newest);
    let reason = "there is no backup of daily to build on".to_owned();
    let choice = choose(&increments(), at("2026-11-22T00:00:00Z"), &[newest]);
    assert_eq!(choice, BaseChoice::Full { reason });
}

#[test]
fn a_base_that_was_found_damaged_after_its_increment_was_proved_ends_the_chain() {
    let mut full = backup("full", at("2026-11-20T00:00:00Z"), None);
    let increment = backup("increment", at("2026-11-21T00:00:00Z"), Some("full"));
    full.set_proof(damaged(at("2026-11-21T12:00:00Z")));
    let slot = at("2026-11-22T00:00:00Z");
    let reason =
        "no earlier backup can be a base; the newest, increment: full is damaged".to_owned();
    assert_eq!(
        choose(&increments(), slot, &[full, increment]),
        BaseChoice::Full { reason }
    );
}

#[test]
fn an_unknown_server_is_nobodys() {
    let full = backup("full", at("2026-11-20T00:00:00Z"), None);
    let choice = choose_base(
        &increments(),
        "daily",
        at("2026-11-21T00:00:00Z"),
        &disk(),
        None,
        std::iter::once(&full),
    );
    let BaseChoice::Full { reason } = choice else {
        panic!("no increment on a server that is not known");
    };
    assert!(
        reason.ends_with("ClickHouse did not say which server it is"),
        "{reason}"
    );
}
