//! Each rule by itself, over dates where it could go wrong.

use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::schedule::Calendar;

const SOFIA: &str = "Europe/Sofia";

/// A backup for each slot of a cron expression, named by its date, and by its time where asked.
fn slots(cron: &str, zone: &str, from: &str, to: &str, with_time: bool) -> Vec<Backup> {
    let calendar = Calendar::parse(cron, zone).unwrap();
    let slots = calendar
        .slots_after(at(from))
        .take_while(|slot| *slot < at(to));
    let of_slot = |slot: Timestamp| {
        let zoned = slot.to_zoned(calendar.zone().clone());
        let text = if with_time {
            format!("{}T{:02}", zoned.date(), zoned.hour())
        } else {
            zoned.date().to_string()
        };
        backup(&text, slot_of("daily", slot), slot)
    };
    slots.map(of_slot).collect()
}

fn policy(text: &str) -> Policy {
    let mut policy = Policy::default();
    for rule in text.split_whitespace() {
        let (key, n) = rule.split_once('=').unwrap();
        let n = Some(n.parse().unwrap());
        match key {
            "last" => policy.keep_last = n,
            "within_days" => {
                policy.keep_within = n.map(|n| Duration::from_secs(u64::from(n) * 86_400));
            }
            "daily" => policy.keep_daily = n,
            "weekly" => policy.keep_weekly = n,
            "monthly" => policy.keep_monthly = n,
            "yearly" => policy.keep_yearly = n,
            "floor" => policy.min_keep = n,
            other => panic!("{other}"),
        }
    }
    policy
}

#[rstest]
#[case::last("last=3", "2026-12-25T12:00:00Z", "2027-01-02T12:00:00Z", &["2027-01-02", "2027-01-01", "2026-12-31"])]
#[case::within("within_days=2", "2026-02-20T12:00:00Z", "2026-03-01T12:00:00Z", &["2026-03-01", "2026-02-28", "2026-02-27"])]
#[case::daily("daily=2", "2028-02-20T12:00:00Z", "2028-03-01T12:00:00Z", &["2028-03-01", "2028-02-29"])]
// 2026 has 53 ISO weeks: the last begins on 2026-12-28 and ends on Sunday, 2027-01-03.
#[case::weekly("weekly=3", "2026-12-01T12:00:00Z", "2027-01-05T12:00:00Z", &["2027-01-05", "2027-01-03", "2026-12-27"])]
// 2024-12-30 is a Monday and belongs to week 1 of 2025.
#[case::week_of_next_year("weekly=2", "2024-12-01T12:00:00Z", "2024-12-31T12:00:00Z", &["2024-12-31", "2024-12-29"])]
#[case::monthly("monthly=3", "2026-10-20T12:00:00Z", "2027-01-02T12:00:00Z", &["2027-01-02", "2026-12-31", "2026-11-30"])]
#[case::yearly("yearly=2", "2025-11-01T12:00:00Z", "2027-01-02T12:00:00Z", &["2027-01-02", "2026-12-31"])]
#[case::floor("yearly=1 floor=3", "2026-12-25T12:00:00Z", "2027-01-02T12:00:00Z", &["2027-01-02", "2027-01-01", "2026-12-31"])]
#[case::floor_that_is_met("yearly=2 floor=2", "2025-12-01T12:00:00Z", "2026-01-05T12:00:00Z", &["2026-01-05", "2025-12-31"])]
#[case::any_rule_keeps("daily=2 monthly=2", "2026-10-01T12:00:00Z", "2026-11-22T12:00:00Z", &["2026-11-22", "2026-11-21", "2026-10-31"])]
#[case::both_clock_changes("monthly=3", "2026-03-20T12:00:00Z", "2026-11-02T12:00:00Z", &["2026-11-02", "2026-10-31", "2026-09-30"])]
#[case::more_than_there_are("last=14 daily=400", "2026-11-20T12:00:00Z", "2026-11-22T12:00:00Z", &["2026-11-22", "2026-11-21"])]
fn a_backup_of_each_night(
    #[case] rule: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] expected: &[&str],
) {
    let backups = slots("0 2 * * *", SOFIA, from, to, false);
    let plan = plan_of(&rules(policy(rule), SOFIA), &backups, at(to));
    assert_eq!(kept(&plan), expected);
}

