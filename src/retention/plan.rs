//! The plan: every visible backup, whether it stays, and why.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::chains::{Base, doubts};
use super::rules::judge;
use super::stop::stops;
use super::suspicion::{adopted_until, is_adopted_by};
use super::{Group, Line, Plan, Policy, Reason, Rules, Situation, Unmet, Verdict};
use crate::backup::{Backup, BackupName, Origin};

/// What becomes of each backup, and why.
///
/// Depends on the order of nothing in the situation; takes n log n steps for n backups.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let mut judged = in_order(situation);
    let bases = bases(&judged);
    doubt(&mut judged, &bases, situation);
    for group in judged.chunk_by_mut(|one, other| one.group == other.group) {
        rule(group, situation);
    }
    for one in &mut judged {
        one.protect(situation);
    }
    keep_bases(&mut judged, &bases);
    Plan {
        stops: stops(situation),
        lines: judged.into_iter().map(Judged::into_line).collect(),
    }
}

/// Newest first; of two that ended within the same second the one that was asked for later.
pub(super) fn newest_first(backup: &Backup) -> impl Ord + use<'_> {
    Reverse((backup.created_at, backup.number, &backup.name))
}

/// A backup while it is judged; it stays if anything is in `kept_by`.
struct Judged<'a> {
    backup: &'a Backup,
    group: Group,
    counts: bool,
    kept_by: Vec<Reason>,
    unmet: Vec<Unmet>,
}

impl Judged<'_> {
    fn protect(&mut self, situation: &Situation<'_>) {
        if let Some(pin) = &self.backup.pinned {
            self.kept_by.push(Reason::Pinned(pin.clone()));
        }
        if let Some(reasons) = situation.holds.get(&self.backup.name) {
            let reasons = reasons.clone();
            self.kept_by.push(Reason::Held { reasons });
        }
    }

    fn into_line(self) -> Line {
        let (verdict, reasons) = if self.kept_by.is_empty() {
            let unmet = self.unmet.into_iter().map(Reason::NotKept);
            (Verdict::Remove, unmet.collect())
        } else {
            (Verdict::Keep, self.kept_by)
        };
        Line {
            backup: self.backup.name.clone(),
            base: self.backup.base.clone(),
            created_at: self.backup.created_at,
            group: self.group,
            verdict,
            reasons,
        }
    }
}

/// By group, then newest first: each group is one stretch.
fn in_order<'a>(situation: &Situation<'a>) -> Vec<Judged<'a>> {
    let visible = situation
        .backups
        .iter()
        .filter(|backup| backup.is_visible());
    let mut judged: Vec<Judged<'a>> = visible
        .map(|backup| Judged {
            backup,
            group: group(backup),
            counts: false,
            kept_by: Vec::new(),
            unmet: Vec::new(),
        })
        .collect();
    judged.sort_by(|one, other| {
        let by_group = one.group.cmp(&other.group);
        by_group.then_with(|| newest_first(one.backup).cmp(&newest_first(other.backup)))
    });
    judged
}

fn group(backup: &Backup) -> Group {
    match &backup.origin {
        Origin::Schedule { schedule, .. } => Group::Schedule(schedule.clone()),
        Origin::Client => Group::Manual,
        Origin::Foreign => Group::Foreign,
    }
}

fn bases(judged: &[Judged<'_>]) -> Vec<Base> {
    let indexes: HashMap<&BackupName, usize> = judged
        .iter()
        .enumerate()
        .map(|(index, one)| (&one.backup.name, index))
        .collect();
    let find = |one: &Judged<'_>| match &one.backup.base {
        None => Base::None,
        Some(base) => indexes
            .get(base)
            .map_or(Base::Missing, |index| Base::At(*index)),
    };
    judged.iter().map(find).collect()
}

