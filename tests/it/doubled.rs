//! Nothing is made twice: not by a process that lost its memory in the middle of a backup, and not by two
//! daemons that work on one destination.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clickhouse_backupd::clock::Clock;
use serde_json::{Value, json};

use crate::killed::{idle, json, names};
use crate::process::Process;
use crate::races::deletes_objects;
use crate::support::daemon::Home;
use crate::support::nights::{Nights, names as listed, settled};
use crate::support::s3::Act;
use crate::support::{engine, eventually, files_below};

/// Nights that the two daemons go through, at least; two are kept.
const NIGHTS: usize = 4;

async fn post(process: &Process, path: &str, body: &Value) -> Value {
    let url = format!("{}{path}", process.url);
    let request = reqwest::Client::new().post(url).json(body);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}

async fn items(process: &Process, path: &str) -> Option<BTreeMap<String, Value>> {
    let list = json(process, path).await?;
    let key = |item: &Value| {
        let key = item.get("id").or(item.get("name")).unwrap();
        key.as_str().unwrap().to_owned()
    };
    let items = list["items"].as_array()?.clone();
    Some(items.into_iter().map(|item| (key(&item), item)).collect())
}

/// What is known, each thing under its id or name.
#[derive(Debug, PartialEq)]
struct Known {
    backups: BTreeMap<String, Value>,
    operations: BTreeMap<String, Value>,
    /// `/backup/list` and `/backup/actions`, line by line.
    lines: BTreeSet<String>,
    /// What becomes of each backup.
    plan: BTreeMap<String, Value>,
}

impl Known {
    async fn of(process: &Process) -> Option<Self> {
        let mut lines = BTreeSet::new();
        for path in ["/backup/list", "/backup/actions"] {
            let (status, text) = process.get(path).await?;
            assert_eq!(status, 200, "{text}");
            lines.extend(text.lines().map(str::to_owned));
        }
        let plan = json(process, "/api/v1/retention/plan").await?;
        assert_eq!(plan["stops"], json!([]), "{plan}");
        let line = |line: &Value| {
            let backup = line["backup"].as_str().unwrap().to_owned();
            (backup, json!([line["decision"], line["group"]]))
        };
        let mut backups = items(process, "/api/v1/backups?limit=1000").await?;
        for backup in backups.values_mut() {
            // The place in the order of the policy changes with each new one.
            backup["retention"]["reasons"].take();
            backup.as_object_mut().unwrap().remove("age_seconds");
        }
        Some(Self {
            backups,
            operations: items(process, "/api/v1/operations?limit=1000").await?,
            lines,
            plan: plan["lines"].as_array()?.iter().map(line).collect(),
        })
    }

    /// Without what is about this backup.
    fn without(mut self, name: &str) -> Self {
        assert!(self.backups.remove(name).is_some(), "{name} is not listed");
        self.operations
            .retain(|_, operation| !operation.to_string().contains(name));
        self.lines.retain(|line| !line.contains(name));
        assert_eq!(self.plan.remove(name).unwrap()[0], "keep");
        self
    }
}

