//! What is known of each schedule: the same for all of them from the first scrape on, 0 where
//! something never happened.

use std::collections::HashMap;

use jiff::Timestamp;

use super::families::Families;
use super::name;
use super::scrape::Scrape;
use crate::backup::{Backup, BackupName, ProofLevel, Status, chain};
use crate::operation::{Action, Operation, Schedule, State};
use crate::retention::{median, usual_bytes};
use crate::schedule::SkipReason;

/// How a run can end.
pub(super) const RESULTS: [&str; 4] = ["succeeded", "failed", "cancelled", "skipped"];
/// Why a slot can be left out.
pub(super) const SKIP_REASONS: [SkipReason; 4] = [
    SkipReason::Superseded,
    SkipReason::MissedPolicy,
    SkipReason::Paused,
    SkipReason::NameTaken,
];
/// What a backup that was made here can be.
pub(super) const STATUSES: [Status; 6] = [
    Status::Complete,
    Status::Unproven,
    Status::Suspect,
    Status::Damaged,
    Status::Deleting,
    Status::Gone,
];
/// Runs that the median is taken from.
const COMPARED_RUNS: usize = 7;

/// Operations and backups of every schedule, newest first.
#[derive(Debug, Default)]
pub(super) struct History<'a> {
    operations: HashMap<&'a str, Vec<&'a Operation>>,
    backups: HashMap<&'a str, Vec<&'a Backup>>,
}

impl<'a> History<'a> {
    pub(super) fn of(scrape: &Scrape<'a>) -> Self {
        let mut history = Self::default();
        for operation in scrape.view.operations().rev() {
            if let Some(schedule) = operation.schedule() {
                let operations = history.operations.entry(schedule.as_str());
                operations.or_default().push(operation);
            }
        }
        for backup in scrape.view.all_backups() {
            if let Some(schedule) = backup.schedule() {
                history.backups.entry(schedule).or_default().push(backup);
            }
        }
        for backups in history.backups.values_mut() {
            backups.sort_by_key(|backup| (backup.created_at, backup.number));
            backups.reverse();
        }
        history
    }
}

/// One schedule, and everything that happened to it.
struct One<'a> {
    scrape: &'a Scrape<'a>,
    schedule: &'a Schedule,
    name: &'a str,
    /// Newest first.
    operations: &'a [&'a Operation],
    /// Newest first, those that are gone included.
    backups: &'a [&'a Backup],
}

/// The gauges of one schedule.
pub(super) fn put(
    scrape: &Scrape<'_>,
    history: &History<'_>,
    schedule: &Schedule,
    expected_interval: f64,
    into: &mut Families,
) {
    let name = schedule.name.as_str();
    let one = One {
        scrape,
        schedule,
        name,
        operations: history.operations.get(name).map_or(&[], Vec::as_slice),
        backups: history.backups.get(name).map_or(&[], Vec::as_slice),
    };
    into.put_float(name::EXPECTED_INTERVAL, &[name], expected_interval);
    one.calendar(into);
    one.runs(into);
    one.durations(into);
    if schedule.action == Action::Backup {
        one.sizes(into);
        one.stock(into);
        one.proofs(into);
    }
}

