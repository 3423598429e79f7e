//! Time, outages, lost answers and crashes, against the scripted ClickHouse.

use std::sync::Arc;
use std::time::Duration;

use clickhouse_backupd::catalog::{Catalog, Settings, View};
use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::daemon::Options;
use clickhouse_backupd::operation::{FailureKind, Operation, State};
use clickhouse_backupd::schedule::SkipReason;
use jiff::Timestamp;

use crate::support::daemon::Home;
use crate::support::fake_clickhouse::{FakeClickHouse, Fate};
use crate::support::simulation::{DAILY, Simulation};

fn states(view: &View) -> Vec<(String, State)> {
    view.operations()
        .map(|operation| (operation.subject(), operation.state))
        .collect()
}

fn kind(operation: &Operation) -> Option<FailureKind> {
    operation.failure.as_ref().map(|failure| failure.kind)
}

/// Ten nights around each change of the clock: every night once, under its own date.
#[tokio::test(start_paused = true)]
async fn every_night_is_backed_up_once_across_clock_changes() {
    for (start, end, first) in [
        ("2027-03-23T12:00:00Z", "2027-04-02T12:00:00Z", "2027-03-24"),
        ("2026-10-20T12:00:00Z", "2026-10-30T12:00:00Z", "2026-10-21"),
    ] {
        let simulation = Simulation::start(start, &DAILY.replace("0 2 *", "30 3 *")).await;
        simulation.until(end).await;
        let made = simulation.fake.server().made();
        let view = simulation.end().await;
        let mut date: jiff::civil::Date = first.parse().unwrap();
        for (name, state) in states(&view) {
            assert_eq!((name, state), (date.to_string(), State::Succeeded));
            date = date.tomorrow().unwrap();
        }
        assert_eq!(view.operations().count(), 10);
        assert!(
            made.len() == 10 && made.values().all(|times| *times == 1),
            "{made:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clickhouse_that_is_down_at_the_slot_is_waited_for_until_the_deadline() {
    let simulation = Simulation::start("2026-11-21T22:00:00Z", DAILY).await;
    simulation.fake.server().down = true;
    simulation.until("2026-11-22T03:00:00Z").await;
    simulation.fake.server().down = false;
    simulation.until("2026-11-22T12:00:00Z").await;
    simulation.fake.server().down = true;
    simulation.until("2026-11-23T12:00:00Z").await;
    simulation.fake.server().down = false;
    let (_, row) = simulation
        .daemon
        .as_ref()
        .unwrap()
        .get("/backup/actions?last=1")
        .await;
    assert!(
        row.contains("create 2026-11-23") && row.contains("did not answer until the deadline"),
        "the reason is in the history: {row}"
    );
    simulation.until("2026-11-24T12:00:00Z").await;
    let view = simulation.end().await;
    let expected = [
        ("2026-11-22", State::Succeeded),
        ("2026-11-23", State::Failed),
        ("2026-11-24", State::Succeeded),
    ];
    assert_eq!(
        states(&view),
        expected.map(|(name, state)| (name.to_owned(), state))
    );
    let operations: Vec<_> = view.operations().collect();
    assert_eq!(
        operations[0].attempts.len(),
        1,
        "waiting uses up no attempt"
    );
    assert_eq!(kind(operations[1]), Some(FailureKind::Unreachable));
    assert_eq!(operations[1].attempts.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_five_minutes_for_clickhouse() {
    let simulation = Simulation::start("2026-11-22T12:00:00Z", "").await;
    simulation.fake.server().down = true;
    let daemon = simulation.daemon.as_ref().unwrap();
    let id = daemon.begin("/backup/create?name=manual").await;
    simulation.until("2026-11-22T12:04:00Z").await;
    assert!(
        daemon
            .get(&format!("/backup/status?operationid={id}"))
            .await
            .1
            .contains("in progress")
    );
    simulation.until("2026-11-22T12:06:00Z").await;
    let view = simulation.end().await;
    let operation = view.operations().next().unwrap();
    assert_eq!(kind(operation), Some(FailureKind::Unreachable));
    let waited = operation
        .finished_at
        .unwrap()
        .duration_since(operation.unreachable_since.unwrap());
    assert_eq!(
        waited.as_secs(),
        300,
        "the pause between two tries does not make it longer"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_may_pass_is_tried_again_and_one_that_does_not_is_not() {
    let simulation = Simulation::start("2026-11-21T23:59:00Z", DAILY).await;
    simulation.fake.server().fates.extend([
        Fate::failure("Code: 241. DB::Exception: Memory limit exceeded (MEMORY_LIMIT_EXCEEDED)"),
        Fate::success(Duration::from_secs(60)),
        Fate::failure("Code: 497. DB::Exception: not enough privileges (ACCESS_DENIED), Stack trace (when copying this message, always include the lines below): 0. x"),
    ]);
    simulation.until("2026-11-23T12:00:00Z").await;
    let view = simulation.end().await;
    let operations: Vec<_> = view.operations().collect();
    assert_eq!(
        (operations[0].state, operations[0].attempts.len()),
        (State::Succeeded, 2)
    );
    let attempts = &operations[0].attempts;
    assert_eq!(
        attempts[0].failure.as_ref().unwrap().kind,
        FailureKind::OutOfMemory
    );
    let waited = attempts[1]
        .started_at
        .duration_since(attempts[0].ended_at.unwrap());
    assert!((300..303).contains(&waited.as_secs()), "{waited}");
    assert_eq!(
        attempts[1].backup, attempts[0].backup,
        "ClickHouse removed what it had written"
    );
    assert_eq!(
        (operations[1].state, operations[1].attempts.len()),
        (State::Failed, 1)
    );
    let failure = operations[1].failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Denied);
    assert!(
        !failure.message.contains("Stack trace"),
        "{}",
        failure.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_lost_in_a_restart_is_made_again_under_the_next_name() {
    let simulation = Simulation::start("2026-11-21T23:59:00Z", DAILY).await;
    simulation
        .fake
        .server()
        .fates
        .push_back(Fate::success(Duration::from_secs(3_600)));
    simulation.until("2026-11-22T00:30:00Z").await;
    simulation.fake.restart();
    simulation.until("2026-11-22T12:00:00Z").await;
    let daemon = simulation.daemon.as_ref().unwrap();
    assert_eq!(daemon.names().await, ["2026-11-22.2"]);
    let id = daemon.begin("/backup/restore/2026-11-22").await;
    simulation.until("2026-11-22T12:05:00Z").await;
    assert_eq!(daemon.ended(&id).await["status"], "success");
    let restored = simulation
        .fake
        .server()
        .rows
        .last()
        .unwrap()
        .destination
        .clone();
    assert_eq!(restored, "Disk('s3_backup', '2026-11-22.2')");
    let view = simulation.end().await;
    let operation = view.operations().next().unwrap();
    assert_eq!(
        operation.attempts[0].failure.as_ref().unwrap().kind,
        FailureKind::Lost
    );
    assert!(
        operation.notes[0].contains("2026-11-22.2"),
        "{:?}",
        operation.notes
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_does_not_double_the_backup() {
    let simulation = Simulation::start("2026-11-21T23:59:59Z", DAILY).await;
    for lost in 0..12 {
        simulation.fake.server().lose_answers = lost;
        let slot: Timestamp = simulation
            .clock
            .now()
            .checked_add(jiff::SignedDuration::from_hours(24))
            .unwrap();
        simulation.until(&slot.to_string()).await;
    }
    let made = simulation.fake.server().made();
    let view = simulation.end().await;
    assert_eq!(view.operations().count(), 12);
    assert!(
        view.operations()
            .all(|operation| operation.state == State::Succeeded && operation.attempts.len() == 1)
    );
    assert!(
        made.len() == 12 && made.values().all(|times| *times == 1),
        "{made:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn another_servers_answer_is_no_proof_of_absence() {
    let simulation = Simulation::start("2026-11-21T23:59:59Z", DAILY).await;
    simulation
        .fake
        .server()
        .fates
        .push_back(Fate::success(Duration::from_secs(7_200)));
    simulation.until("2026-11-22T01:00:00Z").await;
    let (rows, uuid, started) = {
        let mut server = simulation.fake.server();
        let kept = (
            std::mem::take(&mut server.rows),
            server.uuid,
            server.started,
        );
        (server.uuid, server.started) = (
            uuid::Uuid::from_u128(8),
            "2026-11-22T00:59:00Z".parse().unwrap(),
        );
        kept
    };
    simulation.until("2026-11-22T01:30:00Z").await;
    {
        let mut server = simulation.fake.server();
        (server.rows, server.uuid, server.started) = (rows, uuid, started);
    }
    simulation.until("2026-11-22T04:00:00Z").await;
    assert_eq!(simulation.fake.backups().len(), 1);
    assert_eq!(
        states(simulation.end().await.as_ref()),
        [("2026-11-22".to_owned(), State::Succeeded)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_ended_and_one_that_cannot_be_ended_is_told() {
    let config = format!("clickhouse.timeout = \"1h\"\nclickhouse.cancel_limit = \"10m\"\n{DAILY}");
    let simulation = Simulation::start("2026-11-21T23:59:00Z", &config).await;
    let endless = Fate::success(Duration::from_secs(36_000));
    simulation
        .fake
        .server()
        .fates
        .extend([endless.clone(), endless]);
    simulation.until("2026-11-22T12:00:00Z").await;
    simulation.fake.server().kills = false;
    simulation.until("2026-11-23T12:00:00Z").await;
    let kills = simulation
        .fake
        .server()
        .statements
        .iter()
        .filter(|sql| sql.starts_with("KILL"))
        .count();
    let view = simulation.end().await;
    let operations: Vec<_> = view.operations().collect();
    assert_eq!(kind(operations[0]), Some(FailureKind::TimedOut));
    let took = operations[0]
        .finished_at
        .unwrap()
        .duration_since(operations[0].started_at.unwrap());
    assert!((3_600..3_605).contains(&took.as_secs()), "{took}");
    assert_eq!(kind(operations[1]), Some(FailureKind::Unknown));
    assert!(
        operations[1]
            .failure
            .as_ref()
            .unwrap()
            .message
            .contains("may still run")
    );
    assert!(
        (100..=130).contains(&kills),
        "one each five seconds for ten minutes, not one each look: {kills}"
    );
}

#[tokio::test(start_paused = true)]
async fn slots_missed_while_nobody_ran_are_caught_up_or_skipped_and_told() {
    for (policy, last) in [("run_latest", State::Succeeded), ("skip", State::Skipped)] {
        let config = format!("{DAILY}\nmissed = \"{policy}\"");
        let mut simulation = Simulation::start("2026-11-20T12:00:00Z", &config).await;
        simulation.until("2026-11-20T13:00:00Z").await;
        simulation.stop_daemon().await;
        simulation.until("2026-11-23T12:00:00Z").await;
        simulation.start_daemon().await;
        simulation.until("2026-11-23T13:00:00Z").await;
        let view = simulation.end().await;
        let expected = [
            ("2026-11-21", State::Skipped),
            ("2026-11-22", State::Skipped),
            ("2026-11-23", last),
        ];
        assert_eq!(
            states(&view),
            expected.map(|(name, state)| (name.to_owned(), state))
        );
        assert_eq!(
            view.operations().next().unwrap().skipped,
            Some(SkipReason::Superseded)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_slot_gives_way_to_the_next_one() {
    let simulation = Simulation::start(
        "2026-11-21T12:00:00Z",
        &format!("{DAILY}\ndeadline = \"3d\""),
    )
    .await;
    simulation.fake.server().down = true;
    simulation.until("2026-11-23T12:00:00Z").await;
    simulation.fake.server().down = false;
    simulation.until("2026-11-23T13:00:00Z").await;
    let view = simulation.end().await;
    assert_eq!(
        states(&view),
        [
            ("2026-11-22".to_owned(), State::Skipped),
            ("2026-11-23".to_owned(), State::Succeeded)
        ]
    );
    assert_eq!(
        view.operations().next().unwrap().skipped,
        Some(SkipReason::Superseded)
    );
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_name_a_client_took_is_skipped() {
    let simulation = Simulation::start("2026-11-21T23:00:00Z", DAILY).await;
    simulation
        .daemon
        .as_ref()
        .unwrap()
        .begin("/backup/create?name=2026-11-22")
        .await;
    simulation.until("2026-11-22T12:00:00Z").await;
    let view = simulation.end().await;
    assert_eq!(
        states(&view),
        [
            ("2026-11-22".to_owned(), State::Succeeded),
            ("2026-11-22".to_owned(), State::Skipped)
        ]
    );
    assert_eq!(
        view.operations().next_back().unwrap().skipped,
        Some(SkipReason::NameTaken)
    );
}

#[tokio::test(start_paused = true)]
async fn a_schedule_with_another_time_starts_anew_and_has_missed_nothing() {
    let mut simulation = Simulation::start("2026-11-22T12:00:00Z", DAILY).await;
    simulation.until("2026-11-22T13:00:00Z").await;
    simulation.stop_daemon().await;
    simulation.home.write(
        &simulation.fake.url,
        &DAILY.replace("0 2 * * *", "0 14 * * *"),
    );
    simulation.until("2026-11-22T14:00:00Z").await;
    simulation.start_daemon().await;
    simulation.until("2026-11-22T18:00:00Z").await;
    assert_eq!(
        states(simulation.end().await.as_ref()),
        [],
        "14:00 in Sofia had passed before the daemon knew of it"
    );
}

/// The number and size of statements do not grow with the tables.
#[tokio::test(start_paused = true)]
async fn ten_thousand_tables_cost_as_many_statements_as_three() {
    let mut sent = Vec::new();
    for tables in [3, 10_000] {
        let simulation = Simulation::start("2026-11-21T23:59:59Z", DAILY).await;
        simulation.fake.server().tables = tables;
        simulation.until("2026-11-22T00:10:00Z").await;
        let statements = simulation.fake.server().statements.clone();
        let polls = |sql: &&String| !sql.contains("FROM system.backups WHERE id IN");
        let beside: Vec<String> = statements.iter().filter(polls).cloned().collect();
        let view = simulation.end().await;
        assert_eq!(view.backups().next().unwrap().tables, Some(tables as u64));
        sent.push(beside);
    }
    assert_eq!(sent[0], sent[1]);
    assert!(
        sent[1].len() <= 6 && sent[1].iter().all(|sql| sql.len() < 600),
        "{:?}",
        sent[1]
    );
}

/// The process is ended at every write in turn; the next one takes up what it finds.
#[test]
fn a_crash_at_any_write_loses_nothing_and_doubles_nothing() {
    let outer = tokio::runtime::Runtime::new().unwrap();
    let mut writes_seen = 0;
    for crash_after in 1.. {
        let clock = Clock::System;
        let fake = outer.block_on(FakeClickHouse::start(clock.clone()));
        fake.server()
            .fates
            .push_back(Fate::success(Duration::from_millis(300)));
        let home = Home::new();
        home.write(&fake.url, "");
        let crashed = run_until_write(&home, &clock, crash_after);
        if !crashed {
            break;
        }
        writes_seen = crash_after;
        let view = run_to_the_end(&home, &clock);
        let operation = view.operations().next().unwrap();
        assert_eq!(
            operation.state,
            State::Succeeded,
            "crash after write {crash_after}: {operation:?}"
        );
        assert_eq!(
            operation.attempts.len(),
            1,
            "crash after write {crash_after}"
        );
        assert_eq!(
            fake.server().made().values().sum::<usize>(),
            1,
            "crash after write {crash_after}"
        );
        fake.assert_understood();
    }
    assert!(
        writes_seen >= 3,
        "submitted, begun, accepted or finished: only {writes_seen} writes were crashed at"
    );
}

/// Runs a daemon that makes one backup, and ends its runtime, as kill -9 would, after so many
/// commits; `false` when there were fewer.
fn run_until_write(home: &Home, clock: &Clock, crash_after: usize) -> bool {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = Options {
        clock: clock.clone(),
        reload: None,
        with_timer: false,
    };
    let crashed = runtime.block_on(async {
        let daemon = home.start_with(options).await;
        let mut commits = daemon.worker.commits();
        commits.borrow_and_update();
        let url = daemon.url.clone();
        let post = tokio::spawn(async move {
            reqwest::Client::new()
                .post(format!("{url}/backup/create?name=one"))
                .send()
                .await
        });
        for _ in 0..crash_after {
            if tokio::time::timeout(Duration::from_secs(3), commits.changed())
                .await
                .is_err()
            {
                return false;
            }
        }
        post.abort();
        true
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    crashed
}

fn run_to_the_end(home: &Home, clock: &Clock) -> Arc<View> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = Options {
            clock: clock.clone(),
            reload: None,
            with_timer: false,
        };
        let daemon = home.start_with(options).await;
        let rows = daemon.rows("/backup/actions").await;
        let id = rows[0]["operation_id"].as_str().unwrap();
        daemon.ended(id).await;
        daemon.stop().await;
        Catalog::open(&Settings { dir: home.state() })
            .unwrap()
            .view()
    })
}
