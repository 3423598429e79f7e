//! Whether two slots would get the same backup name, found at load instead of at night.
//!
//! First by rule: a template with the slot's own date and time tells all slots of its schedule
//! apart, one without any never does, and names of different shapes never meet.
//! Where the rule cannot tell, by looking at the slots: the coming ones, and those around every
//! clock change of the next years, where a slot can move to another date.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;

use jiff::{SignedDuration, Timestamp, Zoned};

use crate::backup::{BackupName, KINDS, NameShapes, NameTemplate, Resolution, SlotNaming};
use crate::schedule::Calendar;

/// The most slots of one schedule that are looked at.
pub const COLLISION_SLOTS_MAX: usize = 5_000;

/// The most slots of all schedules together that are looked at; it bounds the time of a start.
pub const COLLISION_SLOTS_TOTAL_MAX: usize = 50_000;

/// How far ahead, in days, slots are looked at: ten years.
pub const COLLISION_HORIZON_DAYS: i64 = 3_653;

/// How many coming slots show whether a date can hold two: the second or third does.
const FIRST_SLOTS: usize = 8;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// One schedule, as far as names are concerned.
#[derive(Debug, Clone, Copy)]
pub struct NamedSchedule<'a> {
    /// The schedule's name.
    pub name: &'a str,
    /// How its backups are named.
    pub template: &'a NameTemplate,
    /// When they are made.
    pub calendar: &'a Calendar,
}

/// Two slots with one name.
///
/// Its text is the sentence that an operator reads at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The name both would get.
    pub name: BackupName,
    /// The earlier slot.
    pub first: CollidingSlot,
    /// The later slot; the same instant only between two schedules.
    pub second: CollidingSlot,
}

/// A slot of a [`Collision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollidingSlot {
    /// The schedule's name.
    pub schedule: String,
    /// When it is due, in the schedule's zone.
    pub slot: Zoned,
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            first,
            second,
        } = self;
        if first.schedule == second.schedule {
            write!(
                f,
                "schedule {:?} would name the backups of two slots \"{name}\": {} and {}; put \
                 {{date}} and {{time}} into its name template",
                first.schedule, first.slot, second.slot
            )
        } else {
            write!(
                f,
                "schedules {:?} and {:?} would both name a backup \"{name}\": for the slots {} and \
                 {}; put {{schedule}} into one of their name templates",
                first.schedule, second.schedule, first.slot, second.slot
            )
        }
    }
}

/// Looks for two slots after `from` that would get the same name, within each schedule and between
/// schedules.
///
/// All schedules are those whose backups go to one destination.
/// Slots whose name cannot be rendered are passed over: [`NameTemplate::check`] reports those.
pub fn find_collision(schedules: &[NamedSchedule<'_>], from: Timestamp) -> Option<Collision> {
    schedules
        .iter()
        .find_map(|schedule| within(schedule, from))
        .or_else(|| between(schedules, from))
}

/// A collision among the slots of one schedule.
fn within(schedule: &NamedSchedule<'_>, from: Timestamp) -> Option<Collision> {
    let calendar = schedule.calendar;
    let coming = || calendar.slots_after(from).take(FIRST_SLOTS);
    match schedule.template.resolution() {
        Resolution::Instant => None,
        Resolution::Constant => first_repeat(schedule, coming()),
        // Every expression comes again at the same time on another date.
        Resolution::TimeOfDay => {
            let first = calendar.next_after(from)?;
            let second = SignedDuration::from_secs(1);
            let other_days =
                (1..=8).filter_map(|days| calendar.next_after(first + DAY * days - second));
            first_repeat(schedule, coming().chain(other_days))
        }
        Resolution::Date => {
            let slots = coming().chain(slots_around_clock_changes(calendar, from));
            first_repeat(schedule, slots.take(COLLISION_SLOTS_MAX))
        }
    }
}

/// Slots that a clock change could move to another date, and the one behind them, which takes its
/// logical date from there.
fn slots_around_clock_changes(
    calendar: &Calendar,
    from: Timestamp,
) -> impl Iterator<Item = Timestamp> + '_ {
    let horizon = horizon(from);
    calendar
        .zone()
        .following(from)
        .map(|change| change.timestamp())
        .take_while(move |change| *change < horizon)
        .flat_map(move |change| {
            let end = change.checked_add(DAY * 2).unwrap_or(Timestamp::MAX);
            let start = change.checked_sub(DAY * 2).unwrap_or(Timestamp::MIN);
            let mut past_end = false;
            calendar.slots_after(start).take_while(move |slot| {
                let take = !past_end;
                past_end = *slot > end;
                take
            })
        })
}