impl One<'_> {
    fn calendar(&self, into: &mut Families) {
        let (name, scrape, calendar) = (self.name, self.scrape, &self.schedule.calendar);
        let (action, kind) = match &self.schedule.action {
            Action::Backup => ("backup", self.schedule.kind().as_str()),
            Action::Verify(_) => ("verify", ""),
        };
        let info = [
            name,
            action,
            kind,
            calendar.expression(),
            calendar.zone_name(),
        ];
        into.put(name::SCHEDULE_INFO, &info, 1);
        into.put_time(name::KNOWN_SINCE, &[name], self.known_since());
        let next = calendar.next_after(scrape.now);
        into.put_time(name::NEXT_SLOT, &[name], next);
        into.put_float(name::LATENESS, &[name], self.lateness());
        let pause = scrape.view.pause(&self.schedule.name);
        let pause = pause.filter(|pause| pause.until.is_none_or(|until| scrape.now < until));
        into.put_flag(name::PAUSED, &[name], pause.is_some());
        let since = pause.map(|pause| pause.since);
        into.put_time(name::PAUSED_SINCE, &[name], since);
        for reason in SKIP_REASONS {
            let is_its = |operation: &&&Operation| operation.skipped == Some(reason);
            let slots = self.operations.iter().filter(is_its);
            let newest = slots.filter_map(|operation| operation.slot()).max();
            into.put_time(name::LAST_SKIPPED_SLOT, &[name, reason.as_str()], newest);
        }
    }

    /// The oldest trace; where there is none yet, the scheduler has noted when it saw it first.
    fn known_since(&self) -> Option<Timestamp> {
        let first_seen = self.scrape.view.last_slot(&self.schedule.name);
        let asked = self
            .operations
            .iter()
            .map(|operation| operation.submitted_at);
        let made = self.backups.iter().map(|backup| backup.created_at);
        asked
            .chain(made)
            .chain(first_seen.map(|last| last.at))
            .min()
            // The scheduler has not come to it yet.
            .or(Some(self.scrape.now))
    }

    /// A slot that nobody decided on counts, too: then it is the scheduler that is late.
    fn lateness(&self) -> f64 {
        let now = self.scrape.now;
        let decided = self.scrape.view.last_slot(&self.schedule.name);
        let newest = self.schedule.calendar.latest_at(now);
        let undecided = newest.filter(|slot| decided.is_some_and(|last| *slot > last.at));
        let of_calendar = self
            .operations
            .iter()
            .find(|operation| operation.run() == Some(1) && operation.state != State::Skipped);
        let late = match (undecided, of_calendar) {
            (Some(slot), _) => now.duration_since(slot),
            (None, Some(operation)) => {
                let began = operation.started_at.or(operation.finished_at);
                let slot = operation.slot().unwrap_or(operation.submitted_at);
                began.unwrap_or(now).duration_since(slot)
            }
            (None, None) => return 0.0,
        };
        late.as_secs_f64().max(0.0)
    }

    fn runs(&self, into: &mut Families) {
        let name = self.name;
        into.put_time(name::LAST_SUCCESS, &[name], self.last_success());
        let attempts = self.operations.iter().flat_map(|run| &run.attempts);
        let newest = attempts.map(|attempt| attempt.started_at).max();
        into.put_time(name::LAST_ATTEMPT, &[name], newest);
        let mut ended = self.operations.iter().filter(|run| run.state.is_terminal());
        let last = ended.clone().next().map(|run| run.state.as_str());
        for result in RESULTS {
            into.put_flag(name::LAST_RESULT, &[name, result], last == Some(result));
        }
        let failures = ended
            .by_ref()
            .take_while(|run| run.state != State::Succeeded)
            .filter(|run| run.state == State::Failed)
            .count();
        into.put(name::FAILURES_IN_A_ROW, &[name], failures as u64);
        let running = self.operations.iter().filter(|run| run.state.is_active());
        let since = running.filter_map(|run| run.attempt().map(|attempt| attempt.started_at));
        into.put_time(name::RUNNING_SINCE, &[name], since.min());
    }

    /// The same as the API tells: what counts is what is there, not what was there once.
    fn last_success(&self) -> Option<Timestamp> {
        match self.schedule.action {
            Action::Backup => self.newest().map(|backup| backup.created_at),
            Action::Verify(_) => self.succeeded().next().and_then(|run| run.finished_at),
        }
    }

    fn newest(&self) -> Option<&Backup> {
        let mut backups = self.backups.iter().copied();
        backups.find(|backup| backup.is_visible())
    }

    fn succeeded(&self) -> impl Iterator<Item = &Operation> {
        let runs = self.operations.iter().copied();
        runs.filter(|run| run.state == State::Succeeded)
    }

    fn durations(&self, into: &mut Families) {
        let took = |run: &Operation| {
            let took = run.finished_at?.duration_since(run.started_at?);
            u64::try_from(took.as_millis()).ok()
        };
        let mut took = self.succeeded().filter_map(took);
        let last = took.next().unwrap_or(0);
        let usual = median(took.take(COMPARED_RUNS).collect()).unwrap_or(0);
        for (metric, millis) in [(name::LAST_DURATION, last), (name::MEDIAN_DURATION, usual)] {
            let seconds = std::time::Duration::from_millis(millis).as_secs_f64();
            into.put_float(metric, &[self.name], seconds);
        }
    }

    fn sizes(&self, into: &mut Families) {
        let (newest, name) = (self.newest(), self.name);
        let visible: Vec<&Backup> = self.visible().collect();
        let usual =
            newest.and_then(|newest| usual_bytes(newest, &visible, self.scrape.view.adoptions()));
        for (metric, value) in [
            (name::LAST_BYTES, newest.and_then(|backup| backup.bytes)),
            (
                name::LAST_WRITTEN,
                newest.and_then(|backup| backup.bytes_written),
            ),
            (name::LAST_FILES, newest.and_then(|backup| backup.files)),
            (name::MEDIAN_BYTES, usual),
        ] {
            into.put(metric, &[name], value.unwrap_or(0));
        }
    }

    fn visible(&self) -> impl Iterator<Item = &Backup> {
        let backups = self.backups.iter().copied();
        backups.filter(|backup| backup.is_visible())
    }

    fn stock(&self, into: &mut Families) {
        for status in STATUSES {
            let alike = self.backups.iter().filter(|one| one.status() == status);
            let values = [self.name, status.as_str()];
            into.put(name::SCHEDULE_BACKUPS, &values, alike.count() as u64);
        }
        let restorable = self.visible().filter(|one| is_restorable(self.scrape, one));
        into.put(name::RESTORABLE, &[self.name], restorable.count() as u64);
        let rules = self.scrape.rules;
        let own = rules.schedules.get(self.name);
        let policy = own.and_then(|own| own.policy.as_ref());
        let floor = policy
            .or(rules.global.as_ref())
            .and_then(|policy| policy.min_keep);
        into.put(name::MIN_KEEP, &[self.name], u64::from(floor.unwrap_or(0)));
    }

    fn proofs(&self, into: &mut Families) {
        let level = ProofLevel::Files;
        for (result, passed) in [("passed", true), ("damaged", false)] {
            let proofs = self.visible().filter_map(|backup| backup.proof(level));
            let proofs = proofs.filter(|proof| proof.passed() == passed);
            let newest = proofs.map(|proof| proof.at).max();
            let values = [self.name, level.as_str(), result];
            into.put_time(name::LAST_PROOF, &values, newest);
        }
    }
}

/// Backups as far as a chain may lead through them.
pub(super) fn find<'a>(scrape: &Scrape<'a>, name: &BackupName) -> Option<&'a Backup> {
    scrape
        .view
        .record(name)
        .filter(|backup| backup.is_visible())
}

/// Whether nothing speaks against it, or against what it is built on. Where we cannot look, the
/// server's word has to do.
fn is_restorable(scrape: &Scrape<'_>, backup: &Backup) -> bool {
    let sees = !matches!(scrape.destination.view, "none" | "names_on_server");
    let links = chain(|name| find(scrape, name), backup);
    links.is_ok_and(|links| {
        let is_sound = |link: &&Backup| !link.is_damaged() && (link.manifest.is_some() || !sees);
        links.iter().all(is_sound)
    })
}
