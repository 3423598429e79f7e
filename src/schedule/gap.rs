//! How far apart the slots of a calendar are at most.

use jiff::{SignedDuration, Timestamp};

use super::Calendar;

/// Steps in which gaps are looked for, and how far: every gap within a year that is longer than a day
/// holds a moment of the first row, every one of the coming week that is longer than an hour one of the
/// second, every one of the coming hours that is longer than a minute one of the third.
const LOOKS: [(SignedDuration, SignedDuration); 3] = [
    (
        SignedDuration::from_hours(24),
        SignedDuration::from_hours(24 * 400),
    ),
    (
        SignedDuration::from_hours(1),
        SignedDuration::from_hours(24 * 8),
    ),
    (SignedDuration::from_mins(1), SignedDuration::from_hours(3)),
];

impl Calendar {
    /// The longest time between two slots in a row, from the one before `now` on: for at least a year
    /// where gaps are days, and for a week where they are hours.
    ///
    /// In a zone that changes its clocks a daily schedule has one night of 25 hours, and that is the
    /// answer. `None` only at the ends of time, where the cron library stops.
    #[must_use]
    pub fn longest_gap(&self, now: Timestamp) -> Option<SignedDuration> {
        let mut longest = self.gap_at(now)?;
        for (step, horizon) in LOOKS {
            let end = now.checked_add(horizon).ok()?;
            let mut at = now;
            // A longer gap than the longest so far holds one of these moments, whatever the step.
            while let Ok(next) = at.checked_add(step.max(longest))
                && next < end
            {
                at = next;
                longest = longest.max(self.gap_at(at)?);
            }
        }
        Some(longest)
    }

    /// The time between the slots around a moment.
    fn gap_at(&self, at: Timestamp) -> Option<SignedDuration> {
        let (before, after) = (self.latest_at(at)?, self.next_after(at)?);
        Some(after.duration_since(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("*/5 * * * *", "UTC", 5 * 60)]
    #[case("* * * * * *", "UTC", 1)]
    #[case("0 2 * * *", "UTC", 24 * 3_600)]
    #[case("0 2 * * *", "Europe/Sofia", 25 * 3_600)]
    #[case("0 2 * * 1-5", "UTC", 3 * 24 * 3_600)]
    #[case("0 2 1 * *", "UTC", 31 * 24 * 3_600)]
    #[case("0 2 29 2 *", "UTC", 1_461 * 24 * 3_600)]
    #[case("*/5 9-16 * * *", "UTC", 16 * 3_600 + 5 * 60)]
    #[case("0 9-17 * * 1-5", "UTC", (48 + 16) * 3_600)]
    #[case("0 2 * 1-6 *", "UTC", 185 * 24 * 3_600)]
    #[case("5,10,50 * * * *", "UTC", 40 * 60)]
    fn the_longest_gap(#[case] cron: &str, #[case] zone: &str, #[case] seconds: i64) {
        let calendar = Calendar::parse(cron, zone).unwrap();
        for now in ["2026-11-23T00:00:00Z", "2027-01-15T12:34:56.7Z"] {
            let gap = calendar.longest_gap(now.parse().unwrap()).unwrap();
            assert_eq!(gap.as_secs(), seconds, "{cron} at {now}");
        }
    }
}
