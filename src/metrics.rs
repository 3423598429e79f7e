//! Every metric name of ours. A scrape touches neither ClickHouse nor the bucket.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::operation::{Operation, State};

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of this process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    operations: IntCounterVec,
    timer_misses: IntCounter,
    reload_successful: IntGauge,
    reloaded_at: IntGauge,
    retention: Retention,
    destination: Destination,
}

/// What retention does.
#[derive(Debug)]
struct Retention {
    succeeded_at: IntGauge,
    failed_at: IntGauge,
    stopped: IntGauge,
    removed: IntCounter,
    freed_bytes: IntCounter,
}

/// What the destination looks like.
#[derive(Debug)]
struct Destination {
    listed_at: IntGauge,
    listed: IntGauge,
    bound: IntGauge,
    broken: IntGauge,
    /// The name that the server we replace announces and never exports.
    broken_before: IntGauge,
}

type Collectors = Vec<Box<dyn Collector>>;

fn gauge(name: &str, help: &str, all: &mut Collectors) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::with_opts(Opts::new(name, help))?;
    all.push(Box::new(gauge.clone()));
    Ok(gauge)
}

fn counter(name: &str, help: &str, all: &mut Collectors) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::with_opts(Opts::new(name, help))?;
    all.push(Box::new(counter.clone()));
    Ok(counter)
}

impl Retention {
    fn new(all: &mut Collectors) -> Result<Self, prometheus::Error> {
        Ok(Self {
            succeeded_at: gauge(
                "clickhouse_backupd_retention_last_success_timestamp_seconds",
                "When a round of retention last ended with nothing standing against it.",
                all,
            )?,
            failed_at: gauge(
                "clickhouse_backupd_retention_last_failure_timestamp_seconds",
                "When a round of retention last failed, or an attempt to remove what one had chosen.",
                all,
            )?,
            stopped: gauge(
                "clickhouse_backupd_retention_stopped",
                "Whether something stands against any removal: 1, or 0.",
                all,
            )?,
            removed: counter(
                "clickhouse_backupd_removed_backups_total",
                "Backups and remains that were removed from the destination.",
                all,
            )?,
            freed_bytes: counter(
                "clickhouse_backupd_removed_bytes_total",
                "Bytes that were removed from the destination.",
                all,
            )?,
        })
    }
}

impl Destination {
    fn new(all: &mut Collectors) -> Result<Self, prometheus::Error> {
        Ok(Self {
            listed_at: gauge(
                "clickhouse_backupd_destination_last_listing_timestamp_seconds",
                "When the destination was last listed.",
                all,
            )?,
            listed: gauge(
                "clickhouse_backupd_destination_last_listing_successful",
                "Whether the last listing of the destination worked: 1, or 0.",
                all,
            )?,
            bound: gauge(
                "clickhouse_backupd_destination_bound",
                "Whether our view is known to be of the place where ClickHouse writes: 1, or 0.",
                all,
            )?,
            broken: gauge(
                "clickhouse_backupd_destination_broken_backups",
                "Remains of dead attempts in the destination.",
                all,
            )?,
            broken_before: gauge(
                "clickhouse_backup_number_backups_remote_broken",
                "Remains of dead attempts in the destination, under the name of the server we replace.",
                all,
            )?,
        })
    }
}

/// What a listing of the destination has shown.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// When it ended; `None`: it failed.
    pub at: Option<jiff::Timestamp>,
    /// Whether our view is bound.
    pub bound: bool,
    /// Remains of dead attempts.
    pub broken: usize,
}

impl Metrics {
    /// Metrics with every series at its start value, so that `rate()` works from the first scrape.
    ///
    /// # Errors
    /// When a name is registered twice, which is a defect of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let name = |name: &str, help: &str| Opts::new(format!("clickhouse_backupd_{name}"), help);
        let registry = Registry::new();
        let operations = IntCounterVec::new(
            name(
                "operations_total",
                "Operations that ended, by kind and result.",
            ),
            &["kind", "result"],
        )?;
        for kind in ["backup", "restore", "verify", "delete"] {
            for result in [
                State::Succeeded,
                State::Failed,
                State::Cancelled,
                State::Skipped,
            ] {
                operations.with_label_values(&[kind, result.as_str()]);
            }
        }
        let build = IntGaugeVec::new(
            name("build_info", "The version that runs; always 1."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let timer_misses = IntCounter::with_opts(name(
            "schedule_timer_misses_total",
            "Slots that the timer did not announce and the scheduler loop found by itself.",
        ))?;
        let reload_successful = IntGauge::with_opts(name(
            "config_last_reload_successful",
            "Whether the configuration file as it is now is in use: 1, or 0 when it is invalid.",
        ))?;
        reload_successful.set(1);
        let reloaded_at = IntGauge::with_opts(name(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration in use was read.",
        ))?;
        let ours: [Box<dyn Collector>; 5] = [
            Box::new(operations.clone()),
            Box::new(build),
            Box::new(timer_misses.clone()),
            Box::new(reload_successful.clone()),
            Box::new(reloaded_at.clone()),
        ];
        for collector in ours {
            registry.register(collector)?;
        }
        let mut more = Vec::new();
        let (retention, destination) = (Retention::new(&mut more)?, Destination::new(&mut more)?);
        for collector in more {
            registry.register(collector)?;
        }
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self(Arc::new(Inner {
            registry,
            operations,
            timer_misses,
            reload_successful,
            reloaded_at,
            retention,
            destination,
        })))
    }

    /// Counts an operation that ended.
    pub fn operation_ended(&self, operation: &Operation) {
        self.0
            .operations
            .with_label_values(&[operation.kind(), operation.state.as_str()])
            .inc();
    }

    /// Notes that a round of retention ended, and whether something stands against any removal.
    pub fn retention_ended(&self, at: jiff::Timestamp, stopped: bool) {
        let retention = &self.0.retention;
        retention.stopped.set(i64::from(stopped));
        if !stopped {
            retention.succeeded_at.set(at.as_second());
        }
    }

    /// Notes that a round of retention failed, or an attempt to remove what one had chosen.
    pub fn retention_failed(&self, at: jiff::Timestamp) {
        self.0.retention.failed_at.set(at.as_second());
    }

    /// Counts something that was removed from the destination.
    pub fn removed(&self, bytes: u64) {
        self.0.retention.removed.inc();
        self.0.retention.freed_bytes.inc_by(bytes);
    }

    /// Notes what a listing of the destination has shown.
    pub fn destination_listed(&self, listing: Listing) {
        let destination = &self.0.destination;
        destination.listed.set(i64::from(listing.at.is_some()));
        if let Some(at) = listing.at {
            destination.listed_at.set(at.as_second());
        }
        destination.bound.set(i64::from(listing.bound));
        let broken = i64::try_from(listing.broken).unwrap_or(i64::MAX);
        destination.broken.set(broken);
        destination.broken_before.set(broken);
    }

    /// Counts a slot that the timer did not announce.
    pub fn timer_missed(&self) {
        self.0.timer_misses.inc();
    }

    /// Notes that the configuration was read, at this time, and is in use.
    pub fn config_loaded(&self, at: jiff::Timestamp) {
        self.0.reload_successful.set(1);
        self.0.reloaded_at.set(at.as_second());
    }

    /// Notes that the configuration file is invalid and the one before it stays in use.
    pub fn config_refused(&self) {
        self.0.reload_successful.set(0);
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a collector gives a family without samples, which ours never do.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }
}
