//! Cron expression and time zone → slots.
//!
//! # What a clock change does
//!
//! Two kinds of expression, told apart by the hour field alone.
//!
//! **Fixed**: no item of the hour field begins with `*` (`0 2 * * *`, `15 2,14 * * *`,
//! `*/15 2 * * *`, `0 8-20/4 * * *`).
//! Every time of day that the fields name is due once on every matching date:
//! - a time that the clock skips is due at the first instant after the gap; several that are
//!   skipped together, or that meet one due there anyway, become one slot;
//! - a time that the clock shows twice is due the first time only.
//!
//! In other words: a time is due at the first instant at which the clock shows it or has passed it.
//!
//! **Elapsed**: an item of the hour field begins with `*` (`0 * * * *`, `*/10 * * * *`,
//! `0 */6 * * *`).
//! Every instant is due at which the clock shows a matching time: nothing in the gap, and both
//! passes of a repeated hour, so `0 * * * *` runs 23 and 25 times on those days.
//!
//! # How
//!
//! The cron library is asked about wall-clock times without a zone, where it has no clock changes
//! to get wrong (asked with a zone it takes any list for an interval: `15 2,14 * * *` would be lost
//! in the gap and doubled in the repeated hour).
//! The way between wall clock and instants is ours, below, and is all there is to the rule above.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Weekday};
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Span, Timestamp};

use super::expression::{self, ExpressionError};

/// The most characters of a refused text that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// Files beside the zones that are no zones: what they mean depends on the machine.
const NOT_ZONES: [&str; 3] = ["localtime", "posixrules", "Factory"];

/// A cron expression in a time zone: an endless, strictly increasing row of slots.
///
/// Slots are whole seconds.
/// Two calendars are equal when their texts and zones are.
#[derive(Clone)]
pub struct Calendar {
    expression: String,
    zone_name: String,
    zone: TimeZone,
    cron: Cron,
    elapsed: bool,
}

/// Why a calendar was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The expression is not one we take.
    #[error("cron expression {cron:?}: {problem}")]
    Expression {
        /// The expression as written, shortened.
        cron: String,
        /// What is wrong with it.
        problem: ExpressionError,
    },
    /// The expression is well formed and names a date that no year has.
    #[error(
        "cron expression {cron:?} never comes due: no year has a day that matches its day and \
         month fields"
    )]
    NeverDue {
        /// The expression as written.
        cron: String,
    },
    /// No such time zone on this machine or in the built-in table.
    #[error("time zone {zone:?} is unknown; use an IANA name such as \"Europe/Sofia\" or \"UTC\"")]
    UnknownZone {
        /// The name as written, shortened.
        zone: String,
    },
}

impl Calendar {
    /// Reads a cron expression (5 fields, 6 with seconds first, or one of `@yearly` `@annually`
    /// `@monthly` `@weekly` `@daily` `@midnight` `@hourly`) and an IANA time zone.
    ///
    /// A day matches when its day of the month *or* its weekday does, unless one of the two fields
    /// is `*`, as in crontab(5).
    /// (A field such as `*/2` restricts here; Vixie cron takes it for a `*`.)
    pub fn parse(cron: &str, timezone: &str) -> Result<Self, CalendarError> {
        let shown: String = cron.chars().take(SHOWN_CHARS_MAX).collect();
        let refuse = |problem| CalendarError::Expression {
            cron: shown.clone(),
            problem,
        };
        let checked = expression::check(cron).map_err(refuse)?;
        let parsed = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build()
            .parse(&checked.cron)
            .map_err(|error| refuse(ExpressionError::Library(error.to_string())))?;
        if !some_date_matches(&parsed) {
            return Err(CalendarError::NeverDue { cron: shown });
        }
        let zone = TimeZone::get(timezone)
            .ok()
            .filter(|zone| !zone.is_unknown())
            .filter(|_| !NOT_ZONES.iter().any(|no| no.eq_ignore_ascii_case(timezone)))
            .ok_or_else(|| CalendarError::UnknownZone {
                zone: timezone.chars().take(SHOWN_CHARS_MAX).collect(),
            })?;
        Ok(Self {
            expression: checked.text,
            zone_name: zone.iana_name().unwrap_or(timezone).to_owned(),
            zone,
            cron: parsed,
            elapsed: checked.hour_is_wildcard,
        })
    }

