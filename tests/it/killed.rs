//! The process is killed at every write of a removal, in turn: the next one finishes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::process::Process;
use crate::support::nights::Nights;
use crate::support::s3::Act;
use crate::support::{engine, eventually, files_below};

/// More writes than a removal has; there to end a hung test.
const WRITES_MAX: usize = 40;

/// Lets this many writes pass; the next one is never answered, and nothing after it is served.
fn stop_at(nights: &Nights, write: usize, is_served: bool) -> Arc<AtomicUsize> {
    let stopped = Arc::new(AtomicUsize::new(0));
    let told = stopped.clone();
    let mut writes = 0;
    let mut is_removing = false;
    nights.s3.as_ref().unwrap().rule(move |seen| {
        if told.load(Ordering::SeqCst) > 0 {
            return Act::Hang;
        }
        // The first write of a removal says in our file that it is one.
        is_removing |= seen.is_write() && seen.path.ends_with("/goes.json");
        if !is_removing || !seen.is_write() {
            return Act::Pass;
        }
        writes += 1;
        if writes <= write {
            return Act::Pass;
        }
        told.store(writes, Ordering::SeqCst);
        match is_served {
            true => Act::PassUnanswered,
            false => Act::Hang,
        }
    });
    stopped
}

pub async fn json(process: &Process, path: &str) -> Option<Value> {
    let (status, text) = process.get(path).await?;
    (status == 200).then(|| serde_json::from_str(&text).unwrap())
}

pub async fn names(process: &Process) -> Option<BTreeSet<String>> {
    let list = json(process, "/api/v1/backups?limit=1000").await?;
    let items = list["items"].as_array()?.clone();
    Some(
        items
            .iter()
            .map(|backup| backup["name"].as_str().unwrap().to_owned())
            .collect(),
    )
}

pub async fn idle(process: &Process) -> Option<()> {
    let list = json(process, "/api/v1/operations?limit=1000").await?;
    let items = list["items"].as_array()?.clone();
    items
        .iter()
        .all(|operation| !operation["finished_at"].is_null())
        .then_some(())
}

async fn killed_at_each_write(is_served: bool, keeps_state: bool) {
    let nights = Nights::on_s3("disk = \"s3_backup\"", "").await;
    nights.engine.seed("shop", 500).await;
    let mut process = Process::start(&nights.home).await;
    process
        .succeeds("/backup/create?name=kept&table=shop.*")
        .await;
    for write in 0..WRITES_MAX {
        process
            .succeeds("/backup/create?name=goes&table=shop.*&diff-from=kept")
            .await;
        eventually("the proof is published", || async {
            let file = nights.destination.join(".clickhouse-backupd/goes.json");
            let text = std::fs::read_to_string(file).ok()?;
            idle(&process).await?;
            text.contains("passed").then_some(())
        })
        .await;
        let stopped = stop_at(&nights, write, is_served);
        let url = format!("{}/api/v1/backups/goes", process.url);
        let answer = reqwest::Client::new().delete(url).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let was_stopped = eventually("the write, or the end", || async {
            if stopped.load(Ordering::SeqCst) > 0 {
                return Some(true);
            }
            let is_gone = !nights.folders().contains("goes");
            let is_forgotten = files_below(&nights.destination.join(".clickhouse-backupd"))
                .iter()
                .all(|file| !file.starts_with("goes"));
            (is_gone && is_forgotten && idle(&process).await.is_some()).then_some(false)
        })
        .await;
        process.kill();
        nights.s3.as_ref().unwrap().heal();
        if !keeps_state {
            std::fs::remove_dir_all(nights.home.state()).unwrap();
        }
        process = Process::start(&nights.home).await;
        eventually("the removal is finished", || async {
            let only = names(&process).await? == BTreeSet::from(["kept".to_owned()]);
            let folders = nights.folders() == BTreeSet::from(["kept".to_owned()]);
            let own = files_below(&nights.destination.join(".clickhouse-backupd"));
            let own_is_right = own.iter().all(|file| !file.starts_with("goes"));
            (only && folders && own_is_right && idle(&process).await.is_some()).then_some(())
        })
        .await;
        if !was_stopped {
            // Our file, the manifest, the objects.
            assert!(write >= 3, "a removal writes more than {write} times");
            process
                .succeeds("/backup/restore?name=kept&restore_database_mapping=shop:copy")
                .await;
            let content = nights.engine.content("copy").await;
            assert_eq!(content, nights.engine.content("shop").await);
            process.kill();
            return;
        }
    }
    panic!("a removal of one backup has more than {WRITES_MAX} writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_killed_before_a_write_is_finished_by_the_next_process() {
    if !engine::is_foreign() {
        killed_at_each_write(false, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_killed_after_a_write_is_finished_without_any_memory() {
    if !engine::is_foreign() {
        killed_at_each_write(true, false).await;
    }
}
