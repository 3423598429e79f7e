//! What a scrape reads: plain data that is in memory already.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::catalog::View;
use crate::operation::{OperationId, Progress, Schedule};
use crate::retention::{Plan, Rules};
use crate::schedule::ScheduleName;

/// Everything that gauges are computed from, at one moment. Whoever fills it asks nobody.
#[derive(Debug)]
pub struct Scrape<'a> {
    /// The time.
    pub now: Timestamp,
    /// Our memory.
    pub view: &'a View,
    /// The schedules in use.
    pub schedules: &'a BTreeMap<ScheduleName, Schedule>,
    /// The policies in use.
    pub rules: &'a Rules,
    /// What retention would do now.
    pub plan: &'a Plan,
    /// How far what is at work has come, and when that last changed.
    pub progress: &'a HashMap<OperationId, Moved>,
    /// What is known of the destination.
    pub destination: DestinationNow,
    /// What came of the last rounds of retention.
    pub retention: RetentionNow,
    /// The ClickHouse server.
    pub clickhouse: ClickHouseNow,
    /// The catalog as a file.
    pub catalog: CatalogNow,
}

/// How far an operation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// As of the last look at the server; zeros for what runs inside us.
    pub progress: Progress,
    /// When that, or one of its items, last changed.
    pub at: Timestamp,
}

/// What is known of the destination, from its last listing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DestinationNow {
    /// Whether our view can be trusted: one of [`VIEWS`].
    pub view: &'static str,
    /// When it was last listed with success.
    pub listed_at: Option<Timestamp>,
    /// Whether the last listing failed.
    pub is_failing: bool,
    /// Whether the last file of ours could not be written there.
    pub is_publish_failing: bool,
    /// Whether what lies there was read in.
    pub is_read_in: bool,
    /// Remains of dead attempts.
    pub broken: u64,
    /// Their bytes.
    pub broken_bytes: u64,
    /// Folders of nobody that is known.
    pub others: u64,
}

/// The words for what is known of our view of the destination.
pub const VIEWS: [&str; 4] = ["none", "names_on_server", "unbound", "bound"];

/// What came of the last rounds of retention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionNow {
    /// When a round last ended with nothing standing against it.
    pub succeeded_at: Option<Timestamp>,
    /// When a round last failed.
    pub failed_at: Option<Timestamp>,
    /// Whether the last round failed.
    pub is_failing: bool,
}

/// Whether ClickHouse answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClickHouseNow {
    /// When it was last asked.
    pub asked_at: Option<Timestamp>,
    /// When it last answered as it must.
    pub answered_at: Option<Timestamp>,
    /// Whether it did so the last time.
    pub is_reachable: bool,
}

/// The catalog as a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatalogNow {
    /// Its size on disk.
    pub bytes: u64,
    /// Whether the last write failed.
    pub is_failing: bool,
}
