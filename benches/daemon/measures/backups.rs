//! POST to success seen, beside the raw statement, in turns.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::figures::{Aim, Sample, Unit};
use crate::http::Client;
use crate::report::{Report, told};
use crate::session::Session;

/// How often success is asked for where nothing tells.
const POLL: Duration = Duration::from_millis(2);
/// Longest that one backup may take.
const BACKUP_LIMIT: Duration = Duration::from_secs(60);

/// Something to back up.
#[derive(Debug)]
pub struct Subject {
    /// In the table.
    pub title: &'static str,
    /// Its database.
    pub database: &'static str,
    rounds: usize,
    /// Statements that make it.
    seed: fn() -> Vec<String>,
}

/// One table of 1,000 rows.
pub const TINY: Subject = Subject {
    title: "backup, one tiny table",
    database: "bench_tiny",
    rounds: 25,
    seed: || vec![table("bench_tiny.t", "SELECT number FROM numbers(1000)")],
};

/// 500 tables of 10 rows.
pub const MANY: Subject = Subject {
    title: "backup, 500 tables",
    database: "bench_many",
    rounds: 9,
    seed: || {
        let name = |n| format!("bench_many.table_{n:03}");
        let table = |n| table(&name(n), "SELECT number FROM numbers(10)");
        (0..500).map(table).collect()
    },
};

/// 1,000 MB that no codec makes smaller.
pub const LARGE: Subject = Subject {
    title: "backup, 1,000 MB",
    database: "bench_large",
    rounds: 9,
    seed: || {
        let rows = "SELECT number, randomString(1000) AS data FROM numbers(1000000)";
        // A merge in the middle of a round would be measured with it.
        vec![
            table("bench_large.t", &format!("{rows} LIMIT 0")),
            "SYSTEM STOP MERGES bench_large.t".to_owned(),
            format!("INSERT INTO bench_large.t {rows}"),
        ]
    },
};

/// Ways to make the same backup, which take turns.
#[derive(Debug, Clone, Copy)]
enum Way {
    Ours,
    Raw,
    RawAsync,
}

const WAYS: [Way; 3] = [Way::Ours, Way::Raw, Way::RawAsync];

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Raw => "raw",
            Self::RawAsync => "async",
        }
    }
}

/// How a client learns of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// `GET /api/v1/operations/{id}?wait=25s` answers when it ended.
    Waits,
    /// `GET /backup/status?operationid=ID`, again and again.
    Polls,
}

/// Takes the measure of one subject.
pub async fn take(
    session: &mut Session,
    report: &mut Report,
    subject: &Subject,
) -> anyhow::Result<()> {
    let mut client = Client::new(session.main().await?.address);
    let engine = session.engine().await?;
    seed(engine, subject).await?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let watch = watch(&mut client, engine, subject).await?;
    for round in 0..subject.rounds {
        // Who comes first is charged with what the last one left to be written back.
        for turn in 0..WAYS.len() {
            let way = WAYS[(round + turn) % WAYS.len()];
            let name = format!("{}-{}-{round}", way.as_str(), subject.database);
            engine.settle()?;
            let took = match way {
                Way::Ours => through_us(&mut client, subject, &name, watch).await?,
                Way::Raw => by_statement(engine, subject, &name).await?,
                Way::RawAsync => by_async_statement(engine, subject, &name).await?,
            };
            times[way as usize].push(took);
            engine.remove_backup(&name)?;
        }
    }
    let [ours, raw, floor] = times;
    let sample = |times: Vec<Duration>| {
        Sample::of(Unit::Ms, times.iter().map(|time| time.as_secs_f64() * 1e3))
    };
    let (raw, floor) = (sample(raw), sample(floor));
    let how = match watch {
        Watch::Waits => "POST to success seen (?wait=)",
        Watch::Polls => "POST to success seen (status polled)",
    };
    let title = subject.title;
    report.row(
        &format!("{title}: {how}"),
        &sample(ours),
        Some(&raw),
        Aim::NearRaw,
    );
    report.raw(
        &format!("{title}: raw with ASYNC, system.backups polled"),
        &floor,
    );
    Ok(())
}

/// Makes the database of a subject.
pub async fn seed(engine: &mut Engine, subject: &Subject) -> anyhow::Result<()> {
    let database = subject.database;
    told(format!("   filling {database} …"));
    engine
        .sql(&format!("DROP DATABASE IF EXISTS {database} SYNC"))
        .await?;
    engine.sql(&format!("CREATE DATABASE {database}")).await?;
    for statement in (subject.seed)() {
        engine.sql(&statement).await?;
    }
    let size = format!(
        "SELECT count(DISTINCT table), count(), sum(bytes_on_disk) FROM system.parts WHERE active AND database = '{database}'"
    );
    let size = engine.sql(&size).await?;
    let size: Vec<&str> = size.split_whitespace().collect();
    told(format!("   tables, parts, bytes: {}", size.join(", ")));
    Ok(())
}

