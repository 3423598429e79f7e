//! What the daemon itself asks of a bucket with thousands of backups: reading them in, and retention.
//!
//! The daemon is the binary, ClickHouse the real engine, the S3 server runs in this process and
//! counts. One backup is made for real; the others are copies of it of earlier days.

mod copies;
mod world;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use object_store::ObjectStoreExt as _;
use serde_json::Value;
use tokio::time::Instant;

use self::copies::Original;
use self::world::{Daemon, PREFIX, World};
use crate::Arguments;
use crate::machine::{Peak, mib};
use crate::measures::Row;

/// Columns of the table: so many make 200 objects of a backup.
const COLUMNS: usize = 189;
/// How long one step may take.
const LIMIT: Duration = Duration::from_secs(3_600);
/// The daemon is done when it has asked the bucket nothing for so long.
const QUIET: Duration = Duration::from_secs(3);
/// Bare requests under way at a time: as many as the daemon has of its own files.
const READS_AT_A_TIME: usize = 16;
/// Names in a page of a listing.
const PAGE_NAMES: u64 = 1_000;

/// Reading in alone.
pub async fn rebuild(arguments: &Arguments, dir: &Path) -> anyhow::Result<Vec<Row>> {
    let mut world = World::begin(dir).await?;
    let original = filled(&mut world, arguments.backups).await?;
    let (daemon, rows) = read_in(&mut world, &original, arguments.backups).await?;
    daemon.process.stop().await?;
    world.end().await?;
    Ok(rows)
}

/// Reading in, and then retention.
pub async fn retention(arguments: &Arguments, dir: &Path) -> anyhow::Result<Vec<Row>> {
    ensure!(
        arguments.remove > 0 && arguments.remove < arguments.backups,
        "--remove leaves at least one of --backups"
    );
    let mut world = World::begin(dir).await?;
    let original = filled(&mut world, arguments.backups).await?;
    let bare = bare_deletes(&world, &original, arguments.remove).await?;
    let (mut daemon, mut rows) = read_in(&mut world, &original, arguments.backups).await?;
    rows.extend(retire(&world, &mut daemon, &original, arguments, &bare).await?);
    daemon.process.stop().await?;
    world.end().await?;
    Ok(rows)
}

/// Has a daemon make, prove and publish one backup, and copies it.
async fn filled(world: &mut World, backups: u64) -> anyhow::Result<Original> {
    let columns: Vec<String> = (0..COLUMNS).map(|n| format!("c{n} UInt64")).collect();
    let values: Vec<String> = (0..COLUMNS)
        .map(|n| format!("cityHash64(number, {n})"))
        .collect();
    world.sql("CREATE DATABASE shop").await?;
    world
        .sql(&format!(
            "CREATE TABLE shop.wide ({}) ENGINE = MergeTree ORDER BY tuple() SETTINGS min_bytes_for_wide_part = 0",
            columns.join(", ")
        ))
        .await?;
    world
        .sql(&format!(
            "INSERT INTO shop.wide SELECT {} FROM numbers(10)",
            values.join(", ")
        ))
        .await?;
    let mut daemon = world.daemon()?;
    daemon
        .until("an answer that is ready", LIMIT, async |daemon| {
            Ok(daemon
                .get("/api/v1/backups")
                .await?
                .filter(|(status, _)| *status == 200))
        })
        .await?;
    daemon.post("/api/v1/schedules/daily/run").await?;
    let bucket = world.bucket.clone();
    let original = daemon
        .until("a proved backup", LIMIT, async |_| Original::find(&bucket))
        .await?;
    daemon.process.stop().await?;
    let began = Instant::now();
    for days in 1..backups {
        original.copy(days)?;
    }
    eprintln!(
        "  {backups} backups of {} objects, copied in {:.1} s",
        original.objects(),
        began.elapsed().as_secs_f64()
    );
    Ok(original)
}

