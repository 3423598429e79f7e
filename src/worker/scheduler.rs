//! The loop that turns due slots into operations.
//!
//! What is due is the pure function [`due`] of the last slot and the time; the loop only sleeps and
//! is woken, by its own sleep, by the timer, or by a new configuration.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::timer::Timer;
use crate::backup::{BackupName, BackupNameError, SlotNaming};
use crate::catalog::{CatalogError, Change, Decision, LastSlot, View};
use crate::operation::{
    Action, BackupWork, Event, Limits, Operation, OperationId, Schedule, State, Trigger, Work,
};
use crate::schedule::{Due, Pause, ScheduleName, SkipReason, due};

/// Longest sleep: the wall clock may be set, or the machine sleep, meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Wait after the catalog could not be written.
const CATALOG_RETRY: Duration = Duration::from_secs(5);

/// The schedules in use; replaced as a whole when the configuration changes.
pub type Schedules = BTreeMap<ScheduleName, Schedule>;

/// What one pass found.
#[derive(Debug, Default)]
struct Pass<'a> {
    changes: Vec<Change>,
    /// New and ended operations, with the state they had before.
    announced: Vec<(Option<State>, Operation)>,
    warnings: Vec<String>,
    /// What was decided about each schedule.
    decided: Vec<(ScheduleName, Due)>,
    /// Operations that wait, by schedule.
    waiting: HashMap<&'a ScheduleName, Vec<&'a Operation>>,
}

/// What a pass leaves behind.
#[derive(Debug)]
struct Found {
    announced: Vec<(Option<State>, Operation)>,
    warnings: Vec<String>,
    decided: Vec<(ScheduleName, Due)>,
}

/// What is waited for, so that a wake-up in between costs nothing.
#[derive(Debug, Default)]
struct Coming {
    /// The schedules that it is about; none before the first pass.
    schedules: Option<Arc<Schedules>>,
    /// When they were looked at.
    at: Timestamp,
    /// The next slot of each.
    next: BTreeMap<ScheduleName, Timestamp>,
}

