//! For tests: a worker over a folder or a bucket, with a ClickHouse that says what it is told to.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Context, Live, Settings, Worker};
use crate::backup::{Backup, BackupKind, BackupName, ManifestSeen, Origin, Place, Scope};
use crate::catalog::{self, Catalog, Change, Decision, View};
use crate::clickhouse::{self, Client};
use crate::clock::Clock;
use crate::destination::Destination;
use crate::destination::testing::put;
use crate::metrics::Metrics;
use crate::operation::{
    Attempt, AttemptId, BackupWork, Delivery, Event, Limits, Operation, OperationId, Retry, Server,
    Trigger, Work,
};
use crate::retention::Rules;

/// What the server says.
#[derive(Debug)]
pub struct Answers {
    pub uuid: Uuid,
    /// A row of `system.disks`, as JSON.
    pub disk: String,
    /// What runs: id, destination, base, status.
    pub running: Vec<[&'static str; 4]>,
    /// Ids of backups that it made.
    pub finished: Vec<String>,
}

/// A ClickHouse that answers what a comparison asks; it ends with the test's runtime.
#[derive(Clone)]
pub struct FakeServer {
    pub url: String,
    answers: Arc<Mutex<Answers>>,
}

impl FakeServer {
    pub async fn start() -> Self {
        let answers = Arc::new(Mutex::new(Answers {
            uuid: Uuid::from_u128(7),
            disk: r#"{"type":"Local","object_storage_type":"None","metadata_type":"None"}"#.into(),
            running: Vec::new(),
            finished: Vec::new(),
        }));
        let told = answers.clone();
        let router = axum::Router::new().fallback(move |sql: String| {
            let answer = told.lock().unwrap().to(&sql);
            async move { answer }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, answers }
    }

    pub fn says(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap()
    }
}

impl Answers {
    fn to(&self, sql: &str) -> String {
        let uuid = self.uuid;
        let identity = format!(r#""server_uuid":"{uuid}","host":"ch-0","started_at":0"#);
        if sql.contains("FROM system.disks") {
            self.disk.clone()
        } else if sql.contains("groupArray((id, name, base_backup_name") {
            serde_json::json!({ "found": self.running }).to_string()
        } else if sql.contains("groupArray(id) AS found") {
            let asked = |id: &&String| sql.contains(&format!("'{id}'"));
            let found: Vec<_> = self.finished.iter().filter(asked).collect();
            format!(r#"{{{identity},"found":{}}}"#, serde_json::json!(found))
        } else {
            assert!(sql.contains("version()"), "{sql}");
            format!(r#"{{{identity},"version":"26.9.1"}}"#)
        }
    }
}

/// Nobody listens there.
pub const NOBODY: &str = "http://127.0.0.1:1";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn name(text: &str) -> BackupName {
    BackupName::parse(text).unwrap()
}

pub fn place() -> Place {
    Place::Disk("s3_backup".to_owned())
}

/// A worker with its own memory below `state`.
pub fn worker(
    state: &Path,
    destination: Option<Destination>,
    clickhouse: &str,
    clock: &Clock,
) -> Worker {
    let no_rules = watch::Sender::new(Arc::default()).subscribe();
    worker_with_rules(state, destination, clickhouse, clock, no_rules)
}

/// The same, with rules of retention.
pub fn worker_with_rules(
    state: &Path,
    destination: Option<Destination>,
    clickhouse: &str,
    clock: &Clock,
    rules: watch::Receiver<Arc<Rules>>,
) -> Worker {
    let settings = catalog::Settings {
        dir: state.to_owned(),
    };
    let client = Client::new(clickhouse::Settings {
        url: clickhouse.to_owned(),
        user: "default".to_owned(),
        password: None,
        verify_certificate: true,
    });
    Worker::new(Context {
        catalog: Catalog::open(&settings).unwrap(),
        client: client.unwrap(),
        clock: clock.clone(),
        metrics: Metrics::new().unwrap(),
        place: place(),
        destination,
        rules,
        settings: Settings {
            timeout: Duration::from_secs(14_400),
            client_deadline: Duration::from_secs(300),
            cancel_limit: Duration::from_secs(600),
        },
        allow_parallel: false,
        skip_tables: Vec::new(),
        live: Live::default(),
    })
}

/// Writes changes as they are.
pub async fn write(worker: &Worker, changes: Vec<Change>) {
    let decide = move |_: &View| Decision {
        changes,
        answer: (),
    };
    worker.0.catalog.write(decide).await.unwrap();
}

pub async fn put_backups(worker: &Worker, backups: &[Backup]) {
    let put = |backup: &Backup| Change::PutBackup(Box::new(backup.clone()));
    write(worker, backups.iter().map(put).collect()).await;
}

/// A client's backup of the server that [`FakeServer`] is; its manifest is [`put_manifest`]'s.
pub fn backup(text: &str, created: &str) -> Backup {
    let operation = Uuid::new_v5(&Uuid::nil(), text.as_bytes());
    let created_at = at(created);
    Backup {
        name: name(text),
        asked_name: name(text),
        place: place(),
        operation,
        number: 1,
        attempt: AttemptId::of_client(OperationId::from(operation), 1).to_string(),
        origin: Origin::Client,
        kind: BackupKind::Full,
        base: None,
        created_at,
        bytes: Some(2_048),
        bytes_written: Some(1_024),
        files: Some(3),
        tables: Some(1),
        structure_only: false,
        server: Some(Uuid::from_u128(7)),
        manifest: Some(ManifestSeen {
            uuid: manifest_uuid(text),
            read_at: created_at,
        }),
        proofs: Vec::new(),
        pinned: None,
        suspect: None,
        deleting: None,
        gone_since: None,
        changed_at: created_at,
    }
}

pub fn limits() -> Limits {
    Limits {
        timeout: Duration::from_secs(14_400),
        deadline: None,
        unreachable: Duration::from_secs(300),
        cancel: Duration::from_secs(600),
        retry: Retry {
            attempts: 1,
            delay: Duration::ZERO,
        },
    }
}

/// A client's backup that is at work.
pub fn running_backup(number: u64, text: &str) -> Operation {
    let work = Work::Backup(BackupWork {
        name: name(text),
        scope: Scope::everything(),
        base: None,
        increments: None,
        kind_reason: None,
    });
    let (id, now) = (OperationId::of_client(), at("2026-11-22T12:00:00Z"));
    let mut operation = Operation::new(id, Trigger::Client, work, "x".into(), limits(), now);
    operation.number = number;
    let server = Server {
        uuid: Uuid::from_u128(7),
        host: "ch-0".into(),
        started_at: Timestamp::UNIX_EPOCH,
    };
    let attempt = Attempt {
        id: operation.next_attempt_id(),
        backup: name(text),
        place: place(),
        started_at: now,
        ended_at: None,
        delivery: Delivery::Accepted,
        server: Some(server.clone()),
        tables: Some(1),
        bytes_expected: None,
        manifest: None,
        is_cleared: false,
        failure: None,
    };
    let begun = operation
        .apply(Event::Begun(Box::new(attempt)), now)
        .unwrap();
    begun.apply(Event::Accepted(server), now).unwrap()
}

fn manifest_uuid(name: &str) -> String {
    Uuid::new_v5(&Uuid::from_u128(1), name.as_bytes()).to_string()
}

/// The folder of a backup as ClickHouse leaves it, made by the attempt `id`, on a base.
pub fn put_manifest(root: &Path, name: &str, id: &str, base: Option<&str>) {
    let uuid = manifest_uuid(name);
    let base = base.map_or_else(String::new, |base| {
        let base_uuid = manifest_uuid(base);
        format!("<base_backup>Disk('s3_backup', '{base}')</base_backup><base_backup_uuid>{base_uuid}</base_backup_uuid>")
    });
    let manifest = format!(
        "<config><version>1</version><deduplicate_files>1</deduplicate_files><timestamp>2026-11-22 21:18:50</timestamp>\
         <uuid>{uuid}</uuid><backup_id>{id}</backup_id>{base}<contents></contents></config>"
    );
    put(root, &format!("{name}/.backup"), manifest.as_bytes());
}

/// The folder of a backup that we know.
pub fn put_folder_of(root: &Path, backup: &Backup) {
    let base = backup.base.as_ref().map(BackupName::as_str);
    put_manifest(root, backup.name.as_str(), &backup.attempt, base);
}

/// A memory that holds what these changes say.
pub fn view(changes: Vec<Change>) -> Arc<View> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = catalog::Settings {
        dir: dir.path().to_owned(),
    };
    let catalog = Catalog::open(&settings).unwrap();
    let decide = |_: &View| Decision {
        changes,
        answer: (),
    };
    runtime.block_on(catalog.write(decide)).unwrap();
    catalog.view()
}
