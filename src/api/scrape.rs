//! What a scrape of `/metrics` is computed from: memory only, nobody is asked.

use super::ApiState;
use crate::metrics::{CatalogNow, DestinationNow, RetentionNow, Scrape};

impl ApiState {
    /// The metrics as text.
    ///
    /// # Errors
    /// When they cannot be written as text, which is a defect.
    pub(super) fn scraped(&self) -> Result<String, prometheus::Error> {
        let (view, schedules) = (self.catalog.view(), self.schedules());
        let (rules, plan) = (self.worker.rules(), self.worker.retention_plan());
        let progress = self.worker.moved();
        self.metrics.render(&Scrape {
            now: self.clock.now(),
            view: &view,
            schedules: &schedules,
            rules: &rules,
            plan: &plan,
            progress: &progress,
            destination: self.destination_now(),
            retention: self.retention_now(),
            clickhouse: self.worker.reached(),
            catalog: CatalogNow {
                bytes: self.catalog.size_bytes(),
                is_failing: self.catalog.failing().is_some(),
            },
        })
    }

    fn destination_now(&self) -> DestinationNow {
        let standing = self.worker.standing();
        let broken_bytes = standing.broken.iter().map(|broken| broken.bytes);
        DestinationNow {
            view: standing.view.as_str(),
            listed_at: standing.listed_at,
            is_failing: standing.failure.is_some(),
            is_publish_failing: standing.publish_failure.is_some(),
            is_read_in: self.worker.is_read_in(),
            broken: standing.broken.len() as u64,
            broken_bytes: broken_bytes.fold(0, u64::saturating_add),
            others: standing.others_count as u64,
        }
    }

    fn retention_now(&self) -> RetentionNow {
        let note = self.worker.retention_note();
        RetentionNow {
            succeeded_at: note.succeeded_at,
            failed_at: note.failed_at,
            is_failing: note.failure.is_some(),
        }
    }
}
