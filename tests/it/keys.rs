//! Keys of the bucket that are no longer taken in the middle of a removal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::SignedDuration;
use jiff::civil::{Date, date};
use s3s::S3ErrorCode;
use serde_json::Value;

use crate::races::deletes_objects;
use crate::support::daemon::TestDaemon;
use crate::support::nights::{Nights, names, settled, slot};
use crate::support::s3::{Act, Keys};
use crate::support::{engine, eventually};

const FIRST: Date = date(2026, 10, 20);
const SECOND: Date = date(2026, 10, 21);

/// Files of the two halves of a key, as a secret that is mounted has them.
struct KeyFiles {
    id: PathBuf,
    secret: PathBuf,
}

impl KeyFiles {
    fn write(&self, id: &str, secret: &str) {
        std::fs::write(&self.id, id).unwrap();
        std::fs::write(&self.secret, format!("{secret}\n")).unwrap();
    }
}

/// A full backup each night, of which one is kept, through a key `old` of the daemon's own.
async fn nights() -> (Nights, KeyFiles) {
    let config = "[schedules.daily]\ncron = \"0 2 * * *\"\ndatabases = [\"shop\"]\n[retention]\nkeep_last = 1";
    let nights = Nights::on_s3("disk = \"s3_backup\"", config).await;
    nights.engine.seed("shop", 500).await;
    keys(&nights).allow("old", "secret-of-today");
    let folder = nights.home.dir.path();
    let files = KeyFiles {
        id: folder.join("id"),
        secret: folder.join("secret"),
    };
    files.write("old", "secret-of-today");
    let mut text = std::fs::read_to_string(nights.home.file()).unwrap();
    for (key, value, file) in [
        ("access_key_id", "access", &files.id),
        ("secret_access_key", "secret", &files.secret),
    ] {
        let before = format!("destination.s3.{key} = \"{value}\"");
        assert!(text.contains(&before), "{text}");
        let after = format!("destination.s3.{key}_file = \"{}\"", file.display());
        text = text.replace(&before, &after);
    }
    std::fs::write(nights.home.file(), text).unwrap();
    (nights, files)
}

fn keys(nights: &Nights) -> &Keys {
    &nights.s3.as_ref().unwrap().keys
}

/// The removal of the first night's backup, once retention began it.
async fn removal(daemon: &TestDaemon) -> Option<Value> {
    let (_, list) = daemon.get_json("/api/v1/operations?limit=1000").await;
    let items = list["items"].as_array()?.clone();
    items
        .into_iter()
        .find(|operation| operation["kind"] == "delete")
}

/// What the status says of this kind.
async fn problem_of(daemon: &TestDaemon, kind: &str) -> Option<String> {
    let (_, status) = daemon.get_json("/api/v1/status").await;
    let problems = status["problems"].as_array().unwrap().iter();
    let mut its = problems.filter(|problem| problem["kind"] == kind);
    its.next().map(ToString::to_string)
}

