//! A memory with a past: hourly backups, the history of their operations, what each one holds.

use std::path::Path;

use anyhow::Context as _;
use clickhouse_backupd::backup::Contents;
use clickhouse_backupd::catalog::{Catalog, Change, Decision, HISTORY_MAX_OPERATIONS, Settings};
use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::operation::{Operation, OperationId};
use clickhouse_backupd::schedule::ScheduleName;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Tables that each backup holds.
const TABLES: usize = 20;

/// Makes a memory of this many backups, and of as many operations as the history keeps.
pub async fn fill(dir: &Path, backups: usize) -> anyhow::Result<()> {
    let schedule = ScheduleName::try_from("hourly".to_owned())?;
    let slots = backups.max(HISTORY_MAX_OPERATIONS);
    let hour = SignedDuration::from_hours(1);
    let first = Clock::System.now().round(jiff::Unit::Hour)? - hour * (i32::try_from(slots)? + 1);
    let contents: Contents = serde_json::from_value(contents())?;
    let mut changes = Vec::new();
    for slot in 0..slots {
        let at = first + hour * i32::try_from(slot)?;
        let id = OperationId::of_slot(&schedule, at);
        let operation: Operation = serde_json::from_value(operation(slot + 1, id, at))
            .context("reading an operation as earlier versions wrote it")?;
        if slot >= slots - backups {
            let backup = operation.made_backup().context("it made no backup")?;
            changes.push(Change::PutBackup(Box::new(backup)));
            let attempt = operation.attempt().context("it had no attempt")?.id.clone();
            changes.push(Change::PutContents(attempt, Box::new(contents.clone())));
        }
        if slot >= slots - HISTORY_MAX_OPERATIONS {
            changes.push(Change::PutOperation(Box::new(operation)));
        }
    }
    let catalog = Catalog::open(&Settings {
        dir: dir.to_owned(),
    })?;
    let all = move |_: &_| Decision {
        changes,
        answer: (),
    };
    catalog.write(all).await?;
    Ok(catalog.close().await?)
}

/// A document, not a value: fields that later versions add have defaults for it.
fn operation(number: usize, id: OperationId, slot: Timestamp) -> Value {
    let name = slot.strftime("%Y-%m-%d-%H-00-00").to_string();
    let attempt = format!("backupd:hourly:{}:1", slot.strftime("%Y%m%dT%H%M%SZ"));
    let ended = slot + SignedDuration::from_secs(95);
    let bytes = 11_266_511 + number as u64 * 1_024;
    let seconds = |secs: u64| json!({"secs": secs, "nanos": 0});
    json!({
        "number": number, "id": id, "command": format!("create {name}"), "state": "succeeded",
        "trigger": {"schedule": {"schedule": "hourly", "slot": slot}},
        "work": {"backup": {"name": name, "base": null, "scope": {
            "databases": ["*"], "tables": [], "exclude_tables": [],
            "access": false, "functions": false, "structure_only": false,
        }}},
        "limits": {
            "timeout": seconds(14_400), "deadline": slot + SignedDuration::from_hours(4),
            "unreachable": seconds(14_400), "cancel": seconds(600),
            "retry": {"attempts": 3, "delay": seconds(300)},
        },
        "submitted_at": slot, "started_at": slot, "finished_at": ended, "not_before": null,
        "unreachable_since": null, "cancel_asked_at": null, "failure": null, "skipped": null,
        "notes": [],
        "attempts": [{
            "id": attempt, "backup": name, "place": {"disk": "s3_backup"}, "started_at": slot,
            "ended_at": ended, "delivery": "accepted", "tables": TABLES, "failure": null,
            "server": {
                "uuid": "6d1f3a52-0c7e-4f4b-9d0a-3d1c5b7e9f10", "host": "chi-shop-0-0-0",
                "started_at": "2026-01-01T00:00:00Z",
            },
        }],
        "outcome": {"finished_at": ended, "files": 378, "bytes": bytes, "bytes_written": bytes},
    })
}

fn contents() -> Value {
    let table =
        |n| json!({"database": "shop", "name": format!("table_{n:02}"), "engine": "MergeTree"});
    let tables: Vec<Value> = (0..TABLES).map(table).collect();
    json!({"databases": ["shop"], "tables": tables, "not_covered": []})
}