#[rstest]
// 00:00 in Sofia is 22:00 of the day before in UTC (21:00 in summer).
#[case::dates_are_those_of_the_zone("daily=2", "0 */6 * * *", SOFIA, "2026-11-20T12:00:00Z", "2026-11-21T22:30:00Z", &["2026-11-22T00", "2026-11-21T18"])]
// On 2026-03-29 clocks go from 03:00 to 04:00, on 2026-10-25 from 04:00 back to 03:00.
#[case::short_day("daily=3", "0 * * * *", SOFIA, "2026-03-28T12:00:00Z", "2026-03-29T22:30:00Z", &["2026-03-30T01", "2026-03-29T23", "2026-03-28T23"])]
#[case::long_day("daily=2", "0 * * * *", SOFIA, "2026-10-24T12:00:00Z", "2026-10-25T23:30:00Z", &["2026-10-26T01", "2026-10-25T23"])]
// Samoa had no 2011-12-30: the day after the 29th was the 31st.
#[case::skipped_day("daily=3", "0 */12 * * *", "Pacific/Apia", "2011-12-27T12:00:00Z", "2012-01-01T09:00:00Z", &["2012-01-01T12", "2011-12-31T12", "2011-12-29T12"])]
#[case::skipped_day_in_a_week("weekly=2", "0 */12 * * *", "Pacific/Apia", "2011-12-20T12:00:00Z", "2012-01-01T09:00:00Z", &["2012-01-01T12", "2011-12-25T12"])]
fn several_a_day(
    #[case] rule: &str,
    #[case] cron: &str,
    #[case] zone: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] expected: &[&str],
) {
    let mut backups = slots(cron, zone, from, to, true);
    // The repeated hour has two slots of one name; the plan is told of the later one only.
    backups.reverse();
    backups.dedup_by(|later, earlier| later.name == earlier.name);
    let plan = plan_of(&rules(policy(rule), zone), &backups, at(to));
    assert_eq!(kept(&plan), expected);
}

#[test]
fn periods_without_a_backup_are_not_counted() {
    let days = ["2026-01-05", "2026-03-10", "2026-08-15", "2026-11-22"];
    let backups: Vec<Backup> = days
        .iter()
        .map(|day| {
            let slot = at(&format!("{day}T00:00:00Z"));
            backup(day, slot_of("daily", slot), slot)
        })
        .collect();
    let plan = plan_of(
        &rules(policy("monthly=3"), SOFIA),
        &backups,
        at("2026-11-22T12:00:00Z"),
    );
    assert_eq!(kept(&plan), ["2026-11-22", "2026-08-15", "2026-03-10"]);
    assert_eq!(
        reasons(&plan, "2026-01-05"),
        "month 2026-01 is before the last 3 months with a backup"
    );
}

#[test]
fn ages_count_from_the_newest_and_never_from_the_future() {
    let backups = slots(
        "0 2 * * *",
        SOFIA,
        "2026-11-01T12:00:00Z",
        "2026-11-10T12:00:00Z",
        false,
    );
    let young = rules(policy("within_days=2"), SOFIA);
    let expected = ["2026-11-10", "2026-11-09", "2026-11-08"];
    for now in ["2026-11-10T12:00:00Z", "2036-01-01T00:00:00Z"] {
        assert_eq!(kept(&plan_of(&young, &backups, at(now))), expected, "{now}");
    }
    // Somebody's clock was wrong for one night.
    let mut backups = backups;
    let future = at("2030-01-01T00:00:00Z");
    backups.push(backup("future", slot_of("daily", future), future));
    let plan = plan_of(&young, &backups, at("2026-11-10T12:00:00Z"));
    assert_eq!(kept(&plan), ["future", "2026-11-10", "2026-11-09"]);
}

