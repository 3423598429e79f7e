//! The example of `docs/retention.md` is what the plan says.

use super::*;
use crate::backup::Pin;
use crate::schedule::Calendar;

const DOCUMENT: &str = include_str!("../../../docs/retention.md");

/// The text of the first block of a language.
fn block(language: &str) -> &'static str {
    let after = DOCUMENT.split(&format!("```{language}\n")).nth(1).unwrap();
    after.split("```").next().unwrap()
}

fn policy() -> Policy {
    let document: toml_edit::DocumentMut = block("toml").parse().unwrap();
    let section = document["retention"].as_table().unwrap();
    let mut policy = Policy::default();
    for (key, value) in section {
        let n = u32::try_from(value.as_integer().unwrap()).unwrap();
        match key {
            "keep_last" => policy.keep_last = Some(n),
            "keep_weekly" => policy.keep_weekly = Some(n),
            "keep_monthly" => policy.keep_monthly = Some(n),
            other => panic!("{other} is new in the example"),
        }
    }
    policy
}

/// A backup of each night, full on Sundays.
fn nights() -> Vec<Backup> {
    let calendar = Calendar::parse("0 2 * * *", "Europe/Sofia").unwrap();
    let mut backups: Vec<Backup> = Vec::new();
    for slot in calendar.slots_after(at("2026-10-24T12:00:00Z")).take(24) {
        let date = slot.to_zoned(calendar.zone().clone()).date();
        let mut new = backup(&date.to_string(), slot_of("daily", slot), slot);
        if let (Some(before), false) = (
            backups.last(),
            date.weekday() == jiff::civil::Weekday::Sunday,
        ) {
            new = built_on(new, before.name.as_str());
        }
        new.set_proof(proof(slot, true));
        new.pinned = (date.to_string() == "2026-11-03").then(|| Pin {
            at: slot,
            by: Some("anna".into()),
            reason: Some("before the upgrade".into()),
        });
        backups.push(new);
    }
    backups
}

fn shown(plan: &Plan, backups: &[Backup]) -> String {
    let mut text = String::new();
    for line in &plan.lines {
        let backup = backups.iter().find(|backup| backup.name == line.backup);
        let kind = match backup.unwrap().kind {
            BackupKind::Full => "full",
            BackupKind::Incremental => "incr",
        };
        let verdict = match line.verdict {
            Verdict::Keep => "keep  ",
            Verdict::Remove => "remove",
        };
        let reasons = reasons(plan, line.backup.as_str());
        text.push_str(&format!("{}  {kind}  {verdict}  {reasons}\n", line.backup));
    }
    text
}

#[test]
fn the_example_is_what_the_plan_says() {
    let backups = nights();
    let rules = rules(policy(), "Europe/Sofia");
    let plan = plan_of(&rules, &backups, at("2026-11-17T12:00:00Z"));
    assert!(plan.stops.is_empty());
    let shown = shown(&plan, &backups);
    assert!(shown == block("text"), "the plan says:\n{shown}");
}

#[test]
fn every_reason_of_the_example_is_explained() {
    let explained = DOCUMENT.split("## What the reasons mean").nth(1).unwrap();
    let words = [
        "last ",
        "week ",
        "month ",
        "newest success",
        "newest proved",
        "base of ",
        "pinned by",
    ];
    for word in words {
        assert!(explained.contains(&format!("`{word}")), "{word}");
        assert!(block("text").contains(word), "{word} is not in the example");
    }
}
