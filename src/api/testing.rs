//! What the tests of the API share: a real catalog and worker, rows put in directly, requests sent
//! through the whole router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use axum::routing::MethodRouter;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::requests::Guard;
use super::{Access, ApiState, KeptList, Notices, Waits, routes};
use crate::backup::{
    Backup, BackupKind, BackupName, Missing, NameTemplate, Origin, Place, Proof, ProofLevel,
    ProofOutcome, Scope,
};
use crate::catalog::{self, Catalog, Change, Decision};
use crate::clickhouse::{self, Client};
use crate::clock::Clock;
use crate::destination::{Destination, ViewSettings};
use crate::metrics::Metrics;
use crate::operation::{
    Action, BackupWork, Item, Limits, Operation, OperationId, Retry, Schedule, Trigger, Work,
};
use crate::schedule::{Calendar, MissedPolicy, ScheduleName};
use crate::worker::scheduler::Schedules;
use crate::worker::{self, Context, Worker};

/// A whole API over an empty catalog; nothing runs behind it, so what is submitted stays pending.
pub(super) struct Fixture {
    pub(super) state: ApiState,
    start: Timestamp,
    router: Router,
    _dir: tempfile::TempDir,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    headers: HeaderMap,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Every value of a header, in order.
    pub(super) fn headers(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }

    /// The names of all headers.
    pub(super) fn header_names(&self) -> Vec<&str> {
        self.headers.keys().map(|name| name.as_str()).collect()
    }
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with_access(Access::default())
    }

    pub(super) fn with_access(access: Access) -> Self {
        Self::built(|state| routes::router(state, access), Schedules::new())
    }

    /// With these schedules in use; no loop fires them.
    pub(super) fn with_schedules(schedules: impl IntoIterator<Item = Schedule>) -> Self {
        let named = schedules.into_iter().map(|one| (one.name.clone(), one));
        let access = Access::default();
        Self::built(|state| routes::router(state, access), named.collect())
    }

    /// With a view of its destination that was not read in yet.
    pub(super) fn with_view() -> Self {
        let router = |state| routes::router(state, Access::default());
        Self::built_with(router, Schedules::new(), true)
    }

    /// What lies in the destination was read in.
    pub(super) async fn read_in(&self) {
        self.change(Change::ReadIn(self.start)).await;
    }

    /// With one guarded route more than there is.
    pub(super) fn with_route(
        path: &'static str,
        methods: MethodRouter<ApiState>,
        guard: Guard,
    ) -> Self {
        let router = |state| routes::router_with(path, methods, guard, state);
        Self::built(router, Schedules::new())
    }

    fn built(router: impl FnOnce(ApiState) -> Router, schedules: Schedules) -> Self {
        Self::built_with(router, schedules, false)
    }

    fn built_with(
        router: impl FnOnce(ApiState) -> Router,
        schedules: Schedules,
        has_view: bool,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-11-22T13:34:53Z".parse().unwrap();
        let settings = catalog::Settings {
            dir: dir.path().to_owned(),
        };
        let catalog = Catalog::open(&settings).unwrap();
        let (metrics, clock) = (Metrics::new().unwrap(), Clock::anchored(start));
        let view = has_view.then(|| view_of(dir.path()));
        let worker = worker(catalog.clone(), metrics.clone(), clock.clone(), view);
        let state = ApiState {
            catalog,
            worker,
            metrics,
            clock,
            zone: TimeZone::get("Europe/Sofia").unwrap(),
            schedules: watch::Sender::new(Arc::new(schedules)).subscribe(),
            notices: watch::Sender::new(Notices::default()).subscribe(),
            stop: CancellationToken::new(),
            kept_list: KeptList::default(),
            waits: Waits::default(),
        };
        Self {
            router: router(state.clone()),
            state,
            start,
            _dir: dir,
        }
    }

    /// The time that the clock showed first.
    pub(super) fn start(&self) -> Timestamp {
        self.start
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "").await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, body).await
    }

    /// As `wget --post-data` and `curl -d` send it.
    pub(super) async fn form(&self, path: &str, body: &str) -> Answer {
        let request =
            Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        send(
            &self.router,
            request.body(Body::from(body.to_owned())).unwrap(),
        )
        .await
    }

    pub(super) async fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        send(
            &self.router,
            request.body(Body::from(body.to_owned())).unwrap(),
        )
        .await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.router, request).await
    }

    /// Puts a new operation in as it is, and gives its number.
    pub(super) async fn put(&self, mut operation: Operation) -> u64 {
        let decide = move |view: &catalog::View| {
            operation.number = view.next_number();
            let answer = operation.number;
            Decision {
                changes: vec![Change::PutOperation(Box::new(operation))],
                answer,
            }
        };
        self.state.catalog.write(decide).await.unwrap()
    }

    /// Replaces an operation that is there.
    pub(super) async fn put_again(&self, operation: Operation) {
        self.change(Change::PutOperation(Box::new(operation))).await;
    }

    pub(super) async fn put_backup(&self, backup: Backup) {
        self.change(Change::PutBackup(Box::new(backup))).await;
    }

    async fn change(&self, change: Change) {
        let decide = move |_: &catalog::View| Decision {
            changes: vec![change],
            answer: (),
        };
        self.state.catalog.write(decide).await.unwrap();
    }

    pub(super) fn operations(&self) -> Vec<Arc<Operation>> {
        self.state.catalog.view().operations().cloned().collect()
    }

    pub(super) fn only_operation(&self) -> Arc<Operation> {
        let operations = self.operations();
        assert_eq!(operations.len(), 1);
        operations[0].clone()
    }
}

