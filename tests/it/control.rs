//! What a caller asks of a schedule, over time: pauses, and failed nights made good.

use clickhouse_backupd::operation::State;
use clickhouse_backupd::schedule::SkipReason;
use serde_json::json;

use crate::support::fake_clickhouse::Fate;
use crate::support::simulation::{DAILY, Simulation};

const FATAL: &str = "Code: 497. DB::Exception: backup: Not enough privileges. (ACCESS_DENIED)";

#[tokio::test(start_paused = true)]
async fn a_paused_schedule_skips_its_slots_until_the_pause_ends_or_somebody_ends_it() {
    let mut simulation = Simulation::start("2026-11-21T12:00:00Z", DAILY).await;
    let path = "/api/v1/schedules/daily/pause";
    let wanted = json!({"until": "2026-11-23T12:00:00Z", "reason": "disks are replaced"});
    let (status, _) = simulation.daemon().post_json(path, &wanted).await;
    assert_eq!(status, 200);
    // The pause is written down: the next process rests as well.
    simulation.stop_daemon().await;
    simulation.start_daemon().await;
    simulation.until("2026-11-24T12:00:00Z").await;
    let (_, shown) = simulation
        .daemon()
        .get_json("/api/v1/schedules/daily")
        .await;
    assert_eq!(shown["paused"], serde_json::Value::Null);
    simulation.daemon().post_json(path, &json!({})).await;
    simulation.until("2026-11-25T12:00:00Z").await;
    simulation
        .daemon()
        .post("/api/v1/schedules/daily/resume")
        .await;
    simulation.until("2026-11-26T12:00:00Z").await;
    let view = simulation.end().await;
    let found: Vec<_> = view
        .operations()
        .map(|operation| (operation.subject(), operation.state, operation.skipped))
        .collect();
    let paused = Some(SkipReason::Paused);
    let expected = [
        ("2026-11-22", State::Skipped, paused),
        ("2026-11-23", State::Skipped, paused),
        ("2026-11-24", State::Succeeded, None),
        ("2026-11-25", State::Skipped, paused),
        ("2026-11-26", State::Succeeded, None),
    ];
    assert_eq!(
        found,
        expected.map(|(name, state, skipped)| (name.to_owned(), state, skipped))
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_night_is_made_good_under_its_own_name_with_attempts_that_go_on() {
    let simulation = Simulation::start("2026-11-21T22:00:00Z", DAILY).await;
    simulation
        .fake
        .server()
        .fates
        .push_back(Fate::failure(FATAL));
    simulation.until("2026-11-22T12:00:00Z").await;
    let path = "/api/v1/schedules/daily/run";
    let slot = json!({"slot": "2026-11-22"});
    let (status, again) = simulation.daemon().post_json(path, &slot).await;
    assert_eq!((status, &again["run"]), (202, &json!(2)), "{again}");
    let ended = simulation.daemon().end_of(&again).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(
        ended["attempts"][0]["id"], "backupd:daily:20261122T000000Z:2",
        "ClickHouse knows the id of the first one for ever"
    );
    let (status, done) = simulation.daemon().post_json(path, &slot).await;
    assert_eq!((status, &done["error"]["kind"]), (409, &json!("conflict")));
    simulation.until("2026-11-23T12:00:00Z").await;
    let view = simulation.end().await;
    let found: Vec<_> = view
        .operations()
        .map(|operation| {
            (
                operation.backup_name().map(|name| name.as_str()),
                operation.run(),
                operation.state,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (Some("2026-11-22"), Some(1), State::Failed),
            (Some("2026-11-22"), Some(2), State::Succeeded),
            (Some("2026-11-23"), Some(1), State::Succeeded),
        ]
    );
    assert_eq!(view.backups().count(), 2);
}

/// A name that the first run's death blocked is not tried for ever.
#[tokio::test(start_paused = true)]
async fn a_night_whose_name_is_blocked_is_made_good_under_the_next_name() {
    let simulation = Simulation::start(
        "2026-11-21T22:00:00Z",
        &DAILY.replace("attempts = 3", "attempts = 1"),
    )
    .await;
    simulation.until("2026-11-22T00:00:10Z").await;
    simulation.fake.restart();
    simulation.until("2026-11-22T12:00:00Z").await;
    let slot = json!({"slot": "2026-11-22"});
    let (_, again) = simulation
        .daemon()
        .post_json("/api/v1/schedules/daily/run", &slot)
        .await;
    let ended = simulation.daemon().end_of(&again).await;
    // One attempt is all that the schedule allows, and it met the lock that the dead one had left.
    assert_eq!(ended["failure"]["kind"], "exists", "{ended}");
    simulation.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_night_that_is_run_again_waits_out_a_client_and_not_the_other_way_round() {
    let simulation = Simulation::start("2026-11-21T22:00:00Z", DAILY).await;
    let fates = [
        Fate::failure(FATAL),
        Fate::success(std::time::Duration::from_secs(600)),
    ];
    simulation.fake.server().fates.extend(fates);
    simulation.until("2026-11-22T12:00:00Z").await;
    let daemon = simulation.daemon();
    let manual = json!({"kind": "backup", "backup": "manual"});
    let (_, manual) = daemon.post_json("/api/v1/operations", &manual).await;
    simulation.until("2026-11-22T12:01:00Z").await;
    let slot = json!({"slot": "2026-11-22"});
    let (status, again) = daemon.post_json("/api/v1/schedules/daily/run", &slot).await;
    assert_eq!((status, &again["state"]), (202, &json!("pending")));
    simulation.until("2026-11-22T12:15:00Z").await;
    let manual = daemon.end_of(&manual).await;
    let again = daemon.end_of(&again).await;
    let time = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    assert!(
        time(&again["started_at"]) >= time(&manual["finished_at"]),
        "{again}"
    );
    assert_eq!(again["state"], "succeeded");
    simulation.end().await;
}

/// What was asked for by hand is another night, and the next slot does not push it out.
#[tokio::test(start_paused = true)]
async fn a_night_that_is_run_again_is_not_superseded_by_the_next_slot() {
    let simulation = Simulation::start("2026-11-21T22:00:00Z", DAILY).await;
    let fates = [
        Fate::failure(FATAL),
        Fate::success(std::time::Duration::from_secs(3 * 3_600)),
    ];
    simulation.fake.server().fates.extend(fates);
    simulation.until("2026-11-22T23:00:00Z").await;
    let daemon = simulation.daemon();
    let manual = json!({"kind": "backup", "backup": "manual"});
    daemon.post_json("/api/v1/operations", &manual).await;
    let slot = json!({"slot": "2026-11-22"});
    let path = "/api/v1/schedules/daily/run";
    let (status, _) = daemon.post_json(path, &slot).await;
    assert_eq!(status, 202);
    simulation.until("2026-11-23T12:00:00Z").await;
    let view = simulation.end().await;
    let found: Vec<_> = view
        .operations()
        .map(|operation| {
            (
                operation.backup_name().map(|name| name.as_str()),
                operation.state,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (Some("2026-11-22"), State::Failed),
            (Some("manual"), State::Succeeded),
            (Some("2026-11-22"), State::Succeeded),
            (Some("2026-11-23"), State::Succeeded),
        ]
    );
}

/// Nobody may take a cancelled operation for one that was accepted.
#[tokio::test(start_paused = true)]
async fn a_night_that_is_being_cancelled_is_not_run_again_at_once() {
    let simulation = Simulation::start("2026-11-21T22:00:00Z", DAILY).await;
    simulation.fake.server().kills = false;
    simulation.until("2026-11-22T00:00:05Z").await;
    let daemon = simulation.daemon();
    let (_, status) = daemon.get_json("/api/v1/status").await;
    let id = status["running"][0]["id"].as_str().unwrap().to_owned();
    let cancel = format!("/api/v1/operations/{id}/cancel");
    let (status, cancelled) = daemon.post_json(&cancel, &json!({})).await;
    assert_eq!((status, &cancelled["state"]), (202, &json!("cancelling")));
    let slot = json!({"slot": "2026-11-22"});
    let (status, busy) = daemon.post_json("/api/v1/schedules/daily/run", &slot).await;
    assert_eq!((status, &busy["error"]["kind"]), (423, &json!("busy")));
    simulation.end().await;
}