    /// The first slot strictly after `after`.
    ///
    /// `None` only beyond the year 4999, where the cron library stops.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = floor_to_second(after)?;
        if self.elapsed {
            self.next_elapsed(after)
        } else {
            self.next_fixed(after)
        }
    }

    /// The last slot strictly before `before`.
    ///
    /// `None` only before the year 1, where the cron library stops.
    pub fn previous_before(&self, before: Timestamp) -> Option<Timestamp> {
        let one_nanosecond_less = before.checked_sub(Span::new().nanoseconds(1)).ok()?;
        self.latest_at(one_nanosecond_less)
    }

    /// The last slot at or before `at`.
    pub fn latest_at(&self, at: Timestamp) -> Option<Timestamp> {
        let at = floor_to_second(at)?;
        if self.elapsed {
            self.latest_elapsed(at)
        } else {
            self.latest_fixed(at)
        }
    }

    /// All slots strictly after `after`, in order, without an end; take as many as you need.
    pub fn slots_after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_after(after), |slot| self.next_after(*slot))
    }

    /// The expression as written, with runs of blanks made one.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The IANA name of the zone, in its own spelling.
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// The zone itself.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether the expression counts elapsed time (an hour of `*` or `*/n`), see the module's text.
    pub fn is_elapsed(&self) -> bool {
        self.elapsed
    }

    /// How many times of day the expression names, 1 to 86,400; the same for every matching date.
    pub fn times_per_day(&self) -> usize {
        let pattern = &self.cron.pattern;
        [&pattern.seconds, &pattern.minutes, &pattern.hours]
            .iter()
            .map(|field| field.values().len())
            .product()
    }

    /// The expression in English, such as "At 02:00, on day 13 or Friday.", without the zone.
    pub fn describe(&self) -> String {
        let text = self.cron.describe();
        // The library knows LW and describes it as L; our checks refuse the two together.
        if self.cron.pattern.as_str().contains("LW") {
            text.replace("the last day of", "the last weekday of")
        } else {
            text
        }
    }

    /// The first matching wall-clock time whose instant is after `after`.
    ///
    /// [`first_reached`] never decreases from one wall-clock time to a later one, so only times
    /// later than the furthest the clock has shown are to be asked, and the first is the answer.
    fn next_fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut wall = furthest_shown(&self.zone, after);
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let slot = first_reached(&self.zone, wall)?;
            if slot > after {
                return Some(slot);
            }
        }
    }

    fn latest_fixed(&self, at: Timestamp) -> Option<Timestamp> {
        let wall = furthest_shown(&self.zone, at);
        let wall = self.cron.find_previous_occurrence(&wall, true).ok()?;
        first_reached(&self.zone, wall)
    }

    /// Walks the stretches of time between clock changes; inside one the offset is constant.
    fn next_elapsed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        let mut inclusive = false;
        loop {
            let offset = self.zone.to_offset(from);
            let wall = offset.to_datetime(from);
            let wall = self.cron.find_next_occurrence(&wall, inclusive).ok()?;
            let slot = offset.to_timestamp(wall).ok()?;
            match self.zone.following(from).next() {
                Some(change) if change.timestamp() <= slot => from = change.timestamp(),
                _ => return Some(slot),
            }
            inclusive = true;
        }
    }

    fn latest_elapsed(&self, at: Timestamp) -> Option<Timestamp> {
        let one_second = Span::new().seconds(1);
        let mut until = at;
        loop {
            let offset = self.zone.to_offset(until);
            let wall = offset.to_datetime(until);
            let wall = self.cron.find_previous_occurrence(&wall, true).ok()?;
            let slot = offset.to_timestamp(wall).ok()?;
            let just_after = until.checked_add(one_second).ok()?;
            match self.zone.preceding(just_after).next() {
                Some(change) if change.timestamp() > slot => {
                    until = change.timestamp().checked_sub(one_second).ok()?;
                }
                _ => return Some(slot),
            }
        }
    }
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.zone_name == other.zone_name
    }
}

impl Eq for Calendar {}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calendar({:?} in {})", self.expression, self.zone_name)
    }
}

/// The first instant at which the clock shows `wall` or, where it skips `wall`, has passed it.
///
/// `None` only at the ends of the time line.
fn first_reached(zone: &TimeZone, wall: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
        AmbiguousOffset::Gap { before, after } => {
            let earlier = after.to_timestamp(wall).ok()?;
            let later = before.to_timestamp(wall).ok()?;
            Some(clock_change(zone, earlier, later, after).unwrap_or(later))
        }
    }
}

/// The latest time that the clock has shown up to and including the whole second `at`.
///
/// That is the time at `at`, except in the second pass of a repeated hour, where the first pass
/// went further.
fn furthest_shown(zone: &TimeZone, at: Timestamp) -> DateTime {
    let wall = zone.to_datetime(at);
    let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(wall).offset() else {
        return wall;
    };
    let Ok(first_pass) = before.to_timestamp(wall) else {
        return wall;
    };
    if first_pass == at {
        return wall;
    }
    clock_change(zone, first_pass, at, after)
        .and_then(|change| change.checked_sub(Span::new().seconds(1)).ok())
        .map_or(wall, |last_of_first_pass| {
            before.to_datetime(last_of_first_pass)
        })
}

/// The instant in `(earlier, later]` from which on the zone's offset is `after`.
fn clock_change(
    zone: &TimeZone,
    earlier: Timestamp,
    later: Timestamp,
    after: Offset,
) -> Option<Timestamp> {
    zone.following(earlier)
        .take_while(|change| change.timestamp() <= later)
        .find(|change| change.offset() == after)
        .map(|change| change.timestamp())
}

/// Whether any year has a matching date.
///
/// The library itself looks until the year 5000 and needs a tenth of a second for 31 February.
/// These 28 years hold every combination of leap year and weekday of 1 January.
fn some_date_matches(cron: &Cron) -> bool {
    let pattern = &cron.pattern;
    (2000..2028).any(|year| {
        (1..=12)
            .filter(|month| pattern.month_match(*month).unwrap_or(false))
            .filter_map(|month| Date::new(year, month as i8, 1).ok())
            .flat_map(|first| {
                first
                    .series(Span::new().days(1))
                    .take(first.days_in_month() as usize)
            })
            .any(|date| {
                let weekday = date.weekday().to_sunday_zero_offset();
                pattern
                    .day_match(
                        i32::from(date.year()),
                        date.month() as u32,
                        date.day() as u32,
                        Weekday::from_days_from_sunday(weekday as u32),
                    )
                    .unwrap_or(false)
            })
    })
}

/// Cuts fractions of a second off, downwards on both sides of 1970.
fn floor_to_second(at: Timestamp) -> Option<Timestamp> {
    let second = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(second).ok()
}