/// Sends a request through a router.
pub(super) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 16 * 1024 * 1024).await.unwrap();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

/// A schedule in the time zone of the fixture.
pub(super) fn schedule(name: &str, cron: &str) -> Schedule {
    Schedule {
        name: ScheduleName::try_from(name.to_owned()).unwrap(),
        calendar: Calendar::parse(cron, "Europe/Sofia").unwrap(),
        missed: MissedPolicy::RunLatest,
        template: NameTemplate::parse("{date}").unwrap(),
        action: Action::Backup,
        increments: None,
        scope: Scope::everything(),
        deadline: Duration::from_secs(14_400),
        retry: Retry {
            attempts: 3,
            delay: Duration::from_secs(300),
        },
    }
}

/// A pending backup operation of this name.
pub(super) fn operation(name: &str, scheduled: bool, asked: Timestamp) -> Operation {
    let schedule = ScheduleName::try_from("daily".to_owned()).unwrap();
    let trigger = if scheduled {
        Trigger::Schedule {
            schedule,
            slot: asked,
            run: 1,
        }
    } else {
        Trigger::Client
    };
    let work = Work::Backup(BackupWork {
        name: BackupName::parse(name).unwrap(),
        scope: Scope::everything(),
        base: None,
        increments: None,
        kind_reason: None,
    });
    let limits = Limits {
        timeout: Duration::from_secs(14_400),
        deadline: None,
        unreachable: Duration::from_secs(300),
        cancel: Duration::from_secs(600),
        retry: Retry {
            attempts: 1,
            delay: Duration::ZERO,
        },
    };
    let command = format!("create {name}");
    Operation::new(
        OperationId::of_client(),
        trigger,
        work,
        command,
        limits,
        asked,
    )
}

/// A backup that exists.
pub(super) fn backup(name: &str, created: &str, bytes_written: u64, base: Option<&str>) -> Backup {
    let name = BackupName::parse(name).unwrap();
    Backup {
        asked_name: name.clone(),
        name,
        place: Place::Disk("s3_backup".to_owned()),
        operation: OperationId::of_client().as_uuid(),
        number: 0,
        attempt: "backupd:client:x:1".to_owned(),
        origin: Origin::Client,
        kind: if base.is_some() {
            BackupKind::Incremental
        } else {
            BackupKind::Full
        },
        base: base.map(|base| BackupName::parse(base).unwrap()),
        created_at: created.parse().unwrap(),
        bytes: Some(bytes_written * 2),
        bytes_written: Some(bytes_written),
        files: Some(3),
        tables: Some(1),
        structure_only: false,
        server: None,
        manifest: None,
        proofs: Vec::new(),
        pinned: None,
        suspect: None,
        deleting: None,
        gone_since: None,
        changed_at: created.parse().unwrap(),
    }
}

/// A proof that found two files missing.
pub(super) fn damaged_proof() -> Proof {
    Proof {
        level: ProofLevel::Files,
        at: "2026-11-22T14:00:00Z".parse().unwrap(),
        took_ms: 1_500,
        outcome: ProofOutcome::Damaged {
            count: 2,
            first: vec![Missing {
                backup: "b".to_owned(),
                file: "data/shop/orders/all_1_1_0/data.bin".to_owned(),
                size_wanted: Some(4_096),
                size_found: None,
                problem: "it is not there".to_owned(),
            }],
        },
        files: 12,
        bytes: 8_192,
    }
}

/// Gives an operation these backups to work on.
pub(super) fn put_items(operation: &mut Operation, names: &[&str]) {
    let item = |name: &&str| {
        let reasons = vec!["asked for".to_owned()];
        Item::new(BackupName::parse(name).unwrap(), None, reasons)
    };
    operation.items = names.iter().map(item).collect();
}

/// A view of a folder.
fn view_of(folder: &std::path::Path) -> Destination {
    let settings = ViewSettings {
        url: format!("file://{}", folder.display()),
        s3_endpoint: None,
        s3_region: None,
        s3_virtual_hosted_style: false,
        s3_ca_file: None,
        s3_access_key_id: None,
        s3_secret_access_key: None,
    };
    Destination::open(&settings).unwrap()
}

/// A worker whose ClickHouse nobody ever asks.
fn worker(
    catalog: Catalog,
    metrics: Metrics,
    clock: Clock,
    destination: Option<Destination>,
) -> Worker {
    let client = Client::new(clickhouse::Settings {
        url: "http://127.0.0.1:1".to_owned(),
        user: "default".to_owned(),
        password: None,
        verify_certificate: true,
    });
    Worker::new(Context {
        catalog,
        client: client.unwrap(),
        clock,
        metrics,
        place: Place::Disk("s3_backup".to_owned()),
        destination,
        rules: watch::Sender::new(Arc::default()).subscribe(),
        settings: worker::Settings {
            timeout: Duration::from_secs(14_400),
            client_deadline: Duration::from_secs(300),
            cancel_limit: Duration::from_secs(600),
        },
        allow_parallel: false,
        skip_tables: Vec::new(),
        live: worker::Live::default(),
    })
}