/// An empty state directory before all of it.
async fn read_in(
    world: &mut World,
    original: &Original,
    backups: u64,
) -> anyhow::Result<(Daemon, Vec<Row>)> {
    let raw = bare_reads(world, original, backups).await?;
    world.server.asked();
    let began = Instant::now();
    let mut daemon = world.daemon()?;
    let ready = daemon
        .until("/readyz", LIMIT, async |daemon| {
            let answer = daemon.get("/readyz").await?;
            Ok(answer
                .filter(|(status, _)| *status == 200)
                .map(|_| began.elapsed()))
        })
        .await?;
    let listed = daemon
        .until("a list", LIMIT, async |daemon| {
            let answer = daemon.get("/api/v1/backups?limit=1000").await?;
            Ok(answer
                .filter(|(status, _)| *status == 200)
                .map(|_| began.elapsed()))
        })
        .await?;
    let found = count(&daemon).await?;
    ensure!(found == backups, "{found} of {backups} backups are listed");
    let asked = world.server.asked();
    let peak = Peak::of(daemon.process.id())?;
    let least = backups.div_ceil(PAGE_NAMES) + (backups + 1).div_ceil(PAGE_NAMES);
    let subject = format!("{backups} backups of {} objects", original.objects());
    let first = [
        format!("start with an empty state directory to the list of {subject}"),
        format!(
            "{:.2} s; /readyz after {:.2} s",
            listed.as_secs_f64(),
            ready.as_secs_f64()
        ),
        format!(
            "bare GETs of the {backups} files of {} bytes, {READS_AT_A_TIME} at a time: {:.2} s; at least {least} LIST, {} GET",
            original.sidecar_bytes(),
            raw.as_secs_f64(),
            backups + 1,
        ),
        format!("{} in all", mib(peak)),
        asked.to_string(),
    ];
    settle(world).await;
    let after = world.server.asked();
    let second = [
        "the same, until the daemon asks no more".to_owned(),
        format!(
            "{:.2} s",
            began.elapsed().saturating_sub(QUIET).as_secs_f64()
        ),
        String::new(),
        format!("{} in all", mib(Peak::of(daemon.process.id())?)),
        format!("{after} more"),
    ];
    Ok((daemon, vec![first, second]))
}

