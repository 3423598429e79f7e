//! What the tests of the command line stand on: a moment, a zone, and answers of the API.

use clickhouse_backupd::api::v1::backup::{
    Backup, BackupDetails, BackupKind, BackupOrigin, BackupStatus, Contents, MissingFile,
    NotCovered, Proof, ProofLevel, ProofOutcome, Table, Verdict,
};
use clickhouse_backupd::api::v1::operation::{
    Attempt, Failure, Operation, OperationKind, OperationResult, OperationState, Trigger,
};
use clickhouse_backupd::api::v1::retention::Decision;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::text::Look;

/// 2026-11-22 20:00 in Sofia, on a terminal of 80 characters.
pub fn look() -> Look {
    Look {
        now: at("2026-11-22T18:00:00Z"),
        zone: TimeZone::get("Europe/Sofia").unwrap(),
        width: Some(80),
    }
}

/// A time.
pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Text without its colours, as a pipe gets it.
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// A backup of this morning that succeeded.
pub fn operation() -> Operation {
    Operation {
        id: "6f1c2d3e-0000-4000-8000-000000000001".parse().unwrap(),
        kind: OperationKind::Backup,
        state: OperationState::Succeeded,
        trigger: Trigger::Schedule,
        schedule: Some("daily".to_owned()),
        slot: Some(at("2026-11-22T00:00:00Z")),
        run: Some(1),
        backup: Some("2026-11-22".to_owned()),
        submitted_at: at("2026-11-22T00:00:00Z"),
        started_at: Some(at("2026-11-22T00:00:01Z")),
        finished_at: Some(at("2026-11-22T00:01:06Z")),
        not_before: None,
        unreachable_since: None,
        progress: None,
        attempts: vec![attempt("2026-11-22T00:00:01Z", None)],
        result: Some(OperationResult {
            backup: "2026-11-22".to_owned(),
            files: 1_234,
            bytes: 1_300_000_000,
            bytes_written: 300_000_000,
        }),
        failure: None,
        skipped: None,
        notes: Vec::new(),
        items: Vec::new(),
    }
}

/// A restore that failed at its second try.
pub fn failed() -> Operation {
    let failure = Failure {
        kind: "non_empty_target".to_owned(),
        message: "restoring 2026-11-22: shop.orders holds 1000 rows".to_owned(),
        hint: "restore under another database name".to_owned(),
    };
    let lost = Failure {
        kind: "lost".to_owned(),
        message: "the server was restarted".to_owned(),
        hint: "see why".to_owned(),
    };
    Operation {
        id: "6f1c2d3e-0000-4000-8000-000000000002".parse().unwrap(),
        kind: OperationKind::Restore,
        state: OperationState::Failed,
        trigger: Trigger::Client,
        schedule: None,
        slot: None,
        run: None,
        attempts: vec![
            attempt("2026-11-22T00:00:01Z", Some(lost)),
            attempt("2026-11-22T00:00:31Z", Some(failure.clone())),
        ],
        result: None,
        failure: Some(failure),
        notes: vec!["the first attempt was lost".to_owned()],
        ..operation()
    }
}

fn attempt(started_at: &str, failure: Option<Failure>) -> Attempt {
    let started_at = at(started_at);
    Attempt {
        id: format!(
            "backupd:daily:20261122T000000Z:{}",
            started_at.as_second() % 60
        ),
        backup: "2026-11-22".to_owned(),
        server: Some("chi-clickhouse-0-0".to_owned()),
        started_at,
        ended_at: Some(started_at + jiff::SignedDuration::from_secs(30)),
        failure,
    }
}

