//! Ends and restarts in the middle of a backup, on the real engine.

use crate::mission::daily_soon;
use crate::support::daemon::Home;
use crate::support::engine::{self, Engine};
use crate::support::eventually;

async fn until_it_runs(engine: &Engine) {
    eventually("a running backup", || async {
        let running = engine
            .sql("SELECT count() FROM system.backups WHERE status = 'CREATING_BACKUP'")
            .await;
        (running == "1").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_backup_is_taken_up_by_the_next_process_with_and_without_its_memory() {
    if engine::is_foreign() {
        return;
    }
    let engine = Engine::start_slow().await;
    for (name, keeps_memory) in [("kept", true), ("forgotten", false)] {
        let home = Home::new();
        home.write(&engine.url, "");
        let daemon = home.start().await;
        let id = daemon
            .begin(&format!("/backup/create?name={name}&table=slow.*"))
            .await;
        until_it_runs(&engine).await;
        daemon.stop().await;
        if !keeps_memory {
            std::fs::remove_dir_all(home.state()).unwrap();
        }
        let daemon = home.start().await;
        let row = eventually("the row of the operation", || async {
            daemon
                .rows(&format!("/backup/status?operationid={id}"))
                .await
                .pop()
        })
        .await;
        assert_eq!(
            row["command"].as_str().unwrap().split(' ').next_back(),
            Some(name),
            "{row}"
        );
        assert_eq!(daemon.ended(&id).await["status"], "success");
        assert_eq!(daemon.names().await, [name]);
        daemon
            .succeeds(&format!(
                "/backup/restore/{name}?restore_database_mapping=slow:slow_{name}"
            ))
            .await;
        assert_eq!(
            engine
                .sql(&format!("SELECT count() FROM slow_{name}.t"))
                .await,
            "1000"
        );
        daemon.stop().await;
    }
    assert_eq!(
        engine
            .sql("SELECT count() FROM system.backups WHERE status = 'BACKUP_CREATED'")
            .await,
        "2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_clickhouse_in_the_middle_is_told_and_the_night_is_made_again() {
    if engine::is_foreign() {
        return;
    }
    let mut engine = Engine::start_slow().await;
    let (cron, date) = daily_soon();
    let home = Home::new();
    home.write(
        &engine.url,
        &format!("[schedules.nightly]\ncron = \"{cron}\"\ndatabases = [\"slow\"]\nretry = {{ attempts = 2, delay = \"1s\" }}"),
    );
    let daemon = home.start().await;
    until_it_runs(&engine).await;
    // Two seconds are the rounding of the server's start time, by which a restart is known.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    engine.crash();
    engine.start_again();
    eventually("the second attempt", || async {
        daemon
            .names()
            .await
            .contains(&format!("{date}.2"))
            .then_some(())
    })
    .await;
    let row = daemon.rows("/backup/actions?last=1").await.remove(0);
    assert_eq!(
        (row["command"].as_str(), row["status"].as_str()),
        (Some(format!("create {date}").as_str()), Some("success"))
    );
    daemon
        .succeeds(&format!(
            "/backup/restore/{date}?restore_database_mapping=slow:slow_again"
        ))
        .await;
    assert_eq!(engine.sql("SELECT count() FROM slow_again.t").await, "1000");
    daemon.stop().await;
}
