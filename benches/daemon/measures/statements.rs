//! What a backup costs in statements, counted by a proxy in rounds of their own.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::backups::{self, LARGE, MANY, Subject, TINY};
use crate::figures::{Aim, Sample, Unit};
use crate::http::Client;
use crate::proxy::{Proxy, Statement};
use crate::report::{Report, told};
use crate::session::Session;

/// Statements beside the looks at `system.backups`, whatever the number of tables.
const STATEMENTS_MAX: f64 = 20.0;
/// What a daemon may still send after the end was seen.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Takes the measure.
pub async fn take(session: &mut Session, report: &mut Report) -> anyhow::Result<()> {
    let proxy = Proxy::start(session.engine().await?.address).await?;
    let dir = session.folder("counted")?;
    let daemon = session.start(&dir, proxy.address, "").await?;
    let mut client = Client::new(daemon.address);
    for subject in [&TINY, &MANY, &LARGE] {
        let engine = session.engine().await?;
        if engine.sql(&exists(subject)).await?.trim() == "0" {
            backups::seed(engine, subject).await?;
        }
        let watch = backups::watch(&mut client, engine, subject).await?;
        tokio::time::sleep(AFTERMATH).await;
        proxy.take();
        let (name, began) = (format!("counted-{}", subject.database), Instant::now());
        let took = backups::through_us(&mut client, subject, &name, watch).await?;
        tokio::time::sleep(AFTERMATH).await;
        let sent = proxy.take();
        engine.remove_backup(&name)?;
        told(format!(
            "   {}, each statement since the POST:",
            subject.title
        ));
        tell(&sent, began, took);
        check(&sent, subject, &name)?;
        if subject.database == MANY.database {
            count(report, subject, &sent);
        }
    }
    daemon.stop().await
}

fn count(report: &mut Report, subject: &Subject, sent: &[Statement]) {
    let (polls, others): (Vec<_>, Vec<_>) = sent.iter().partition(|one| one.is_poll());
    let title = subject.title;
    let one = |what, figure: usize| Sample::of(Unit::Count(what), [figure as f64]);
    report.row(
        &format!("{title}: statements beside the polls"),
        &one("", others.len()),
        None,
        Aim::AtMost(STATEMENTS_MAX),
    );
    let bytes = others.iter().map(|one| one.sql.len());
    let longest = sent.iter().map(|one| one.sql.len()).max().unwrap_or(0);
    report.row(
        &format!("{title}: their size"),
        &one("bytes", bytes.sum()),
        None,
        Aim::None,
    );
    report.row(
        &format!("{title}: the longest of all"),
        &one("bytes", longest),
        None,
        Aim::None,
    );
    report.row(
        &format!("{title}: polls of system.backups"),
        &one("", polls.len()),
        None,
        Aim::None,
    );
}

/// What was counted must be a backup: exactly one statement that makes it, and a look that saw it.
fn check(sent: &[Statement], subject: &Subject, name: &str) -> anyhow::Result<()> {
    let backup = |one: &&Statement| one.sql.starts_with("BACKUP ");
    let made: Vec<&Statement> = sent.iter().filter(backup).collect();
    ensure!(made.len() == 1, "{} BACKUP statements passed", made.len());
    let wanted = format!(
        "BACKUP DATABASE `{}` TO Disk('s3_backup', '{name}')",
        subject.database
    );
    let sql = &made[0].sql;
    ensure!(
        sql.starts_with(&wanted),
        "not the same as the raw statement: {sql}"
    );
    let looked = sent.iter().any(|one| one.is_poll() && one.at > made[0].at);
    ensure!(looked, "nobody looked how the backup is");
    Ok(())
}

/// Where the time goes, for whoever wants less of it.
fn tell(sent: &[Statement], began: Instant, took: Duration) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    for one in sent {
        let short: String = one.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = short.chars().take(60).collect();
        let (at, took) = (ms(one.at - began), ms(one.took));
        told(format!(
            "   {at:8.1} ms, answered in {took:6.1} ms: {short}"
        ));
    }
    told(format!("   {:8.1} ms: success seen", ms(took)));
}

fn exists(subject: &Subject) -> String {
    format!(
        "SELECT count() FROM system.databases WHERE name = '{}'",
        subject.database
    )
}
