//! Every metric, ours and those of the server we replace. A scrape touches neither ClickHouse nor the
//! bucket.
//!
//! Gauges are computed from the catalog at each scrape: they survive restarts and say what the API
//! says. What is counted lives in the process. `docs/metrics.md` describes each of them, and a test
//! compares it with what is scraped.

mod compat;
mod families;
mod name;
mod process;
mod running;
mod schedules;
mod scrape;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use prometheus::TextEncoder;

use self::families::Families;
use self::process::Process;
use crate::operation::{Operation, Schedule};
use crate::schedule::{ScheduleName, SkipReason};

pub use name::{Kind, Metric};
pub use scrape::{CatalogNow, ClickHouseNow, DestinationNow, Moved, RetentionNow, Scrape, VIEWS};

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Calendars whose expected interval is remembered; edits of the file bring new ones.
const INTERVALS_MAX: usize = 4_096;

/// The metrics of this process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    process: Process,
    /// When the configuration was first read.
    began: OnceLock<Timestamp>,
    /// Expected intervals, in seconds, by cron and zone: they cost some hundred looks at a calendar.
    intervals: Mutex<HashMap<(String, String), f64>>,
}

/// Every metric that a scrape can show, but those of the process as such (`process_*`).
#[must_use]
pub fn all() -> Vec<Metric> {
    name::OURS.iter().copied().chain(compat::all()).collect()
}

impl Metrics {
    /// Metrics with every counter at its start value, so that `rate()` works from the first scrape.
    ///
    /// # Errors
    /// When a name is registered twice, which is a defect of this module.
    pub fn new() -> Result<Self, prometheus::Error> {
        Ok(Self(Arc::new(Inner {
            process: Process::new()?,
            began: OnceLock::new(),
            intervals: Mutex::default(),
        })))
    }

    /// Counts an operation that ended.
    pub fn operation_ended(&self, operation: &Operation) {
        self.0.process.operation_ended(operation);
    }

    /// Counts slots that were left out and have no operation: there were too many of them.
    pub fn slots_skipped(&self, schedule: &ScheduleName, slots: u64) {
        let reason = SkipReason::Superseded.as_str();
        self.0.process.slots_skipped(schedule, reason, slots);
    }

    /// Counts something that was removed from the destination.
    pub fn removed(&self, bytes: u64) {
        self.0.process.removed.inc();
        self.0.process.freed_bytes.inc_by(bytes);
    }

    /// Counts a slot that the timer did not announce.
    pub fn timer_missed(&self) {
        self.0.process.timer_misses.inc();
    }

    /// Counts a call of a heartbeat or a callback (`kind`), and whether it arrived.
    pub fn told(&self, kind: &str, arrived: bool) {
        self.0.process.told(kind, arrived);
    }

    /// Counts a request that was answered; `route` is the template of a route of ours.
    pub fn answered(&self, route: &str, method: &str, code: u16) {
        self.0.process.answered(route, method, code);
    }

    /// Notes that the configuration was read, at this time, and is in use.
    pub fn config_loaded(&self, at: Timestamp) {
        self.0.began.get_or_init(|| at);
        self.0.process.reload_successful.set(1);
        self.0.process.reloaded_at.set(at.as_second());
    }

    /// Notes that the configuration file is invalid and the one before it stays in use.
    pub fn config_refused(&self) {
        self.0.process.reload_successful.set(0);
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a family is without samples, which none of ours is while its metric is named at all.
    pub fn render(&self, scrape: &Scrape<'_>) -> Result<String, prometheus::Error> {
        let mut made = Families::default();
        let history = schedules::History::of(scrape);
        for (name, schedule) in scrape.schedules {
            let interval = self.expected_interval(schedule, scrape.now);
            schedules::put(scrape, &history, schedule, interval, &mut made);
            self.0.process.of_schedule(name.as_str(), &mut made);
        }
        running::put(scrape, self.0.began.get().copied(), &mut made);
        stored::put(scrape, &mut made);
        compat::put(scrape, &self.0.process, &mut made);
        let mut families = self.0.process.gather();
        families.extend(made.into_families());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode_to_string(&families)
    }

    fn expected_interval(&self, schedule: &Schedule, now: Timestamp) -> f64 {
        let calendar = &schedule.calendar;
        let key = (
            calendar.expression().to_owned(),
            calendar.zone_name().to_owned(),
        );
        let intervals = self.0.intervals.lock();
        let mut intervals = intervals.unwrap_or_else(PoisonError::into_inner);
        if intervals.len() >= INTERVALS_MAX {
            intervals.clear();
        }
        let longest = || {
            calendar
                .longest_gap(now)
                .map_or(0.0, |gap| gap.as_secs_f64())
        };
        *intervals.entry(key).or_insert_with(longest)
    }
}
