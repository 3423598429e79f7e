//! The process: built from a configuration, run, drained.

mod reload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, ApiState, KeptList, Notices, Waits};
use crate::catalog::{Catalog, OpenError};
use crate::clickhouse::{Client, SetupError};
use crate::clock::Clock;
use crate::config::{Config, Source};
use crate::destination::{self, Destination};
use crate::metrics::Metrics;
use crate::notify::{self, Caller};
use crate::retention::Rules;
use crate::worker::scheduler::Schedules;
use crate::worker::{Beside, Context, Live, Worker};

/// How long answers and writes under way may take at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How often what is still running is told meanwhile.
const DRAIN_REPORT: Duration = Duration::from_secs(5);

/// A daemon whose socket is bound and whose memory is open; nothing runs yet.
#[derive(Debug)]
pub struct Daemon {
    worker: Worker,
    catalog: Catalog,
    metrics: Metrics,
    clock: Clock,
    bound: api::Bound,
    config: Config,
    schedules: watch::Sender<Arc<Schedules>>,
    rules: watch::Sender<Arc<Rules>>,
    notify: watch::Sender<Arc<notify::Settings>>,
    caller: Caller,
    reload: Option<(Source, Signal)>,
    with_timer: bool,
}

/// A daemon that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The memory.
    #[error(transparent)]
    Catalog(#[from] OpenError),
    /// The way to ClickHouse.
    #[error(transparent)]
    ClickHouse(#[from] SetupError),
    /// Our view of the destination.
    #[error(transparent)]
    Destination(#[from] destination::SetupError),
    /// The door.
    #[error(transparent)]
    Api(#[from] api::ServeError),
    /// The way to those who want to hear of operations.
    #[error("setting up calls to others: {0}")]
    Caller(#[from] reqwest::Error),
    /// The metrics, which is a defect.
    #[error("registering the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// How a daemon is built beside its configuration.
#[derive(Debug)]
pub struct Options {
    /// Where the time comes from.
    pub clock: Clock,
    /// Where the configuration is read again from when it changes, and the signal (SIGHUP) that asks
    /// for it; `None` keeps it as it is.
    pub reload: Option<(Source, Signal)>,
    /// Whether `tokio-cron-scheduler` wakes the scheduler too, and ClickHouse is asked each minute
    /// whether it answers. The first reads the system's clock, and the second makes a year of half a
    /// million questions, so a simulation goes without.
    pub with_timer: bool,
}

impl Daemon {
    /// Opens the memory, binds the socket, and puts the parts together.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(config: Config, options: Options) -> Result<Self, BuildError> {
        let catalog = Catalog::open(&config.catalog)?;
        let metrics = Metrics::new()?;
        metrics.config_loaded(options.clock.now());
        let bound = api::build(&config.api)?;
        let destination = config.destination.view.as_ref();
        let destination = destination.map(Destination::open).transpose()?;
        let rules = watch::Sender::new(Arc::new(config.retention.clone()));
        let worker = Worker::new(Context {
            catalog: catalog.clone(),
            client: Client::new(config.clickhouse.clone())?,
            clock: options.clock.clone(),
            metrics: metrics.clone(),
            place: config.destination.place.clone(),
            destination,
            rules: rules.subscribe(),
            settings: config.worker.clone(),
            allow_parallel: config.api.allow_parallel,
            skip_tables: config.skip_tables.clone(),
            live: Live::default(),
        });
        let schedules = watch::Sender::new(Arc::new(config.schedules.clone()));
        let notify = watch::Sender::new(Arc::new(config.notify.clone()));
        let Options {
            clock,
            reload,
            with_timer,
        } = options;
        Ok(Self {
            worker,
            catalog,
            metrics,
            clock,
            bound,
            config,
            schedules,
            rules,
            notify,
            caller: Caller::new()?,
            reload,
            with_timer,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.bound.address()
    }

    /// What the API works with.
    #[must_use]
    pub fn worker(&self) -> Worker {
        self.worker.clone()
    }

    /// Runs until `stop`, then drains. A running backup goes on in ClickHouse.
    pub async fn run(self, stop: CancellationToken) {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = %self.address(),
            clickhouse = %self.config.clickhouse.url,
            schedules = self.config.schedules.len(),
            "clickhouse-backupd runs"
        );
        for warning in warnings(&self.config) {
            tracing::warn!("{warning}");
        }
        let tasks = TaskTracker::new();
        let notices = watch::Sender::new(Notices {
            warnings: warnings(&self.config),
            refused: None,
        });
        let state = ApiState {
            catalog: self.catalog.clone(),
            worker: self.worker.clone(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            zone: TimeZone::system(),
            schedules: self.schedules.subscribe(),
            notices: notices.subscribe(),
            stop: stop.clone(),
            kept_list: KeptList::default(),
            waits: Waits::default(),
        };
        let serving = self.bound.serve(state);
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!("the API ended: {error}");
            }
        });
        tasks.spawn(self.worker.clone().run_reconciler(stop.clone()));
        tasks.spawn(self.worker.clone().run_publisher(stop.clone()));
        for kind in [Beside::Proofs, Beside::Removals] {
            tasks.spawn(self.worker.clone().run_beside(kind, stop.clone()));
        }
        tasks.spawn(self.worker.clone().run_retention(stop.clone()));
        let heard = self.notify.subscribe();
        tasks.spawn(
            self.worker
                .clone()
                .run_notifier(self.caller, heard, stop.clone()),
        );
        if self.with_timer {
            tasks.spawn(self.worker.clone().run_contact(stop.clone()));
        }
        let (worker, schedules) = (self.worker.clone(), self.schedules.subscribe());
        let (with_timer, stopped) = (self.with_timer, stop.clone());
        let lane_tasks = tasks.clone();
        tasks.spawn(async move {
            // A night that was done already must be known before slots fire.
            worker.first_look(&stopped).await;
            lane_tasks.spawn(worker.clone().run_lane(stopped.clone()));
            lane_tasks.spawn(worker.run_schedules(schedules, with_timer, stopped));
        });
        if let Some((source, hangups)) = self.reload {
            let reload = reload::Reload {
                source,
                current: self.config,
                schedules: self.schedules,
                rules: self.rules,
                notify: self.notify,
                notices,
                metrics: self.metrics,
                clock: self.clock,
            };
            tasks.spawn(reload.run(hangups, stop.clone()));
        }
        stop.cancelled().await;
        tasks.close();
        drain(&tasks).await;
        if let Err(error) = self.catalog.close().await {
            tracing::warn!("closing the catalog: {error}");
        }
        tracing::info!(
            "clickhouse-backupd ended; what runs in ClickHouse goes on and is taken up at the next start"
        );
    }
}

/// Everything that should be known of a valid configuration.
fn warnings(config: &Config) -> Vec<String> {
    config.warnings.clone()
}

async fn drain(tasks: &TaskTracker) {
    let reports = async {
        loop {
            tokio::time::sleep(DRAIN_REPORT).await;
            tracing::info!(left = tasks.len(), "ending");
        }
    };
    tokio::select! {
        () = tasks.wait() => {}
        () = reports => {}
        () = tokio::time::sleep(DRAIN_LIMIT) => tracing::warn!(left = tasks.len(), "ending without waiting any longer"),
    }
}
