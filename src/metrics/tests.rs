//! What is scraped of a made-up catalog, and the page that describes it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::backup::NameTemplate;
use crate::backup::{Backup, BackupKind, BackupName, ManifestSeen, Origin, Place, Scope};
use crate::catalog::{self, Catalog, Change, Decision, LastSlot};
use crate::operation::{
    Action, Attempt, AttemptId, BackupWork, Delivery, Event, Failure, FailureKind, Limits,
    OperationId, Progress, Retry, Trigger, Work,
};
use crate::retention::{Plan, Rules};
use crate::schedule::{Calendar, MissedPolicy, Pause};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(name: &str) -> Schedule {
    Schedule {
        name: ScheduleName::try_from(name.to_owned()).unwrap(),
        calendar: Calendar::parse("0 2 * * *", "UTC").unwrap(),
        missed: MissedPolicy::RunLatest,
        template: NameTemplate::parse("{date}").unwrap(),
        action: Action::Backup,
        increments: None,
        scope: Scope::everything(),
        deadline: std::time::Duration::from_secs(3_600),
        retry: retry(),
    }
}

fn retry() -> Retry {
    Retry {
        attempts: 1,
        delay: std::time::Duration::from_secs(1),
    }
}

/// A catalog of its own, and what stands beside it in a scrape.
struct Fixture {
    catalog: Catalog,
    metrics: Metrics,
    schedules: BTreeMap<ScheduleName, Schedule>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = catalog::Settings {
            dir: dir.path().to_owned(),
        };
        let schedules = names.iter().map(|name| schedule(name));
        Self {
            catalog: Catalog::open(&settings).unwrap(),
            metrics: Metrics::new().unwrap(),
            schedules: schedules.map(|one| (one.name.clone(), one)).collect(),
            _dir: dir,
        }
    }

    async fn write(&self, changes: Vec<Change>) {
        let decide = move |_: &catalog::View| Decision {
            changes,
            answer: (),
        };
        self.catalog.write(decide).await.unwrap();
    }

    /// An operation of a slot at 02:00 to which this happened.
    async fn ended(&self, day: &str, event: Event, finished: &str) -> Operation {
        let slot = at(&format!("{day}T02:00:00Z"));
        let name = self.schedules.keys().next().unwrap().clone();
        let work = BackupWork {
            name: BackupName::parse(day).unwrap(),
            scope: Scope::everything(),
            base: None,
            increments: None,
            kind_reason: None,
        };
        let trigger = Trigger::Schedule {
            schedule: name.clone(),
            slot,
            run: 1,
        };
        let second = std::time::Duration::from_secs(1);
        let limits = Limits {
            timeout: second,
            deadline: None,
            unreachable: second,
            cancel: second,
            retry: retry(),
        };
        let id = OperationId::of_slot(&name, slot);
        let command = format!("create {day}");
        let mut operation = Operation::new(id, trigger, Work::Backup(work), command, limits, slot);
        operation.number = self.catalog.view().next_number();
        let operation = operation.apply(event, at(finished)).unwrap();
        let last = LastSlot {
            at: slot,
            calendar: "0 2 * * * UTC".to_owned(),
        };
        self.write(vec![
            Change::PutOperation(Box::new(operation.clone())),
            Change::PutLastSlot(name, last),
        ])
        .await;
        if operation.state.is_terminal() {
            self.metrics.operation_ended(&operation);
        }
        operation
    }

    async fn backup(&self, day: &str, bytes: u64, base: Option<&str>) {
        let created_at = at(&format!("{day}T02:10:00Z"));
        let name = BackupName::parse(day).unwrap();
        let backup = Backup {
            asked_name: name.clone(),
            name,
            place: Place::Disk("s3_backup".to_owned()),
            operation: uuid::Uuid::nil(),
            number: 1,
            attempt: String::new(),
            origin: Origin::Schedule {
                schedule: self.schedules.keys().next().unwrap().to_string(),
                slot: at(&format!("{day}T02:00:00Z")),
            },
            kind: BackupKind::Full,
            base: base.map(|base| BackupName::parse(base).unwrap()),
            created_at,
            bytes: Some(bytes),
            bytes_written: Some(bytes / 2),
            files: Some(7),
            tables: Some(3),
            structure_only: false,
            server: None,
            manifest: Some(ManifestSeen {
                uuid: "u".to_owned(),
                read_at: created_at,
            }),
            proofs: Vec::new(),
            pinned: None,
            suspect: None,
            deleting: None,
            gone_since: None,
            changed_at: created_at,
        };
        self.write(vec![Change::PutBackup(Box::new(backup))]).await;
    }

    /// Series with their values.
    fn scraped(&self, now: &str) -> BTreeMap<String, f64> {
        self.scraped_with(now, &HashMap::new())
    }

    /// The same, with how far something has come.
    fn scraped_with(
        &self,
        now: &str,
        progress: &HashMap<OperationId, Moved>,
    ) -> BTreeMap<String, f64> {
        let plan = Plan {
            lines: Vec::new(),
            stops: Vec::new(),
        };
        let (view, rules) = (self.catalog.view(), Rules::default());
        let text = self.metrics.render(&Scrape {
            now: at(now),
            view: &view,
            schedules: &self.schedules,
            rules: &rules,
            plan: &plan,
            progress,
            destination: DestinationNow {
                view: "bound",
                ..DestinationNow::default()
            },
            retention: RetentionNow::default(),
            clickhouse: ClickHouseNow::default(),
            catalog: CatalogNow::default(),
        });
        let text = text.unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let series = samples.map(|line| line.rsplit_once(' ').unwrap());
        series
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
            .collect()
    }
}

