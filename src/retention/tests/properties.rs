//! What holds for every history, policy, hold and pin.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use super::*;
use crate::backup::Pin;

const HISTORY_MAX_BACKUPS: usize = 40;

/// One backup of a random history, before it gets its place in it.
#[derive(Debug, Clone)]
struct Draw {
    group: u8,
    /// Hours after the backup before it.
    after: i64,
    /// How far back its base is, in the whole history; none for a full one, too far for a missing one.
    base: Option<usize>,
    /// Hours from its slot to its end.
    late: i64,
    pinned: bool,
    held: bool,
    proof: Option<bool>,
    read: bool,
    suspect: bool,
}

fn draw() -> impl Strategy<Value = Draw> {
    let flag = |probability| prop::bool::weighted(probability);
    let place = (0_u8..5, 0_i64..400, weighted(0.5, 1_usize..6), 0_i64..100);
    let state = (
        flag(0.1),
        flag(0.1),
        weighted(0.5, flag(0.85)),
        flag(0.9),
        flag(0.1),
    );
    (place, state).prop_map(|(place, state)| Draw {
        group: place.0,
        after: place.1,
        base: place.2,
        late: place.3,
        pinned: state.0,
        held: state.1,
        proof: state.2,
        read: state.3,
        suspect: state.4,
    })
}

/// A history with all that a plan is made from.
#[derive(Debug, Clone)]
struct World {
    backups: Vec<Backup>,
    holds: Holds,
    rules: Rules,
    adoptions: Vec<Adoption>,
    now: Timestamp,
}

impl World {
    fn plan_at(&self, now: Timestamp) -> Plan {
        plan(&Situation {
            rules: &self.rules,
            backups: self.backups.iter().collect(),
            holds: &self.holds,
            adoptions: &self.adoptions,
            server: None,
            now,
        })
    }

    fn plan(&self) -> Plan {
        self.plan_at(self.now)
    }

    fn without(&self, gone: &BTreeSet<BackupName>) -> Self {
        let mut world = self.clone();
        world.backups.retain(|backup| !gone.contains(&backup.name));
        world
    }

    fn names(&self) -> BTreeSet<&BackupName> {
        self.backups.iter().map(|backup| &backup.name).collect()
    }

    fn counts(&self, backup: &Backup) -> bool {
        let mut at = backup;
        let mut steps = 0;
        let sound = loop {
            let Some(base) = &at.base else { break true };
            let found = self.backups.iter().find(|other| other.name == *base);
            match found {
                Some(base) if !base.is_damaged() && steps < HISTORY_MAX_BACKUPS => at = base,
                _ => break false,
            }
            steps += 1;
        };
        let suspect = backup.suspect.is_some() && !is_adopted(backup, &self.adoptions);
        sound && !backup.is_damaged() && backup.manifest.is_some() && !suspect
    }

    /// Backups that count, by group, oldest first.
    fn counted(&self) -> BTreeMap<String, Vec<&Backup>> {
        let mut groups: BTreeMap<String, Vec<&Backup>> = BTreeMap::new();
        for backup in self.backups.iter().filter(|backup| self.counts(backup)) {
            let group = match &backup.origin {
                Origin::Schedule { schedule, .. } => schedule.clone(),
                other => format!("{other:?}"),
            };
            groups.entry(group).or_default().push(backup);
        }
        groups
    }
}

fn going(plan: &Plan) -> BTreeSet<BackupName> {
    let lines = plan.lines.iter();
    let going = lines.filter(|line| line.verdict == Verdict::Remove);
    going.map(|line| line.backup.clone()).collect()
}

fn start() -> Timestamp {
    at("2026-09-01T00:00:00Z")
}

fn hours(hours: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(hours)
}

