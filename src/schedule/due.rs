//! What is due: which slot fires now, which ones are skipped and why.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::calendar::Calendar;

/// How old a slot may be, in seconds, before [`MissedPolicy::Skip`] counts it as missed.
///
/// A healthy scheduler is late by less than a second; a minute allows for a slow start of the
/// process.
pub const MISSED_AFTER_SECS: i64 = 60;

/// The most skipped slots that one call of [`due`] lists, the newest ones.
pub const SKIPPED_SLOTS_RECORDED_MAX: usize = 500;

/// The most skipped slots that one call of [`due`] counts; it bounds the cost after a year of
/// downtime of a schedule with seconds.
pub const SKIPPED_SLOTS_COUNTED_MAX: usize = 10_000;

/// How far, in seconds, the last slot may lie ahead of the clock without being taken for a clock
/// that was set back: time synchronisation corrects a fast clock by less.
pub const CLOCK_BACK_TOLERATED_SECS: i64 = 60;

/// What happens to a slot that came while nothing could run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedPolicy {
    /// The newest missed slot is run late, older ones are skipped.
    #[default]
    RunLatest,
    /// Missed slots are skipped; the next regular slot runs.
    Skip,
}

/// Why a slot did not fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A newer slot of the same schedule was due as well.
    Superseded,
    /// It was found more than [`MISSED_AFTER_SECS`] late, and the schedule says `missed = "skip"`.
    MissedPolicy,
    /// Somebody paused the schedule; decided after [`due`], which knows of no pauses.
    Paused,
    /// A backup of its name exists already; found when its turn came, not by [`due`].
    NameTaken,
}

impl SkipReason {
    /// The word used in the API and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::MissedPolicy => "missed_policy",
            Self::Paused => "paused",
            Self::NameTaken => "name_taken",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "a newer slot of the schedule was due as well",
            Self::MissedPolicy => "missed, and the schedule says missed = \"skip\"",
            Self::Paused => "the schedule was paused",
            Self::NameTaken => "a backup of this name exists already",
        })
    }
}

/// A slot that did not fire, with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedSlot {
    /// When it was due.
    pub at: Timestamp,
    /// Why it did not fire.
    pub reason: SkipReason,
}

/// The decision about one schedule at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The slot to run now.
    pub fire: Option<Timestamp>,
    /// Slots that are not run, oldest first, at most [`SKIPPED_SLOTS_RECORDED_MAX`] (the newest).
    pub skipped: Vec<SkippedSlot>,
    /// Skipped slots older than those in `skipped`, all superseded.
    pub skipped_unlisted: u64,
    /// Whether there are still older ones that were not counted into `skipped_unlisted`.
    pub skipped_uncounted: bool,
    /// The last slot to store; the next call starts from it.
    pub last_slot: Timestamp,
    /// The stored last slot when it lay in the future (by more than
    /// [`CLOCK_BACK_TOLERATED_SECS`]): the clock was set back, or had been wrong before.
    /// Nothing fires, `last_slot` is now, and somebody should be told.
    pub reset_from: Option<Timestamp>,
}

impl Due {
    /// The next slot, for the timer. Computed apart, because what is due should be written first.
    #[must_use]
    pub fn next(&self, calendar: &Calendar, now: Timestamp) -> Option<Timestamp> {
        // A clock that was corrected back a little must not announce a slot that has fired.
        calendar.next_after(now.max(self.last_slot))
    }
}

/// Decides what is due at `now` for a schedule whose slots up to `last_slot` were dealt with.
///
/// All slots in `(last_slot, now]` are dealt with: the newest fires (unless `policy` skips it), the
/// others are skipped.
/// However the time line is cut by calls, each slot is decided on in exactly one of them, so a
/// wake-up that is missed or doubled loses and doubles nothing.
/// A new schedule's `last_slot` is the moment it was first seen.
pub fn due(calendar: &Calendar, policy: MissedPolicy, last_slot: Timestamp, now: Timestamp) -> Due {
    if last_slot.duration_since(now) > SignedDuration::from_secs(CLOCK_BACK_TOLERATED_SECS) {
        return Due {
            reset_from: Some(last_slot),
            ..nothing_due(now)
        };
    }
    let mut slots = slots_back_from(calendar, now).take_while(|slot| *slot > last_slot);
    let Some(newest) = slots.next() else {
        return nothing_due(last_slot);
    };
    let missed = now.duration_since(newest) > SignedDuration::from_secs(MISSED_AFTER_SECS)
        && policy == MissedPolicy::Skip;

    let mut skipped = Vec::new();
    if missed {
        skipped.push(SkippedSlot {
            at: newest,
            reason: SkipReason::MissedPolicy,
        });
    }
    let listed = SKIPPED_SLOTS_RECORDED_MAX - skipped.len();
    skipped.extend(slots.by_ref().take(listed).map(|at| SkippedSlot {
        at,
        reason: SkipReason::Superseded,
    }));
    skipped.reverse();
    let countable = SKIPPED_SLOTS_COUNTED_MAX - SKIPPED_SLOTS_RECORDED_MAX;
    let skipped_unlisted = slots.by_ref().take(countable).count() as u64;

    Due {
        fire: (!missed).then_some(newest),
        skipped,
        skipped_unlisted,
        skipped_uncounted: slots.next().is_some(),
        last_slot: newest,
        reset_from: None,
    }
}

