//! Tests of [`Calendar`]: a table of clock changes worth knowing, and a comparison with an
//! independent computation over ten years of them.
//!
//! The oracle uses no cron library: fields are sets of numbers, days match as crontab(5) says, and
//! instants come from walking minutes.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};
use proptest::prelude::*;
use rstest::rstest;

use super::calendar::{Calendar, CalendarError};

const ZONES: [&str; 5] = [
    "Europe/Sofia",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kathmandu",
];
const FIRST_YEAR: i16 = 2020;
const LAST_YEAR: i16 = 2029;

// ---------------------------------------------------------------------------------- the oracle

/// One field: its text and what it means.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    values: BTreeSet<i8>,
}

impl Field {
    fn is_star(&self) -> bool {
        self.text == "*"
    }
}

#[derive(Debug, Clone)]
struct Crontab {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Crontab {
    fn text(&self) -> String {
        let Self {
            minute,
            hour,
            day,
            month,
            weekday,
        } = self;
        [minute, hour, day, month, weekday]
            .map(|field| field.text.as_str())
            .join(" ")
    }

    fn day_matches(&self, date: Date) -> bool {
        let by_day = self.day.values.contains(&date.day());
        let by_weekday = self
            .weekday
            .values
            .contains(&(date.weekday().to_sunday_zero_offset() % 7));
        let day = match (self.day.is_star(), self.weekday.is_star()) {
            (false, false) => by_day || by_weekday,
            _ => by_day && by_weekday,
        };
        day && self.month.values.contains(&date.month())
    }

    fn time_matches(&self, wall: DateTime) -> bool {
        self.minute.values.contains(&wall.minute()) && self.hour.values.contains(&wall.hour())
    }

    /// All slots in `(after, until]`; both must be whole minutes.
    fn slots(&self, zone: &TimeZone, after: Timestamp, until: Timestamp) -> BTreeSet<Timestamp> {
        let elapsed = self.hour.text.split(',').any(|item| item.starts_with('*'));
        if elapsed {
            self.elapsed_slots(zone, after, until)
        } else {
            self.fixed_slots(zone, after, until)
        }
    }

    /// Every instant at which the clock shows a matching time.
    fn elapsed_slots(
        &self,
        zone: &TimeZone,
        after: Timestamp,
        until: Timestamp,
    ) -> BTreeSet<Timestamp> {
        (after.as_second() / 60 + 1..=until.as_second() / 60)
            .map(|minute| Timestamp::from_second(minute * 60).unwrap())
            .filter(|at| {
                let wall = zone.to_datetime(*at);
                self.time_matches(wall) && self.day_matches(wall.date())
            })
            .collect()
    }

    /// Every matching minute of the wall clock; a skipped one moves on, minute by minute, to the
    /// first that exists.
    fn fixed_slots(
        &self,
        zone: &TimeZone,
        after: Timestamp,
        until: Timestamp,
    ) -> BTreeSet<Timestamp> {
        let mut slots = BTreeSet::new();
        let mut day = zone
            .to_datetime(after)
            .date()
            .checked_sub(Span::new().days(2))
            .unwrap();
        let last = zone
            .to_datetime(until)
            .date()
            .checked_add(Span::new().days(2))
            .unwrap();
        while day <= last {
            if self.day_matches(day) {
                for hour in (0..24).filter(|hour| self.hour.values.contains(hour)) {
                    for minute in (0..60).filter(|minute| self.minute.values.contains(minute)) {
                        slots.insert(first_existing(zone, day.at(hour, minute, 0, 0)));
                    }
                }
            }
            day = day.tomorrow().unwrap();
        }
        slots
            .into_iter()
            .filter(|slot| *slot > after && *slot <= until)
            .collect()
    }
}

fn first_existing(zone: &TimeZone, mut wall: DateTime) -> Timestamp {
    loop {
        let ambiguous = zone.to_ambiguous_timestamp(wall);
        if !matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
            return ambiguous.earlier().unwrap();
        }
        wall = wall.checked_add(Span::new().minutes(1)).unwrap();
    }
}

// -------------------------------------------------------------------------- random expressions

