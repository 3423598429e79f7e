//! `[retention]`, `[retention.manual]` and `[schedules.<name>.retention]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Check;
use crate::config::keys::POLICY_KEYS;
use crate::operation::{Action, Schedule};
use crate::retention::{Policy, Rules, ScheduleRules};
use crate::schedule::ScheduleName;

/// Most backups that a rule may keep.
const KEPT_MAX: u32 = 100_000;

const MINUTE: Duration = Duration::from_secs(60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const CENTURY: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

impl Check<'_> {
    pub(super) fn retention(&mut self, schedules: &BTreeMap<ScheduleName, Schedule>) -> Rules {
        let mut retention = Rules {
            global: self.policy("retention", false),
            manual: self.policy("retention.manual", true),
            include_foreign: self.flag("retention.include_foreign"),
            sweep_broken: self.flag("retention.sweep_broken"),
            schedules: BTreeMap::new(),
            every: self
                .duration("retention.every", MINUTE..=WEEK)
                .unwrap_or_default(),
        };
        for name in self.values.schedules() {
            let policy = self.policy(&format!("schedules.{name}.retention"), true);
            let schedule = ScheduleName::try_from(name.clone()).ok();
            let schedule = schedule.and_then(|name| schedules.get(&name));
            if let Some(schedule) = schedule.filter(|found| found.action == Action::Backup) {
                let zone = schedule.calendar.zone().clone();
                retention
                    .schedules
                    .insert(name, ScheduleRules { policy, zone });
            }
        }
        self.relations(&retention);
        self.needs_a_view(&retention);
        retention
    }

    /// What cannot be seen is not removed: a policy without a view only plans.
    fn needs_a_view(&mut self, retention: &Rules) {
        let of_schedules = retention.schedules.values().map(|rules| &rules.policy);
        let policies = of_schedules.chain([&retention.global, &retention.manual]);
        let asks = policies.into_iter().any(Option::is_some) || retention.sweep_broken;
        if asks && !self.is_given("destination.url") {
            self.warn("retention only plans, and nothing is removed: there is no destination.url, and only what our own view of the destination shows is removed; write destination.url = \"s3://bucket/prefix\" or \"file:///path\"");
        }
    }

    /// The policy of a section. Where `rules_required`, a section without rules is refused: it would
    /// read as "keep nothing".
    fn policy(&mut self, section: &str, rules_required: bool) -> Option<Policy> {
        let at = |key: &str| format!("{section}.{key}");
        let policy = Policy {
            keep_last: self.count(&at("keep_last"), 1..=KEPT_MAX),
            keep_within: self.duration(&at("keep_within"), MINUTE..=CENTURY),
            keep_daily: self.count(&at("keep_daily"), 1..=KEPT_MAX),
            keep_weekly: self.count(&at("keep_weekly"), 1..=KEPT_MAX),
            keep_monthly: self.count(&at("keep_monthly"), 1..=KEPT_MAX),
            keep_yearly: self.count(&at("keep_yearly"), 1..=KEPT_MAX),
            min_keep: self.count(&at("min_keep"), 1..=KEPT_MAX),
        };
        let any_given = POLICY_KEYS.iter().any(|key| self.is_given(&at(key)));
        if rules_required
            && self.values.has_section(section)
            && !any_given
            && !self.values.is_broken(section)
        {
            self.refuse(
                section,
                "there is no rule in it",
                "write keep_last = 14, or leave the section out",
            );
        }
        (!policy.is_empty()).then_some(policy)
    }

    fn relations(&mut self, retention: &Rules) {
        let any_given = POLICY_KEYS
            .iter()
            .any(|key| self.is_given(&format!("retention.{key}")));
        let broken = self.values.is_broken("retention");
        if any_given || broken {
            return;
        }
        if retention.include_foreign {
            self.refuse(
                "retention.include_foreign",
                "there is no rule to judge foreign backups by",
                "add keep_last = 14 or another rule to [retention]",
            );
        } else if self.values.has_section("retention")
            && !self.values.has_section("retention.manual")
            && !retention.sweep_broken
        {
            let remedy = "write keep_last = 14, or leave the section out to keep every backup";
            self.refuse(
                "retention",
                "the section is empty; does it mean to keep all or nothing?",
                remedy,
            );
        } else {
            let elsewhere = retention.manual.is_some()
                || retention
                    .schedules
                    .values()
                    .any(|rules| rules.policy.is_some());
            self.warn(if elsewhere {
                "no rule in [retention]: every backup is kept, except where a section of its own says otherwise"
            } else {
                "no [retention]: every backup is kept"
            });
        }
    }
}
