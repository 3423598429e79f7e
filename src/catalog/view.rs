//! The memory as readers see it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Change, HISTORY_MAX_OPERATIONS};
use crate::backup::{self, Backup, BackupName};
use crate::operation::{Failure, Operation, OperationId, State, Work};
use crate::retention::Adoption;
use crate::schedule::{Pause, ScheduleName};

/// How far a schedule has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSlot {
    /// The last slot that was decided on, or when the schedule was first seen.
    pub at: Timestamp,
    /// The cron expression and zone it belongs to: slots of another calendar were never missed.
    pub calendar: String,
}

/// Everything we remember, at one moment. Cheap to clone: what did not change is shared.
#[derive(Debug, Clone, Default)]
pub struct View {
    operations: Arc<BTreeMap<u64, Arc<Operation>>>,
    numbers: Arc<HashMap<OperationId, u64>>,
    backups: Arc<BTreeMap<BackupName, Arc<Backup>>>,
    last_slots: Arc<BTreeMap<ScheduleName, LastSlot>>,
    pauses: Arc<BTreeMap<ScheduleName, Pause>>,
    adoptions: Arc<Vec<Adoption>>,
    read_in: Option<Timestamp>,
}

/// Everything that was stored, as rows.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub operations: Vec<Operation>,
    pub backups: Vec<Backup>,
    pub last_slots: Vec<(ScheduleName, LastSlot)>,
    pub pauses: Vec<(ScheduleName, Pause)>,
    pub adoptions: Vec<Adoption>,
    pub read_in: Option<Timestamp>,
}

impl View {
    /// Builds the view from what was stored.
    pub(super) fn of(stored: Stored) -> Self {
        let Stored {
            operations,
            backups,
            last_slots,
            pauses,
            adoptions,
            read_in,
        } = stored;
        let numbers = operations
            .iter()
            .map(|operation| (operation.id, operation.number))
            .collect();
        let operations = operations
            .into_iter()
            .map(|operation| (operation.number, Arc::new(operation)))
            .collect();
        let backups = backups
            .into_iter()
            .map(|backup| (backup.name.clone(), Arc::new(backup)))
            .collect();
        Self {
            operations: Arc::new(operations),
            numbers: Arc::new(numbers),
            backups: Arc::new(backups),
            last_slots: Arc::new(last_slots.into_iter().collect()),
            pauses: Arc::new(pauses.into_iter().collect()),
            adoptions: Arc::new(adoptions),
            read_in,
        }
    }

    /// Operations in the order of submission, oldest first.
    pub fn operations(&self) -> impl DoubleEndedIterator<Item = &Arc<Operation>> + Clone {
        self.operations.values()
    }

