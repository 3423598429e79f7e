//! What a scrape of `/metrics` is computed from: memory only, nobody is asked.

use super::ApiState;
use crate::catalog::View;
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
            retention: self.retention_now(&view),
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

    /// While a removal waits for its next attempt there is no round of retention, so it counts, too.
    fn retention_now(&self, view: &View) -> RetentionNow {
        let note = self.worker.retention_note();
        let failing = view.failing_removal();
        let failed_at = failing.and_then(|(removal, _)| {
            let ends = removal
                .attempts
                .iter()
                .filter_map(|attempt| attempt.ended_at);
            ends.max()
        });
        RetentionNow {
            succeeded_at: note.succeeded_at,
            failed_at: note.failed_at.max(failed_at),
            is_failing: note.failure.is_some() || failing.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::testing::Fixture;

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_told_and_a_scrape_does_not_ask_it() {
        let api = Fixture::new();
        let asked = |text: &str| {
            let line = text.lines().find(|line| {
                line.starts_with("clickhouse_backupd_clickhouse_last_contact_timestamp_seconds ")
            });
            !line.unwrap().ends_with(" 0")
        };
        assert!(!asked(&api.get("/metrics").await.body), "nobody asked yet");
        api.get("/api/v1/status").await;
        let scraped = api.get("/metrics").await.body;
        assert!(asked(&scraped), "{scraped}");
        for line in [
            "clickhouse_backupd_clickhouse_reachable 0",
            "clickhouse_backupd_clickhouse_last_answer_timestamp_seconds 0",
            "clickhouse_backupd_api_requests_total{code=\"200\",method=\"GET\",route=\"/api/v1/status\"} 1",
        ] {
            assert!(scraped.contains(&format!("{line}\n")), "{line}: {scraped}");
        }
    }
}
