//! Requests a second; the generator shares the machine with the daemon.

use std::time::Duration;

use anyhow::ensure;

use crate::figures::{Aim, Sample, Unit, quantile};
use crate::load::load;
use crate::report::Report;
use crate::server::Daemon;
use crate::session::{BACKUPS_KNOWN, Session};
use crate::state;

const WARM_UP: Duration = Duration::from_millis(500);
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 3;
const LISTS_PER_SECOND_MIN: f64 = 5_000.0;
const MANY_BACKUPS: usize = 10_000;

/// A route, and what its answer must be.
struct Route {
    title: &'static str,
    target: &'static str,
    /// Lines of the answer, where that is known.
    lines: Option<usize>,
    /// Whether every answer is as long as the first.
    is_constant: bool,
    aim: Aim,
}

impl Route {
    const fn of(title: &'static str, target: &'static str, lines: usize) -> Self {
        Self {
            title,
            target,
            lines: Some(lines),
            is_constant: true,
            aim: Aim::None,
        }
    }
}

/// Takes the measure.
pub async fn take(session: &mut Session, report: &mut Report) -> anyhow::Result<()> {
    let routes = [
        Route {
            lines: None,
            ..Route::of("/livez (the floor)", "/livez", 0)
        },
        Route {
            aim: Aim::AtLeast(LISTS_PER_SECOND_MIN),
            ..Route::of("list of 300", "/backup/list", BACKUPS_KNOWN)
        },
        Route::of("status", "/backup/status", 1),
        Route::of("actions?last=1", "/backup/actions?last=1", 1),
        Route {
            lines: None,
            is_constant: false,
            ..Route::of("metrics", "/metrics", 0)
        },
    ];
    let daemon = session.main().await?;
    for route in &routes {
        one(daemon, route, report).await?;
    }
    let dir = session.folder("many-backups")?;
    state::fill(&dir.join("state"), MANY_BACKUPS).await?;
    let engine = session.engine().await?.address;
    let daemon = session.start(&dir, engine, "").await?;
    let route = Route::of("list of 10,000", "/backup/list", MANY_BACKUPS);
    one(&daemon, &route, report).await?;
    let memory = Sample::of(Unit::MiB, [daemon.memory()?.resident_mib]);
    report.row("memory after lists of 10,000", &memory, None, Aim::None);
    daemon.stop().await
}

async fn one(daemon: &Daemon, route: &Route, report: &mut Report) -> anyhow::Result<()> {
    let length = verified(daemon, route).await?;
    load(daemon.address, route.target, length, WARM_UP).await?;
    let (mut rates, mut slow, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let (before, mut requests) = (daemon.processor_seconds()?, 0);
    for _ in 0..ROUNDS {
        let round = load(daemon.address, route.target, length, ROUND).await?;
        rates.push(round.per_second());
        slow.push(quantile(&round.latencies_ms, 0.99));
        bytes.push(round.bytes as f64 / 1e6 / round.seconds);
        requests += round.requests;
    }
    let spent = (daemon.processor_seconds()? - before) / requests as f64 * 1e6;
    let title = route.title;
    let row = |figures, unit| Sample::of(unit, figures);
    report.row(
        &format!("GET {title}"),
        &row(rates, Unit::PerSecond),
        None,
        route.aim,
    );
    report.row(
        &format!("GET {title}: p99"),
        &row(slow, Unit::Ms),
        None,
        Aim::None,
    );
    report.row(
        &format!("GET {title}: processor time of the daemon"),
        &row(vec![spent], Unit::Us),
        None,
        Aim::None,
    );
    report.row(
        &format!("GET {title}: bodies"),
        &row(bytes, Unit::MegabytesPerSecond),
        None,
        Aim::None,
    );
    Ok(())
}

/// Asks once with a full client, and counts; gives the length that all further answers must have.
async fn verified(daemon: &Daemon, route: &Route) -> anyhow::Result<Option<usize>> {
    let url = format!("http://{}{}", daemon.address, route.target);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let text = client
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    if let Some(wanted) = route.lines {
        let lines = text.lines().count();
        ensure!(lines == wanted, "{} has {lines} lines", route.target);
    }
    Ok(route.is_constant.then_some(text.len()))
}