fn field(min: i8, max: i8) -> BoxedStrategy<Field> {
    let all: BTreeSet<i8> = (min..=max).collect();
    let star = Field {
        text: "*".into(),
        values: all,
    };
    let step = (1..max - min).prop_map(move |step| Field {
        text: format!("*/{step}"),
        values: (min..=max).step_by(step as usize).collect(),
    });
    prop_oneof![
        3 => Just(star),
        2 => step,
        6 => list(min, max, 1),
        4 => list(min, max, 4),
    ]
    .boxed()
}

/// Up to `most` values, ranges and stepped ranges, in any order, overlaps included.
fn list(min: i8, max: i8, most: usize) -> BoxedStrategy<Field> {
    let item = prop_oneof![
        3 => (min..=max).prop_map(|value| (value.to_string(), BTreeSet::from([value]))),
        1 => (min..max, 1i8..6, 1i8..4).prop_map(move |(from, length, step)| {
            let to = (from + length).min(max);
            let step = step.min(to - from);
            let text = if step == 1 { format!("{from}-{to}") } else { format!("{from}-{to}/{step}") };
            (text, (from..=to).step_by(step as usize).collect::<BTreeSet<i8>>())
        }),
    ];
    prop::collection::vec(item, 1..=most)
        .prop_map(|items| Field {
            text: items
                .iter()
                .map(|item| item.0.as_str())
                .collect::<Vec<_>>()
                .join(","),
            values: items.into_iter().flat_map(|item| item.1).collect(),
        })
        .boxed()
}

fn crontab(hour: BoxedStrategy<Field>) -> impl Strategy<Value = Crontab> {
    // Star-heavy days, or nearly no expression would meet a clock change.
    let often = |min, max| {
        let star = Field {
            text: "*".into(),
            values: (min..=max).collect(),
        };
        prop_oneof![3 => Just(star), 1 => field(min, max)]
    };
    (field(0, 59), hour, often(1, 31), often(1, 12), often(0, 6)).prop_map(
        |(minute, hour, day, month, weekday)| Crontab {
            minute,
            hour,
            day,
            month,
            weekday,
        },
    )
}

/// Hours around the clock changes of the zones, so that lists meet them often.
fn hours_near_changes() -> BoxedStrategy<Field> {
    prop_oneof![field(0, 23), list(0, 4, 3)].boxed()
}

