//! Tests of the plan: a table for each rule, properties over random histories, and the document.

mod document;
mod emptied;
mod properties;
mod table;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::*;
use crate::backup::{
    BackupKind, ManifestSeen, Missing, Origin, Place, Proof, ProofLevel, ProofOutcome, Suspicion,
};

fn name(text: &str) -> BackupName {
    BackupName::parse(text).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn slot_of(schedule: &str, slot: Timestamp) -> Origin {
    Origin::Schedule {
        schedule: schedule.to_owned(),
        slot,
    }
}

/// A complete full backup, not proved.
fn backup(text: &str, origin: Origin, created_at: Timestamp) -> Backup {
    Backup {
        name: name(text),
        asked_name: name(text),
        place: Place::Disk("s3_backup".into()),
        operation: Uuid::nil(),
        number: 0,
        attempt: String::new(),
        origin,
        kind: BackupKind::Full,
        base: None,
        created_at,
        bytes: Some(1_000),
        bytes_written: Some(1_000),
        files: Some(10),
        tables: Some(10),
        structure_only: false,
        server: Some(Uuid::from_u128(1)),
        manifest: Some(ManifestSeen {
            uuid: text.to_owned(),
            read_at: created_at,
        }),
        proofs: Vec::new(),
        pinned: None,
        suspect: None,
        deleting: None,
        gone_since: None,
        changed_at: created_at,
    }
}

fn proof(at: Timestamp, passed: bool) -> Proof {
    let missing = Missing {
        backup: "x".into(),
        file: "data.bin".into(),
        size_wanted: Some(1),
        size_found: None,
        problem: "it is not there".to_owned(),
    };
    Proof {
        level: ProofLevel::Files,
        at,
        took_ms: 1,
        outcome: if passed {
            ProofOutcome::Passed
        } else {
            ProofOutcome::Damaged {
                count: 1,
                first: vec![missing],
            }
        },
        files: 1,
        bytes: 1,
    }
}

fn built_on(mut backup: Backup, base: &str) -> Backup {
    backup.kind = BackupKind::Incremental;
    backup.base = Some(name(base));
    backup
}

fn few() -> Suspicion {
    Suspicion {
        measure: "tables".into(),
        found: 0,
        usual: 10,
        adopted_at: None,
    }
}

fn adoption(at: Timestamp) -> Adoption {
    Adoption {
        at,
        by: Some("anna".into()),
        reason: None,
        servers: vec![Uuid::from_u128(1)],
    }
}

/// Rules with one policy for everybody; slots of `daily` have their dates in `zone`.
fn rules(global: Policy, zone: &str) -> Rules {
    let daily = ScheduleRules {
        policy: None,
        zone: TimeZone::get(zone).unwrap(),
    };
    Rules {
        global: Some(global),
        schedules: BTreeMap::from([("daily".to_owned(), daily)]),
        ..Rules::default()
    }
}

fn plan_of(rules: &Rules, backups: &[Backup], now: Timestamp) -> Plan {
    plan(&Situation {
        rules,
        backups: backups.iter().collect(),
        holds: &Holds::new(),
        adoptions: &[],
        server: None,
        now,
    })
}

/// Names that stay, in the order of the plan.
fn kept(plan: &Plan) -> Vec<&str> {
    plan.lines
        .iter()
        .filter(|line| line.verdict == Verdict::Keep)
        .map(|line| line.backup.as_str())
        .collect()
}

/// The reasons of one backup, in words.
fn reasons(plan: &Plan, backup: &str) -> String {
    let line = plan
        .lines
        .iter()
        .find(|line| line.backup.as_str() == backup)
        .unwrap();
    let words: Vec<String> = line.reasons.iter().map(ToString::to_string).collect();
    words.join("; ")
}
