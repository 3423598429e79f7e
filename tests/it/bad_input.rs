//! What a caller does wrong: each a clear error, and nothing lost.

use crate::mission::daily_soon;
use crate::support::daemon::Home;
use crate::support::engine::{self, Engine};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn names_that_do_not_fit_are_told() {
    let engine = engine::shared().await;
    engine.seed("names", 100).await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;

    for (path, named) in [
        ("/backup/create?name=../x", "../x"),
        ("/backup/create?name=a%27b", "a'b"),
        ("/backup/restore?name=../x", "../x"),
        ("/backup/restore/a%27b", "a'b"),
        ("/backup/create?name=x&table=orders", "orders"),
        ("/backup/restore/x?restore_database_mapping=a", "a"),
    ] {
        let (status, body) = daemon.post(path).await;
        assert_eq!(status, 400, "{path}: {body}");
        assert!(
            body.contains(named) && body.contains("\"status\":\"error\""),
            "{path}: {body}"
        );
    }
    assert_eq!(
        daemon.rows("/backup/actions").await,
        Vec::<serde_json::Value>::new(),
        "what is refused leaves no row"
    );

    let unknown = daemon
        .fails("/backup/restore/no-such-backup?table=names.orders")
        .await;
    assert!(
        unknown.contains("no-such-backup") && unknown.contains("not found"),
        "{unknown}"
    );
    let nothing = daemon
        .fails("/backup/create?name=nothing&table=names.nope")
        .await;
    assert!(nothing.contains("names.nope"), "{nothing}");

    let name = format!("taken-{}", std::process::id());
    daemon
        .succeeds(&format!("/backup/create?name={name}&table=names.*"))
        .await;
    let before = daemon.rows("/backup/list").await;
    let exists = daemon
        .fails(&format!("/backup/create?name={name}&table=names.*"))
        .await;
    assert!(
        exists.contains(&name) && exists.contains("exists"),
        "{exists}"
    );
    assert_eq!(
        daemon.rows("/backup/list").await,
        before,
        "the good backup stays"
    );
    engine.sql("DROP DATABASE names SYNC").await;
    daemon.succeeds(&format!("/backup/restore/{name}")).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_only_clickhouse_knows_is_left_to_clickhouse() {
    let engine = engine::shared().await;
    engine.seed("foreign", 300).await;
    let name = format!("by-hand-{}", std::process::id());
    engine
        .sql(&format!(
            "BACKUP DATABASE foreign TO Disk('s3_backup', '{name}')"
        ))
        .await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let exists = daemon
        .fails(&format!("/backup/create?name={name}&table=foreign.*"))
        .await;
    assert!(exists.contains("598") && exists.contains(&name), "{exists}");
    let live = engine.content("foreign").await;
    daemon
        .succeeds(&format!(
            "/backup/restore/{name}?restore_database_mapping=foreign:foreign_restored"
        ))
        .await;
    assert_eq!(engine.content("foreign_restored").await, live);
    let full = daemon
        .fails(&format!("/backup/restore/{name}?table=foreign.orders"))
        .await;
    assert!(
        full.contains("608") && full.contains("foreign.orders"),
        "{full}"
    );
    let dropping = daemon.fails(&format!("/backup/restore/{name}?rm=1")).await;
    assert!(dropping.contains("not known here"), "{dropping}");
    assert_eq!(engine.content("foreign").await, live);
    engine.sql("DROP DATABASE foreign_restored SYNC").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_backups_is_told() {
    if engine::is_foreign() {
        return;
    }
    let extra = tempfile::tempdir().unwrap();
    let engine =
        Engine::start(&["--extra-disk", &format!("other={}", extra.path().display())]).await;
    engine.seed("shop", 100).await;
    let home = Home::new();
    home.write_to(&engine.url, "destination.disk = \"other\"", "");
    let daemon = home.start().await;
    let text = daemon.fails("/backup/create?name=x").await;
    assert!(
        text.contains("not allowed for backups") && text.contains("allowed_disk"),
        "{text}"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_second_request_is_locked_out_and_waits_behind_a_schedule() {
    if engine::is_foreign() {
        return;
    }
    let engine = Engine::start_slow().await;
    let (cron, date) = daily_soon();
    let home = Home::new();
    home.write(
        &engine.url,
        &format!("[schedules.locked]\ncron = \"{cron}\"\ndatabases = [\"slow\"]"),
    );
    let daemon = home.start().await;

    let first = daemon.begin("/backup/create?name=first&table=slow.*").await;
    let (status, body) = daemon.post("/backup/create?name=second&table=slow.*").await;
    assert_eq!(
        (status, body.as_str()),
        (
            423,
            "{\"status\":\"error\",\"operation\":\"create\",\"error\":\"another operation is currently running\"}\n"
        )
    );
    assert_eq!(
        daemon.begin("/backup/create?name=first&table=slow.*").await,
        first,
        "the same name is the same work"
    );
    assert_eq!(daemon.ended(&first).await["status"], "success");

    // The scripts' view leaves it out so soon after a client's operation; the server does not.
    eventually("the schedule at work", || async {
        let sql = "SELECT count() FROM system.backups WHERE startsWith(id, 'backupd:locked:') AND status = 'CREATING_BACKUP'";
        (engine.sql(sql).await == "1").then_some(())
    })
    .await;
    let waiting = daemon.begin("/backup/create?name=third&table=slow.*").await;
    let (_, body) = daemon.get("/backup/status").await;
    assert!(
        body.contains("third") && body.contains("\"status\":\"in progress\""),
        "{body}"
    );
    assert_eq!(daemon.ended(&waiting).await["status"], "success");
    assert_eq!(daemon.names().await, ["first", date.as_str(), "third"]);

    let killed = daemon
        .begin("/backup/create?name=fourth&table=slow.*")
        .await;
    let (status, body) = daemon.post("/backup/kill").await;
    assert_eq!(status, 200, "{body}");
    let row = daemon.ended(&killed).await;
    assert_eq!(row["status"], "cancel", "{row}");
    daemon.stop().await;
}
