//! What is counted while the process lives, and starts at 0 with it.

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::families::Families;
use super::name::{self, Metric};
use super::schedules::{RESULTS, SKIP_REASONS};
use crate::operation::{FailureKind, Operation, State, Trigger, Work};
use crate::schedule::ScheduleName;

/// The words for what operations do.
pub(super) const KINDS: [&str; 4] = ["backup", "restore", "verify", "delete"];
/// Upper bounds of the durations, in seconds: from a table to a night.
const DURATION_BUCKETS_SECONDS: [f64; 12] = [
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 57_600.0,
];
/// Methods that are told apart; whatever else a caller sends is one of the others.
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "DELETE"];

/// What came of a call.
const ARRIVED: &str = "arrived";
const NOT_ARRIVED: &str = "not_arrived";

/// The counters, and the few gauges that nothing but this process knows.
#[derive(Debug)]
pub(super) struct Process {
    registry: Registry,
    pub reload_successful: IntGauge,
    pub reloaded_at: IntGauge,
    pub timer_misses: IntCounter,
    pub removed: IntCounter,
    pub freed_bytes: IntCounter,
    operations: IntCounterVec,
    failures: IntCounterVec,
    durations: HistogramVec,
    requests: IntCounterVec,
    messages: IntCounterVec,
    // These are shown for the schedules in use only, so the registry does not know them.
    runs: IntCounterVec,
    skipped: IntCounterVec,
    /// Commands of the server we replace, by command and whether they succeeded.
    commands: IntCounterVec,
}

fn opts(metric: Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

fn counters(metric: Metric) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(opts(metric), metric.labels)
}

