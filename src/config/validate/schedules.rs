//! `[schedules.<name>]`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Check;
use crate::backup::{NameTemplate, Scope, TablePattern};
use crate::config::collision::{NamedSchedule, find_collision};
use crate::config::duration::spell;
use crate::config::error::quote;
use crate::config::nearest;
use crate::operation::{Action, Retry, Schedule};
use crate::schedule::{Calendar, CalendarError, MissedPolicy, ScheduleName};

/// Most schedules: each is a series of every metric and a timer.
const SCHEDULES_MAX: usize = 1_000;

const ATTEMPTS_MAX: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Check<'_> {
    pub(super) fn schedules(&mut self, now: Timestamp) -> BTreeMap<ScheduleName, Schedule> {
        let names = self.values.schedules();
        if names.is_empty() && !self.values.is_broken("schedules") {
            self.warn("schedules: there are none, so nothing is backed up unless a client asks; write [schedules.daily] with cron = \"0 2 * * *\"");
        }
        if names.len() > SCHEDULES_MAX {
            self.refuse(
                "schedules",
                format!("{} schedules are more than {SCHEDULES_MAX}", names.len()),
                "make one schedule name several databases",
            );
            return BTreeMap::new();
        }
        let (mut schedules, mut all_good) = (BTreeMap::new(), true);
        for name in &names {
            match self.schedule(name, &names, now) {
                Some(schedule) => {
                    schedules.insert(schedule.name.clone(), schedule);
                }
                None => all_good = false,
            }
        }
        // Names are compared once every schedule has one: half of them would give half an answer.
        if all_good {
            self.collisions(&schedules, now);
        }
        schedules
    }

    fn schedule(&mut self, name: &str, all: &[String], now: Timestamp) -> Option<Schedule> {
        let errors = self.errors.len();
        let at = |key: &str| format!("schedules.{name}.{key}");
        let schedule_name = self.schedule_name(name, all);
        let calendar = self.calendar(name);
        let template = self.template(name);
        let action = self.action(name);
        let (increments, scope) = match &action {
            Some(Action::Verify(_)) => (None, Scope::everything()),
            _ => (
                self.increments(name, calendar.as_ref(), template.as_ref(), now),
                self.scope(name),
            ),
        };
        let missed = match self.choice(&at("missed")).as_deref() {
            Some("skip") => MissedPolicy::Skip,
            _ => MissedPolicy::RunLatest,
        };
        let deadline = self.duration(&at("deadline"), SECOND..=MONTH);
        let retry = self.retry(name, deadline);
        if self.errors.len() > errors {
            return None;
        }
        let (name, calendar, template) = (schedule_name?, calendar?, template?);
        Some(Schedule {
            name,
            calendar,
            missed,
            template,
            action: action?,
            increments,
            scope,
            deadline: deadline?,
            retry,
        })
    }

    fn schedule_name(&mut self, name: &str, all: &[String]) -> Option<ScheduleName> {
        let path = format!("schedules.{name}");
        let lower = name.to_lowercase();
        let error = match ScheduleName::try_from(name.to_owned()) {
            Ok(name) => return Some(name),
            Err(error) => error,
        };
        let same = |other: &&String| *other != name && other.to_lowercase() == lower;
        if let Some(other) = all.iter().find(same) {
            let problem = format!(
                "schedules.{name} and schedules.{other} are one name, since names are in lower case"
            );
            self.refuse(&path, problem, "make them one schedule, or rename one");
        } else {
            let correct = ScheduleName::try_from(lower.clone()).is_ok();
            let remedy = correct.then(|| format!("write [schedules.{lower}]"));
            self.refuse(&path, error.to_string(), remedy.unwrap_or_default());
        }
        None
    }

    fn calendar(&mut self, name: &str) -> Option<Calendar> {
        let (cron, zone) = (
            format!("schedules.{name}.cron"),
            format!("schedules.{name}.timezone"),
        );
        let zone_text = self.text(&zone)?;
        // The zone is tried by itself, so that a wrong zone and a wrong expression are both told.
        let known_zone = match Calendar::parse("0 0 * * *", &zone_text) {
            Ok(_) => true,
            Err(error) => {
                let zones: Vec<String> = jiff::tz::db()
                    .available()
                    .map(|name| name.to_string())
                    .collect();
                let near = nearest::word(&zone_text, zones.iter().map(String::as_str));
                let remedy = near
                    .map(|near| format!("did you mean {near:?}?"))
                    .unwrap_or_default();
                self.refuse(&zone, error.to_string(), remedy);
                false
            }
        };
        if !self.is_given(&cron) {
            let problem = format!("schedule {name} has no cron, so it would never be due");
            let place = format!("schedules.{name}");
            self.missing(&place, &problem, "add cron = \"0 2 * * *\"");
            return None;
        }
        let text = self.text(&cron)?;
        match Calendar::parse(&text, if known_zone { &zone_text } else { "UTC" }) {
            Ok(calendar) => Some(calendar),
            Err(error) => {
                let remedy = match error {
                    CalendarError::NeverDue { .. } => "name a day that exists",
                    _ => "write five fields (minute hour day month weekday), as in \"0 2 * * *\"",
                };
                self.refuse(&cron, error.to_string(), remedy);
                None
            }
        }
    }

    fn template(&mut self, name: &str) -> Option<NameTemplate> {
        let path = format!("schedules.{name}.name");
        let text = self.text(&path)?;
        match NameTemplate::parse(&text)
            .and_then(|template| template.check(name).map(|()| template))
        {
            Ok(template) => Some(template),
            Err(error) => {
                self.refuse(&path, error.to_string(), "");
                None
            }
        }
    }

    fn scope(&mut self, name: &str) -> Scope {
        let at = |key: &str| format!("schedules.{name}.{key}");
        let databases = self.list(&at("databases"));
        if databases.is_empty() && !self.values.is_broken(&at("databases")) {
            self.refuse(
                &at("databases"),
                "an empty list backs up nothing",
                "name databases, or [\"*\"] for all",
            );
        }
        for database in databases
            .iter()
            .filter(|name| name.is_empty() || name.chars().any(char::is_control))
        {
            self.refuse(
                &at("databases"),
                format!("{} is no database name", quote(database)),
                "leave it out",
            );
        }
        let mut exclude_tables = Vec::new();
        for text in self.list(&at("exclude_tables")) {
            match TablePattern::parse(&text) {
                Ok(pattern) => exclude_tables.push(pattern),
                Err(error) => self.refuse(&at("exclude_tables"), error.to_string(), ""),
            }
        }
        let (access, functions) = (self.flag(&at("access")), self.flag(&at("functions")));
        Scope {
            databases,
            exclude_tables,
            access,
            functions,
            ..Scope::everything()
        }
    }

    fn retry(&mut self, name: &str, deadline: Option<Duration>) -> Retry {
        let (attempts_path, delay_path) = (
            format!("schedules.{name}.retry.attempts"),
            format!("schedules.{name}.retry.delay"),
        );
        let attempts = self.count(&attempts_path, 1..=ATTEMPTS_MAX);
        let delay = self.duration(&delay_path, Duration::ZERO..=DAY);
        if let (Some(attempts), Some(delay), Some(deadline)) = (attempts, delay, deadline) {
            let waiting = delay * (attempts - 1);
            if waiting >= deadline {
                let problem = format!(
                    "{attempts} attempts with {} between them wait {} and never fit into the deadline of {}",
                    spell(delay),
                    spell(waiting),
                    spell(deadline)
                );
                self.refuse(
                    &delay_path,
                    problem,
                    "shorten the delay, allow fewer attempts, or move the deadline",
                );
            }
        }
        Retry {
            attempts: attempts.unwrap_or_default(),
            delay: delay.unwrap_or_default(),
        }
    }

    fn collisions(&mut self, schedules: &BTreeMap<ScheduleName, Schedule>, now: Timestamp) {
        let making = schedules
            .values()
            .filter(|schedule| schedule.action == Action::Backup);
        let named = making.map(|schedule| NamedSchedule {
            name: schedule.name.as_str(),
            template: &schedule.template,
            calendar: &schedule.calendar,
        });
        if let Some(collision) = find_collision(&named.collect::<Vec<_>>(), now) {
            self.refuse(
                &format!("schedules.{}.name", collision.first.schedule),
                collision.to_string(),
                "",
            );
        }
    }
}