fn of(name: &str, schedule: &str) -> String {
    format!("clickhouse_backupd_schedule_{name}{{schedule=\"{schedule}\"}}")
}

#[tokio::test]
async fn every_metric_is_there_from_the_first_scrape_and_nothing_else() {
    let series = Fixture::new(&["daily"]).scraped("2026-11-23T00:00:00Z");
    let mut scraped: BTreeSet<&str> = series
        .keys()
        .map(|one| one.split('{').next().unwrap())
        .collect();
    scraped.retain(|name| !name.starts_with("process_"));
    let histogram = ["_bucket", "_sum", "_count"];
    let mut named = BTreeSet::new();
    for metric in all() {
        match metric.kind {
            Kind::Histogram => {
                named.extend(histogram.map(|end| format!("{}{end}", metric.name)));
            }
            Kind::Gauge | Kind::Counter => {
                named.insert(metric.name.to_owned());
            }
        }
    }
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(scraped, named);
}

#[tokio::test]
async fn a_new_schedule_has_all_series_of_an_old_one_and_a_removed_one_has_none() {
    let mut fixture = Fixture::new(&["daily"]);
    fixture
        .ended("2026-11-22", failed(), "2026-11-22T02:30:00Z")
        .await;
    fixture.backup("2026-11-21", 100, None).await;
    let shape = |series: &BTreeMap<String, f64>, schedule: &str| -> BTreeSet<String> {
        let label = format!("schedule=\"{schedule}\"");
        let its = series.keys().filter(|one| one.contains(&label));
        its.map(|one| one.replace(&label, "")).collect()
    };
    let hourly = schedule("hourly");
    fixture.schedules.insert(hourly.name.clone(), hourly);
    let series = fixture.scraped("2026-11-23T00:00:00Z");
    assert_eq!(shape(&series, "daily"), shape(&series, "hourly"));
    assert!(shape(&series, "daily").len() > 30);
    fixture.schedules.pop_first();
    let series = fixture.scraped("2026-11-23T00:00:00Z");
    assert_eq!(shape(&series, "daily"), BTreeSet::new());
}

fn failed() -> Event {
    Event::GaveUp(Failure::new(FailureKind::Unreachable, "x"))
}

