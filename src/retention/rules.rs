//! The rules of a policy, over the backups of one group that count.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Period, Policy, Reason, Unmet};
use crate::backup::Backup;

/// What the rules say about one backup. It stays by them if anything is in `kept_by`.
#[derive(Debug, Default)]
pub(super) struct Ruling {
    pub kept_by: Vec<Reason>,
    pub unmet: Vec<Unmet>,
}

/// Applies a policy; the answers are in the order of `newest_first`.
pub(super) fn judge(
    policy: &Policy,
    zone: &TimeZone,
    now: Timestamp,
    newest_first: &[&Backup],
) -> Vec<Ruling> {
    let mut rulings: Vec<Ruling> = Vec::new();
    rulings.resize_with(newest_first.len(), Ruling::default);
    if let Some(n) = policy.keep_last {
        last(n, &mut rulings);
    }
    if let Some(within) = policy.keep_within {
        young(within, now, newest_first, &mut rulings);
    }
    let dates: Vec<Date> = newest_first
        .iter()
        .map(|backup| backup.slot_or_creation().to_zoned(zone.clone()).date())
        .collect();
    type PeriodOf = fn(Date) -> Period;
    let of_periods: [(Option<u32>, PeriodOf); 4] = [
        (policy.keep_daily, Period::Day),
        (policy.keep_weekly, week),
        (policy.keep_monthly, month),
        (policy.keep_yearly, |date| Period::Year(date.year())),
    ];
    for (n, period) in of_periods {
        if let Some(n) = n {
            let periods: Vec<Period> = dates.iter().map(|date| period(*date)).collect();
            newest_of_each(n, &periods, newest_first, &mut rulings);
        }
    }
    if let Some(n) = policy.min_keep {
        floor(n, &mut rulings);
    }
    rulings
}

fn last(n: u32, rulings: &mut [Ruling]) {
    for (position, ruling) in (1..).zip(rulings) {
        if position <= n as usize {
            ruling.kept_by.push(Reason::Last { n, position });
        } else {
            ruling.unmet.push(Unmet::Last { n });
        }
    }
}

/// Ages count from the newest backup, so that a destination that gets no more of them is not emptied,
/// and from now where the newest is dated in the future, so that this one does not make all others old.
fn young(within: Duration, now: Timestamp, newest_first: &[&Backup], rulings: &mut [Ruling]) {
    let Some(newest) = newest_first.first() else {
        return;
    };
    let reference = newest.created_at.min(now);
    let longest = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
    for (backup, ruling) in newest_first.iter().zip(rulings) {
        if reference.duration_since(backup.created_at) <= longest {
            ruling.kept_by.push(Reason::Within(within));
        } else {
            ruling.unmet.push(Unmet::Within(within));
        }
    }
}

/// Keeps the newest of each of the last `n` periods that have one.
///
/// Within a period the latest slot is the newest: a slot that was run again a day later holds the
/// rows of that later day, and must not stand for its own.
fn newest_of_each(n: u32, periods: &[Period], newest_first: &[&Backup], rulings: &mut [Ruling]) {
    let mut newest: BTreeMap<Period, usize> = BTreeMap::new();
    for (index, period) in periods.iter().enumerate() {
        newest
            .entry(*period)
            .and_modify(|best| {
                let slot = |index: usize| newest_first[index].slot_or_creation();
                if slot(index) > slot(*best) {
                    *best = index;
                }
            })
            .or_insert(index);
    }
    let kept: BTreeMap<Period, usize> = newest.into_iter().rev().take(n as usize).collect();
    for (index, (period, ruling)) in periods.iter().zip(rulings).enumerate() {
        let period = *period;
        match kept.get(&period) {
            Some(best) if *best == index => ruling.kept_by.push(Reason::Newest(period)),
            Some(best) => ruling.unmet.push(Unmet::Newest {
                period,
                newest: newest_first[*best].name.clone(),
            }),
            None => ruling.unmet.push(Unmet::Period { period, n }),
        }
    }
}

/// Only what rules keep counts towards the floor: if pins did, pinning one backup could let another go.
fn floor(n: u32, rulings: &mut [Ruling]) {
    let kept = rulings.iter().filter(|ruling| !ruling.kept_by.is_empty());
    let mut wanted = (n as usize).saturating_sub(kept.count());
    for ruling in rulings {
        if !ruling.kept_by.is_empty() {
            continue;
        }
        if wanted > 0 {
            ruling.kept_by.push(Reason::Floor { n });
            wanted -= 1;
        } else {
            ruling.unmet.push(Unmet::Floor { n });
        }
    }
}

fn week(date: Date) -> Period {
    let week = date.iso_week_date();
    Period::Week {
        year: week.year(),
        week: week.week(),
    }
}

fn month(date: Date) -> Period {
    Period::Month {
        year: date.year(),
        month: date.month(),
    }
}