fn first_repeat(
    schedule: &NamedSchedule<'_>,
    slots: impl Iterator<Item = Timestamp>,
) -> Option<Collision> {
    let mut seen = HashMap::new();
    for slot in slots {
        // The kind may differ between the two, but nobody should have to rely on it.
        let Some(name) = name_of(schedule, slot, KINDS[0]) else {
            continue;
        };
        match seen.insert(name.clone(), slot) {
            Some(other) if other != slot => {
                return Some(collision(name, (schedule, other), (schedule, slot)));
            }
            _ => {}
        }
    }
    None
}

/// A collision between the slots of different schedules.
///
/// Only schedules whose names could meet by their shape take part; their slots are looked at in
/// order of time, so that the first collision to come is the one that is found.
fn between(schedules: &[NamedSchedule<'_>], from: Timestamp) -> Option<Collision> {
    let involved = that_could_meet(schedules);
    let horizon = horizon(from);
    let mut coming: BinaryHeap<Reverse<(Timestamp, usize, usize)>> = involved
        .iter()
        .filter_map(|&index| {
            let first = schedules[index].calendar.next_after(from)?;
            Some(Reverse((first, index, 1)))
        })
        .collect();
    let mut seen: HashMap<BackupName, (usize, Timestamp)> = HashMap::new();
    let mut no_longer_walked: Vec<usize> = Vec::new();
    let mut looked_at = 0;
    while let Some(Reverse((slot, index, count))) = coming.pop() {
        looked_at += 1;
        if slot > horizon || looked_at > COLLISION_SLOTS_TOTAL_MAX {
            return None;
        }
        let schedule = &schedules[index];
        for name in names_of(schedule, slot) {
            if let Some(other) = no_longer_walked
                .iter()
                .map(|&other| &schedules[other])
                .find(|other| has_slot_named(other, slot, &name))
            {
                return Some(collision(name, (schedule, slot), (other, slot)));
            }
            match seen.insert(name.clone(), (index, slot)) {
                Some((other, earlier)) if other != index => {
                    return Some(collision(
                        name,
                        (&schedules[other], earlier),
                        (schedule, slot),
                    ));
                }
                _ => {}
            }
        }
        if count == COLLISION_SLOTS_MAX {
            no_longer_walked.push(index);
        } else if let Some(next) = schedule.calendar.next_after(slot) {
            coming.push(Reverse((next, index, count + 1)));
        }
    }
    None
}

/// The schedules whose names have a shape in common with another's.
fn that_could_meet(schedules: &[NamedSchedule<'_>]) -> Vec<usize> {
    let shapes: Vec<NameShapes> = schedules
        .iter()
        .map(|schedule| schedule.template.shapes(schedule.name))
        .collect();
    let mut involved = vec![false; schedules.len()];
    for (index, one) in shapes.iter().enumerate() {
        for (offset, other) in shapes[index + 1..].iter().enumerate() {
            if one.could_share_a_name(other) {
                involved[index] = true;
                involved[index + 1 + offset] = true;
            }
        }
    }
    (0..schedules.len())
        .filter(|index| involved[*index])
        .collect()
}

/// Whether a schedule too dense to be walked on has a slot at this very instant, of this name.
///
/// It finds the yearly schedule that shares a template with one of every minute.
fn has_slot_named(schedule: &NamedSchedule<'_>, slot: Timestamp, name: &BackupName) -> bool {
    schedule.calendar.latest_at(slot) == Some(slot) && names_of(schedule, slot).contains(name)
}

/// The names a slot can get: one, or one for each kind of backup.
fn names_of(schedule: &NamedSchedule<'_>, slot: Timestamp) -> Vec<BackupName> {
    let kinds = if schedule.template.has_kind() {
        &KINDS[..]
    } else {
        &KINDS[..1]
    };
    kinds
        .iter()
        .filter_map(|kind| name_of(schedule, slot, kind))
        .collect()
}

fn name_of(schedule: &NamedSchedule<'_>, slot: Timestamp, kind: &str) -> Option<BackupName> {
    let naming = SlotNaming {
        schedule: schedule.name,
        kind,
        slot,
        previous: if schedule.template.has_logical_date() {
            schedule.calendar.previous_before(slot)?
        } else {
            slot
        },
        zone: schedule.calendar.zone(),
    };
    schedule.template.render(naming).ok()
}

fn collision(
    name: BackupName,
    one: (&NamedSchedule<'_>, Timestamp),
    other: (&NamedSchedule<'_>, Timestamp),
) -> Collision {
    let side = |(schedule, slot): (&NamedSchedule<'_>, Timestamp)| CollidingSlot {
        schedule: schedule.name.to_owned(),
        slot: slot.to_zoned(schedule.calendar.zone().clone()),
    };
    let (first, second) = if one.1 <= other.1 {
        (one, other)
    } else {
        (other, one)
    };
    Collision {
        name,
        first: side(first),
        second: side(second),
    }
}

fn horizon(from: Timestamp) -> Timestamp {
    from.checked_add(DAY * COLLISION_HORIZON_DAYS as i32)
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const FROM: &str = "2026-11-22T10:00:00Z";

    fn from() -> Timestamp {
        FROM.parse().unwrap()
    }

    /// Schedules as `(name, template, cron, zone)`.
    fn find(schedules: &[(&str, &str, &str, &str)]) -> Option<Collision> {
        let parsed: Vec<_> = schedules
            .iter()
            .map(|(name, template, cron, zone)| {
                let template = NameTemplate::parse(template).unwrap();
                (*name, template, Calendar::parse(cron, zone).unwrap())
            })
            .collect();
        let named: Vec<_> = parsed
            .iter()
            .map(|(name, template, calendar)| NamedSchedule {
                name,
                template,
                calendar,
            })
            .collect();
        find_collision(&named, from())
    }

    #[rstest]
    #[case("{date}", "0 2 * * *", "Europe/Sofia")]
    #[case("{date}", "0 2 * * *", "America/Havana")]
    #[case("{date}", "0 0 * * *", "America/Havana")]
    #[case("{date}", "30 0 * * *", "Asia/Beirut")]
    #[case("{date}", "0 2 29 2 *", "UTC")]
    #[case("{logical_date}", "0 2 * * *", "Europe/Sofia")]
    #[case("{logical_date}-{time}", "0 2,14 * * *", "UTC")]
    #[case("{date}T{time}", "0 * * * *", "Europe/Sofia")]
    #[case("{date}T{time}", "* * * * * *", "Europe/Sofia")]
    #[case("{schedule}-{date}", "0 2 * * SUN", "UTC")]
    fn templates_that_tell_slots_apart(
        #[case] template: &str,
        #[case] cron: &str,
        #[case] zone: &str,
    ) {
        assert_eq!(find(&[("x", template, cron, zone)]), None);
    }

    #[rstest]
    // No time, or a time that comes again.
    #[case("backup", "0 2 * * *", "UTC", "2026-11-23T02:00", "2026-11-24T02:00")]
    #[case(
        "{schedule}-{kind}",
        "0 2 29 2 *",
        "UTC",
        "2028-02-29T02:00",
        "2032-02-29T02:00"
    )]
    #[case("{time}", "0 2 * * *", "UTC", "2026-11-23T02:00", "2026-11-24T02:00")]
    #[case(
        "{time}",
        "0 2,14 29 2 *",
        "UTC",
        "2028-02-29T02:00",
        "2032-02-29T02:00"
    )]
    #[case(
        "{time}",
        "* * * * * *",
        "UTC",
        "2026-11-22T10:00:01",
        "2026-11-23T10:00:01"
    )]
    // Two slots on one date, today or in years.
    #[case(
        "{date}",
        "0 2,14 * * *",
        "UTC",
        "2026-11-23T02:00",
        "2026-11-23T14:00"
    )]
    #[case("{date}", "0 * * * *", "UTC", "2026-11-22T11:00", "2026-11-22T12:00")]
    #[case(
        "{date}",
        "0 2,14 29 2 *",
        "UTC",
        "2028-02-29T02:00",
        "2028-02-29T14:00"
    )]
    #[case(
        "{kind}-{date}",
        "0 2,14 * * *",
        "UTC",
        "2026-11-23T02:00",
        "2026-11-23T14:00"
    )]
    #[case(
        "{logical_date}",
        "0 2,14 * * *",
        "UTC",
        "2026-11-22T14:00",
        "2026-11-23T02:00"
    )]
    // Greenland's clock goes from 23:00 to midnight: that night's slot is due on the next date.
    #[case(
        "{date}",
        "30 23 * * *",
        "America/Nuuk",
        "2027-03-28T00:00",
        "2027-03-28T23:30"
    )]
    #[case(
        "{logical_date}",
        "30 23 * * *",
        "America/Nuuk",
        "2027-03-28T23:30",
        "2027-03-29T23:30"
    )]
    // The second of that date lends it to a slot a month later.
    #[case(
        "{logical_date}",
        "30 23 27,28 * *",
        "America/Nuuk",
        "2027-03-28T23:30",
        "2027-04-27T23:30"
    )]
    fn collisions_within_a_schedule(
        #[case] template: &str,
        #[case] cron: &str,
        #[case] zone: &str,
        #[case] first: &str,
        #[case] second: &str,
    ) {
        let found = find(&[("x", template, cron, zone)]).unwrap();
        let wall = |text: &str| text.parse::<jiff::civil::DateTime>().unwrap();
        assert_eq!(
            (found.first.slot.datetime(), found.second.slot.datetime()),
            (wall(first), wall(second)),
            "{found}"
        );
    }

    #[rstest]
    #[case(("{date}", "0 2 * * MON-FRI"), ("{date}", "0 2 * * SAT,SUN"))]
    #[case(("{date}", "0 2 * * *"), ("{schedule}-{date}", "0 2 * * *"))]
    #[case(("{schedule}-{date}", "0 2 * * *"), ("{schedule}-{date}", "0 2 * * *"))]
    #[case(("{date}-{time}", "0 * * * *"), ("{date}-{time}", "30 * * * *"))]
    fn schedules_that_do_not_meet(#[case] one: (&str, &str), #[case] other: (&str, &str)) {
        let found = find(&[("aa", one.0, one.1, "UTC"), ("bb", other.0, other.1, "UTC")]);
        assert_eq!(found, None);
    }

    #[rstest]
    #[case(("{date}", "0 2 * * *"), ("{date}", "0 3 * * SUN"), "2026-11-29")]
    #[case(("{date}", "0 2 * * *"), ("{logical_date}", "0 3 * * *"), "2026-11-23")]
    #[case(("{kind}-{date}", "0 2 * * *"), ("incremental-{date}", "0 3 * * *"), "incremental-2026-11-23")]
    #[case(("{date}-{time}", "0 2 * * *"), ("{date}-02-00-00", "0 5 * * *"), "2026-11-23-02-00-00")]
    #[case(("{date}-{time}", "* * * * *"), ("{date}-{time}", "0 0 29 2 *"), "2028-02-29-00-00-00")]
    fn collisions_between_schedules(
        #[case] one: (&str, &str),
        #[case] other: (&str, &str),
        #[case] name: &str,
    ) {
        let found = find(&[("aa", one.0, one.1, "UTC"), ("bb", other.0, other.1, "UTC")]).unwrap();
        assert_eq!(found.name.as_str(), name);
        assert_ne!(found.first.schedule, found.second.schedule);
    }

    #[test]
    fn the_sentences_name_both_slots_and_a_way_out() {
        let found = find(&[("twice", "{date}", "0 2,14 * * *", "Europe/Sofia")]).unwrap();
        assert_eq!(
            found.to_string(),
            "schedule \"twice\" would name the backups of two slots \"2026-11-23\": \
             2026-11-23T02:00:00+02:00[Europe/Sofia] and 2026-11-23T14:00:00+02:00[Europe/Sofia]; \
             put {date} and {time} into its name template"
        );
        let found = find(&[
            ("daily", "{date}", "0 2 * * *", "Europe/Sofia"),
            ("weekly", "{date}", "0 3 * * SUN", "UTC"),
        ])
        .unwrap();
        assert_eq!(
            found.to_string(),
            "schedules \"daily\" and \"weekly\" would both name a backup \"2026-11-29\": for the \
             slots 2026-11-29T02:00:00+02:00[Europe/Sofia] and 2026-11-29T03:00:00+00:00[UTC]; put \
             {schedule} into one of their name templates"
        );
    }

    #[test]
    fn the_worst_case_stays_bounded() {
        // Thirty schedules of every minute that share a shape and meet never.
        let crons: Vec<String> = (0..30)
            .map(|second| format!("{second} * * * * *"))
            .collect();
        let names: Vec<String> = (0..30).map(|index| format!("s{index:02}")).collect();
        let schedules: Vec<_> = crons
            .iter()
            .zip(&names)
            .map(|(cron, name)| {
                (
                    name.as_str(),
                    "{date}-{time}",
                    cron.as_str(),
                    "Europe/Sofia",
                )
            })
            .collect();
        assert_eq!(find(&schedules), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// What a thousand coming slots show by plain comparison is found, and nothing else is.
        #[test]
        fn agrees_with_comparing_every_name(
            schedules in prop::collection::vec(
                (
                    prop::sample::select(vec![
                        "{date}", "{logical_date}", "{date}-{time}", "{time}", "{kind}-{date}",
                        "full-{date}", "{schedule}-{date}", "{logical_date}-{time}",
                    ]),
                    prop::sample::select(vec![
                        "0 2 * * *", "0 3 * * SUN", "0 2 * * MON-SAT", "30 2,14 * * *", "0 0 1 * *",
                        "30 23 * * *", "0 */8 * * *",
                    ]),
                    prop::sample::select(vec!["UTC", "Europe/Sofia", "America/Nuuk"]),
                ),
                1..3,
            ),
        ) {
            let names = ["a", "b"];
            let named: Vec<_> = schedules
                .iter()
                .zip(names)
                .map(|((template, cron, zone), name)| (name, *template, *cron, *zone))
                .collect();
            let mut seen: HashMap<String, (&str, Timestamp)> = HashMap::new();
            let mut expected = false;
            for (name, template, cron, zone) in &named {
                let calendar = Calendar::parse(cron, zone).unwrap();
                let template = NameTemplate::parse(template).unwrap();
                let mut previous = calendar.latest_at(from()).unwrap();
                for slot in calendar.slots_after(from()).take(1000) {
                    for kind in KINDS {
                        let zone = calendar.zone();
                        let naming = SlotNaming { schedule: name, kind, slot, previous, zone };
                        let rendered = template.render(naming).unwrap().to_string();
                        let before = seen.insert(rendered, (name, slot));
                        expected |= before.is_some_and(|before| before != (*name, slot));
                    }
                    previous = slot;
                }
            }
            prop_assert_eq!(find(&named).is_some(), expected, "{:?}", named);
        }
    }
}