/// A zone, and a day: in half of the cases the day of a clock change.
fn zone_and_day() -> impl Strategy<Value = (&'static str, Timestamp)> {
    (
        prop::sample::select(ZONES.to_vec()),
        0i64..3652,
        any::<bool>(),
    )
        .prop_map(|(name, day, near)| {
            let zone = TimeZone::get(name).unwrap();
            let start = date(FIRST_YEAR, 1, 1)
                .at(0, 0, 0, 0)
                .to_zoned(TimeZone::UTC)
                .unwrap();
            let at = start.timestamp() + SignedDuration::from_hours(24 * day);
            let change = zone.following(at).next().map(|change| change.timestamp());
            (name, change.filter(|_| near).unwrap_or(at))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Forward and backward, four days around a moment, against the oracle.
    #[test]
    fn agrees_with_walking_every_minute(
        crontab in crontab(hours_near_changes()),
        (zone_name, day) in zone_and_day(),
    ) {
        let zone = TimeZone::get(zone_name).unwrap();
        let calendar = match Calendar::parse(&crontab.text(), zone_name) {
            Ok(calendar) => calendar,
            Err(CalendarError::NeverDue { .. }) => {
                let mut days = date(2000, 1, 1).series(Span::new().days(1)).take(28 * 366);
                prop_assert!(!days.any(|day| crontab.day_matches(day)));
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let after = day - SignedDuration::from_hours(48);
        let until = day + SignedDuration::from_hours(48);
        let expected: Vec<Timestamp> = crontab.slots(&zone, after, until).into_iter().collect();

        let forward: Vec<Timestamp> =
            calendar.slots_after(after).take_while(|slot| *slot <= until).collect();
        prop_assert_eq!(&forward, &expected, "{:?}", calendar);

        let just_after = until + SignedDuration::from_nanos(1);
        let mut backward: Vec<Timestamp> =
            std::iter::successors(calendar.previous_before(just_after), |slot| {
                calendar.previous_before(*slot)
            })
            .take_while(|slot| *slot > after)
            .collect();
        backward.reverse();
        prop_assert_eq!(&backward, &expected, "{:?} backward", calendar);

        // From moments between slots too, such as some in both passes of a repeated hour.
        for offset in [1, 59, 3599, 86_400, 171_000, 172_799, 172_800, 173_700, 174_600] {
            let at = after + SignedDuration::from_secs(offset);
            prop_assert_eq!(
                calendar.next_after(at).filter(|slot| *slot <= until),
                expected.iter().copied().find(|slot| *slot > at)
            );
            prop_assert_eq!(
                calendar.latest_at(at).filter(|slot| *slot > after),
                expected.iter().copied().rfind(|slot| *slot <= at)
            );
        }
    }
}

/// Whole ten years of the schedules that people write, in every zone; two years where the oracle
/// has to look at every minute.
#[rstest]
#[case("0 2 * * *", FIRST_YEAR)]
#[case("15 2,14 * * *", FIRST_YEAR)]
#[case("30 0,1,3 * * 0", FIRST_YEAR)]
#[case("0 0 29 2 *", FIRST_YEAR)]
#[case("0 */6 13 * 5", LAST_YEAR - 1)]
fn ten_years_of_usual_schedules(#[case] text: &str, #[case] first_year: i16) {
    let crontab = parse_plain(text);
    for zone_name in ZONES {
        let calendar = Calendar::parse(text, zone_name).unwrap();
        let zone = calendar.zone().clone();
        let edge = |year| {
            date(year, 1, 1)
                .at(0, 0, 0, 0)
                .to_zoned(zone.clone())
                .unwrap()
                .timestamp()
        };
        let (after, until) = (edge(first_year), edge(LAST_YEAR + 1));
        let expected = crontab.slots(&zone, after, until);
        let found: BTreeSet<Timestamp> = calendar
            .slots_after(after)
            .take_while(|slot| *slot <= until)
            .collect();
        assert_eq!(found, expected, "{calendar:?}");
        assert!(!found.is_empty());
    }
}

/// Only numbers, lists, `*` and `*/n`.
fn parse_plain(text: &str) -> Crontab {
    let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    let mut fields = text.split(' ').zip(ranges).map(|(text, (min, max))| Field {
        text: text.to_owned(),
        values: match text.strip_prefix('*') {
            Some("") => (min..=max).collect(),
            Some(step) => (min..=max).step_by(step[1..].parse().unwrap()).collect(),
            None => text
                .split(',')
                .map(|value| value.parse().unwrap())
                .collect(),
        },
    });
    let mut next = || fields.next().unwrap();
    Crontab {
        minute: next(),
        hour: next(),
        day: next(),
        month: next(),
        weekday: next(),
    }
}

// ------------------------------------------------------------------------------------ by hand

/// Cron | zone | after | the slots that follow.
const BY_HAND: &str = "
# The ordinary case, and the two nights of the year.
0 2 * * * | UTC | 2026-12-31T02:00Z | 2027-01-01T02:00Z 2027-01-02T02:00Z
30 3 * * * | Europe/Sofia | 2027-03-27T02:00Z | 2027-03-28T01:00Z 2027-03-29T00:30Z
30 3 * * * | Europe/Sofia | 2026-10-24T01:00Z | 2026-10-25T00:30Z 2026-10-26T01:30Z
# A list keeps the rule of its members.
15 2,14 * * * | Europe/Berlin | 2027-03-27T20:00Z | 2027-03-28T01:00Z 2027-03-28T12:15Z
15 2,14 * * * | Europe/Berlin | 2026-10-24T20:00Z | 2026-10-25T00:15Z 2026-10-25T13:15Z
# Minutes with a fixed hour: one slot after the gap; the first pass only.
*/15 2 * * * | Europe/Berlin | 2027-03-28T00:00Z | 2027-03-28T01:00Z 2027-03-29T00:00Z
*/30 2 * * * | Europe/Berlin | 2026-10-24T23:00Z | 2026-10-25T00:00Z 2026-10-25T00:30Z 2026-10-26T01:00Z
# What is skipped meets what is due after the gap: one slot.
0 2,3 * * * | Europe/Berlin | 2027-03-28T00:00Z | 2027-03-28T01:00Z 2027-03-29T00:00Z
# Every second of an hour, seen from inside the second pass.
* * 2 * * * | Europe/Berlin | 2026-10-25T00:59:58Z | 2026-10-25T00:59:59Z 2026-10-26T01:00:00Z
* * 2 * * * | Europe/Berlin | 2026-10-25T01:30:00Z | 2026-10-26T01:00:00Z 2026-10-26T01:00:01Z
* * 2 * * * | Europe/Berlin | 2027-03-28T00:59:59Z | 2027-03-28T01:00:00Z 2027-03-29T00:00:00Z
# A wildcard hour follows the clock on the wall.
0 * * * * | Europe/Berlin | 2026-10-24T23:30Z | 2026-10-25T00:00Z 2026-10-25T01:00Z 2026-10-25T02:00Z
0 * * * * | Europe/Berlin | 2027-03-27T23:30Z | 2027-03-28T00:00Z 2027-03-28T01:00Z 2027-03-28T02:00Z
0 */2 * * * | Europe/Berlin | 2027-03-27T22:30Z | 2027-03-27T23:00Z 2027-03-28T02:00Z
0 */2 * * * | Europe/Berlin | 2026-10-24T23:30Z | 2026-10-25T00:00Z 2026-10-25T01:00Z 2026-10-25T03:00Z
# Leap days, also over a century without one; last days; either day field.
0 2 29 2 * | UTC | 2096-02-29T02:00Z | 2104-02-29T02:00Z 2108-02-29T02:00Z
0 0 29 2 +MON | UTC | 2072-02-28T00:00Z | 2072-02-29T00:00Z 2112-02-29T00:00Z
0 2 L * * | UTC | 2028-02-01T00:00Z | 2028-02-29T02:00Z 2028-03-31T02:00Z
0 2 LW * * | UTC | 2026-05-01T00:00Z | 2026-05-29T02:00Z 2026-06-30T02:00Z
0 2 1W * * | UTC | 2026-07-31T00:00Z | 2026-08-03T02:00Z 2026-09-01T02:00Z
0 2 * * FRI#2 | UTC | 2026-11-01T00:00Z | 2026-11-13T02:00Z 2026-12-11T02:00Z
0 2 * * FRIL | UTC | 2026-11-01T00:00Z | 2026-11-27T02:00Z 2026-12-25T02:00Z
0 2 13 * FRI | UTC | 2026-11-01T00:00Z | 2026-11-06T02:00Z 2026-11-13T02:00Z 2026-11-20T02:00Z
0 2 13 * +FRI | UTC | 2026-11-01T00:00Z | 2026-11-13T02:00Z 2027-08-13T02:00Z
0 2 ? * 7 | UTC | 2026-11-20T00:00Z | 2026-11-22T02:00Z 2026-11-29T02:00Z
# Macros.
@yearly | UTC | 2026-11-22T00:00Z | 2027-01-01T00:00Z 2028-01-01T00:00Z
@monthly | UTC | 2026-11-22T00:00Z | 2026-12-01T00:00Z 2027-01-01T00:00Z
@weekly | UTC | 2026-11-22T00:00Z | 2026-11-29T00:00Z 2026-12-06T00:00Z
@midnight | UTC | 2026-11-22T00:00Z | 2026-11-23T00:00Z 2026-11-24T00:00Z
@hourly | UTC | 2026-11-22T00:00Z | 2026-11-22T01:00Z 2026-11-22T02:00Z
# Seconds first.
*/20 * * * * * | UTC | 2026-12-31T23:59:30Z | 2026-12-31T23:59:40Z 2027-01-01T00:00:00Z
# An odd offset.
0 2 * * * | Asia/Kathmandu | 2026-11-22T00:00Z | 2026-11-22T20:15Z 2026-11-23T20:15Z
# Clocks that change at midnight.
0 0 * * * | America/Havana | 2026-03-07T12:00Z | 2026-03-08T05:00Z 2026-03-09T04:00Z
0 0 * * * | America/Havana | 2026-10-31T12:00Z | 2026-11-01T04:00Z 2026-11-02T05:00Z
30 23 * * * | Africa/Cairo | 2026-10-29T12:00Z | 2026-10-29T20:30Z 2026-10-30T21:30Z
0 0 * * * | Africa/Cairo | 2026-04-23T12:00Z | 2026-04-23T22:00Z 2026-04-24T21:00Z
30 0 * * * | Asia/Beirut | 2026-03-28T12:00Z | 2026-03-28T22:00Z 2026-03-29T21:30Z
0 0 * * * | Asia/Beirut | 2026-10-24T12:00Z | 2026-10-24T22:00Z 2026-10-25T22:00Z
# Half an hour.
*/15 2 * * * | Australia/Lord_Howe | 2026-10-03T12:00Z | 2026-10-03T15:30Z 2026-10-03T15:45Z 2026-10-04T15:00Z
45 1 * * * | Australia/Lord_Howe | 2026-04-04T12:00Z | 2026-04-04T14:45Z 2026-04-05T15:15Z
45 * * * * | Australia/Lord_Howe | 2026-04-04T14:00Z | 2026-04-04T14:45Z 2026-04-04T15:15Z 2026-04-04T16:15Z
# Samoa had no 30 December 2011.
0 2 * * * | Pacific/Apia | 2011-12-29T13:00Z | 2011-12-30T10:00Z 2011-12-30T12:00Z 2011-12-31T12:00Z
0 * * * * | Pacific/Apia | 2011-12-30T08:30Z | 2011-12-30T09:00Z 2011-12-30T10:00Z 2011-12-30T11:00Z
# Ireland's winter time is the one that counts as saving.
30 1 * * * | Europe/Dublin | 2027-03-27T12:00Z | 2027-03-28T01:00Z 2027-03-29T00:30Z
30 1 * * * | Europe/Dublin | 2026-10-24T12:00Z | 2026-10-25T00:30Z 2026-10-26T01:30Z
";

#[test]
fn slots_by_hand() {
    let rows = BY_HAND
        .lines()
        .filter(|row| !row.is_empty() && !row.starts_with('#'));
    for row in rows {
        let columns: Vec<&str> = row.split(" | ").collect();
        let [cron, zone, after, expected] = columns[..] else {
            panic!("{row}")
        };
        let calendar = Calendar::parse(cron, zone).unwrap();
        let expected: Vec<Timestamp> = expected
            .split(' ')
            .map(|slot| slot.parse().unwrap())
            .collect();
        let after: Timestamp = after.parse().unwrap();
        let found: Vec<Timestamp> = calendar.slots_after(after).take(expected.len()).collect();
        assert_eq!(found, expected, "{row}");
        for pair in expected.windows(2) {
            assert_eq!(calendar.previous_before(pair[1]), Some(pair[0]), "{row}");
            assert_eq!(calendar.latest_at(pair[0]), Some(pair[0]), "{row}");
        }
    }
}

#[test]
fn the_second_pass_of_a_repeated_hour_looks_back_on_all_of_the_first() {
    let calendar = Calendar::parse("45 2 * * *", "Europe/Berlin").unwrap();
    // 02:15 for the second time; 02:45 was shown half an hour before.
    let at: Timestamp = "2026-10-25T01:15:00Z".parse().unwrap();
    let slot: Timestamp = "2026-10-25T00:45:00Z".parse().unwrap();
    assert_eq!(calendar.latest_at(at), Some(slot));
    assert_eq!(calendar.previous_before(at), Some(slot));
    let next: Timestamp = "2026-10-26T01:45:00Z".parse().unwrap();
    assert_eq!(calendar.next_after(at), Some(next));
}

#[test]
fn an_hourly_schedule_runs_25_times_on_the_long_day_and_a_list_of_all_hours_24() {
    let day = |text: &str| text.parse::<Timestamp>().unwrap();
    let (from, to) = (day("2026-10-24T20:59:59Z"), day("2026-10-25T21:59:59Z"));
    let count = |cron| {
        let calendar = Calendar::parse(cron, "Europe/Sofia").unwrap();
        calendar
            .slots_after(from)
            .take_while(|slot| *slot <= to)
            .count()
    };
    assert_eq!(count("0 * * * *"), 25);
    assert_eq!(count("0 0-23 * * *"), 24);
}

#[test]
fn fractions_of_a_second_do_not_matter() {
    let calendar = Calendar::parse("0 0 * * *", "UTC").unwrap();
    for day in ["1969-12-31", "2026-11-22"] {
        let slot: Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
        let nanosecond = SignedDuration::from_nanos(1);
        assert_eq!(calendar.next_after(slot - nanosecond), Some(slot));
        assert_eq!(calendar.latest_at(slot + nanosecond), Some(slot));
        assert_eq!(calendar.previous_before(slot + nanosecond), Some(slot));
        assert!(calendar.next_after(slot) > Some(slot));
        assert!(calendar.previous_before(slot) < Some(slot));
    }
}

#[rstest]
#[case("0 0 31 2 *")]
#[case("0 0 31 4,6,9,11 *")]
#[case("0 0 30,31 2 *")]
#[case("0 0 30 2 +MON")]
fn impossible_dates_are_refused(#[case] cron: &str) {
    let error = Calendar::parse(cron, "UTC").unwrap_err();
    assert!(matches!(error, CalendarError::NeverDue { .. }));
    assert!(error.to_string().contains(cron));
}

#[rstest]
#[case("Europe/Sofa")]
#[case("")]
#[case("+02:00")]
#[case("../../etc/passwd")]
#[case("Etc/Unknown")]
#[case("localtime")]
#[case("posixrules")]
#[case("Europe/Sofia\n")]
fn unknown_zones_are_refused(#[case] zone: &str) {
    let error = Calendar::parse("0 2 * * *", zone).unwrap_err();
    assert!(matches!(error, CalendarError::UnknownZone { .. }));
    assert!(error.to_string().contains(&format!("{zone:?}")), "{error}");
}

#[test]
fn accessors() {
    let calendar = Calendar::parse(" 0  2 * * * ", "europe/sofia").unwrap();
    assert_eq!(calendar.expression(), "0 2 * * *");
    assert_eq!(calendar.zone_name(), "Europe/Sofia");
    assert_eq!(calendar.times_per_day(), 1);
    assert_eq!(calendar.describe(), "At 02:00.");
    let last_weekday = Calendar::parse("0 2 LW * *", "UTC").unwrap();
    assert_eq!(
        last_weekday.describe(),
        "At 02:00, on the last weekday of the month."
    );
    assert!(!calendar.is_elapsed());
    assert_eq!(
        calendar,
        Calendar::parse("0 2 * * *", "Europe/Sofia").unwrap()
    );
    assert_ne!(
        calendar,
        Calendar::parse("0 2 * * *", "Europe/Berlin").unwrap()
    );
    assert_ne!(
        calendar,
        Calendar::parse("0 3 * * *", "Europe/Sofia").unwrap()
    );
    let secondly = Calendar::parse("* * * * * *", "UTC").unwrap();
    assert_eq!(secondly.times_per_day(), 86_400);
}

#[test]
fn the_end_of_time_is_no_panic() {
    for cron in ["0 2 * * *", "0 * * * *"] {
        let calendar = Calendar::parse(cron, "Europe/Sofia").unwrap();
        for edge in [Timestamp::MIN, Timestamp::MAX] {
            calendar.next_after(edge);
            calendar.previous_before(edge);
            calendar.latest_at(edge);
        }
    }
}

proptest! {
    /// Whatever is written, it is an error or a calendar, never a panic.
    #[test]
    fn any_text_is_an_answer(text in "[0-9*/,LW#?+A-Za-z@ -]{0,24}", zone in ".{0,12}") {
        let _ = Calendar::parse(&text, &zone);
        if let Ok(calendar) = Calendar::parse(&text, "Europe/Sofia") {
            let next = calendar.next_after(Timestamp::UNIX_EPOCH);
            prop_assert!(next > Some(Timestamp::UNIX_EPOCH));
            prop_assert!(calendar.previous_before(Timestamp::UNIX_EPOCH) < Some(Timestamp::UNIX_EPOCH));
        }
    }

    /// Five or six fields of plausible items: what our checks pass, the library takes too.
    #[test]
    fn the_library_takes_what_the_checks_pass(
        fields in prop::collection::vec(
            prop::sample::select(vec![
                "*", "*/2", "1", "0", "7", "1-5", "1-5/2", "FRI", "JAN", "FRI-SUN", "L", "LW",
                "15W", "FRI#2", "FRIL", "?", "+MON", "+1-5", "1,15", "MON,WED", "SUN", "3#L",
            ]),
            5..=6,
        ),
    ) {
        let text = fields.join(" ");
        if let Err(CalendarError::Expression { problem, .. }) = Calendar::parse(&text, "UTC") {
            prop_assert!(
                !matches!(problem, super::expression::ExpressionError::Library(_)),
                "{}: {}", text, problem
            );
        }
    }
}