impl Process {
    /// Everything at its start value, so that `rate()` works from the first scrape.
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let durations = HistogramOpts::new(name::DURATION.name, name::DURATION.help);
        let durations = durations.buckets(DURATION_BUCKETS_SECONDS.to_vec());
        let process = Self {
            registry: Registry::new(),
            reload_successful: IntGauge::with_opts(opts(name::RELOAD_SUCCESSFUL))?,
            reloaded_at: IntGauge::with_opts(opts(name::RELOADED_AT))?,
            timer_misses: IntCounter::with_opts(opts(name::TIMER_MISSES))?,
            removed: IntCounter::with_opts(opts(name::REMOVED))?,
            freed_bytes: IntCounter::with_opts(opts(name::FREED))?,
            operations: counters(name::OPERATIONS)?,
            failures: counters(name::FAILURES)?,
            durations: HistogramVec::new(durations, name::DURATION.labels)?,
            requests: counters(name::REQUESTS)?,
            messages: counters(name::MESSAGES)?,
            runs: counters(name::RUNS)?,
            skipped: counters(name::SKIPPED_SLOTS)?,
            commands: IntCounterVec::new(
                Opts::new("commands", "Not shown under this name."),
                &["command", "result"],
            )?,
        };
        process.begin();
        process.register()?;
        Ok(process)
    }

    fn begin(&self) {
        self.reload_successful.set(1);
        for kind in KINDS {
            for result in RESULTS {
                self.operations.with_label_values(&[kind, result]);
                // What was skipped never began.
                if result != State::Skipped.as_str() {
                    self.durations.with_label_values(&[kind, result]);
                }
            }
            for failure in FailureKind::ALL {
                self.failures.with_label_values(&[kind, failure.as_str()]);
            }
        }
        self.requests.with_label_values(&["/metrics", "GET", "200"]);
        for kind in ["heartbeat", "callback"] {
            for result in [ARRIVED, NOT_ARRIVED] {
                self.messages.with_label_values(&[kind, result]);
            }
        }
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let build = IntGaugeVec::new(opts(name::BUILD_INFO), name::BUILD_INFO.labels)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let collectors: [Box<dyn Collector>; 11] = [
            Box::new(build),
            Box::new(self.reload_successful.clone()),
            Box::new(self.reloaded_at.clone()),
            Box::new(self.timer_misses.clone()),
            Box::new(self.removed.clone()),
            Box::new(self.freed_bytes.clone()),
            Box::new(self.operations.clone()),
            Box::new(self.failures.clone()),
            Box::new(self.durations.clone()),
            Box::new(self.requests.clone()),
            Box::new(self.messages.clone()),
        ];
        for collector in collectors {
            self.registry.register(collector)?;
        }
        #[cfg(target_os = "linux")]
        self.registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(())
    }

    /// What the registry knows.
    pub(super) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// Counts an operation that ended.
    pub(super) fn operation_ended(&self, operation: &Operation) {
        let (kind, result) = (operation.kind(), operation.state.as_str());
        self.operations.with_label_values(&[kind, result]).inc();
        if let (State::Failed, Some(failure)) = (operation.state, &operation.failure) {
            let values = [kind, failure.kind.as_str()];
            self.failures.with_label_values(&values).inc();
        }
        if let (Some(start), Some(end)) = (operation.started_at, operation.finished_at) {
            let took = end.duration_since(start).as_secs_f64().max(0.0);
            let durations = self.durations.with_label_values(&[kind, result]);
            durations.observe(took);
        }
        if let Some(schedule) = operation.schedule() {
            let values = [schedule.as_str(), result];
            self.runs.with_label_values(&values).inc();
            if let Some(reason) = operation.skipped {
                self.slots_skipped(schedule, reason.as_str(), 1);
            }
        }
        if let Some(command) = command(operation) {
            let result = match operation.state {
                State::Succeeded => "successful",
                _ => "failed",
            };
            self.commands.with_label_values(&[command, result]).inc();
        }
    }

    /// Counts slots that were not run.
    pub(super) fn slots_skipped(&self, schedule: &ScheduleName, reason: &str, slots: u64) {
        let values = [schedule.as_str(), reason];
        self.skipped.with_label_values(&values).inc_by(slots);
    }

    /// Counts a request; `route` is a template of ours, so there are not many.
    pub(super) fn answered(&self, route: &str, method: &str, code: u16) {
        let method = METHODS.iter().find(|known| **known == method);
        let code = code.to_string();
        let values = [route, method.copied().unwrap_or("other"), &code];
        self.requests.with_label_values(&values).inc();
    }

    /// Counts a call of a heartbeat or a callback.
    pub(super) fn told(&self, kind: &str, arrived: bool) {
        let result = if arrived { ARRIVED } else { NOT_ARRIVED };
        self.messages.with_label_values(&[kind, result]).inc();
    }

    /// The counters of one schedule.
    pub(super) fn of_schedule(&self, schedule: &str, into: &mut Families) {
        for result in RESULTS {
            let runs = self.runs.with_label_values(&[schedule, result]).get();
            into.put(name::RUNS, &[schedule, result], runs);
        }
        for reason in SKIP_REASONS {
            let values = [schedule, reason.as_str()];
            let slots = self.skipped.with_label_values(&values).get();
            into.put(name::SKIPPED_SLOTS, &values, slots);
        }
    }

    /// How many commands of the server we replace ended like this.
    pub(super) fn commands(&self, command: &str, result: &str) -> u64 {
        self.commands.with_label_values(&[command, result]).get()
    }
}

/// The command of the server we replace that an operation is, once it ended; `None` where that one
/// would have counted nothing: what never began by somebody's will, proofs, and removals that nobody
/// asked for by name.
pub(super) fn command(operation: &Operation) -> Option<&'static str> {
    let never_began = operation.started_at.is_none();
    if operation.state == State::Skipped || (operation.state == State::Cancelled && never_began) {
        return None;
    }
    match operation.work {
        Work::Backup(_) => Some("create"),
        Work::Restore(_) => Some("restore"),
        Work::Delete(_) if operation.trigger == Trigger::Client => Some("delete"),
        Work::Delete(_) | Work::Verify(_) => None,
    }
}