impl Worker {
    /// Fires schedules until `stop`. With a timer, `tokio-cron-scheduler` wakes the loop too; without
    /// one it relies on its own sleep, which is what a test with a paused clock can see.
    pub async fn run_schedules(
        self,
        mut schedules: watch::Receiver<Arc<Schedules>>,
        with_timer: bool,
        stop: CancellationToken,
    ) {
        let mut timer = if with_timer {
            Timer::start(self.0.metrics.clone()).await
        } else {
            Timer::none()
        };
        let mut coming = Coming::default();
        loop {
            let current = schedules.borrow_and_update().clone();
            let pause = match self.fire_due(&mut coming, current).await {
                Ok(()) => {
                    let now = self.0.clock.now();
                    timer.arm(&coming.next, now);
                    let soonest = coming.next.values().min();
                    soonest.map_or(SLEEP_MAX, |at| until(*at, now).min(SLEEP_MAX))
                }
                Err(error) => {
                    tracing::error!(%error, "due slots wait");
                    CATALOG_RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = schedules.changed() => {}
                () = timer.woken() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Records everything that is due, in one transaction.
    async fn fire_due(
        &self,
        coming: &mut Coming,
        schedules: Arc<Schedules>,
    ) -> Result<(), CatalogError> {
        let now = self.0.clock.now();
        let names = coming.to_decide(&schedules, now);
        if !names.is_empty() {
            let (worker, decided_on) = (self.0.settings.clone(), schedules.clone());
            let decide = move |view: &View| {
                let chosen = names.iter().filter_map(|name| decided_on.get(name));
                Pass::over(view, chosen, &worker, now)
            };
            let found = self.0.catalog.write(decide).await?;
            for warning in found.warnings {
                tracing::warn!("{warning}");
            }
            for (schedule, due) in &found.decided {
                self.0.metrics.slots_skipped(schedule, due.skipped_unlisted);
            }
            for (before, operation) in &found.announced {
                self.announce(*before, operation);
            }
            coming.note(&schedules, found.decided, now);
        }
        coming.schedules = Some(schedules);
        coming.at = now;
        Ok(())
    }
}

impl Coming {
    /// Schedules that have to be decided on: those whose slot has come; all of them where they are
    /// not those of the last pass, or the clock was set back.
    fn to_decide(&self, schedules: &Arc<Schedules>, now: Timestamp) -> Vec<ScheduleName> {
        let is_known = self
            .schedules
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, schedules));
        if !is_known || now < self.at {
            return schedules.keys().cloned().collect();
        }
        let due = self.next.iter().filter(|(_, at)| **at <= now);
        due.map(|(name, _)| name.clone()).collect()
    }

    fn note(&mut self, schedules: &Schedules, decided: Vec<(ScheduleName, Due)>, now: Timestamp) {
        self.next.retain(|name, _| schedules.contains_key(name));
        for (name, due) in decided {
            let schedule = schedules.get(&name);
            match schedule.and_then(|schedule| due.next(&schedule.calendar, now)) {
                Some(next) => self.next.insert(name, next),
                None => self.next.remove(&name),
            };
        }
    }
}

impl<'a> Pass<'a> {
    /// Decides on these schedules.
    fn over<'s>(
        view: &'a View,
        schedules: impl Iterator<Item = &'s Schedule>,
        worker: &super::Settings,
        now: Timestamp,
    ) -> Decision<Found> {
        let mut pass = Self::default();
        for operation in view.unfinished() {
            if let (State::Pending, Some(schedule)) = (operation.state, operation.schedule()) {
                pass.waiting.entry(schedule).or_default().push(operation);
            }
        }
        let mut number = view.next_number();
        for schedule in schedules {
            number = pass.schedule(view, schedule, worker, number, now);
        }
        Decision {
            changes: pass.changes,
            answer: Found {
                announced: pass.announced,
                warnings: pass.warnings,
                decided: pass.decided,
            },
        }
    }

    /// Decides on one schedule; gives the next free operation number.
    fn schedule(
        &mut self,
        view: &View,
        schedule: &Schedule,
        worker: &super::Settings,
        number: u64,
        now: Timestamp,
    ) -> u64 {
        let calendar = calendar_text(schedule);
        let last = match view.last_slot(&schedule.name) {
            Some(last) if last.calendar == calendar => last.at,
            // New, or with another cron or zone: it starts anew, and has missed nothing.
            _ => {
                self.set_last_slot(schedule, now);
                now
            }
        };
        let decided = due(&schedule.calendar, schedule.missed, last, now);
        if let Some(ahead) = decided.reset_from {
            self.warnings.push(format!(
                "the clock was set back: schedule {} had come to {ahead} already; it goes on from {now}",
                schedule.name
            ));
        }
        if decided.last_slot != last {
            self.set_last_slot(schedule, decided.last_slot);
        }
        let unlisted = decided.skipped_unlisted;
        if unlisted > 0 || decided.skipped_uncounted {
            let more = if decided.skipped_uncounted {
                "more than "
            } else {
                ""
            };
            self.warnings.push(format!(
                "schedule {} missed {more}{unlisted} older slots beside those that are listed",
                schedule.name
            ));
        }
        let mut number = number;
        let pause = self.pause(view, schedule, now);
        let skipped = decided
            .skipped
            .iter()
            .map(|slot| (slot.at, Some(slot.reason)));
        let fired = decided.fire.map(|slot| {
            let is_paused = pause.is_some_and(|pause| pause.covers(slot));
            (slot, is_paused.then_some(SkipReason::Paused))
        });
        for (slot, skip) in skipped.chain(fired) {
            let is_known = view
                .operation(OperationId::of_slot(&schedule.name, slot))
                .is_some();
            if skip.is_none() && !is_known {
                self.supersede(schedule, now);
            }
            if self.submit(view, schedule, worker, slot, skip, number, now) {
                number += 1;
            }
        }
        self.decided.push((schedule.name.clone(), decided));
        number
    }

    /// The pause of a schedule; one that has ended is taken away once its last slots were judged.
    fn pause<'v>(
        &mut self,
        view: &'v View,
        schedule: &Schedule,
        now: Timestamp,
    ) -> Option<&'v Pause> {
        let pause = view.pause(&schedule.name)?;
        if pause.until.is_some_and(|until| until <= now) {
            self.changes
                .push(Change::PutPause(schedule.name.clone(), None));
        }
        Some(pause)
    }

    fn set_last_slot(&mut self, schedule: &Schedule, at: Timestamp) {
        let last = LastSlot {
            at,
            calendar: calendar_text(schedule),
        };
        self.changes
            .push(Change::PutLastSlot(schedule.name.clone(), last));
    }

    /// At most one slot of a schedule waits: an older one gives way to the newer slot. What somebody
    /// asked for by hand does not: it is another night, or was not a slot at all.
    fn supersede(&mut self, schedule: &Schedule, now: Timestamp) {
        let waiting = self.waiting.remove(&schedule.name).into_iter().flatten();
        for operation in waiting.filter(|operation| is_of_calendar(operation, schedule)) {
            // One that has failed before keeps its failure: it was more than skipped.
            let event = match operation
                .failure
                .as_ref()
                .filter(|_| !operation.attempts.is_empty())
            {
                Some(failure) => Event::GaveUp(failure.clone()),
                None => Event::Skip(SkipReason::Superseded),
            };
            if let Ok(ended) = operation.clone().apply(event, now) {
                self.put(Some(State::Pending), ended);
            }
        }
    }

    /// Records a slot as waiting or skipped; `false` where it is recorded already.
    #[expect(
        clippy::too_many_arguments,
        reason = "the facts of one slot, in one place"
    )]
    fn submit(
        &mut self,
        view: &View,
        schedule: &Schedule,
        worker: &super::Settings,
        slot: Timestamp,
        skip: Option<SkipReason>,
        number: u64,
        now: Timestamp,
    ) -> bool {
        let id = OperationId::of_slot(&schedule.name, slot);
        if view.operation(id).is_some() {
            return false;
        }
        let work = SlotWork {
            slot,
            run: 1,
            attempts_before: 0,
            number,
        };
        let operation = match operation_of(schedule, work, worker, now) {
            Ok(operation) => operation,
            Err(error) => {
                self.warnings.push(format!(
                    "schedule {}, slot {slot}: {error}; the slot is lost",
                    schedule.name
                ));
                return false;
            }
        };
        match skip {
            None => self.put(None, operation),
            Some(reason) => {
                if let Ok(skipped) = operation.apply(Event::Skip(reason), now) {
                    self.put(None, skipped);
                }
            }
        }
        true
    }

    fn put(&mut self, before: Option<State>, operation: Operation) {
        self.changes
            .push(Change::PutOperation(Box::new(operation.clone())));
        self.announced.push((before, operation));
    }
}