fn nothing_due(last_slot: Timestamp) -> Due {
    Due {
        fire: None,
        skipped: Vec::new(),
        skipped_unlisted: 0,
        skipped_uncounted: false,
        last_slot,
        reset_from: None,
    }
}

/// Slots at or before `now`, newest first.
fn slots_back_from(calendar: &Calendar, now: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
    std::iter::successors(calendar.latest_at(now), |slot| {
        calendar.previous_before(*slot)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::collections::BTreeSet;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn daily() -> Calendar {
        Calendar::parse("0 2 * * *", "Europe/Sofia").unwrap()
    }

    #[test]
    fn nothing_is_due_between_slots() {
        let last = at("2026-11-22T00:00:00Z");
        let now = at("2026-11-22T23:59:59.999Z");
        let due = due(&daily(), MissedPolicy::RunLatest, last, now);
        assert_eq!(due.fire, None);
        assert_eq!(due.last_slot, last);
        assert_eq!(due.next(&daily(), now), Some(at("2026-11-23T00:00:00Z")));
        assert!(due.skipped.is_empty() && due.reset_from.is_none());
    }

    #[rstest]
    #[case(MissedPolicy::RunLatest, "2026-11-23T00:00:00Z", true)]
    #[case(MissedPolicy::Skip, "2026-11-23T00:00:00Z", true)]
    #[case(MissedPolicy::Skip, "2026-11-23T00:01:00Z", true)]
    #[case(MissedPolicy::Skip, "2026-11-23T00:01:00.001Z", false)]
    #[case(MissedPolicy::RunLatest, "2026-11-23T09:00:00Z", true)]
    fn one_slot(#[case] policy: MissedPolicy, #[case] now: &str, #[case] fires: bool) {
        let slot = at("2026-11-23T00:00:00Z");
        let now = at(now);
        let due = due(&daily(), policy, at("2026-11-22T00:00:00Z"), now);
        assert_eq!(due.fire, fires.then_some(slot));
        assert_eq!(due.last_slot, slot);
        assert_eq!(due.next(&daily(), now), Some(at("2026-11-24T00:00:00Z")));
        let missed = SkippedSlot {
            at: slot,
            reason: SkipReason::MissedPolicy,
        };
        assert_eq!(due.skipped, if fires { vec![] } else { vec![missed] });
    }

    #[test]
    fn after_an_outage_the_newest_runs_and_the_others_say_why_not() {
        let due = due(
            &daily(),
            MissedPolicy::RunLatest,
            at("2026-11-20T00:00:00Z"),
            at("2026-11-23T08:00:00Z"),
        );
        assert_eq!(due.fire, Some(at("2026-11-23T00:00:00Z")));
        let skipped = |text| SkippedSlot {
            at: at(text),
            reason: SkipReason::Superseded,
        };
        assert_eq!(
            due.skipped,
            [
                skipped("2026-11-21T00:00:00Z"),
                skipped("2026-11-22T00:00:00Z")
            ]
        );
    }

    #[test]
    fn a_last_slot_in_the_future_resets_and_fires_nothing() {
        let now = at("2026-11-22T00:00:30Z");
        let future = at("2026-12-22T00:00:00Z");
        let due = due(&daily(), MissedPolicy::RunLatest, future, now);
        assert_eq!(due.reset_from, Some(future));
        assert_eq!(due.fire, None);
        assert_eq!(due.last_slot, now);
        assert_eq!(due.next(&daily(), now), Some(at("2026-11-23T00:00:00Z")));
    }

    #[test]
    fn a_clock_corrected_back_a_little_does_not_fire_twice() {
        let slot = at("2026-11-22T00:00:00Z");
        let now = at("2026-11-21T23:59:59.5Z");
        let due = due(&daily(), MissedPolicy::RunLatest, slot, now);
        assert_eq!((due.fire, due.reset_from), (None, None));
        assert_eq!(due.last_slot, slot);
        assert_eq!(due.next(&daily(), now), Some(at("2026-11-23T00:00:00Z")));
    }

    #[test]
    fn a_year_of_every_second_stays_bounded() {
        let calendar = Calendar::parse("* * * * * *", "Europe/Sofia").unwrap();
        let now = at("2026-11-22T00:00:00.5Z");
        let due = due(
            &calendar,
            MissedPolicy::RunLatest,
            at("2025-11-22T00:00:00Z"),
            now,
        );
        assert_eq!(due.fire, Some(at("2026-11-22T00:00:00Z")));
        assert_eq!(due.skipped.len(), SKIPPED_SLOTS_RECORDED_MAX);
        assert_eq!(due.skipped.last().unwrap().at, at("2026-11-21T23:59:59Z"));
        assert_eq!(due.skipped[0].at, at("2026-11-21T23:51:40Z"));
        assert_eq!(
            due.skipped_unlisted as usize,
            SKIPPED_SLOTS_COUNTED_MAX - SKIPPED_SLOTS_RECORDED_MAX
        );
        assert!(due.skipped_uncounted);
    }

    #[test]
    fn counts_are_exact_at_the_limits() {
        let calendar = Calendar::parse("* * * * * *", "UTC").unwrap();
        let now = at("2026-11-22T00:00:00Z");
        for (seconds, listed, unlisted, more) in [
            (501, 500, 0, false),
            (502, 500, 1, false),
            (10_001, 500, 9_500, false),
            (10_002, 500, 9_500, true),
        ] {
            let last = now - SignedDuration::from_secs(seconds);
            let due = due(&calendar, MissedPolicy::RunLatest, last, now);
            assert_eq!(due.skipped.len(), listed);
            assert_eq!(due.skipped_unlisted, unlisted);
            assert_eq!(due.skipped_uncounted, more);
        }
    }

    #[test]
    fn words_and_wire_names() {
        let json = serde_json::to_string(&[SkipReason::Superseded, SkipReason::MissedPolicy]);
        assert_eq!(json.unwrap(), r#"["superseded","missed_policy"]"#);
        let json = serde_json::to_string(&[MissedPolicy::RunLatest, MissedPolicy::Skip]);
        assert_eq!(json.unwrap(), r#"["run_latest","skip"]"#);
        assert_eq!(
            SkipReason::Superseded.to_string(),
            "a newer slot of the schedule was due as well"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Missed, doubled and early wake-ups lose and double nothing.
        #[test]
        fn any_cut_of_the_time_line_decides_every_slot_once(
            cron in prop::sample::select(vec![
                "0 * * * *", "15 2,14 * * *", "*/20 3 * * *", "0 */6 * * *", "*/30 * * * *",
            ]),
            zone in prop::sample::select(vec![
                "Europe/Sofia", "America/Havana", "Australia/Lord_Howe",
            ]),
            month in prop::sample::select(vec!["2026-03", "2026-04", "2026-10", "2026-11"]),
            start in 0i64..30 * 86_400_000,
            mut wakes in prop::collection::vec(0i64..5 * 86_400_000, 1..20),
            policy in prop::sample::select(vec![MissedPolicy::RunLatest, MissedPolicy::Skip]),
        ) {
            let calendar = Calendar::parse(cron, zone).unwrap();
            let start = at(&format!("{month}-01T00:00:00Z")) + SignedDuration::from_millis(start);
            wakes.sort_unstable();
            let end = start + SignedDuration::from_millis(*wakes.last().unwrap());
            let expected: BTreeSet<Timestamp> =
                calendar.slots_after(start).take_while(|slot| *slot <= end).collect();

            let mut last_slot = start;
            let mut decided = Vec::new();
            for wake in wakes.iter().flat_map(|wake| [wake, wake]) {
                let now = start + SignedDuration::from_millis(*wake);
                let due = due(&calendar, policy, last_slot, now);
                prop_assert!(due.next(&calendar, now) > Some(now));
                prop_assert_eq!(due.skipped_unlisted, 0);
                decided.extend(due.skipped.iter().map(|skipped| skipped.at));
                decided.extend(due.fire);
                last_slot = due.last_slot;
            }
            prop_assert!(decided.is_sorted_by(|a, b| a < b), "{:?}", decided);
            prop_assert_eq!(decided.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }
}