async fn assert_only_the_second(nights: &Nights, daemon: &TestDaemon) {
    nights.assert_exact(daemon).await;
    let second = SECOND.to_string();
    assert_eq!(names(daemon).await, BTreeSet::from([second.clone()]));
    let content = nights.engine.content("shop").await;
    let contents = BTreeMap::from([(second, content)]);
    nights.assert_restores(daemon, "shop", &contents).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_goes_on_with_keys_that_were_rotated_while_it_was_under_way() {
    if engine::is_foreign() {
        return;
    }
    let (nights, files) = nights().await;
    nights.night(FIRST).await.stop().await;
    let (deletes, keys) = (
        deletes_objects(&nights, &FIRST.to_string()),
        keys(&nights).clone(),
    );
    let mut is_rotated = false;
    nights.s3.as_ref().unwrap().rule(move |seen| {
        if !is_rotated && deletes(seen) {
            is_rotated = true;
            keys.allow("new", "secret-of-tomorrow");
            files.write("new", "secret-of-tomorrow");
            // This very request was signed with it.
            keys.revoke("old", S3ErrorCode::InvalidAccessKeyId);
        }
        Act::Pass
    });
    let daemon = nights.night(SECOND).await;
    assert_only_the_second(&nights, &daemon).await;
    let removal = removal(&daemon).await.unwrap();
    assert_eq!(removal["state"], "succeeded", "{removal}");
    assert_eq!(removal["attempts"].as_array().unwrap().len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_expire_in_a_removal_are_told_and_lose_nothing() {
    if engine::is_foreign() {
        return;
    }
    let (nights, files) = nights().await;
    nights.night(FIRST).await.stop().await;
    let (deletes, expiring) = (
        deletes_objects(&nights, &FIRST.to_string()),
        keys(&nights).clone(),
    );
    nights.s3.as_ref().unwrap().rule(move |seen| {
        if deletes(seen) {
            expiring.revoke("old", S3ErrorCode::ExpiredToken);
        }
        Act::Pass
    });
    let daemon = nights
        .daemon_at(slot(SECOND) - SignedDuration::from_millis(100))
        .await;
    let failure = eventually("the attempt that was refused", || async {
        let removal = removal(&daemon).await?;
        let failure = &removal["attempts"][0]["failure"];
        (!failure.is_null()).then(|| failure.clone())
    })
    .await;
    assert_eq!(failure["kind"], "destination", "{failure}");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("ExpiredToken"), "{message}");

    // The night is none the worse for it.
    let path = format!("/api/v1/backups/{SECOND}");
    let (_, backup) = daemon.get_json(&path).await;
    assert_eq!(backup["status"], "complete", "{backup}");
    let made_by = backup["operation"].as_str().unwrap();
    let (_, made) = daemon
        .get_json(&format!("/api/v1/operations/{made_by}"))
        .await;
    assert_eq!(made["state"], "succeeded", "{made}");
    assert_eq!(names(&daemon).await, BTreeSet::from([SECOND.to_string()]));
    let gauge = |is_listed: u8| format!("clickhouse_backupd_destination_listable {is_listed}\n");
    let problem = problem_of(&daemon, "removal_failing").await.unwrap();
    assert!(problem.contains("ExpiredToken"), "{problem}");
    let (_, metrics) = daemon.get("/metrics").await;
    let never = "clickhouse_backupd_retention_last_failure_timestamp_seconds 0\n";
    assert!(!metrics.contains(never), "{metrics}");
    let failing = "clickhouse_backupd_retention_failing 1\n";
    assert!(metrics.contains(failing), "{metrics}");
    daemon.worker.refresh().await.unwrap_err();
    let problem = problem_of(&daemon, "destination_failing").await.unwrap();
    assert!(problem.contains("ExpiredToken"), "{problem}");
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains(&gauge(0)), "{metrics}");
    assert!(metrics.contains("clickhouse_backupd_removed_backups_total 0\n"));

    // The new key is taken without a restart.
    keys(&nights).allow("new", "secret-of-tomorrow");
    files.write("new", "secret-of-tomorrow");
    daemon.worker.refresh().await.unwrap();
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains(&gauge(1)), "{metrics}");
    assert_eq!(problem_of(&daemon, "destination_failing").await, None);
    daemon.stop().await;

    // Later than the pause before the next attempt.
    let daemon = nights
        .daemon_at(slot(SECOND) + SignedDuration::from_mins(5))
        .await;
    settled(&daemon).await;
    assert_only_the_second(&nights, &daemon).await;
    let removal = removal(&daemon).await.unwrap();
    assert_eq!(removal["state"], "succeeded", "{removal}");
    assert_eq!(removal["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(problem_of(&daemon, "removal_failing").await, None);
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains("clickhouse_backupd_removed_backups_total 1\n"));
    daemon.stop().await;
}