/// Whether an operation was fired by the calendar, not by hand.
fn is_of_calendar(operation: &Operation, schedule: &Schedule) -> bool {
    let is_slot = |slot: Timestamp| schedule.calendar.latest_at(slot) == Some(slot);
    operation.run() == Some(1) && operation.slot().is_some_and(is_slot)
}

/// Which run of which slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotWork {
    pub slot: Timestamp,
    pub run: u32,
    /// Attempts of earlier runs.
    pub attempts_before: u32,
    /// The number of the operation.
    pub number: u64,
}

/// The operation that a schedule asks for at a slot.
///
/// # Errors
/// When its template makes no name of the slot.
pub(super) fn operation_of(
    schedule: &Schedule,
    work: SlotWork,
    worker: &super::Settings,
    now: Timestamp,
) -> Result<Operation, BackupNameError> {
    let SlotWork {
        slot,
        run,
        attempts_before,
        number,
    } = work;
    let (work, command) = match &schedule.action {
        Action::Backup => {
            let name = name_of(schedule, slot)?;
            let command = format!("create {name}");
            let work = BackupWork {
                name,
                scope: schedule.scope.clone(),
                base: None,
                increments: schedule.increments.clone(),
                kind_reason: None,
            };
            (Work::Backup(work), command)
        }
        Action::Verify(work) => (Work::Verify(work.clone()), "verify".to_owned()),
    };
    let id = OperationId::of_run(&schedule.name, slot, run);
    let trigger = Trigger::Schedule {
        schedule: schedule.name.clone(),
        slot,
        run,
    };
    let limits = limits(schedule, worker, now);
    let mut operation = Operation::new(id, trigger, work, command, limits, now);
    operation.number = number;
    operation.attempts_before = attempts_before;
    Ok(operation)
}

