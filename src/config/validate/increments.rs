//! `kind`, `full_every`, `full_on` and `chain_max` of a schedule.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;

use super::Check;
use crate::backup::NameTemplate;
use crate::config::duration::spell;
use crate::config::error::quote;
use crate::config::nearest;
use crate::operation::Increments;
use crate::schedule::Calendar;

const FULL_EVERY: RangeInclusive<Duration> =
    Duration::from_secs(60 * 60)..=Duration::from_secs(366 * 24 * 60 * 60);
const CHAIN: RangeInclusive<u32> = 2..=1_000;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Days of the week from Monday on, and how else they are written.
const DAYS: [(&str, &str); 7] = [
    ("Mon", "Monday"),
    ("Tue", "Tuesday"),
    ("Wed", "Wednesday"),
    ("Thu", "Thursday"),
    ("Fri", "Friday"),
    ("Sat", "Saturday"),
    ("Sun", "Sunday"),
];

/// Coming slots that show how far apart they are, and on which days: more than five years of a
/// monthly schedule.
const SLOTS_LOOKED_AT: usize = 64;

impl Check<'_> {
    /// When the backups of a schedule are increments; `None` where it makes full ones only.
    pub(super) fn increments(
        &mut self,
        schedule: &str,
        calendar: Option<&Calendar>,
        template: Option<&NameTemplate>,
        now: Timestamp,
    ) -> Option<Increments> {
        let at = |key: &str| format!("schedules.{schedule}.{key}");
        let kind = self.choice(&at("kind"));
        let full_every = self.duration(&at("full_every"), FULL_EVERY);
        let full_on = self.days(&at("full_on"));
        let chain_max = self.count(&at("chain_max"), CHAIN);
        match kind?.as_str() {
            "incremental" => {}
            kind => {
                self.full_only(schedule, kind);
                return None;
            }
        }
        if template.is_some_and(NameTemplate::has_kind) {
            self.refuse(
                &at("name"),
                "{kind} does not go with kind = \"incremental\": a name is given with the slot, and whether the backup is full is decided when it begins",
                "leave {kind} out of the name",
            );
        }
        if !self.is_given("destination.url") {
            self.refuse(
                &at("kind"),
                "\"incremental\" needs destination.url: a base must be proved complete, through our own view of the destination",
                "write destination.url = \"s3://bucket/prefix\" or \"file:///path\", or kind = \"full\"",
            );
        }
        let increments = Increments {
            full_every,
            full_on,
            chain_max: chain_max?,
            zone: calendar?.zone_name().to_owned(),
        };
        self.rhythm(schedule, &increments, calendar?, now);
        Some(increments)
    }

    /// What says when a full one is made has no meaning where every one is.
    fn full_only(&mut self, schedule: &str, kind: &str) {
        for key in ["full_every", "full_on"] {
            let path = format!("schedules.{schedule}.{key}");
            if self.is_given(&path) && !self.values.is_broken(&path) {
                self.refuse(
                    &path,
                    format!(
                        "kind is {}, and {key} is only for kind = \"incremental\"",
                        quote(kind)
                    ),
                    format!("write kind = \"incremental\", or leave {key} out"),
                );
            }
        }
    }

    /// Days of the week, 1 is Monday, in that order and each once.
    fn days(&mut self, path: &str) -> Vec<i8> {
        let mut days = Vec::new();
        for text in self.list(path) {
            let is_it = |(short, long): &(&str, &str)| {
                text.eq_ignore_ascii_case(short) || text.eq_ignore_ascii_case(long)
            };
            match (1..).zip(DAYS).find(|(_, names)| is_it(names)) {
                Some((number, _)) => days.push(number),
                None => {
                    let near = nearest::word(&text, DAYS.iter().map(|(_, long)| *long));
                    let remedy = match near {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => "write Mon, Tue, Wed, Thu, Fri, Sat or Sun, or a list".to_owned(),
                    };
                    let problem = format!("{} is no day of the week", quote(&text));
                    self.refuse(path, problem, remedy);
                }
            }
        }
        if self.is_given(path) && self.list(path).is_empty() && !self.values.is_broken(path) {
            self.refuse(
                path,
                "an empty list names no day",
                "name one, or leave it out",
            );
        }
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Warns of settings that are valid and work differently than they read.
    fn rhythm(
        &mut self,
        schedule: &str,
        increments: &Increments,
        calendar: &Calendar,
        now: Timestamp,
    ) {
        let Increments {
            full_every,
            full_on,
            chain_max,
            ..
        } = increments;
        if full_every.is_none() && full_on.is_empty() {
            self.warn(format!("schedules.{schedule}: neither full_every nor full_on is given, so a chain grows to chain_max = {chain_max} backups before a full one is made; write full_every = \"7d\""));
            return;
        }
        let slots: Vec<Timestamp> = calendar.slots_after(now).take(SLOTS_LOOKED_AT).collect();
        let never: Vec<&str> = full_on
            .iter()
            .filter(|day| !is_due_on(calendar, &slots, now, **day))
            .filter_map(|day| {
                DAYS.get(usize::try_from(day - 1).ok()?)
                    .map(|names| names.0)
            })
            .collect();
        if !never.is_empty() {
            self.warn(format!(
                "schedules.{schedule}.full_on: no slot is on {}, so no full backup is made for it",
                never.join(", ")
            ));
        }
        let Some(apart) = apart(&slots) else { return };
        if let Some(every) = full_every
            && *every <= apart
        {
            self.warn(format!("schedules.{schedule}.full_every: slots are {} or more apart, so with full_every = {} every backup is full", spell(apart), spell(*every)));
            return;
        }
        let by_day = (full_on.len() > never.len()).then_some(WEEK);
        let Some(wanted) = (*full_every).into_iter().chain(by_day).min() else {
            return;
        };
        let chain = wanted.as_secs().checked_div(mean_seconds(&slots));
        if chain.is_some_and(|chain| chain > u64::from(*chain_max)) {
            self.warn(format!("schedules.{schedule}.chain_max: full backups are made sooner than full_every or full_on say, because about {} slots lie between them and a chain has at most {chain_max} backups; raise chain_max", chain.unwrap_or_default()));
        }
    }
}

/// The shortest time between two of these slots.
fn apart(slots: &[Timestamp]) -> Option<Duration> {
    let gaps = slots
        .windows(2)
        .filter_map(|pair| Duration::try_from(pair[1].duration_since(pair[0])).ok());
    gaps.min()
}

/// The mean time between two of these slots, in seconds; 0 where there are no two.
fn mean_seconds(slots: &[Timestamp]) -> u64 {
    let (Some(first), Some(last)) = (slots.first(), slots.last()) else {
        return 0;
    };
    let seconds = u64::try_from(last.duration_since(*first).as_secs()).unwrap_or_default();
    seconds / (slots.len() as u64 - 1).max(1)
}

/// Whether a slot falls on this day of the week: one of those, or the first one of a coming day.
fn is_due_on(calendar: &Calendar, slots: &[Timestamp], now: Timestamp, day: i8) -> bool {
    let zone = calendar.zone();
    let is_on = |slot: &Timestamp| zone.to_datetime(*slot).weekday().to_monday_one_offset() == day;
    let mut coming = (0..8).filter_map(|days| {
        let from = now.checked_add(jiff::SignedDuration::from_hours(24 * days));
        calendar.next_after(from.ok()?)
    });
    slots.iter().any(is_on) || coming.any(|slot| is_on(&slot))
}