#[tokio::test]
async fn what_an_alert_needs_of_a_schedule_is_in_the_catalog() {
    let fixture = Fixture::new(&["daily"]);
    let now = "2026-11-23T00:00:00Z";
    let never = fixture.scraped(now);
    assert_eq!(never[&of("last_success_timestamp_seconds", "daily")], 0.0);
    assert_eq!(never[&of("expected_interval_seconds", "daily")], 86_400.0);
    let at_second = |text: &str| at(text).as_second() as f64;
    assert_eq!(
        never[&of("known_since_timestamp_seconds", "daily")],
        at_second(now)
    );
    for (number, day) in ["2026-11-17", "2026-11-18", "2026-11-19"]
        .iter()
        .enumerate()
    {
        fixture.backup(day, 1_000 + number as u64, None).await;
    }
    fixture
        .ended("2026-11-20", failed(), "2026-11-20T06:00:00Z")
        .await;
    fixture
        .ended("2026-11-21", failed(), "2026-11-21T06:00:00Z")
        .await;
    let skip = Event::Skip(SkipReason::Paused);
    fixture
        .ended("2026-11-22", skip, "2026-11-22T02:00:00Z")
        .await;
    let series = fixture.scraped(now);
    let value = |name: &str| series[&of(name, "daily")];
    assert_eq!(
        value("last_success_timestamp_seconds"),
        at_second("2026-11-19T02:10:00Z")
    );
    assert_eq!(
        value("known_since_timestamp_seconds"),
        at_second("2026-11-17T02:10:00Z")
    );
    assert_eq!(
        value("next_slot_timestamp_seconds"),
        at_second("2026-11-23T02:00:00Z")
    );
    assert_eq!(
        (value("last_success_bytes"), value("median_bytes")),
        (1_002.0, 1_000.0)
    );
    assert_eq!(value("failures_in_a_row"), 2.0);
    assert_eq!(
        value("lateness_seconds"),
        4.0 * 3_600.0,
        "of the newest that was not skipped"
    );
    assert_eq!(value("restorable_backups"), 3.0);
    let labelled = |name: &str, label: &str, word: &str| {
        series[&format!(
            "clickhouse_backupd_schedule_{name}{{schedule=\"daily\",{label}=\"{word}\"}}"
        )]
    };
    assert_eq!(labelled("last_result", "result", "skipped"), 1.0);
    assert_eq!(labelled("last_result", "result", "failed"), 0.0);
    assert_eq!(labelled("runs_total", "result", "failed"), 2.0);
    assert_eq!(labelled("skipped_slots_total", "reason", "paused"), 1.0);
    let skipped = labelled("last_skipped_slot_timestamp_seconds", "reason", "paused");
    assert_eq!(skipped, at_second("2026-11-22T02:00:00Z"));
    // A slot that the scheduler does not come to makes it late by itself.
    let later = fixture.scraped("2026-11-23T03:00:00Z");
    assert_eq!(later[&of("lateness_seconds", "daily")], 3_600.0);
}

#[tokio::test]
async fn a_broken_chain_and_a_pause_are_told() {
    let fixture = Fixture::new(&["daily"]);
    fixture.backup("2026-11-20", 10, None).await;
    fixture.backup("2026-11-21", 10, Some("2026-11-20")).await;
    fixture.backup("2026-11-22", 10, Some("2026-11-19")).await;
    let pause = Pause {
        since: at("2026-11-22T12:00:00Z"),
        until: Some(at("2026-11-24T00:00:00Z")),
        reason: None,
    };
    let name = fixture.schedules.keys().next().unwrap().clone();
    fixture
        .write(vec![Change::PutPause(name, Some(pause))])
        .await;
    let series = fixture.scraped("2026-11-23T00:00:00Z");
    assert_eq!(
        series["clickhouse_backupd_destination_broken_chain_backups"],
        1.0
    );
    assert_eq!(series[&of("restorable_backups", "daily")], 2.0);
    assert_eq!(series[&of("paused", "daily")], 1.0);
    let over = fixture.scraped("2026-11-24T00:00:00Z");
    assert_eq!(over[&of("paused", "daily")], 0.0);
    assert_eq!(over[&of("paused_since_timestamp_seconds", "daily")], 0.0);
}

#[tokio::test]
async fn the_old_names_keep_their_units() {
    let fixture = Fixture::new(&["daily"]);
    let old =
        |series: &BTreeMap<String, f64>, name: &str| series[&format!("clickhouse_backup_{name}")];
    let before = fixture.scraped("2026-11-23T00:00:00Z");
    assert_eq!(old(&before, "last_create_status"), 2.0, "unknown");
    assert_eq!(old(&before, "last_create_finish"), 0.0);
    fixture
        .ended("2026-11-22", failed(), "2026-11-22T02:00:03Z")
        .await;
    fixture.backup("2026-11-21", 100, None).await;
    let series = fixture.scraped("2026-11-23T00:00:00Z");
    let finish = at("2026-11-22T02:00:03Z").as_second() as f64;
    assert_eq!(old(&series, "last_create_status"), 0.0, "failed");
    assert_eq!(old(&series, "last_create_finish"), finish);
    assert_eq!(old(&series, "last_create_start"), finish - 3.0);
    assert_eq!(old(&series, "last_create_duration"), 3e9, "nanoseconds");
    assert_eq!(old(&series, "failed_creates"), 1.0);
    assert_eq!(old(&series, "last_restore_status"), 2.0);
    assert_eq!(old(&series, "number_backups_local"), 1.0);
    assert_eq!(old(&series, "last_backup_size_local"), 50.0);
    // The process forgets its counters; what happened last it does not.
    let restarted = Fixture {
        metrics: Metrics::new().unwrap(),
        ..fixture
    };
    let after = restarted.scraped("2026-11-23T00:00:00Z");
    assert_eq!(old(&after, "failed_creates"), 0.0);
    assert_eq!(old(&after, "last_create_finish"), finish);
}