/// What speaks against a backup: it counts towards no rule, and no rule removes it.
fn doubt(judged: &mut [Judged<'_>], bases: &[Base], situation: &Situation<'_>) {
    let adopted_until = adopted_until(situation.adoptions);
    let backups: Vec<&Backup> = judged.iter().map(|one| one.backup).collect();
    for (one, of_chain) in judged.iter_mut().zip(doubts(&backups, bases)) {
        let backup = one.backup;
        if backup.is_damaged() {
            one.kept_by.push(Reason::Damaged);
        }
        if backup.manifest.is_none() {
            one.kept_by.push(Reason::Unproven);
        }
        match &backup.suspect {
            Some(suspicion) if backup.is_suspect() && !is_adopted_by(backup, adopted_until) => {
                one.kept_by.push(Reason::Suspect(suspicion.clone()));
            }
            _ => {}
        }
        one.kept_by.extend(of_chain);
        one.counts = one.kept_by.is_empty();
    }
}

/// Judges one group, newest first.
fn rule(group: &mut [Judged<'_>], situation: &Situation<'_>) {
    let Some(first) = group.first() else { return };
    match policy(situation.rules, &first.group) {
        Ruled::By(policy, zone) => apply(policy, &zone, situation.now, group),
        Ruled::Not(reason) => {
            for one in group {
                one.kept_by.insert(0, reason.clone());
            }
        }
    }
}

fn apply(policy: &Policy, zone: &TimeZone, now: Timestamp, group: &mut [Judged<'_>]) {
    let mut counted: Vec<&mut Judged<'_>> = group.iter_mut().filter(|one| one.counts).collect();
    let backups: Vec<&Backup> = counted.iter().map(|one| one.backup).collect();
    for (one, ruling) in counted.iter_mut().zip(judge(policy, zone, now, &backups)) {
        one.kept_by = ruling.kept_by;
        one.unmet = ruling.unmet;
    }
    if let Some(newest) = counted.first_mut() {
        newest.kept_by.push(Reason::NewestSuccess);
    }
    if let Some(newest) = counted.iter_mut().find(|one| one.backup.is_proved()) {
        newest.kept_by.push(Reason::NewestProved);
    }
}

/// How a group is judged.
enum Ruled<'a> {
    By(&'a Policy, TimeZone),
    Not(Reason),
}

fn policy<'a>(rules: &'a Rules, group: &Group) -> Ruled<'a> {
    let (own, zone) = match group {
        Group::Schedule(schedule) => match rules.schedules.get(schedule) {
            Some(of_schedule) => (of_schedule.policy.as_ref(), of_schedule.zone.clone()),
            None => (None, TimeZone::UTC),
        },
        Group::Manual => (rules.manual.as_ref(), TimeZone::UTC),
        Group::Foreign if rules.include_foreign => (None, TimeZone::UTC),
        Group::Foreign => return Ruled::Not(Reason::Foreign),
    };
    // A policy without any rule would keep nothing but the newest; the configuration refuses it, and
    // so nobody meant it.
    match own
        .or(rules.global.as_ref())
        .filter(|policy| !policy.is_empty())
    {
        Some(policy) => Ruled::By(policy, zone),
        None => Ruled::Not(Reason::NoPolicy),
    }
}

/// A base stays while anything kept needs it, whatever group either belongs to.
fn keep_bases(judged: &mut [Judged<'_>], bases: &[Base]) {
    let mut is_kept: Vec<bool> = judged.iter().map(|one| !one.kept_by.is_empty()).collect();
    let mut to_follow: Vec<usize> = (0..judged.len()).filter(|index| is_kept[*index]).collect();
    let mut dependents: Vec<Option<(usize, usize)>> = vec![None; judged.len()];
    while let Some(index) = to_follow.pop() {
        let Base::At(base) = bases[index] else {
            continue;
        };
        let order = |index: usize| newest_first(judged[index].backup);
        dependents[base] = Some(match dependents[base] {
            None => (index, 0),
            Some((newest, others)) if order(newest) < order(index) => (newest, others + 1),
            Some((_, others)) => (index, others + 1),
        });
        if !is_kept[base] {
            is_kept[base] = true;
            to_follow.push(base);
        }
    }
    for (base, dependents) in dependents.into_iter().enumerate() {
        if let Some((newest, others)) = dependents {
            let backup = judged[newest].backup.name.clone();
            judged[base].kept_by.push(Reason::BaseOf { backup, others });
        }
    }
}
