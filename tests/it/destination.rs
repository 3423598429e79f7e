//! The destination as it may be found: with backups of others, damaged, half removed, not answering,
//! or with our memory of it lost.

use std::collections::BTreeSet;
use std::time::Duration;

use clickhouse_backupd::clock::Clock;
use jiff::SignedDuration;
use jiff::civil::{Date, date};
use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::nights::{Nights, names, settled, slot};
use crate::support::s3::{Act, Seen};
use crate::support::{engine, eventually, files_below};

const FULL: &str = "[schedules.daily]\ncron = \"0 2 * * *\"\ndatabases = [\"shop\"]\n";
const FIRST: Date = date(2026, 10, 20);

fn nth(night: i64) -> Date {
    FIRST.checked_add(jiff::Span::new().days(night)).unwrap()
}

/// Waits for a problem in the status; gives all of them.
async fn told(daemon: &TestDaemon, word: &str) -> String {
    eventually("what is wrong is told", || async {
        let (_, status) = daemon.get_json("/api/v1/status").await;
        let problems = status["problems"].to_string();
        problems.contains(word).then_some(problems)
    })
    .await
}

/// Removes the remains of dead attempts; the answer comes when that is done.
async fn clean(daemon: &TestDaemon) {
    let (status, text) = daemon.post("/backup/clean/remote_broken").await;
    assert_eq!(status, 200, "{text}");
    let row: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(row["status"], "success", "{row}");
}

async fn one(daemon: &TestDaemon, name: &str) -> Value {
    let (status, backup) = daemon.get_json(&format!("/api/v1/backups/{name}")).await;
    assert_eq!(status, 200, "{backup}");
    backup
}

