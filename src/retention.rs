//! Which backups may go: the policy as the configuration gives it.

use std::time::Duration;

/// What is kept. A backup stays if any rule keeps it; a rule that is `None` keeps nothing by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest *n*.
    pub keep_last: Option<u32>,
    /// Everything younger than this, counted from the newest backup.
    pub keep_within: Option<Duration>,
    /// The newest of each of the last *n* days that have one.
    pub keep_daily: Option<u32>,
    /// The newest of each of the last *n* ISO weeks that have one.
    pub keep_weekly: Option<u32>,
    /// The newest of each of the last *n* months that have one.
    pub keep_monthly: Option<u32>,
    /// The newest of each of the last *n* years that have one.
    pub keep_yearly: Option<u32>,
    /// A floor that no other rule overrides.
    pub min_keep: Option<u32>,
}

impl Policy {
    /// Whether no rule keeps anything: an empty policy would remove everything and is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let counts = [
            self.keep_last,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
            self.min_keep,
        ];
        self.keep_within.is_none() && counts.iter().all(Option::is_none)
    }
}
