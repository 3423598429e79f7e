//! Pauses: somebody wants a schedule to rest, and says until when and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest reason of a pause, in characters.
pub const PAUSE_REASON_MAX_CHARS: usize = 1_000;

/// A pause of a schedule: slots that it covers are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; `None`: when somebody resumes the schedule.
    pub until: Option<Timestamp>,
    /// Why, in the words of whoever paused it.
    pub reason: Option<String>,
}

impl Pause {
    /// Whether a slot falls into it. When the slot is found late, what counts is when it was due.
    #[must_use]
    pub fn covers(&self, slot: Timestamp) -> bool {
        self.until.is_none_or(|until| slot < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_covers_what_is_due_before_its_end() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut pause = Pause {
            since: at("2026-11-22T10:00:00Z"),
            until: Some(at("2026-11-23T02:00:00Z")),
            reason: None,
        };
        assert!(pause.covers(at("2026-11-23T01:59:59Z")));
        assert!(
            !pause.covers(at("2026-11-23T02:00:00Z")),
            "its end is not in it"
        );
        pause.until = None;
        assert!(pause.covers(at("2036-11-23T02:00:00Z")));
    }
}
