//! Night after night on the real engine: the daemon is started a moment before each slot, under a
//! clock that shows that night, and ended when everything that the slot brings about is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::daemon::Options;
use clickhouse_backupd::schedule::ScheduleName;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::daemon::{Home, TestDaemon};
use super::engine::Engine;
use super::s3::S3;
use super::{eventually, files_below};

/// A daemon's home before an engine, and where its backups lie.
pub struct Nights {
    pub engine: Engine,
    pub home: Home,
    /// Where backups lie, as files.
    pub destination: PathBuf,
    pub s3: Option<S3>,
}

/// Tables and what they hold, as [`Engine::content`] tells it.
pub type Content = Vec<(String, String)>;

/// The slot of a date at 02:00 UTC.
pub fn slot(date: Date) -> Timestamp {
    let at = date.at(2, 0, 0, 0);
    at.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
}

impl Nights {
    /// On a bucket of a real S3 server, through a disk of type `s3_plain`, or a named collection.
    pub async fn on_s3(place: &str, config: &str) -> Self {
        Self::on_s3_with(place, config, &[]).await
    }

    /// The same, with further options of `server.py`.
    pub async fn on_s3_with(place: &str, config: &str, further: &[&str]) -> Self {
        let s3 = S3::start("bucket").await;
        let endpoint = format!("{}/bucket/prefix/", s3.url);
        let engine = Engine::start_on_s3(&endpoint, "access", "secret", further).await;
        let home = Home::new();
        let destination = format!(
            "destination.{place}\ndestination.url = \"s3://bucket/prefix\"\ndestination.s3.endpoint = \"{}\"\ndestination.s3.access_key_id = \"access\"\ndestination.s3.secret_access_key = \"secret\"",
            s3.url
        );
        home.write_to(&engine.url, &destination, config);
        Self {
            engine,
            home,
            destination: s3.bucket.join("prefix"),
            s3: Some(s3),
        }
    }

    /// On a local disk of the server.
    pub async fn on_disk(config: &str) -> Self {
        let engine = Engine::start(&[]).await;
        let home = Home::new();
        let folder = engine.backups.clone().unwrap();
        let destination = format!(
            "destination.disk = \"s3_backup\"\ndestination.url = \"file://{}\"",
            folder.display()
        );
        home.write_to(&engine.url, &destination, config);
        Self {
            engine,
            home,
            destination: folder,
            s3: None,
        }
    }

    /// A daemon whose clock shows this moment.
    pub async fn daemon_at(&self, at: Timestamp) -> TestDaemon {
        let options = Options {
            clock: Clock::anchored(at),
            reload: None,
            with_timer: false,
        };
        let daemon = self.home.start_with(options).await;
        eventually("what lies there is read in", || async {
            let is_listed = daemon.worker.standing().listed_at.is_some();
            (daemon.worker.is_read_in() && is_listed).then_some(())
        })
        .await;
        daemon
    }

    /// One night: the slot, its proof, and retention. The daemon is left running.
    pub async fn night(&self, date: Date) -> TestDaemon {
        if !self.home.state().exists() {
            // A schedule has missed nothing before it was first seen.
            let daemon = self
                .daemon_at(slot(date) - SignedDuration::from_hours(12))
                .await;
            let daily = ScheduleName::try_from("daily".to_owned()).unwrap();
            eventually("the schedule was seen", || async {
                let view = daemon.worker.commits().borrow().clone();
                view.last_slot(&daily).map(drop)
            })
            .await;
            daemon.stop().await;
        }
        let daemon = self
            .daemon_at(slot(date) - SignedDuration::from_millis(100))
            .await;
        eventually(&format!("the backup of {date}"), || async {
            let (_, backups) = daemon.get_json("/api/v1/backups?limit=1000").await;
            let backups = backups["items"].as_array()?.clone();
            backups
                .iter()
                .any(|backup| backup["slot"] == slot(date).to_string())
                .then_some(())
        })
        .await;
        settled(&daemon).await;
        daemon
    }

    /// Folders in the destination that are not our own.
    pub fn folders(&self) -> BTreeSet<String> {
        let top = |path: &String| path.split('/').next().unwrap().to_owned();
        let mut folders: BTreeSet<String> =
            files_below(&self.destination).iter().map(top).collect();
        folders.remove(".clickhouse-backupd");
        folders
    }

    /// What is in the destination is exactly what the list shows, and our own files about it.
    pub async fn assert_exact(&self, daemon: &TestDaemon) {
        let kept = names(daemon).await;
        assert_eq!(self.folders(), kept, "folders are the kept backups");
        let own = || {
            let files = files_below(&self.destination.join(".clickhouse-backupd"));
            files.into_iter().collect::<BTreeSet<String>>()
        };
        let wanted: BTreeSet<String> = kept
            .iter()
            .map(|name| format!("{name}.json"))
            .chain(["state.json".to_owned()])
            .collect();
        eventually(&format!("our own files are {wanted:?}"), || async {
            (own() == wanted).then_some(())
        })
        .await;
    }

    /// Every backup of the list restores, with the content it was made of.
    pub async fn assert_restores(
        &self,
        daemon: &TestDaemon,
        database: &str,
        contents: &BTreeMap<String, Content>,
    ) {
        for name in names(daemon).await {
            let copy = format!("{database}_copy");
            self.engine
                .sql(&format!("DROP DATABASE IF EXISTS {copy} SYNC"))
                .await;
            daemon
                .succeeds(&format!(
                    "/backup/restore?name={name}&restore_database_mapping={database}:{copy}"
                ))
                .await;
            assert_eq!(
                self.engine.content(&copy).await,
                contents[&name],
                "the content of {name}"
            );
        }
    }
}

/// Names in our own list, whole ones only.
pub async fn names(daemon: &TestDaemon) -> BTreeSet<String> {
    let (status, list) = daemon.get_json("/api/v1/backups?limit=1000").await;
    assert_eq!(status, 200, "{list}");
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .filter(|backup| backup["status"] != "broken")
        .map(|backup| backup["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until nothing is at work, and retention has looked at what there is since.
pub async fn settled(daemon: &TestDaemon) {
    idle(daemon).await;
    // The first round may have begun before.
    for _ in 0..2 {
        let before = daemon.worker.retention_note().rounds;
        daemon.worker.ask_retention();
        eventually("a round of retention", || async {
            (daemon.worker.retention_note().rounds > before).then_some(())
        })
        .await;
        idle(daemon).await;
    }
}

async fn idle(daemon: &TestDaemon) {
    eventually("nothing is at work any more", || async {
        unfinished(daemon).await.is_empty().then_some(())
    })
    .await;
}

/// Operations that have not ended.
pub async fn unfinished(daemon: &TestDaemon) -> Vec<Value> {
    let (_, list) = daemon.get_json("/api/v1/operations?limit=1000").await;
    let items = list["items"].as_array().unwrap().clone();
    items
        .into_iter()
        .filter(|operation| operation["finished_at"].is_null())
        .collect()
}