/// How this version tells of an end, found out with a backup that is not counted.
pub async fn watch(
    client: &mut Client,
    engine: &mut Engine,
    subject: &Subject,
) -> anyhow::Result<Watch> {
    let name = format!("first-{}", subject.database);
    let id = post(client, subject, &name).await?;
    wait(client, &id, Watch::Polls).await?;
    engine.remove_backup(&name)?;
    let target = format!("/api/v1/operations/{id}");
    Ok(match client.get(&target).await?.status {
        200 => Watch::Waits,
        404 => Watch::Polls,
        status => bail!("{target} answers {status}"),
    })
}

/// POST until the client has seen the success.
pub async fn through_us(
    client: &mut Client,
    subject: &Subject,
    name: &str,
    watch: Watch,
) -> anyhow::Result<Duration> {
    client.warm("/livez").await?;
    let began = Instant::now();
    let id = post(client, subject, name).await?;
    wait(client, &id, watch).await?;
    Ok(began.elapsed())
}

async fn post(client: &mut Client, subject: &Subject, name: &str) -> anyhow::Result<String> {
    let target = format!("/backup/create?name={name}&table={}.*", subject.database);
    let text = client.post(&target, "").await?.text()?;
    let answer: Value = serde_json::from_str(&text)?;
    let id = answer["operation_id"]
        .as_str()
        .filter(|_| answer["status"] == "acknowledged");
    Ok(id.with_context(|| format!("{target}: {text}"))?.to_owned())
}

async fn wait(client: &mut Client, id: &str, watch: Watch) -> anyhow::Result<()> {
    let (target, field, waiting, success) = match watch {
        Watch::Waits => (
            format!("/api/v1/operations/{id}?wait=25s"),
            "state",
            ["pending", "starting", "running"].as_slice(),
            "succeeded",
        ),
        Watch::Polls => (
            format!("/backup/status?operationid={id}"),
            "status",
            ["in progress"].as_slice(),
            "success",
        ),
    };
    let began = Instant::now();
    while began.elapsed() < BACKUP_LIMIT {
        let text = client.get(&target).await?.text()?;
        let answer: Value = serde_json::from_str(&text)?;
        match answer[field].as_str() {
            Some(state) if state == success => return Ok(()),
            Some(state) if waiting.contains(&state) => {}
            _ => bail!("a backup ended badly: {text}"),
        }
        if watch == Watch::Polls {
            tokio::time::sleep(POLL).await;
        }
    }
    bail!("a backup did not end within {} s", BACKUP_LIMIT.as_secs())
}

async fn by_statement(
    engine: &mut Engine,
    subject: &Subject,
    name: &str,
) -> anyhow::Result<Duration> {
    engine.warm().await?;
    let began = Instant::now();
    let answer = engine.sql_at_once(&statement(subject, name)).await?;
    ensure!(answer.contains("BACKUP_CREATED"), "{name}: {answer}");
    Ok(began.elapsed())
}

/// What nothing that must not block can be faster than.
async fn by_async_statement(
    engine: &mut Engine,
    subject: &Subject,
    name: &str,
) -> anyhow::Result<Duration> {
    engine.warm().await?;
    let began = Instant::now();
    let begin = format!("{} SETTINGS id = '{name}' ASYNC", statement(subject, name));
    engine.sql_at_once(&begin).await?;
    let look = format!("SELECT status, error FROM system.backups WHERE id = '{name}'");
    loop {
        let answer = engine.sql_at_once(&look).await?;
        match answer.split_whitespace().next() {
            Some("BACKUP_CREATED") => return Ok(began.elapsed()),
            Some("CREATING_BACKUP") => tokio::time::sleep(POLL).await,
            _ => bail!("{name}: {answer}"),
        }
    }
}

/// The same elements and the same place as in our own statement.
fn statement(subject: &Subject, name: &str) -> String {
    format!(
        "BACKUP DATABASE `{}` TO Disk('s3_backup', '{name}')",
        subject.database
    )
}

fn table(name: &str, rows: &str) -> String {
    format!("CREATE TABLE {name} ENGINE = MergeTree ORDER BY number AS {rows}")
}