#[test]
fn a_slot_that_is_run_again_is_new_and_stands_for_its_own_day() {
    let mut backups = slots(
        "0 2 * * *",
        SOFIA,
        "2026-11-16T12:00:00Z",
        "2026-11-22T12:00:00Z",
        false,
    );
    backups[0].created_at = at("2026-11-22T09:00:00Z");
    let now = at("2026-11-22T12:00:00Z");
    let plan = plan_of(&rules(policy("last=2"), SOFIA), &backups, now);
    assert_eq!(kept(&plan), ["2026-11-17", "2026-11-22"]);
    let plan = plan_of(&rules(policy("daily=2"), SOFIA), &backups, now);
    assert_eq!(kept(&plan), ["2026-11-17", "2026-11-22", "2026-11-21"]);
    assert_eq!(reasons(&plan, "2026-11-17"), "newest success");
}

#[test]
fn of_the_same_second_the_one_asked_for_later_is_newer() {
    let now = at("2026-11-22T00:00:00Z");
    let numbered = |text: &str, number| Backup {
        number,
        ..backup(text, Origin::Client, now)
    };
    let backups = [numbered("b", 1), numbered("c", 3), numbered("a", 2)];
    let plan = plan_of(&rules(policy("last=2"), SOFIA), &backups, now);
    assert_eq!(kept(&plan), ["c", "a"]);
}

#[test]
fn groups_are_judged_by_themselves() {
    let now = at("2026-11-22T00:00:00Z");
    let earlier = at("2026-11-21T00:00:00Z");
    let backups = [
        backup("daily-1", slot_of("daily", earlier), earlier),
        backup("daily-2", slot_of("daily", now), now),
        backup("former-1", slot_of("former", earlier), earlier),
        backup("former-2", slot_of("former", now), now),
        backup("hand-1", Origin::Client, earlier),
        backup("hand-2", Origin::Client, now),
        backup("other-1", Origin::Foreign, earlier),
        backup("other-2", Origin::Foreign, now),
    ];
    let mut rules = rules(policy("last=1"), SOFIA);
    let plan = plan_of(&rules, &backups, now);
    assert_eq!(
        kept(&plan),
        ["daily-2", "former-2", "hand-2", "other-2", "other-1"]
    );
    assert_eq!(reasons(&plan, "other-1"), "foreign");

    rules.manual = Some(policy("last=2"));
    rules.schedules.get_mut("daily").unwrap().policy = Some(policy("last=2"));
    rules.include_foreign = true;
    let plan = plan_of(&rules, &backups, now);
    let expected = [
        "daily-2", "daily-1", "former-2", "hand-2", "hand-1", "other-2",
    ];
    assert_eq!(kept(&plan), expected);

    rules.global = None;
    let plan = plan_of(&rules, &backups, now);
    assert_eq!(kept(&plan).len(), backups.len());
    assert_eq!(reasons(&plan, "former-1"), "no policy");
    assert_eq!(reasons(&plan, "other-1"), "no policy");
}

#[test]
fn bases_stay_across_groups_and_through_others() {
    let day = |day: &str| at(&format!("2026-11-{day}T00:00:00Z"));
    let daily = |text: &str| backup(text, slot_of("daily", day(text)), day(text));
    let backups = [
        daily("01"),
        built_on(daily("02"), "01"),
        built_on(daily("03"), "02"),
        daily("04"),
        built_on(daily("05"), "04"),
        daily("06"),
        built_on(backup("hand", Origin::Client, day("07")), "03"),
        built_on(backup("hand-old", Origin::Client, day("05")), "01"),
    ];
    let plan = plan_of(&rules(policy("last=1"), SOFIA), &backups, day("08"));
    assert_eq!(kept(&plan), ["06", "03", "02", "01", "hand"]);
    assert_eq!(reasons(&plan, "03"), "base of hand");
    assert_eq!(reasons(&plan, "01"), "base of 02");
    let order: Vec<&str> = plan.removals().map(|line| line.backup.as_str()).collect();
    assert_eq!(order, ["05", "hand-old", "04"]);
}

#[test]
fn dependents_go_before_their_bases_even_where_clocks_say_otherwise() {
    let day = |day: &str| at(&format!("2026-11-{day}T00:00:00Z"));
    let daily = |text: &str| backup(text, slot_of("daily", day(text)), day(text));
    let backups = [
        built_on(daily("01"), "03"),
        built_on(daily("02"), "01"),
        daily("03"),
        daily("04"),
        daily("05"),
    ];
    let plan = plan_of(&rules(policy("last=1"), SOFIA), &backups, day("08"));
    let order: Vec<&str> = plan.removals().map(|line| line.backup.as_str()).collect();
    assert_eq!(order, ["04", "02", "01", "03"]);
}