/// What runs has moved when it was seen to move; before that, when it began or when we did.
#[tokio::test]
async fn what_runs_tells_when_it_last_moved() {
    let fixture = Fixture::new(&["daily"]);
    let slot = at("2026-11-22T02:00:00Z");
    let name = fixture.schedules.keys().next().unwrap();
    let attempt = Attempt {
        id: AttemptId::of_slot(name, slot, 1),
        backup: BackupName::parse("2026-11-22").unwrap(),
        place: Place::Disk("s3_backup".to_owned()),
        started_at: at("2026-11-22T02:00:05Z"),
        ended_at: None,
        delivery: Delivery::Accepted,
        server: None,
        tables: None,
        bytes_expected: Some(900),
        manifest: None,
        is_cleared: false,
        failure: None,
    };
    let begun = Event::Begun(Box::new(attempt));
    let operation = fixture
        .ended("2026-11-22", begun, "2026-11-22T02:00:05Z")
        .await;
    let of_kind = |series: &BTreeMap<String, f64>, name: &str| {
        series[&format!("clickhouse_backupd_{name}{{kind=\"backup\"}}")]
    };
    let at_second = |text: &str| at(text).as_second() as f64;
    let series = fixture.scraped("2026-11-22T03:00:00Z");
    let start = at_second("2026-11-22T02:00:05Z");
    assert_eq!(of_kind(&series, "operations_running"), 1.0);
    assert_eq!(of_kind(&series, "running_start_timestamp_seconds"), start);
    assert_eq!(
        of_kind(&series, "running_progress_timestamp_seconds"),
        start
    );
    assert_eq!(
        series[&of("running_since_timestamp_seconds", "daily")],
        start
    );
    assert_eq!(series["clickhouse_backup_in_progress_commands"], 1.0);
    // A process that came later does not know when it moved before.
    fixture.metrics.config_loaded(at("2026-11-22T02:30:00Z"));
    let series = fixture.scraped("2026-11-22T03:00:00Z");
    let later = at_second("2026-11-22T02:30:00Z");
    assert_eq!(
        of_kind(&series, "running_progress_timestamp_seconds"),
        later
    );
    let moved = Moved {
        progress: Progress {
            bytes_done: 300,
            ..Progress::default()
        },
        at: at("2026-11-22T02:45:00Z"),
    };
    let progress = HashMap::from([(operation.id, moved)]);
    let series = fixture.scraped_with("2026-11-22T03:00:00Z", &progress);
    let seen = at_second("2026-11-22T02:45:00Z");
    assert_eq!(of_kind(&series, "running_progress_timestamp_seconds"), seen);
    assert_eq!(of_kind(&series, "running_done_bytes"), 300.0);
    assert_eq!(of_kind(&series, "running_expected_bytes"), 900.0);
}

/// Rows `| name | type | labels | … |` of the page.
fn documented() -> Vec<(String, String, Vec<String>)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `clickhouse_backup"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3]
            .split(',')
            .map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty());
        (
            cells[1].trim_matches('`').to_owned(),
            cells[2].to_owned(),
            labels.map(str::to_owned).collect(),
        )
    })
    .collect()
}

#[test]
fn the_page_describes_every_metric_and_no_other() {
    let mut exported: Vec<_> = all()
        .into_iter()
        .map(|metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned());
            (
                metric.name.to_owned(),
                metric.kind.as_str().to_owned(),
                labels.collect::<Vec<_>>(),
            )
        })
        .collect();
    let mut documented = documented();
    exported.sort();
    documented.sort();
    assert_eq!(documented, exported);
}
