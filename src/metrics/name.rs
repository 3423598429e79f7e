//! Every metric there is: its name, type, labels, and what a scrape says of it.

/// What can be scraped under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The whole name.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// Names of its labels, in the order of their values.
    pub labels: &'static [&'static str],
    /// One sentence: what the value is.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Goes up, and starts at 0 with the process.
    Counter,
    /// Counts in buckets, and starts at 0 with the process.
    Histogram,
}

impl Kind {
    /// The word of the text format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! ours {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $id: Metric = Metric {
            name: concat!("clickhouse_backupd_", $name),
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*
        /// Our own family, in the order of the documentation.
        pub(super) const OURS: &[Metric] = &[$($id),*];
    };
}

ours! {
    BUILD_INFO: Gauge "build_info" ["version"] "The version that runs; always 1.";
    RELOAD_SUCCESSFUL: Gauge "config_last_reload_successful" [] "Whether the configuration file as it is now is in use: 1, or 0 when it is invalid.";
    RELOADED_AT: Gauge "config_last_reload_success_timestamp_seconds" [] "When the configuration in use was read.";

    SCHEDULE_INFO: Gauge "schedule_info" ["schedule", "action", "kind", "cron", "timezone"] "A configured schedule; always 1.";
    KNOWN_SINCE: Gauge "schedule_known_since_timestamp_seconds" ["schedule"] "Since when the schedule is known: its oldest trace in the history, or when it was first seen.";
    EXPECTED_INTERVAL: Gauge "schedule_expected_interval_seconds" ["schedule"] "The longest time between two slots in a row.";
    NEXT_SLOT: Gauge "schedule_next_slot_timestamp_seconds" ["schedule"] "When the schedule is due next.";
    LATENESS: Gauge "schedule_lateness_seconds" ["schedule"] "How long after its due time the newest slot began, or how long it has been waiting by now.";
    PAUSED: Gauge "schedule_paused" ["schedule"] "Whether the schedule is paused: 1, or 0.";
    PAUSED_SINCE: Gauge "schedule_paused_since_timestamp_seconds" ["schedule"] "Since when the schedule is paused; 0: it is not.";
    LAST_SUCCESS: Gauge "schedule_last_success_timestamp_seconds" ["schedule"] "When the newest backup of the schedule was finished, or its newest run of proofs; 0: never.";
    LAST_ATTEMPT: Gauge "schedule_last_attempt_timestamp_seconds" ["schedule"] "When the newest attempt of the schedule began; 0: never.";
    LAST_RESULT: Gauge "schedule_last_result" ["schedule", "result"] "1 for how the newest run that ended did end, 0 for the others.";
    FAILURES_IN_A_ROW: Gauge "schedule_failures_in_a_row" ["schedule"] "Runs that failed since the last one that succeeded.";
    RUNNING_SINCE: Gauge "schedule_running_since_timestamp_seconds" ["schedule"] "When the attempt of the schedule that runs began; 0: none runs.";
    LAST_DURATION: Gauge "schedule_last_success_duration_seconds" ["schedule"] "How long the newest successful run took; 0: there is none in the history.";
    MEDIAN_DURATION: Gauge "schedule_median_duration_seconds" ["schedule"] "Median duration of the up to seven successful runs before the newest; 0: there are none.";
    RUNS: Counter "schedule_runs_total" ["schedule", "result"] "Runs of the schedule that ended, by result.";
    SKIPPED_SLOTS: Counter "schedule_skipped_slots_total" ["schedule", "reason"] "Slots that were not run, by reason; superseded and missed_policy are missed ones.";
    LAST_SKIPPED_SLOT: Gauge "schedule_last_skipped_slot_timestamp_seconds" ["schedule", "reason"] "The newest slot that was not run for this reason; 0: none in the history.";
    LAST_BYTES: Gauge "schedule_last_success_bytes" ["schedule"] "Bytes in the newest backup of the schedule, its base's part included; 0: none, or not known.";
    LAST_WRITTEN: Gauge "schedule_last_success_written_bytes" ["schedule"] "Bytes that were written for the newest backup of the schedule.";
    LAST_FILES: Gauge "schedule_last_success_files" ["schedule"] "Files in the newest backup of the schedule.";
    MEDIAN_BYTES: Gauge "schedule_median_bytes" ["schedule"] "Median bytes of the up to seven ordinary backups before the newest; 0: there are none.";
    SCHEDULE_BACKUPS: Gauge "schedule_backups" ["schedule", "status"] "Backups of the schedule, by status.";
    RESTORABLE: Gauge "schedule_restorable_backups" ["schedule"] "Backups of the schedule against which, and against whose chain, nothing speaks.";
    MIN_KEEP: Gauge "schedule_min_keep_backups" ["schedule"] "Backups that the policy keeps whatever happens (min_keep); 0: it does not say.";
    LAST_PROOF: Gauge "schedule_last_proof_timestamp_seconds" ["schedule", "level", "result"] "When a backup of the schedule that is there was last proved, by level and result; 0: never.";
    TIMER_MISSES: Counter "schedule_timer_misses_total" [] "Slots that the timer did not announce and the scheduler loop found by itself.";

    OPERATIONS: Counter "operations_total" ["kind", "result"] "Operations that ended, by kind and result.";
    FAILURES: Counter "operation_failures_total" ["kind", "failure"] "Operations that failed, by kind and kind of failure.";
    DURATION: Histogram "operation_duration_seconds" ["kind", "result"] "How long operations took that were begun, from the first attempt to the end.";
    WAITING: Gauge "operations_waiting" ["kind"] "Operations that wait for their turn, for ClickHouse, or for their next attempt.";
    RUNNING: Gauge "operations_running" ["kind"] "Operations at work.";
    RUNNING_START: Gauge "running_start_timestamp_seconds" ["kind"] "When the attempt at work began, the oldest of its kind; 0: none.";
    RUNNING_MOVED: Gauge "running_progress_timestamp_seconds" ["kind"] "When the progress of what is at work last changed, the longest ago of its kind; 0: nothing is at work.";
    RUNNING_DONE: Gauge "running_done_bytes" ["kind"] "Bytes that what is at work has done so far.";
    RUNNING_TOTAL: Gauge "running_expected_bytes" ["kind"] "Bytes that what is at work will come to; 0: not known.";

    KEPT_OR_NOT: Gauge "retention_planned_backups" ["verdict"] "Backups that the plan of retention keeps or removes, as of now.";
    RETENTION_STOPPED: Gauge "retention_stopped" ["reason"] "Whether this stands against any removal: 1, or 0.";
    RETENTION_FAILING: Gauge "retention_failing" [] "Whether the last round of retention failed, or a removal waits to be tried again: 1, or 0.";
    RETENTION_SUCCEEDED: Gauge "retention_last_success_timestamp_seconds" [] "When a round of retention of this process last ended with nothing standing against it; 0: never.";
    RETENTION_FAILED: Gauge "retention_last_failure_timestamp_seconds" [] "When a round of retention of this process last failed, or the removal that waits to be tried again; 0: never.";
    REMOVED: Counter "removed_backups_total" [] "Backups and remains that were removed from the destination.";
    FREED: Counter "removed_bytes_total" [] "Bytes that were removed from the destination.";

    BACKUPS: Gauge "destination_backups" ["origin", "status"] "Backups that are known, by who asked for them and by status.";
    BACKUP_BYTES: Gauge "destination_backup_bytes" ["origin"] "Bytes written for the backups that can be restored.";
    BROKEN_CHAINS: Gauge "destination_broken_chain_backups" [] "Backups whose base, or its base, is not there.";
    BROKEN: Gauge "destination_broken_backups" [] "Remains of dead attempts in the destination.";
    BROKEN_BYTES: Gauge "destination_broken_bytes" [] "Bytes of the remains of dead attempts.";
    OTHERS: Gauge "destination_orphaned_folders" [] "Folders in the destination that belong to no backup and to no attempt that is known.";
    LISTED_AT: Gauge "destination_last_listing_timestamp_seconds" [] "When the destination was last listed with success by this process; 0: never.";
    LISTED: Gauge "destination_listable" [] "Whether the last listing of the destination worked: 1; 0 when it failed, or there was none.";
    VIEW: Gauge "destination_view" ["view"] "1 for what is known of our view of the destination, 0 for the others.";
    PUBLISHING: Gauge "destination_publish_failing" [] "Whether the last file of ours could not be written to the destination: 1, or 0.";

    CATALOG_BYTES: Gauge "catalog_size_bytes" [] "Size of the catalog on disk, its log included.";
    CATALOG_OPERATIONS: Gauge "catalog_operations" [] "Operations in the history.";
    CATALOG_FAILING: Gauge "catalog_failing" [] "Whether the last write to the catalog failed: 1, or 0.";
    READ_IN: Gauge "catalog_read_in" [] "Whether what lies in the destination was read in: 1, or 0 while lists are not complete.";

    REACHABLE: Gauge "clickhouse_reachable" [] "Whether ClickHouse answered as it must when it was last asked: 1, or 0.";
    ASKED_AT: Gauge "clickhouse_last_contact_timestamp_seconds" [] "When ClickHouse was last asked; 0: never.";
    ANSWERED_AT: Gauge "clickhouse_last_answer_timestamp_seconds" [] "When ClickHouse last answered as it must; 0: never.";

    REQUESTS: Counter "api_requests_total" ["route", "method", "code"] "Requests that were answered, by route, method and status code.";
    MESSAGES: Counter "notifications_total" ["kind", "result"] "Calls of heartbeats and callbacks, by kind and whether they arrived.";
}
