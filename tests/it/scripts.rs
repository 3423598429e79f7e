//! The scripts that people have today, run as they are, in bash.

use std::process::Command;

use crate::support::daemon::Home;
use crate::support::engine;

/// Every `sh` block of the page, one after the other, as a reader would run them.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_api_page_work() {
    let engine = engine::shared().await;
    if engine::foreign().is_some() {
        eprintln!("skipped: the examples name backups that a server may have already");
        return;
    }
    engine.seed("shop", 1_000).await;
    engine.sql("DROP DATABASE IF EXISTS shop_old SYNC").await;
    let home = Home::new();
    let schedule = "[schedules.daily]\ncron = \"0 2 * * *\"";
    home.write(&engine.url, schedule);
    let daemon = home.start().await;
    let page = include_str!("../../docs/api.md");
    let blocks: Vec<&str> = page
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0))
        .collect();
    assert!(blocks.len() >= 4, "{blocks:?}");
    let script = blocks
        .concat()
        .replace("http://localhost:7171", &daemon.url);
    let output = tokio::task::spawn_blocking(move || {
        let options = ["-euo", "pipefail", "-c", &script];
        Command::new("bash").args(options).output().unwrap()
    })
    .await
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("\"action\":\"create\""), "{text}");
    assert!(text.contains("disks are replaced"), "{text}");
    let (_, newest) = daemon.get_json("/api/v1/operations?limit=1").await;
    let restored = daemon.end_of(&newest["items"][0]).await;
    assert_eq!(restored["state"], "succeeded", "{restored}");
    daemon.stop().await;
}

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