fn history(draws: &[Draw]) -> (Vec<Backup>, Holds) {
    let mut backups: Vec<Backup> = Vec::new();
    let mut holds = Holds::new();
    let mut created_at = start();
    for (index, draw) in draws.iter().enumerate() {
        created_at += hours(draw.after / 10);
        let origin = match draw.group {
            0 | 1 => slot_of("daily", created_at - hours(draw.late)),
            2 => slot_of("former", created_at - hours(draw.late)),
            3 => Origin::Client,
            _ => Origin::Foreign,
        };
        let mut one = backup(&format!("b{index}"), origin, created_at);
        one.number = index as u64;
        if let Some(back) = draw.base {
            let base = index.checked_sub(back);
            one = built_on(
                one,
                &base.map_or("lost".to_owned(), |base| format!("b{base}")),
            );
        }
        if let Some(passed) = draw.proof {
            one.set_proof(proof(created_at, passed));
        }
        if !draw.read {
            one.manifest = None;
        }
        one.suspect = draw.suspect.then(few);
        one.pinned = draw.pinned.then_some(Pin {
            at: created_at,
            by: None,
            reason: None,
        });
        if draw.held {
            holds.insert(one.name.clone(), vec!["a restore reads it".into()]);
        }
        backups.push(one);
    }
    (backups, holds)
}

fn count() -> impl Strategy<Value = Option<u32>> {
    weighted(0.4, 1_u32..6)
}

fn policy() -> impl Strategy<Value = Policy> {
    let within = weighted(0.3, 1_u64..60).prop_map(|days| {
        let days = days?;
        Some(Duration::from_secs(days * 86_400))
    });
    let counts = (count(), count(), count(), count(), count(), count());
    (counts, within).prop_map(|(counts, keep_within)| Policy {
        keep_last: counts.0,
        keep_within,
        keep_daily: counts.1,
        keep_weekly: counts.2,
        keep_monthly: counts.3,
        keep_yearly: counts.4,
        min_keep: counts.5,
    })
}

fn world() -> impl Strategy<Value = World> {
    let policies = (
        weighted(0.9, policy()),
        weighted(0.3, policy()),
        weighted(0.3, policy()),
    );
    let more = (any::<bool>(), weighted(0.3, 0_i64..1_000), 0_i64..2_000);
    (vec(draw(), 0..HISTORY_MAX_BACKUPS), policies, more).prop_map(|(draws, policies, more)| {
        let (backups, holds) = history(&draws);
        let mut rules = rules(Policy::default(), "Europe/Sofia");
        rules.global = policies.0;
        rules.manual = policies.1;
        if let Some(daily) = rules.schedules.get_mut("daily") {
            daily.policy = policies.2;
        }
        rules.include_foreign = more.0;
        World {
            backups,
            holds,
            rules,
            adoptions: more
                .1
                .map(|after| adoption(start() + hours(after)))
                .into_iter()
                .collect(),
            now: start() + hours(more.2),
        }
    })
}

