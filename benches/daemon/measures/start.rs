//! From the start of the process to the first answer that shows what it knows.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use crate::figures::{Aim, Sample, Unit};
use crate::http::Client;
use crate::report::Report;
use crate::session::{Session, free_address};
use crate::state;

const ROUNDS: usize = 21;
const BACKUPS: usize = 1_000;
const FIRST_ANSWER_MAX_MS: f64 = 50.0;
/// How often the first answer is asked for.
const ASK: Duration = Duration::from_micros(500);
const START_LIMIT: Duration = Duration::from_secs(20);

/// Takes the measure; beside it stands the same binary that only says its version.
pub async fn take(session: &mut Session, report: &mut Report) -> anyhow::Result<()> {
    let dir = session.folder("start")?;
    state::fill(&dir.join("state"), BACKUPS).await?;
    // Where nothing listens: the first answer must not depend on ClickHouse.
    let nowhere = free_address()?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut daemon = session.launch(&dir, nowhere, "")?;
        let rows = loop {
            let mut client = Client::new(daemon.address);
            if let Ok(answer) = client.get("/backup/list").await {
                break answer;
            }
            daemon.check()?;
            ensure!(began.elapsed() < START_LIMIT, "the daemon does not answer");
            tokio::time::sleep(ASK).await;
        };
        ours.push(began.elapsed().as_secs_f64() * 1e3);
        let rows = rows.text()?.lines().count();
        ensure!(rows == BACKUPS, "the first answer has {rows} backups");
        daemon.stop().await?;
        let began = Instant::now();
        session.version()?;
        floor.push(began.elapsed().as_secs_f64() * 1e3);
    }
    report.row(
        "start to the first answer, 1,000 backups known (floor: --version)",
        &Sample::of(Unit::Ms, ours),
        Some(&Sample::of(Unit::Ms, floor)),
        Aim::AtMost(FIRST_ANSWER_MAX_MS),
    );
    Ok(())
}