#[test]
fn what_does_not_count_stays_and_holds_no_place() {
    let day = |day: &str| at(&format!("2026-11-{day}T00:00:00Z"));
    let daily = |text: &str| backup(text, slot_of("daily", day(text)), day(text));
    let mut backups = vec![
        daily("01"),
        daily("02"),
        daily("03"),
        daily("04"),
        built_on(daily("05"), "gone"),
        built_on(daily("06"), "05"),
        daily("07"),
        built_on(daily("08"), "07"),
        built_on(daily("09"), "09"),
        daily("10"),
    ];
    backups[2].manifest = None;
    backups[3].suspect = Some(few());
    backups[6].set_proof(proof(day("20"), false));
    let plan = plan_of(&rules(policy("last=2"), SOFIA), &backups, day("21"));
    assert_eq!(
        kept(&plan),
        ["10", "09", "08", "07", "06", "05", "04", "03", "02"]
    );
    let told = [
        ("10", "last 2: 1st; newest success"),
        (
            "09",
            "its chain leads back to itself, so it does not count; base of 09",
        ),
        ("08", "its base 07 is damaged, so it does not count"),
        ("07", "damaged, so it does not count; base of 08"),
        ("06", "its base gone is missing, so it does not count"),
        (
            "05",
            "its base gone is missing, so it does not count; base of 06",
        ),
        (
            "04",
            "suspect, so it does not count: 0 tables, where 10 are usual",
        ),
        ("03", "its manifest was never read, so it does not count"),
        ("02", "last 2: 2nd"),
        ("01", "older than the last 2"),
    ];
    for (backup, expected) in told {
        assert_eq!(reasons(&plan, backup), expected, "{backup}");
    }
}

#[test]
fn the_newest_proved_one_stays_and_so_does_what_is_pinned_or_held() {
    let mut backups = slots(
        "0 2 * * *",
        SOFIA,
        "2026-11-16T12:00:00Z",
        "2026-11-22T12:00:00Z",
        false,
    );
    let now = at("2026-11-22T12:00:00Z");
    backups[0].set_proof(proof(now, true));
    backups[1].set_proof(proof(now, true));
    backups[2].pinned = Some(crate::backup::Pin {
        at: now,
        by: Some("anna".into()),
        reason: Some("before the move".into()),
    });
    let rules = rules(policy("last=1"), SOFIA);
    let holds = Holds::from([(name("2026-11-20"), vec!["a restore reads it".to_owned()])]);
    let plan = plan(&Situation {
        rules: &rules,
        backups: backups.iter().collect(),
        holds: &holds,
        adoptions: &[],
        server: None,
        now,
    });
    assert_eq!(
        kept(&plan),
        ["2026-11-22", "2026-11-20", "2026-11-19", "2026-11-18"]
    );
    assert_eq!(reasons(&plan, "2026-11-20"), "held: a restore reads it");
    assert_eq!(
        reasons(&plan, "2026-11-19"),
        "pinned by anna: before the move"
    );
    assert_eq!(reasons(&plan, "2026-11-18"), "newest proved");
}

#[test]
fn five_thousand_backups_in_one_chain_are_walked_once() {
    let second = |index: i64| Timestamp::from_second(1_700_000_000 + index).unwrap();
    let chain = |index: i64| {
        let one = backup(
            &format!("b{index}"),
            slot_of("daily", second(index)),
            second(index),
        );
        match index {
            0 => one,
            _ => built_on(one, &format!("b{}", index - 1)),
        }
    };
    // Were each chain followed from every backup, these would be 12 million steps.
    let backups: Vec<Backup> = (0..5_000).map(chain).collect();
    let rules = rules(policy("last=1"), SOFIA);
    let plan = plan_of(&rules, &backups, second(6_000));
    assert_eq!(kept(&plan).len(), 5_000);
    let plan = plan_of(&rules, &backups[1..], second(6_000));
    assert_eq!(
        reasons(&plan, "b4999"),
        "its base b0 is missing, so it does not count"
    );
}