    /// One operation.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Option<&Arc<Operation>> {
        self.operations.get(self.numbers.get(&id)?)
    }

    /// Operations that have not ended, oldest first.
    pub fn unfinished(&self) -> impl Iterator<Item = &Arc<Operation>> + Clone {
        self.operations()
            .filter(|operation| !operation.state.is_terminal())
    }

    /// Backups that can be restored, by name.
    pub fn backups(&self) -> impl Iterator<Item = &Backup> + Clone {
        self.all_backups().filter(|backup| backup.is_visible())
    }

    /// Also those that are being removed, and those that are gone.
    pub fn all_backups(&self) -> impl Iterator<Item = &Backup> + Clone {
        self.backups.values().map(Arc::as_ref)
    }

    /// The record under exactly this name, whatever its state.
    #[must_use]
    pub fn record(&self, name: &BackupName) -> Option<&Backup> {
        self.backups.get(name).map(Arc::as_ref)
    }

    /// Changes that somebody said are meant, oldest first.
    #[must_use]
    pub fn adoptions(&self) -> &[Adoption] {
        &self.adoptions
    }

    /// When what lies in the destination was first read in; `None`: not yet.
    #[must_use]
    pub fn read_in(&self) -> Option<Timestamp> {
        self.read_in
    }

    /// Whether no backup came or went between this view and another one.
    #[must_use]
    pub fn has_backups_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.backups, &other.backups)
    }

    /// The backup that a name means; see [`backup::resolve`].
    #[must_use]
    pub fn backup(&self, name: &BackupName) -> Option<&Backup> {
        backup::resolve(self.backups(), name)
    }

    /// How far a schedule has come; `None` when it was never seen.
    #[must_use]
    pub fn last_slot(&self, schedule: &ScheduleName) -> Option<&LastSlot> {
        self.last_slots.get(schedule)
    }

    /// How far every schedule has come, the ones that are no longer configured included.
    pub fn last_slots(&self) -> impl Iterator<Item = (&ScheduleName, &LastSlot)> {
        self.last_slots.iter()
    }

    /// Every pause; some may be over by now.
    pub fn pauses(&self) -> impl Iterator<Item = (&ScheduleName, &Pause)> {
        self.pauses.iter()
    }

    /// The pause of a schedule, which may be over by now.
    #[must_use]
    pub fn pause(&self, schedule: &ScheduleName) -> Option<&Pause> {
        self.pauses.get(schedule)
    }

    /// A removal that failed and is not through: its backups are hidden, and their objects are there.
    /// The latest failure counts also while another attempt is under way, and so does a removal that was
    /// given up, until a later one takes up what it left.
    #[must_use]
    pub fn failing_removal(&self) -> Option<(&Arc<Operation>, &Failure)> {
        let begun = self.all_backups().filter_map(|backup| {
            let deleting = backup.deleting.as_ref()?;
            self.operation(OperationId::from(deleting.operation))
        });
        let removals = self
            .unfinished()
            .filter(|operation| matches!(operation.work, Work::Delete(_)));
        removals.chain(begun).find_map(|operation| {
            let of_attempts = operation.attempts.iter().rev();
            let failure = of_attempts.filter_map(|attempt| attempt.failure.as_ref());
            let failure = failure.chain(&operation.failure).next()?;
            Some((operation, failure))
        })
    }

    /// Operations of a schedule, newest first.
    pub fn operations_of<'a>(
        &'a self,
        schedule: &'a ScheduleName,
    ) -> impl Iterator<Item = &'a Arc<Operation>> + Clone {
        self.operations()
            .rev()
            .filter(move |operation| operation.schedule() == Some(schedule))
    }

    /// Backups that are built on this one, directly.
    pub fn dependents<'a>(&'a self, base: &'a BackupName) -> impl Iterator<Item = &'a Backup> {
        self.backups()
            .filter(move |backup| backup.is_built_on(base))
    }

    /// The number of the next operation to be submitted.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.operations
            .last_key_value()
            .map_or(1, |(number, _)| number + 1)
    }

    /// Numbers of the operations that were here or in `changes`, and are not in the next view.
    pub(super) fn forgotten(&self, changes: &[Change], next: &Self) -> Vec<u64> {
        let written = changes.iter().filter_map(|change| match change {
            Change::PutOperation(operation) => Some(&operation.number),
            _ => None,
        });
        let all = self.operations.keys().chain(written);
        all.filter(|number| !next.operations.contains_key(number))
            .copied()
            .collect()
    }

    /// The view once `changes` are written.
    pub(super) fn after(&self, changes: &[Change]) -> Self {
        let mut next = self.clone();
        for change in changes {
            match change {
                Change::PutOperation(operation) => {
                    Arc::make_mut(&mut next.numbers).insert(operation.id, operation.number);
                    Arc::make_mut(&mut next.operations)
                        .insert(operation.number, Arc::new(operation.as_ref().clone()));
                }
                Change::PutBackup(backup) => {
                    Arc::make_mut(&mut next.backups)
                        .insert(backup.name.clone(), Arc::new(backup.as_ref().clone()));
                }
                Change::PutLastSlot(schedule, last) => {
                    Arc::make_mut(&mut next.last_slots).insert(schedule.clone(), last.clone());
                }
                Change::PutPause(schedule, pause) => {
                    let pauses = Arc::make_mut(&mut next.pauses);
                    match pause {
                        Some(pause) => pauses.insert(schedule.clone(), pause.clone()),
                        None => pauses.remove(schedule),
                    };
                }
                Change::ForgetBackup(name) => {
                    Arc::make_mut(&mut next.backups).remove(name);
                }
                Change::PutAdoption(adoption) => {
                    Arc::make_mut(&mut next.adoptions).push(adoption.clone());
                }
                Change::ReadIn(at) => next.read_in = Some(*at),
                Change::PutContents(..) | Change::DropContents(_) => {}
            }
        }
        next.forget();
        next
    }

    /// What each schedule is judged by, however much others did since: its first operation, its last
    /// success, and its last two failures.
    fn last_of_schedules(&self) -> HashSet<u64> {
        const FAILURES_KEPT: usize = 2;
        let mut kept = HashSet::new();
        let mut ended: HashMap<(&ScheduleName, State), usize> = HashMap::new();
        let mut first: HashMap<&ScheduleName, u64> = HashMap::new();
        for operation in self.operations().rev() {
            let schedule = operation.schedule();
            let Some(schedule) = schedule.filter(|name| self.last_slots.contains_key(*name)) else {
                continue;
            };
            first.insert(schedule, operation.number);
            let limit = match operation.state {
                State::Succeeded => 1,
                State::Failed => FAILURES_KEPT,
                _ => continue,
            };
            let count = ended.entry((schedule, operation.state)).or_default();
            *count += 1;
            if *count <= limit {
                kept.insert(operation.number);
            }
        }
        kept.extend(first.into_values());
        kept
    }

    /// Drops finished operations beyond what the history keeps; the newest row always stays, because
    /// the next number is counted from it.
    fn forget(&mut self) {
        let excess = self.operations.len().saturating_sub(HISTORY_MAX_OPERATIONS);
        if excess == 0 {
            return;
        }
        let newest = self.next_number() - 1;
        let told = self.last_of_schedules();
        let finished = self.operations().filter(|operation| {
            operation.state.is_terminal()
                && operation.number != newest
                && !told.contains(&operation.number)
        });
        let old: Vec<(u64, OperationId)> = finished
            .take(excess)
            .map(|operation| (operation.number, operation.id))
            .collect();
        for (number, id) in old {
            Arc::make_mut(&mut self.operations).remove(&number);
            Arc::make_mut(&mut self.numbers).remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_schedule(name: &str, number: u64, state: State) -> Change {
        let schedule = ScheduleName::try_from(name.to_owned()).unwrap();
        let slot = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
        let operation = crate::operation::testing::daily();
        Change::PutOperation(Box::new(Operation {
            number,
            state,
            id: OperationId::of_slot(&schedule, slot),
            trigger: crate::operation::Trigger::Schedule {
                schedule,
                slot,
                run: 1,
            },
            ..operation
        }))
    }

    #[test]
    fn a_busy_schedule_does_not_push_out_what_another_one_is_judged_by() {
        let weekly = ScheduleName::try_from("weekly".to_owned()).unwrap();
        let last = LastSlot {
            at: Timestamp::UNIX_EPOCH,
            calendar: String::new(),
        };
        let mut changes = vec![Change::PutLastSlot(weekly.clone(), last)];
        let states = [
            State::Failed,
            State::Succeeded,
            State::Failed,
            State::Failed,
            State::Skipped,
            State::Failed,
        ];
        for (number, state) in (1..).zip(states) {
            changes.push(of_schedule("weekly", number, state));
        }
        for number in 10..10 + 2 * HISTORY_MAX_OPERATIONS as u64 {
            changes.push(of_schedule("busy", number, State::Succeeded));
        }
        let view = View::default().after(&changes);
        let kept: Vec<u64> = view
            .operations_of(&weekly)
            .map(|kept| kept.number)
            .collect();
        assert_eq!(kept, [6, 4, 2, 1]);
        assert_eq!(view.operations().count(), HISTORY_MAX_OPERATIONS);
    }

    #[test]
    fn a_removal_that_was_given_up_still_fails() {
        let work = Work::Delete(crate::operation::DeleteWork {
            cause: crate::operation::DeleteCause::Retention,
        });
        let mut removal = Operation {
            number: 1,
            work,
            state: State::Running,
            ..crate::operation::testing::daily()
        };
        let put = |operation: &Operation| Change::PutOperation(Box::new(operation.clone()));
        let view = View::default().after(&[put(&removal)]);
        assert!(view.failing_removal().is_none());
        // A failure counts also while the next attempt is under way.
        let failure = Failure::new(crate::operation::FailureKind::Destination, "denied");
        let mut attempt = crate::operation::testing::attempt(1);
        attempt.failure = Some(failure.clone());
        removal.attempts = vec![attempt, crate::operation::testing::attempt(2)];
        let view = View::default().after(&[put(&removal)]);
        assert_eq!(view.failing_removal().unwrap().1, &failure);
        // Given up: as long as something of it is hidden.
        removal.state = State::Failed;
        let made = Operation {
            attempts: vec![crate::operation::testing::attempt(1)],
            outcome: Some(crate::operation::testing::outcome()),
            ..crate::operation::testing::daily()
        };
        let mut backup = made.made_backup().unwrap();
        backup.deleting = Some(backup::Deleting {
            operation: removal.id.as_uuid(),
            since: Timestamp::UNIX_EPOCH,
        });
        let hidden = View::default().after(&[put(&removal), Change::PutBackup(Box::new(backup))]);
        assert_eq!(hidden.failing_removal().unwrap().1, &failure);
        let through = View::default().after(&[put(&removal)]);
        assert!(through.failing_removal().is_none());
    }
}
