//! Schedules are changed by editing the file.

use crate::mission::daily_soon;
use crate::support::daemon::{Home, TestDaemon};
use crate::support::{engine, eventually};

fn schedule(cron: &str) -> String {
    format!(
        "[schedules.reload]\ncron = \"{cron}\"\ndatabases = [\"reload\"]\nname = \"reload-{{date}}-{{time}}\""
    )
}

async fn made(daemon: &TestDaemon, count: usize) {
    eventually(&format!("backup {count}"), || async {
        (daemon.names().await.len() >= count).then_some(())
    })
    .await;
}

async fn is_in_use(daemon: &TestDaemon) -> bool {
    daemon
        .get("/metrics")
        .await
        .1
        .contains("clickhouse_backupd_config_last_reload_successful 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_moves_the_next_slot_and_an_invalid_one_changes_nothing() {
    let engine = engine::shared().await;
    engine.seed("reload", 100).await;
    let home = Home::new();
    home.write(&engine.url, &schedule("0 0 1 1 *"));
    let daemon = home.start().await;
    assert!(is_in_use(&daemon).await);

    home.write(&engine.url, &schedule(&daily_soon().0));
    made(&daemon, 1).await;

    let (soon, _) = daily_soon();
    home.write(&engine.url, &schedule(&soon));
    eventually("the valid edit", || async {
        is_in_use(&daemon).await.then_some(())
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    home.write(
        &engine.url,
        "[schedules.reload]\ncron = \"nonsense\"\n[schedules.reload.retention]\nkeep_lst = 3",
    );
    eventually("the refusal", || async {
        (!is_in_use(&daemon).await).then_some(())
    })
    .await;
    made(&daemon, 2).await;

    home.write(&engine.url, &schedule("0 0 1 1 *"));
    eventually("a valid file again", || async {
        is_in_use(&daemon).await.then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_swaps_its_link_is_noticed() {
    let engine = engine::shared().await;
    engine.seed("reload", 100).await;
    let home = Home::new();
    let folder = home.dir.path();
    let put = |version: &str, cron: &str| {
        std::fs::create_dir(folder.join(version)).unwrap();
        let text = home.text(
            &engine.url,
            "destination.disk = \"s3_backup\"",
            &schedule(cron),
        );
        std::fs::write(folder.join(version).join("config.toml"), text).unwrap();
        std::os::unix::fs::symlink(version, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    put("..one", "0 0 1 1 *");
    std::os::unix::fs::symlink("..data/config.toml", home.file()).unwrap();
    let daemon = home.start().await;
    put("..two", &daily_soon().0);
    made(&daemon, 1).await;
    daemon.stop().await;
}
