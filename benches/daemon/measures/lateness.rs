//! From a slot that 1,000 schedules share to their operations in the catalog.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use clickhouse_backupd::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::figures::{Aim, Sample, Unit, quantile};
use crate::report::{Report, told};
use crate::session::{Session, free_address};

const SCHEDULES: usize = 1_000;
const ROUNDS: usize = 5;
const P99_MAX_MS: f64 = 50.0;
/// From the choice of a slot to the slot, in seconds: the daemon must be ready long before.
const AHEAD_SECONDS: i64 = 4;
/// A daemon that is ready later than this before the slot makes the round worth nothing.
const SETTLED: SignedDuration = SignedDuration::from_millis(500);
const LATE_LIMIT: SignedDuration = SignedDuration::from_secs(10);
const LOOK: Duration = Duration::from_micros(500);

/// Lateness of all operations of one round, in milliseconds, sorted.
struct Round {
    decided: Vec<f64>,
    visible: Vec<f64>,
}

/// Takes the measure.
pub async fn take(session: &mut Session, report: &mut Report) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(session).await?);
    }
    let row = |of: fn(&Round) -> &Vec<f64>, part| {
        Sample::of(
            Unit::Ms,
            rounds.iter().map(|round| quantile(of(round), part)),
        )
    };
    let title = "1,000 schedules in one slot: slot to";
    let visible = |part| row(|round| &round.visible, part);
    report.row(
        &format!("{title} decided, p99"),
        &row(|round| &round.decided, 0.99),
        None,
        Aim::None,
    );
    report.row(
        &format!("{title} recorded, p50"),
        &visible(0.5),
        None,
        Aim::None,
    );
    report.row(
        &format!("{title} recorded, p99"),
        &visible(0.99),
        None,
        Aim::AtMost(P99_MAX_MS),
    );
    report.row(
        &format!("{title} recorded, the last"),
        &visible(1.0),
        None,
        Aim::None,
    );
    Ok(())
}

async fn round(session: &mut Session) -> anyhow::Result<Round> {
    let dir = session.folder("lateness")?;
    let second = Timestamp::from_second(Clock::System.now().as_second())?;
    let slot = second + SignedDuration::from_secs(AHEAD_SECONDS);
    // Where nothing listens: the lane has nothing to do.
    let daemon = session
        .start(&dir, free_address()?, &schedules(slot))
        .await?;
    let left = slot.duration_since(Clock::System.now());
    told(format!("   ready {} ms before the slot", left.as_millis()));
    ensure!(
        left > SETTLED,
        "{SCHEDULES} schedules take too long to start"
    );
    let catalog = dir.join("state/catalog.sqlite3");
    let catalog = Connection::open_with_flags(catalog, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut visible = Vec::new();
    while visible.len() < SCHEDULES {
        tokio::time::sleep(LOOK).await;
        let found: u32 =
            catalog.query_row("SELECT count(*) FROM operations", [], |row| row.get(0))?;
        let found = usize::try_from(found)?;
        let late = Clock::System.now().duration_since(slot);
        visible.resize(found.max(visible.len()), late.as_secs_f64() * 1e3);
        ensure!(late < LATE_LIMIT, "only {found} operations were recorded");
    }
    let decided = decided(&catalog, slot)?;
    drop(catalog);
    daemon.stop().await?;
    remove(&dir);
    Ok(Round { decided, visible })
}

/// When each operation was decided on; every schedule must have exactly its slot.
fn decided(catalog: &Connection, slot: Timestamp) -> anyhow::Result<Vec<f64>> {
    let mut statement = catalog.prepare("SELECT document FROM operations")?;
    let documents = statement.query_map([], |row| row.get::<_, String>(0))?;
    let (mut late, mut schedules) = (Vec::new(), BTreeSet::new());
    for document in documents {
        let operation: Value = serde_json::from_str(&document?)?;
        let trigger = &operation["trigger"]["schedule"];
        ensure!(
            trigger["slot"] == slot.to_string(),
            "another slot: {trigger}"
        );
        schedules.insert(trigger["schedule"].to_string());
        let submitted: Timestamp = serde_json::from_value(operation["submitted_at"].clone())?;
        late.push(submitted.duration_since(slot).as_secs_f64() * 1e3);
    }
    ensure!(
        schedules.len() == SCHEDULES,
        "{} schedules fired",
        schedules.len()
    );
    late.sort_by(f64::total_cmp);
    Ok(late)
}

/// Daily schedules that are due at this second.
fn schedules(slot: Timestamp) -> String {
    let cron = slot.strftime("%-S %-M %-H * * *").to_string();
    let mut text = String::new();
    for n in 0..SCHEDULES {
        let _ = writeln!(
            text,
            "[schedules.s{n:04}]\ncron = \"{cron}\"\nname = \"{{schedule}}-{{date}}\"",
        );
    }
    text
}

fn remove(dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
}
