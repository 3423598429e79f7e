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
        for kind in ["backup", "restore"] {
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
        })))
    }

    /// Counts an operation that ended.
    pub fn operation_ended(&self, operation: &Operation) {
        self.0
            .operations
            .with_label_values(&[operation.kind(), operation.state.as_str()])
            .inc();
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