async fn delete(daemon: &TestDaemon, name: &str, force: bool) -> (u16, Value) {
    let url = format!("{}/api/v1/backups/{name}?force={force}", daemon.url);
    let answer = reqwest::Client::new().delete(url).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_there_is_listed_and_left_alone() {
    if engine::is_foreign() {
        return;
    }
    let config = format!("{FULL}[retention]\nkeep_last = 1\nsweep_broken = true");
    let nights = Nights::on_disk(&config).await;
    nights.engine.seed("shop", 500).await;
    for number in 0..30 {
        let base = match number {
            0 => String::new(),
            _ => " SETTINGS base_backup = Disk('s3_backup', 'old-0')".to_owned(),
        };
        nights
            .engine
            .sql(&format!(
                "BACKUP DATABASE shop TO Disk('s3_backup', 'old-{number}'){base}"
            ))
            .await;
    }
    for (file, text) in [
        ("daily/2026-01-01/.backup", "<config></config>"),
        ("daily/2026-01-01/data/x.bin", "x"),
        ("abc/qwertyuiopasdfghjklzxcvbnmqwe", "x"),
        ("uvw/qwertyuiopasdfghjklzxcvbnmqwe", "x"),
        ("notes.txt", "mine"),
    ] {
        let path = nights.destination.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let before = files_below(&nights.destination);
    for night in 0..3 {
        nights.night(nth(night)).await.stop().await;
    }
    let daemon = nights.daemon_at(slot(nth(2))).await;
    settled(&daemon).await;
    let after: BTreeSet<String> = files_below(&nights.destination).into_iter().collect();
    let lost: Vec<&String> = before
        .iter()
        .filter(|file| !after.contains(*file))
        .collect();
    assert_eq!(lost, Vec::<&String>::new(), "nothing of others is touched");
    let listed = names(&daemon).await;
    assert_eq!(listed.len(), 31, "{listed:?}");
    assert!(listed.contains("old-29") && listed.contains("2026-10-22"));
    let old = one(&daemon, "old-7").await;
    assert_eq!(old["origin"], "foreign");
    assert_eq!(old["base"], "old-0");
    assert_eq!(old["retention"]["decision"], "keep");
    let (_, status) = daemon.get_json("/api/v1/status").await;
    let others = status["destination"]["others"].to_string();
    for other in ["daily", "abc", "uvw"] {
        assert!(others.contains(other), "{status}");
    }
    // A foreign one is removed when somebody names it, and its base only by force.
    let (code, refusal) = delete(&daemon, "old-0", false).await;
    assert_eq!(code, 409, "{refusal}");
    assert!(refusal.to_string().contains("old-29"), "{refusal}");
    let (code, accepted) = delete(&daemon, "old-7", false).await;
    assert_eq!(code, 202, "{accepted}");
    let ended = daemon.end_of(&accepted).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert!(!nights.destination.join("old-7").exists());
    let (code, accepted) = delete(&daemon, "old-0", true).await;
    assert_eq!(code, 202, "{accepted}");
    let ended = daemon.end_of(&accepted).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["items"].as_array().unwrap().len(), 29, "{ended}");
    assert_eq!(ended["items"][28]["backup"], "old-0", "the base goes last");
    assert!(
        names(&daemon)
            .await
            .iter()
            .all(|name| !name.starts_with("old"))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_wrong_prefix_nothing_is_removed_and_that_is_told() {
    if engine::is_foreign() {
        return;
    }
    let config = format!("{FULL}[retention]\nkeep_last = 1");
    let nights = Nights::on_s3("disk = \"s3_backup\"", &config).await;
    nights.engine.seed("shop", 500).await;
    nights.night(nth(0)).await.stop().await;
    let right = std::fs::read_to_string(nights.home.file()).unwrap();

    // A prefix of somebody else, with a backup in it.
    let theirs = nights.s3.as_ref().unwrap().bucket.join("other/old");
    std::fs::create_dir_all(&theirs).unwrap();
    std::fs::copy(
        nights.destination.join("2026-10-20/.backup"),
        theirs.join(".backup"),
    )
    .unwrap();
    let manifest = std::fs::read_to_string(theirs.join(".backup")).unwrap();
    std::fs::write(
        theirs.join(".backup"),
        manifest.replace("backupd:", "theirs:"),
    )
    .unwrap();
    let use_view = |url: &str| {
        let text = right.replace("s3://bucket/prefix", &format!("s3://{url}"));
        std::fs::write(nights.home.file(), text).unwrap();
    };
    std::fs::remove_dir_all(nights.home.state()).unwrap();
    use_view("bucket/other");
    // Later than the clock of the server, which says when a backup was made.
    let daemon = nights.night(date(2027, 1, 20)).await;
    let problems = told(&daemon, "may be the wrong place").await;
    assert!(problems.contains("bucket/other"), "{problems}");
    let made = one(&daemon, "2027-01-20").await;
    assert_eq!(made["status"], "unproven", "{made}");
    daemon.stop().await;
    let theirs_now = files_below(&nights.s3.as_ref().unwrap().bucket.join("other"));
    assert_eq!(
        theirs_now,
        ["old/.backup"],
        "nothing is written there, or removed"
    );

    use_view("absent/prefix");
    let options = clickhouse_backupd::daemon::Options {
        clock: Clock::anchored(slot(date(2027, 1, 20))),
        reload: None,
        with_timer: false,
    };
    let daemon = nights.home.start_with(options).await;
    let problems = told(&daemon, "cannot be listed").await;
    assert!(problems.contains("absent"), "{problems}");
    assert_eq!(
        daemon.names().await.len(),
        2,
        "what was known is still known"
    );
    daemon.stop().await;
    assert!(nights.destination.join("2026-10-20/.backup").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_lost_an_object_gets_no_increment() {
    if engine::is_foreign() {
        return;
    }
    let config = format!("{FULL}kind = \"incremental\"\nfull_every = \"7d\"\n");
    let nights = Nights::on_s3("disk = \"s3_backup\"", &config).await;
    nights.engine.seed("shop", 2_000).await;
    nights.night(nth(0)).await.stop().await;
    let daemon = nights.night(nth(1)).await;
    let second = one(&daemon, "2026-10-21").await;
    assert_eq!(second["base"], "2026-10-20", "{second}");
    daemon.stop().await;
    let victim = files_below(&nights.destination)
        .into_iter()
        .find(|file| file.starts_with("2026-10-20/data/") && file.ends_with(".bin"))
        .unwrap();
    std::fs::remove_file(nights.destination.join(&victim)).unwrap();
    let daemon = nights.night(nth(2)).await;
    let third = one(&daemon, "2026-10-22").await;
    assert_eq!(third["kind"], "full", "{third}");
    let damaged = one(&daemon, "2026-10-21").await;
    assert_eq!(damaged["status"], "damaged", "{damaged}");
    let file = victim.strip_prefix("2026-10-20/").unwrap();
    assert!(damaged["proofs"].to_string().contains(file), "{damaged}");
    let operation = third["operation"].as_str().unwrap();
    let (_, made) = daemon
        .get_json(&format!("/api/v1/operations/{operation}"))
        .await;
    assert!(made["notes"].to_string().contains("damaged"), "{made}");
    // Nothing is dropped for a backup that is not whole.
    let text = daemon.fails("/backup/restore?name=2026-10-21&rm=1").await;
    assert!(text.contains("nothing was dropped"), "{text}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_directory_comes_back_from_the_destination() {
    if engine::is_foreign() {
        return;
    }
    let config =
        format!("{FULL}kind = \"incremental\"\nfull_every = \"7d\"\n[retention]\nkeep_last = 3");
    let nights = Nights::on_s3("disk = \"s3_backup\"", &config).await;
    nights.engine.seed("shop", 500).await;
    for night in 0..4 {
        nights.night(nth(night)).await.stop().await;
    }
    // Each process has a clock of its own: it begins later than the one before it ended, because what a
    // client asked for hides a night that began after it for a minute.
    let later = |minutes| slot(nth(3)) + SignedDuration::from_mins(minutes);
    let daemon = nights.daemon_at(later(5)).await;
    daemon
        .succeeds("/backup/create?name=by-hand&table=shop.*")
        .await;
    let (code, pinned) = daemon
        .post_json(
            "/api/v1/backups/2026-10-21/pin",
            &json!({"reason": "audit"}),
        )
        .await;
    assert_eq!(code, 200, "{pinned}");
    let (code, _) = daemon
        .post_json(
            "/api/v1/schedules/daily/pause",
            &json!({"reason": "holidays"}),
        )
        .await;
    assert_eq!(code, 200);
    settled(&daemon).await;
    let seen = |daemon: &TestDaemon| {
        let url = daemon.url.clone();
        async move {
            let mut answers = Vec::new();
            for path in [
                "/api/v1/backups?limit=1000",
                "/api/v1/operations?limit=1000",
                "/api/v1/schedules",
                "/api/v1/retention/plan",
                "/backup/list",
                "/backup/actions",
            ] {
                let text = reqwest::get(format!("{url}{path}")).await.unwrap();
                answers.push(text.text().await.unwrap());
            }
            answers
        }
    };
    let shown = |answers: Vec<String>| -> Vec<Value> {
        answers
            .iter()
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
            .map(without_ages)
            .collect()
    };
    let before = shown(seen(&daemon).await);
    daemon.stop().await;
    std::fs::remove_dir_all(nights.home.state()).unwrap();
    let daemon = nights.daemon_at(later(10)).await;
    settled(&daemon).await;
    let after = shown(seen(&daemon).await);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after, before);
    }
    nights.assert_exact(&daemon).await;
    // And the tables of a backup are known again, so that a restore can tell what is in its way.
    let text = daemon.fails("/backup/restore?name=2026-10-23").await;
    assert!(text.contains("shop.orders"), "{text}");
    daemon.stop().await;
}

/// Ages move with the clock.
fn without_ages(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.remove("age_seconds");
            for value in map.values_mut() {
                *value = without_ages(value.take());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = without_ages(value.take());
            }
        }
        _ => {}
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_bucket_lose_nothing_and_are_visible() {
    if engine::is_foreign() {
        return;
    }
    let config = format!("{FULL}[retention]\nkeep_last = 2");
    let nights = Nights::on_s3("disk = \"s3_backup\"", &config).await;
    nights.engine.seed("shop", 500).await;
    for night in 0..2 {
        nights.night(nth(night)).await.stop().await;
    }
    let s3 = nights.s3.as_ref().unwrap();
    let ours = |seen: &Seen| seen.query.contains("list-type=2") && seen.query.contains("delimiter");

    // The listing is refused: the night's backup is made all the same, and nothing is removed.
    let daemon = nights
        .daemon_at(slot(nth(2)) - SignedDuration::from_millis(400))
        .await;
    s3.rule(move |seen| match ours(seen) {
        true => Act::Refuse(403),
        false => Act::Pass,
    });
    eventually("the backup of the third night", || async {
        daemon
            .names()
            .await
            .contains(&"2026-10-22".to_owned())
            .then_some(())
    })
    .await;
    daemon.worker.ask_retention();
    let told = eventually("the failure is told", || async {
        let (_, status) = daemon.get_json("/api/v1/status").await;
        status["destination"]["failure"].as_str().map(str::to_owned)
    })
    .await;
    assert!(!told.is_empty());
    assert_eq!(nights.folders().len(), 3, "nothing was removed");
    s3.heal();
    settled(&daemon).await;
    assert_eq!(nights.folders().len(), 2, "and now it is");
    daemon.stop().await;

    // Every third deletion fails: it is tried again until everything is gone.
    let mut deletions = 0;
    s3.rule(move |seen| {
        let deletes = seen.method == "DELETE" || seen.is_bulk_delete();
        deletions += usize::from(deletes);
        match deletes && deletions % 3 == 0 {
            true => Act::Refuse(500),
            false => Act::Pass,
        }
    });
    let daemon = nights.night(nth(3)).await;
    nights.assert_exact(&daemon).await;
    assert_eq!(nights.folders().len(), 2);
    let (_, backup) = daemon.get_json("/api/v1/backups/2026-10-23").await;
    assert_eq!(backup["status"], "complete", "{backup}");
    s3.heal();
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_at_work_is_removed() {
    if engine::is_foreign() {
        return;
    }
    let engine = engine::Engine::start_slow().await;
    let home = crate::support::daemon::Home::new();
    let folder = engine.backups.clone().unwrap();
    let destination = format!(
        "destination.disk = \"s3_backup\"\ndestination.url = \"file://{}\"",
        folder.display()
    );
    home.write_to(&engine.url, &destination, "");
    let daemon = home.start().await;
    daemon
        .succeeds("/backup/create?name=base&table=slow.*")
        .await;
    // A base while an increment is built on it.
    let id = daemon
        .begin("/backup/create?name=above&table=slow.*&diff-from=base")
        .await;
    let (code, refusal) = delete(&daemon, "base", true).await;
    assert_eq!(code, 409, "{refusal}");
    assert!(refusal.to_string().contains("above"), "{refusal}");
    assert_eq!(daemon.ended(&id).await["status"], "success");
    // A backup while it is restored.
    let id = daemon
        .begin("/backup/restore?name=above&restore_database_mapping=slow:copy")
        .await;
    let (code, refusal) = delete(&daemon, "base", true).await;
    assert_eq!(code, 409, "{refusal}");
    assert_eq!(daemon.ended(&id).await["status"], "success");
    // A backup that somebody restores by hand.
    let statement = "RESTORE DATABASE slow AS byhand FROM Disk('s3_backup', 'above') ASYNC";
    engine.sql(statement).await;
    let (code, refusal) = delete(&daemon, "above", false).await;
    if code == 409 {
        assert!(refusal.to_string().contains("restoring"), "{refusal}");
    } else {
        let left = engine
            .sql("SELECT count() FROM system.backups WHERE status = 'RESTORING'")
            .await;
        assert_eq!(left, "0", "it was removed while it was restored: {refusal}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_dead_attempt_blocked_is_used_again() {
    if engine::is_foreign() {
        return;
    }
    let mut engine = engine::Engine::start_slow().await;
    let home = crate::support::daemon::Home::new();
    let folder = engine.backups.clone().unwrap();
    let destination = format!(
        "destination.disk = \"s3_backup\"\ndestination.url = \"file://{}\"",
        folder.display()
    );
    let (cron, date) = crate::mission::daily_soon();
    let schedule = format!(
        "[schedules.daily]\ncron = \"{cron}\"\ndatabases = [\"slow\"]\nretry = {{ attempts = 3, delay = \"1s\" }}"
    );
    home.write_to(&engine.url, &destination, "");
    let daemon = home.start().await;
    daemon
        .succeeds("/backup/create?name=first&table=slow.*")
        .await;
    daemon.stop().await;
    home.write_to(&engine.url, &destination, &schedule);
    let daemon = home.start().await;
    let lock = folder.join(&date).join(".lock");
    eventually("the lock of the night's backup", || async {
        lock.exists().then_some(())
    })
    .await;
    engine.crash();
    tokio::time::sleep(Duration::from_secs(3)).await;
    engine.start_again();
    eventually("the backup under its own name", || async {
        daemon.names().await.contains(&date).then_some(())
    })
    .await;
    assert!(!lock.exists());
    let backup = one(&daemon, &date).await;
    assert_eq!(backup["status"], "complete", "{backup}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn remains_of_dead_attempts_are_listed_and_cleaned_when_asked() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_disk(FULL).await;
    nights.engine.seed("shop", 500).await;
    nights.night(nth(0)).await.stop().await;
    let dead = nights.destination.join("dead");
    std::fs::create_dir_all(dead.join("data/shop/orders")).unwrap();
    std::fs::write(dead.join(".lock"), "1b4e28ba-2fa1-11d2-883f-0016d3cca427").unwrap();
    std::fs::write(dead.join("data/shop/orders/x.bin"), "part").unwrap();
    let strange = nights.destination.join("live-data");
    std::fs::create_dir_all(&strange).unwrap();
    std::fs::write(strange.join("x.bin"), "not ours").unwrap();
    // Young remains may be of a writer that lives.
    let now = Clock::System.now();
    let daemon = nights.daemon_at(now).await;
    let text = daemon.rows("/backup/list").await;
    assert!(text.iter().all(|row| row["name"] != "dead"), "{text:?}");
    clean(&daemon).await;
    assert!(dead.exists());
    daemon.stop().await;
    let daemon = nights.daemon_at(now + SignedDuration::from_hours(48)).await;
    let rows = daemon.rows("/backup/list").await;
    let row = rows.iter().find(|row| row["name"] == "dead").unwrap();
    assert!(row["desc"].as_str().unwrap().starts_with("broken"), "{row}");
    clean(&daemon).await;
    assert!(!dead.exists(), "the remains are gone");
    assert!(strange.join("x.bin").exists(), "and nothing else");
    assert!(nights.destination.join("2026-10-20/.backup").exists());
    daemon.stop().await;
}