proptest! {
    #[test]
    fn every_backup_has_one_line_with_a_reason(world in world()) {
        let plan = world.plan();
        let lines: BTreeSet<&BackupName> = plan.lines.iter().map(|line| &line.backup).collect();
        prop_assert_eq!(lines, world.names());
        prop_assert_eq!(plan.lines.len(), world.backups.len());
        for line in &plan.lines {
            prop_assert!(!line.reasons.is_empty());
            let refusals = line.reasons.iter().filter(|one| matches!(one, Reason::NotKept(_)));
            let expected = if line.verdict == Verdict::Remove { line.reasons.len() } else { 0 };
            prop_assert_eq!(refusals.count(), expected);
        }
    }

    /// Wherever the removals are interrupted, nothing that is left lost its base by them.
    #[test]
    fn nothing_that_is_left_loses_its_base(world in world()) {
        let mut plan = world.plan();
        plan.stops.clear();
        let mut left = world.names();
        let order: Vec<&Line> = plan.removals().collect();
        prop_assert_eq!(order.len(), going(&plan).len());
        for line in order {
            left.remove(&line.backup);
            let orphan = world.backups.iter().find(|backup| {
                left.contains(&backup.name) && backup.base.as_ref() == Some(&line.backup)
            });
            prop_assert!(orphan.is_none(), "{:?} needs {}", orphan, line.backup);
        }
    }

    #[test]
    fn the_newest_success_and_the_newest_proved_one_of_each_group_stay(world in world()) {
        let going = going(&world.plan());
        for (group, backups) in world.counted() {
            let newest = backups.last().unwrap();
            prop_assert!(!going.contains(&newest.name), "{group}: {}", newest.name);
            if let Some(proved) = backups.iter().rev().find(|backup| backup.is_proved()) {
                prop_assert!(!going.contains(&proved.name), "{group}: {}", proved.name);
            }
        }
    }

    #[test]
    fn floors_hold_and_so_do_counts(world in world()) {
        let going = going(&world.plan());
        for (group, backups) in world.counted() {
            let own = match group.as_str() {
                "daily" => world.rules.schedules["daily"].policy.clone(),
                "Client" => world.rules.manual.clone(),
                _ => None,
            };
            let Some(policy) = own.or(world.rules.global.clone()) else { continue };
            let floor = policy.min_keep.max(policy.keep_last).unwrap_or(0) as usize;
            let left = backups.iter().filter(|backup| !going.contains(&backup.name)).count();
            prop_assert!(left >= floor.min(backups.len()), "{group}: {left} of {floor}");
            let last = policy.keep_last.unwrap_or(0) as usize;
            for newest in backups.iter().rev().take(last) {
                prop_assert!(!going.contains(&newest.name), "{group}: {}", newest.name);
            }
        }
    }

    #[test]
    fn nothing_goes_that_is_held_pinned_or_in_doubt(world in world()) {
        let going = going(&world.plan());
        for backup in &world.backups {
            let is_safe = world.holds.contains_key(&backup.name)
                || backup.pinned.is_some()
                || !world.counts(backup);
            prop_assert!(!(is_safe && going.contains(&backup.name)), "{}", backup.name);
        }
    }

    #[test]
    fn a_plan_that_was_carried_out_has_nothing_more_to_remove(world in world()) {
        let after = world.without(&going(&world.plan()));
        prop_assert_eq!(going(&after.plan()), BTreeSet::new());
    }

    /// Also after only a part of it was carried out: a crash in the middle changes no decision.
    #[test]
    fn a_plan_that_was_interrupted_goes_on_as_it_began(world in world(), done in 0_usize..40) {
        let mut plan = world.plan();
        plan.stops.clear();
        let order: Vec<BackupName> = plan.removals().map(|line| line.backup.clone()).collect();
        let done = done.min(order.len());
        let after = world.without(&order[..done].iter().cloned().collect());
        prop_assert_eq!(going(&after.plan()), order[done..].iter().cloned().collect());
    }

    #[test]
    fn counts_do_not_depend_on_the_clock(world in world(), other in -50_000_i64..50_000) {
        let mut world = world;
        let all = [&mut world.rules.global, &mut world.rules.manual];
        for policy in all.into_iter().flatten() {
            policy.keep_within = None;
        }
        for policy in world.rules.schedules.values_mut().filter_map(|own| own.policy.as_mut()) {
            policy.keep_within = None;
        }
        prop_assert_eq!(world.plan(), world.plan_at(start() + hours(other)));
    }

    /// Nor do ages, once the newest backup is in the past: what gets no more backups is not emptied.
    #[test]
    fn ages_do_not_depend_on_how_long_ago_the_newest_was(world in world(), later in 0_i64..50_000) {
        let newest = world.backups.last().map_or_else(start, |backup| backup.created_at);
        prop_assert_eq!(world.plan_at(newest), world.plan_at(newest + hours(later)));
    }

    #[test]
    fn a_pin_never_lets_more_go(world in world(), pinned in any::<prop::sample::Index>()) {
        prop_assume!(!world.backups.is_empty());
        let before = going(&world.plan());
        let mut world = world;
        let index = pinned.index(world.backups.len());
        world.backups[index].pinned = Some(Pin { at: start(), by: None, reason: None });
        prop_assert!(going(&world.plan()).is_subset(&before));
    }

    #[test]
    fn the_order_of_the_input_says_nothing(world in world(), seed in any::<u64>()) {
        let mut shuffled = world.clone();
        shuffled.backups.sort_by_key(|backup| {
            (backup.number + 1).wrapping_mul(seed | 1).rotate_left(32)
        });
        prop_assert_eq!(world.plan(), shuffled.plan());
    }
}
