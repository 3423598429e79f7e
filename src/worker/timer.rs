//! `tokio-cron-scheduler` as a timer: it wakes the scheduler loop, and decides nothing.
//!
//! Its own calendar is an hour off after a daylight-saving change (its issue 107) and its adder dies
//! under concurrent adds, so each schedule has one one-shot job whose tick we set, and one task adds
//! and removes them one after the other, each under a time limit.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::schedule::ScheduleName;

/// Wake-ups and orders that may wait; more than one of each says nothing new.
const QUEUE_MAX: usize = 1_024;
/// Time limit of one add or remove.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A slot that the timer did not announce this long after it was due counts as missed by it.
const MISSED_AFTER_SECS: i64 = 5;

/// A timer that may be absent.
#[derive(Debug)]
pub(super) struct Timer {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    orders: mpsc::Sender<Order>,
    wakes: mpsc::Receiver<(ScheduleName, Timestamp)>,
    armed: BTreeMap<ScheduleName, Timestamp>,
    announced: BTreeMap<ScheduleName, Timestamp>,
    unannounced: BTreeMap<ScheduleName, Timestamp>,
    metrics: Metrics,
}

/// A job to be set.
#[derive(Debug)]
struct Order {
    schedule: ScheduleName,
    at: Timestamp,
    /// Whether the job before it is still to come, and must not: the schedule was changed. One whose
    /// time has come is left to announce itself, up to half a second late.
    replaces: bool,
}

impl Timer {
    /// No timer: the loop sleeps by itself.
    pub(super) fn none() -> Self {
        Self { running: None }
    }

    /// Starts the timer; where it cannot, the loop does without and says so.
    pub(super) async fn start(metrics: Metrics) -> Self {
        match started(metrics).await {
            Ok(running) => Self {
                running: Some(running),
            },
            Err(error) => {
                tracing::error!(
                    "the timer does not start ({error}); the scheduler loop keeps the time by itself"
                );
                Self::none()
            }
        }
    }

    /// Sets the next slot of each schedule; one that is set already costs nothing.
    pub(super) fn arm(&mut self, next: &BTreeMap<ScheduleName, Timestamp>, now: Timestamp) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.count_missed(now);
        running
            .armed
            .retain(|schedule, _| next.contains_key(schedule));
        for (schedule, at) in next {
            let before = running.armed.insert(schedule.clone(), *at);
            if before == Some(*at) {
                continue;
            }
            let is_coming = before.is_some_and(|before| before > now);
            running.note_passed(schedule, before.filter(|before| *before <= now));
            // A full queue is no harm: the loop's own sleep wakes it as well.
            let order = Order {
                schedule: schedule.clone(),
                at: *at,
                replaces: is_coming,
            };
            let _ = running.orders.try_send(order);
        }
    }

    /// Waits for a wake-up; for ever where there is no timer.
    pub(super) async fn woken(&mut self) {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let Some(first) = running.wakes.recv().await else {
            return std::future::pending().await;
        };
        // A thousand schedules in one slot are one wake-up.
        let others = std::iter::from_fn(|| running.wakes.try_recv().ok());
        let announced: Vec<_> = std::iter::once(first).chain(others).collect();
        for (schedule, at) in announced {
            running
                .unannounced
                .retain(|waiting, slot| *waiting != schedule || *slot > at);
            running.announced.insert(schedule, at);
        }
    }
}

impl Running {
    /// The loop went on from a slot: either the timer announced it before, or it still has to.
    fn note_passed(&mut self, schedule: &ScheduleName, passed: Option<Timestamp>) {
        let Some(passed) = passed else { return };
        if self.announced.get(schedule).is_none_or(|at| *at < passed) {
            self.unannounced.entry(schedule.clone()).or_insert(passed);
        }
    }

    fn count_missed(&mut self, now: Timestamp) {
        let metrics = &self.metrics;
        self.unannounced.retain(|schedule, slot| {
            let in_time = now.duration_since(*slot).as_secs() < MISSED_AFTER_SECS;
            if !in_time {
                tracing::warn!(schedule.name = %schedule, %slot, "the timer did not announce the slot; the loop fired it");
                metrics.timer_missed();
            }
            in_time
        });
    }
}

async fn started(metrics: Metrics) -> Result<Running, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    scheduler.start().await?;
    let (orders, received) = mpsc::channel(QUEUE_MAX);
    let (wake, wakes) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(keep_jobs(scheduler, received, wake));
    Ok(Running {
        orders,
        wakes,
        armed: BTreeMap::new(),
        announced: BTreeMap::new(),
        unannounced: BTreeMap::new(),
        metrics,
    })
}

/// The one task that talks to the scheduler; it ends with the timer.
async fn keep_jobs(
    mut scheduler: JobScheduler,
    mut orders: mpsc::Receiver<Order>,
    wake: mpsc::Sender<(ScheduleName, Timestamp)>,
) {
    let mut jobs: BTreeMap<ScheduleName, Uuid> = BTreeMap::new();
    while let Some(Order {
        schedule,
        at,
        replaces,
    }) = orders.recv().await
    {
        if let Some(old) = jobs.remove(&schedule).filter(|_| replaces) {
            let _ = timeout(CALL_TIMEOUT, scheduler.remove(&old)).await;
        }
        match timeout(CALL_TIMEOUT, add(&scheduler, &schedule, at, wake.clone())).await {
            Ok(Ok(id)) => drop(jobs.insert(schedule, id)),
            Ok(Err(error)) => {
                tracing::warn!(schedule.name = %schedule, "setting the timer: {error}; the loop keeps the time");
            }
            Err(_) => {
                tracing::warn!(schedule.name = %schedule, "the timer does not answer; the loop keeps the time");
            }
        }
    }
    let _ = scheduler.shutdown().await;
}

async fn add(
    scheduler: &JobScheduler,
    schedule: &ScheduleName,
    at: Timestamp,
    wake: mpsc::Sender<(ScheduleName, Timestamp)>,
) -> Result<Uuid, JobSchedulerError> {
    let announced = (schedule.clone(), at);
    let mut job = Job::new_one_shot_async(Duration::from_secs(1), move |_, _| {
        // Never blocks: a wake-up that finds the queue full is not the only one there.
        let _ = wake.try_send(announced.clone());
        Box::pin(std::future::ready(()))
    })?;
    let mut data = job.job_data()?;
    data.next_tick = u64::try_from(at.as_second()).unwrap_or_default();
    job.set_job_data(data)?;
    scheduler.add(job).await
}
