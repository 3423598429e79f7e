//! Resident memory and threads.

use std::time::Duration;

use anyhow::Context as _;

use crate::children::Memory;
use crate::figures::{Aim, Sample, Unit};
use crate::report::Report;
use crate::session::Session;

const IDLE: Duration = Duration::from_secs(5);
const IDLE_MAX_MIB: f64 = 15.0;

/// With the configuration that is shipped, an empty memory, and nothing to do.
pub async fn idle(session: &mut Session, report: &mut Report) -> anyhow::Result<()> {
    let dir = session.folder("idle")?;
    let daemon = session.start_shipped(&dir).await?;
    tokio::time::sleep(IDLE).await;
    row(
        report,
        "memory, idle",
        daemon.memory()?,
        Aim::AtMost(IDLE_MAX_MIB),
    );
    daemon.stop().await
}

/// After everything that was done to the main daemon.
pub fn after_work(session: &mut Session, report: &mut Report) -> anyhow::Result<()> {
    let daemon = session.main_if_started();
    let memory = daemon
        .context("memory needs another measure before it: lists, tiny, many or large")?
        .memory()?;
    row(
        report,
        "memory after all requests and backups",
        memory,
        Aim::None,
    );
    Ok(())
}

fn row(report: &mut Report, title: &str, memory: Memory, aim: Aim) {
    let resident = Sample::of(Unit::MiB, [memory.resident_mib]);
    report.row(title, &resident, None, aim);
    let threads = Sample::of(Unit::Count("threads"), [memory.threads]);
    report.row(&format!("{title}: threads"), &threads, None, Aim::None);
}