/// Waits until everything that was asked for is done and published.
async fn published(nights: &Nights, process: &Process) {
    eventually("everything is published", || async {
        idle(process).await?;
        let own = nights.destination.join(".clickhouse-backupd");
        let state = std::fs::read_to_string(own.join("state.json")).ok()?;
        let state: Value = serde_json::from_str(&state).ok()?;
        let operations = items(process, "/api/v1/operations?limit=1000").await?;
        let is_there = |id: &String| {
            let mut published = state["operations"].as_array().unwrap().iter();
            published
                .any(|operation| operation["id"] == **id && !operation["finished_at"].is_null())
        };
        let is_proved = |name: String| {
            let text = std::fs::read_to_string(own.join(format!("{name}.json")));
            text.is_ok_and(|text| text.contains("passed"))
        };
        let is_done =
            operations.keys().all(is_there) && names(process).await?.into_iter().all(is_proved);
        is_done.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_is_lost_in_the_middle_of_a_backup_costs_nothing() {
    if engine::is_foreign() {
        return;
    }
    let config = "[schedules.daily]\ncron = \"0 0 1 1 *\"\ndatabases = [\"slow\"]\nname = \"{date}-{time}\"\n[retention]\nkeep_last = 5";
    let nights = Nights::on_s3_with("disk = \"s3_backup\"", config, &["--slow-backups"]).await;
    nights.engine.seed_slow().await;
    let process = Process::start(&nights.home).await;
    process
        .succeeds("/backup/create?name=by-hand&table=slow.*")
        .await;
    published(&nights, &process).await;
    let before = Known::of(&process).await.unwrap();
    let run = post(&process, "/api/v1/schedules/daily/run", &json!({})).await;
    let name = run["backup"].as_str().unwrap().to_owned();
    eventually("the running backup", || async {
        let running = "SELECT count() FROM system.backups WHERE status = 'CREATING_BACKUP'";
        (nights.engine.sql(running).await == "1").then_some(())
    })
    .await;
    process.kill();
    std::fs::remove_dir_all(nights.home.state()).unwrap();

    let process = Process::start(&nights.home).await;
    let id = run["id"].as_str().unwrap();
    let ended = eventually("the end of the backup", || async {
        let operation = json(&process, &format!("/api/v1/operations/{id}")).await?;
        (!operation["finished_at"].is_null()).then_some(operation)
    })
    .await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    published(&nights, &process).await;
    let made = nights
        .engine
        .sql("SELECT status, count() FROM system.backups GROUP BY status")
        .await;
    assert_eq!(made, "BACKUP_CREATED\t2", "it was made once");
    let after = Known::of(&process).await.unwrap();
    assert_eq!(after.without(&name), before);
    process
        .succeeds(&format!(
            "/backup/restore?name={name}&restore_database_mapping=slow:copy"
        ))
        .await;
    let rows = "SELECT count(), sum(x) FROM copy.t";
    assert_eq!(nights.engine.sql(rows).await, "1000\t499500");
    process.kill();
}

/// The same configuration with a state directory of its own.
fn another_home(nights: &Nights) -> Home {
    let other = Home::new();
    let text = std::fs::read_to_string(nights.home.file()).unwrap();
    let (mine, its) = (nights.home.state(), other.state());
    let text = text.replace(&mine.display().to_string(), &its.display().to_string());
    std::fs::write(other.file(), text).unwrap();
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_on_one_destination_come_to_the_same_and_lose_nothing() {
    if engine::is_foreign() {
        return;
    }
    // A night of two seconds.
    let config = "[schedules.daily]\ncron = \"*/2 * * * * *\"\ndatabases = [\"shop\"]\nname = \"{date}-{time}\"\n[retention]\nkeep_last = 2";
    let nights = Nights::on_s3("disk = \"s3_backup\"", config).await;
    nights.engine.seed("shop", 500).await;
    let other = another_home(&nights);
    let daemons = [
        Process::start(&nights.home).await,
        Process::start(&other).await,
    ];
    let made = "SELECT countIf(status = 'BACKUP_CREATED') FROM system.backups";
    eventually("some nights", || async {
        let made: usize = nights.engine.sql(made).await.parse().unwrap();
        (made >= NIGHTS).then_some(())
    })
    .await;
    for daemon in &daemons {
        let reason = json!({"reason": "the end of the test"});
        post(daemon, "/api/v1/schedules/daily/pause", &reason).await;
    }
    let kept = eventually("they come to the same", || async {
        for daemon in &daemons {
            idle(daemon).await?;
        }
        let [one, two] = [names(&daemons[0]).await?, names(&daemons[1]).await?];
        if one != two || one.len() != 2 || nights.folders() != one {
            // What the other one did since is seen in the next round, in an hour; a pin and its end
            // are reasons for one now.
            for (daemon, names) in daemons.iter().zip([&one, &two]) {
                let newest = names.last()?;
                for change in ["pin", "unpin"] {
                    let url = format!("{}/api/v1/backups/{newest}/{change}", daemon.url);
                    let request = reqwest::Client::new().post(url).json(&json!({}));
                    request.send().await.ok()?;
                }
            }
            return None;
        }
        Some(one)
    })
    .await;
    let own: BTreeSet<String> = kept
        .iter()
        .map(|name| format!("{name}.json"))
        .chain(["state.json".to_owned()])
        .collect();
    eventually("no file of ours is left over", || async {
        let files = files_below(&nights.destination.join(".clickhouse-backupd"));
        (BTreeSet::from_iter(files) == own).then_some(())
    })
    .await;

    let twice = "SELECT name, count() FROM system.backups WHERE status LIKE 'BACKUP%' OR status LIKE 'CREATING%' GROUP BY name HAVING count() > 1";
    assert_eq!(nights.engine.sql(twice).await, "", "each is made once");
    let failed = "SELECT id, status, error FROM system.backups WHERE status NOT IN ('BACKUP_CREATED', 'RESTORED')";
    assert_eq!(nights.engine.sql(failed).await, "");
    let content = nights.engine.content("shop").await;
    for (daemon, name) in daemons.iter().zip(&kept) {
        let operations = items(daemon, "/api/v1/operations?limit=1000")
            .await
            .unwrap();
        let failed: Vec<&Value> = operations
            .values()
            .filter(|operation| operation["state"] == "failed")
            .collect();
        assert_eq!(failed, Vec::<&Value>::new());
        for name in &kept {
            let backup = json(daemon, &format!("/api/v1/backups/{name}")).await;
            assert_eq!(backup.unwrap()["status"], "complete");
        }
        nights.engine.sql("DROP DATABASE IF EXISTS copy SYNC").await;
        daemon
            .succeeds(&format!(
                "/backup/restore?name={name}&restore_database_mapping=shop:copy"
            ))
            .await;
        assert_eq!(nights.engine.content("copy").await, content, "{name}");
        let status = json(daemon, "/api/v1/status").await.unwrap();
        let problems = status["problems"].as_array().unwrap();
        // The pause at the end is one, and so is the slot that it skipped.
        let is_other = |problem: &&Value| !problem.to_string().contains("pause");
        let others: Vec<&Value> = problems.iter().filter(is_other).collect();
        assert_eq!(others, Vec::<&Value>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_that_remove_the_same_backup_at_once_both_end_well() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_s3("disk = \"s3_backup\"", "").await;
    nights.engine.seed("shop", 500).await;
    let one = nights.daemon_at(Clock::System.now()).await;
    for name in ["kept", "goes"] {
        one.succeeds(&format!("/backup/create?name={name}&table=shop.*"))
            .await;
    }
    settled(&one).await;
    let home = another_home(&nights);
    let other = home.start().await;
    let both = BTreeSet::from(["goes".to_owned(), "kept".to_owned()]);
    eventually("the other daemon has read in what is there", || async {
        let has_listed = other.worker.standing().listed_at.is_some();
        (has_listed && other.worker.is_read_in()).then_some(())
    })
    .await;
    assert_eq!(listed(&other).await, both);

    let deletes = deletes_objects(&nights, "goes");
    let held = Arc::new(AtomicUsize::new(0));
    let counted = held.clone();
    let s3 = nights.s3.as_ref().unwrap();
    s3.rule(move |seen| {
        if !deletes(seen) {
            return Act::Pass;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        Act::Hold
    });
    let mut removals = Vec::new();
    for (number, daemon) in [&one, &other].into_iter().enumerate() {
        let wanted = json!({"kind": "delete", "backup": "goes"});
        let (status, removal) = daemon.post_json("/api/v1/operations", &wanted).await;
        assert_eq!(status, 202, "{removal}");
        eventually("its deletion of the objects", || async {
            (held.load(Ordering::SeqCst) > number).then_some(())
        })
        .await;
        removals.push(removal);
    }
    s3.heal();
    let kept = BTreeSet::from(["kept".to_owned()]);
    for (daemon, removal) in [&one, &other].into_iter().zip(&removals) {
        let removal = daemon.end_of(removal).await;
        assert_eq!(removal["state"], "succeeded", "{removal}");
        assert_eq!(removal["items"][0]["state"], "done", "{removal}");
        settled(daemon).await;
        assert_eq!(listed(daemon).await, kept);
    }
    nights.assert_exact(&other).await;
    one.stop().await;
    other.stop().await;
}