/// Waits until nothing is asked any more.
async fn settle(world: &World) {
    let (mut last, mut since) = (world.server.asked_so_far(), Instant::now());
    while since.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = world.server.asked_so_far();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

async fn count(daemon: &Daemon) -> anyhow::Result<u64> {
    let (mut found, mut cursor) = (0, String::new());
    loop {
        let path = format!("/api/v1/backups?limit=1000{cursor}");
        let (_, page) = daemon.get(&path).await?.context("the daemon is gone")?;
        let items = page["items"].as_array().context("a list has items")?;
        found += items.len() as u64;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

/// Changes the policy, and waits for the end of the removal that this brings about.
async fn retire(
    world: &World,
    daemon: &mut Daemon,
    original: &Original,
    arguments: &Arguments,
    bare: &[String; 2],
) -> anyhow::Result<Vec<Row>> {
    let (backups, remove) = (arguments.backups, arguments.remove);
    world.server.asked();
    let peak = Peak::begin_of(daemon.process.id())?;
    let processor = daemon.process.processor_seconds()?;
    let began = Instant::now();
    daemon.add(&format!("[retention]\nkeep_last = {}\n", backups - remove))?;
    let operations = removals(daemon, original, remove).await?;
    let took = seconds(&operations)?;
    let whole_took = began.elapsed().as_secs_f64();
    settle(world).await;
    let asked = world.server.asked();
    ensure_left(world, daemon, backups - remove).await?;
    let processor = daemon.process.processor_seconds()? - processor;
    let least = 2 * (backups.div_ceil(PAGE_NAMES) + (backups + 1).div_ceil(PAGE_NAMES));
    let subject = format!(
        "{remove} of {backups} backups of {} objects",
        original.objects()
    );
    let [bare_each, bare_all] = bare;
    let all = [
        format!("retention removes {subject}: edit of the policy to the end"),
        format!("{whole_took:.2} s in {} removals", operations.len()),
        bare_all.clone(),
        format!("+{}", mib(peak.growth_kib()?)),
        asked.to_string(),
    ];
    let each = [
        "the same, for each backup removed".to_owned(),
        format!(
            "{:.1} ms; {:.1} ms of processor time",
            took * 1_000.0 / remove as f64,
            processor * 1_000.0 / remove as f64
        ),
        format!(
            "{bare_each}; at least {least} LIST in all and {} DeleteObjects",
            original.objects().div_ceil(PAGE_NAMES)
        ),
        String::new(),
        asked.for_each_of(remove),
    ];
    Ok(vec![all, each])
}

/// Exactly so many are listed, and lie in the bucket as whole backups.
async fn ensure_left(world: &World, daemon: &Daemon, wanted: u64) -> anyhow::Result<()> {
    let listed = count(daemon).await?;
    ensure!(listed == wanted, "{listed} are listed, not {wanted}");
    let mut whole = 0;
    for folder in std::fs::read_dir(world.bucket.join(PREFIX))? {
        whole += u64::from(folder?.path().join(".backup").exists());
    }
    ensure!(
        whole == wanted,
        "{whole} manifests are left in the bucket, not {wanted}"
    );
    Ok(())
}

/// The operations that remove so many, each watched to its end.
async fn removals(
    daemon: &mut Daemon,
    original: &Original,
    remove: u64,
) -> anyhow::Result<Vec<Value>> {
    let (mut ended, mut removed) = (Vec::<Value>::new(), 0);
    while removed < remove {
        let last = ended.last().map(|operation| operation["id"].clone());
        // One begins only after the one before it ended.
        let newer = async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/operations?kind=delete&limit=1").await?;
            let id = list.map(|(_, list)| list["items"][0]["id"].clone());
            Ok(id.filter(|id| id.is_string() && Some(id) != last.as_ref()))
        };
        let id = daemon.until("a removal", LIMIT, newer).await?;
        let id = id.as_str().context("an id")?.to_owned();
        let end = async |daemon: &Daemon| {
            let path = format!("/api/v1/operations/{id}?wait=25s");
            let answer = daemon.get(&path).await?.map(|(_, operation)| operation);
            Ok(answer.filter(|operation| !operation["finished_at"].is_null()))
        };
        let operation = daemon.until("the end of the removal", LIMIT, end).await?;
        ensure!(operation["state"] == "succeeded", "{operation}");
        let items = operation["items"].as_array().context("it has items")?;
        let objects = Some(original.objects());
        let is_whole = items.iter().all(|item| item["objects"].as_u64() == objects);
        ensure!(is_whole, "not all objects of each: {operation}");
        removed += items.len() as u64;
        ended.push(operation);
    }
    ensure!(removed == remove, "{removed} were removed, not {remove}");
    Ok(ended)
}

/// From the first submission to the last end.
fn seconds(operations: &[Value]) -> anyhow::Result<f64> {
    let at = |operation: Option<&Value>, field: &str| -> anyhow::Result<Timestamp> {
        let text = operation.and_then(|operation| operation[field].as_str());
        Ok(text.context("a time")?.parse()?)
    };
    let end = at(operations.last(), "finished_at")?;
    let took = end.duration_since(at(operations.first(), "submitted_at")?);
    Ok(took.as_secs_f64())
}

/// The published files, read as they are.
async fn bare_reads(world: &World, original: &Original, backups: u64) -> anyhow::Result<Duration> {
    let store = world.server.bare()?;
    let folder = world.bucket.join(PREFIX).join(".clickhouse-backupd");
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        keys.push(format!(
            "{PREFIX}/.clickhouse-backupd/{}",
            name.to_string_lossy()
        ));
    }
    ensure!(keys.len() as u64 > backups, "{} files of ours", keys.len());
    let began = Instant::now();
    let store = &store;
    let read = futures_util::stream::iter(keys)
        .map(|key| async move {
            let got = store.get(&object_store::path::Path::parse(key)?).await?;
            anyhow::Ok(got.bytes().await?.len() as u64)
        })
        .buffer_unordered(READS_AT_A_TIME);
    let bytes: u64 = read
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes) })
        .await?;
    ensure!(
        bytes > backups * original.sidecar_bytes() / 2,
        "{bytes} bytes were read"
    );
    Ok(began.elapsed())
}

/// Bulk deletes of as many known keys on the same server: one backup after the other, as the daemon
/// works. For each backup, and of all.
async fn bare_deletes(
    world: &World,
    original: &Original,
    remove: u64,
) -> anyhow::Result<[String; 2]> {
    let store = world.server.bare()?;
    for number in 0..remove {
        original.link_into(&world.bucket.join(format!("bare/{number}")))?;
    }
    world.server.asked();
    let began = Instant::now();
    for number in 0..remove {
        let folder = format!("bare/{number}");
        crate::measures::delete(&store, original.keys(&folder)).await?;
    }
    let took = began.elapsed().as_secs_f64();
    let asked = world.server.asked();
    std::fs::remove_dir_all(world.bucket.join("bare"))?;
    Ok([
        format!("{:.1} ms", took * 1_000.0 / remove as f64),
        format!("bulk deletes of known keys: {took:.2} s, {asked}"),
    ])
}