/// The name of the backup that a schedule makes at a slot.
///
/// # Errors
/// When its template makes no name of the slot.
pub fn name_of(schedule: &Schedule, slot: Timestamp) -> Result<BackupName, BackupNameError> {
    let asks = schedule.template.has_logical_date();
    let previous = asks
        .then(|| schedule.calendar.previous_before(slot))
        .flatten();
    schedule.template.render(SlotNaming {
        schedule: schedule.name.as_str(),
        kind: schedule.kind().as_str(),
        slot,
        previous: previous.unwrap_or(slot),
        zone: schedule.calendar.zone(),
    })
}

/// The deadline counts from the moment the slot became due to us, not from the slot: a night that is
/// caught up after a long outage has its whole time.
fn limits(schedule: &Schedule, worker: &super::Settings, now: Timestamp) -> Limits {
    Limits {
        timeout: worker.timeout,
        deadline: now.checked_add(schedule.deadline).ok(),
        unreachable: schedule.deadline,
        cancel: worker.cancel_limit,
        retry: schedule.retry,
    }
}

fn calendar_text(schedule: &Schedule) -> String {
    format!(
        "{} {}",
        schedule.calendar.expression(),
        schedule.calendar.zone_name()
    )
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    at.duration_since(now).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{NameTemplate, Scope};
    use crate::operation::Retry;
    use crate::schedule::{Calendar, MissedPolicy};

    fn schedules(crons: &[(&str, &str)]) -> Arc<Schedules> {
        let schedule = |(name, cron): &(&str, &str)| {
            let name = ScheduleName::try_from((*name).to_owned()).unwrap();
            let retry = Retry {
                attempts: 1,
                delay: Duration::ZERO,
            };
            let schedule = Schedule {
                name: name.clone(),
                calendar: Calendar::parse(cron, "UTC").unwrap(),
                missed: MissedPolicy::RunLatest,
                template: NameTemplate::parse("{date}").unwrap(),
                action: Action::Backup,
                increments: None,
                scope: Scope::everything(),
                deadline: Duration::from_secs(60),
                retry,
            };
            (name, schedule)
        };
        Arc::new(crons.iter().map(schedule).collect())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A wake-up costs something only for what is due, and whatever is new is looked at.
    #[test]
    fn only_what_has_come_is_decided_on_and_everything_after_a_change() {
        let both = schedules(&[("early", "0 1 * * *"), ("late", "0 2 * * *")]);
        let mut coming = Coming::default();
        let names = |coming: &Coming, schedules, now: &str| -> Vec<String> {
            let names = coming.to_decide(schedules, at(now));
            names.iter().map(ToString::to_string).collect()
        };
        let start = at("2026-11-22T00:00:00Z");
        assert_eq!(
            names(&coming, &both, "2026-11-22T00:00:00Z"),
            ["early", "late"]
        );
        let decided = |schedule: &Schedule| {
            let due = due(&schedule.calendar, schedule.missed, start, start);
            (schedule.name.clone(), due)
        };
        coming.note(&both, both.values().map(decided).collect(), start);
        (coming.schedules, coming.at) = (Some(both.clone()), start);
        assert_eq!(names(&coming, &both, "2026-11-22T00:59:59Z"), [""; 0]);
        assert_eq!(names(&coming, &both, "2026-11-22T01:00:00Z"), ["early"]);
        assert_eq!(
            names(&coming, &both, "2026-11-22T02:00:00Z"),
            ["early", "late"]
        );
        let set_back = names(&coming, &both, "2026-11-21T23:59:59Z");
        assert_eq!(set_back, ["early", "late"], "the clock was set back");
        let edited = schedules(&[("early", "0 3 * * *")]);
        assert_eq!(names(&coming, &edited, "2026-11-22T00:30:00Z"), ["early"]);
    }
}