/// An increment of a schedule.
pub fn backup(name: &str) -> Backup {
    Backup {
        name: name.to_owned(),
        asked_name: name.to_owned(),
        status: BackupStatus::Complete,
        status_reason: None,
        origin: BackupOrigin::Schedule,
        schedule: Some("daily".to_owned()),
        slot: Some(at("2026-11-22T00:00:00Z")),
        kind: BackupKind::Incremental,
        base: Some("2026-11-21".to_owned()),
        dependents: vec!["2026-11-23".to_owned()],
        created_at: Some(at("2026-11-22T00:01:06Z")),
        bytes: Some(1_300_000_000),
        bytes_written: Some(300_000_000),
        files: Some(1_234),
        tables: Some(3),
        structure_only: false,
        pinned: false,
        pin: None,
        proofs: vec![Proof {
            level: ProofLevel::Files,
            at: at("2026-11-22T00:02:00Z"),
            took_ms: 14_200,
            outcome: ProofOutcome::Passed,
            files: 1_234,
            bytes: 1_300_000_000,
            missing_count: 0,
            missing: Vec::new(),
        }],
        server: None,
        operation: Some(operation().id),
    }
}

/// A proof that found something missing.
pub fn damaged() -> Proof {
    let missing = |backup: &str, file: &str, size_found| MissingFile {
        backup: backup.to_owned(),
        file: file.to_owned(),
        size_wanted: Some(4_096),
        size_found,
        problem: match size_found {
            None => "it is not there".to_owned(),
            Some(_) => "it has another size".to_owned(),
        },
    };
    let part = "data/shop/orders/all_1_1_0/data.bin";
    Proof {
        level: ProofLevel::Files,
        at: at("2026-11-22T00:02:00Z"),
        took_ms: 14_200,
        outcome: ProofOutcome::Damaged,
        files: 1_234,
        bytes: 1_300_000_000,
        missing_count: 7,
        missing: vec![
            missing("2026-11-21", part, None),
            missing("2026-11-22", part, Some(12)),
        ],
    }
}

/// What an attempt that died left behind.
pub fn broken(name: &str) -> Backup {
    Backup {
        status: BackupStatus::Broken,
        status_reason: Some("a lock is inside, and no manifest".to_owned()),
        origin: BackupOrigin::Foreign,
        schedule: None,
        slot: None,
        kind: BackupKind::Full,
        base: None,
        dependents: Vec::new(),
        bytes: None,
        tables: None,
        proofs: Vec::new(),
        operation: None,
        ..backup(name)
    }
}

/// The same with its contents.
pub fn details() -> BackupDetails {
    let table = |database: &str, name: &str, engine: &str, rows: Option<u64>| Table {
        database: database.to_owned(),
        name: name.to_owned(),
        engine: engine.to_owned(),
        rows,
        bytes: rows.map(|rows| rows * 100),
    };
    BackupDetails {
        backup: backup("2026-11-22"),
        needed_by: vec!["2026-11-23".to_owned()],
        chain: vec![
            "2026-11-22".to_owned(),
            "2026-11-21".to_owned(),
            "2026-11-20".to_owned(),
        ],
        chain_problem: None,
        retention: Some(Verdict {
            decision: Decision::Keep,
            reasons: vec!["last 14: 1st".to_owned(), "base of 2026-11-23".to_owned()],
        }),
        contents: Some(Contents {
            databases: vec!["shop".to_owned()],
            tables: vec![
                table("shop", "orders", "MergeTree", Some(1_200_000)),
                table("shop", "by_day_mv", "MaterializedView", None),
                table("web", "visits", "ReplicatedMergeTree", Some(7)),
            ],
            not_covered: vec![NotCovered {
                what: "kafka.queue".to_owned(),
                reason: "its engine Kafka holds no data".to_owned(),
            }],
            inventory: Some(clickhouse_backupd::api::v1::backup::Inventory {
                version: "26.9.1".to_owned(),
                storage_policies: [("hot_and_cold".to_owned(), vec!["nvme".to_owned()])].into(),
                named_collections: vec!["kafka".to_owned()],
                ..Default::default()
            }),
        }),
        restore_statement: Some(
            "RESTORE DATABASE `shop`, TABLE `web`.`visits` FROM Disk('s3_backup', '2026-11-22')"
                .to_owned(),
        ),
    }
}
