//! The scripts that people have today, run as they are, in bash.

use std::process::Command;

use crate::support::daemon::Home;
use crate::support::engine;

#[tokio::test(flavor = "multi_thread")]
async fn the_users_scripts_work_unchanged_also_with_a_schedule_in_their_middle() {
    let engine = engine::shared().await;
    engine.seed("scripts", 1_000).await;
    let home = Home::new();
    let schedule = "[schedules.scripts]\ncron = \"* * * * * *\"\ndatabases = [\"scripts\"]\nname = \"s-{date}-{time}\"";
    for (kind, schedules) in [("quiet", ""), ("busy", schedule)] {
        for round in 1..=3 {
            engine
                .sql(&format!(
                    "DROP DATABASE IF EXISTS scripts_{kind}_{round} SYNC"
                ))
                .await;
        }
        home.write(&engine.url, schedules);
        let daemon = home.start().await;
        let url = daemon.url.clone();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/user.sh");
        let output = tokio::task::spawn_blocking(move || {
            Command::new("bash")
                .args([script, &url, kind])
                .output()
                .unwrap()
        })
        .await
        .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind}: {text}");
        let metrics = daemon.get("/metrics").await.1;
        assert!(
            metrics.contains("clickhouse_backupd_schedule_timer_misses_total 0"),
            "the timer announces every slot: {metrics}"
        );
        daemon.stop().await;
    }
}
