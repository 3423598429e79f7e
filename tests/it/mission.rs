//! The mission: a slot fires, ClickHouse's data is backed up under the date, a POST restores it.

use clickhouse_backupd::clock::Clock;
use jiff::SignedDuration;

use crate::support::daemon::{Home, TestDaemon};
use crate::support::engine::{self, Engine};
use crate::support::eventually;
use crate::support::s3::S3;

/// A daily cron whose next slot is a few seconds away, and the date its backup is named by.
pub fn daily_soon() -> (String, String) {
    let slot = Clock::System
        .now()
        .checked_add(SignedDuration::from_secs(5))
        .unwrap()
        .to_zoned(jiff::tz::TimeZone::UTC);
    (
        slot.strftime("%-S %-M %-H * * *").to_string(),
        slot.strftime("%Y-%m-%d").to_string(),
    )
}

fn is_foreign_server() -> bool {
    std::env::var_os("CLICKHOUSE_URL").is_some()
}

async fn a_slot_is_backed_up_and_restored(
    engine: &Engine,
    destination: &str,
    schedule: &str,
) -> String {
    let database = schedule.replace('-', "_");
    engine.seed(&database, 20_000).await;
    let (cron, date) = daily_soon();
    // On a server that is not ours the name of today may be taken since the last run.
    let (template, date) = match is_foreign_server() {
        true => (
            format!("{}-{{date}}", std::process::id()),
            format!("{}-{date}", std::process::id()),
        ),
        false => ("{date}".to_owned(), date),
    };
    let home = Home::new();
    home.write_to(
        &engine.url,
        destination,
        &format!("[schedules.{schedule}]\ncron = \"{cron}\"\nname = \"{template}\"\ndatabases = [\"{database}\"]"),
    );
    let daemon = home.start().await;

    eventually("the backup in /backup/list", || async {
        daemon.names().await.contains(&date).then_some(())
    })
    .await;

    let row = engine.sql(&format!("SELECT status, num_files > 0, total_size > 0, name FROM system.backups WHERE startsWith(id, 'backupd:{schedule}:')")).await;
    assert!(row.starts_with("BACKUP_CREATED\t1\t1\t"), "{row}");
    assert!(
        row.contains(&format!("{date}\\'")) || row.contains(&format!("'{date}'")),
        "{row}"
    );
    restore_and_compare(engine, &daemon, &date, &database).await;
    daemon.stop().await;
    date
}

async fn restore_and_compare(engine: &Engine, daemon: &TestDaemon, backup: &str, database: &str) {
    let restored = format!("{database}_restored");
    engine
        .sql(&format!("DROP DATABASE IF EXISTS {restored} SYNC"))
        .await;
    let live = engine.content(database).await;
    let row = daemon
        .succeeds(&format!(
            "/backup/restore?name={backup}&restore_database_mapping={database}:{restored}"
        ))
        .await;
    assert_eq!(
        row["command"],
        format!("restore --restore-database-mapping=\"{database}:{restored}\" {backup}")
    );
    assert_eq!(engine.content(&restored).await, live);
    let dictionary = engine
        .sql(&format!(
            "SELECT dictGet('{restored}.names', 'name', toUInt64(7))"
        ))
        .await;
    assert!(dictionary.starts_with("customer "), "{dictionary}");
    engine.sql(&format!("DROP DATABASE {restored} SYNC")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_slot_is_backed_up_under_its_date_and_restored_by_a_post_on_a_local_disk() {
    let engine = engine::shared().await;
    let date = a_slot_is_backed_up_and_restored(
        &engine,
        "destination.disk = \"s3_backup\"",
        "mission-local",
    )
    .await;
    if let Some(backups) = &engine.backups {
        assert!(
            backups.join(&date).join(".backup").is_file(),
            "no manifest on the disk"
        );
        assert!(!backups.join(&date).join(".lock").exists());
        std::fs::remove_dir_all(backups.join(&date)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_s3_plain_and_with_a_named_collection() {
    if engine::is_foreign() {
        return;
    }
    let s3 = S3::start("bucket").await;
    let endpoint = format!("{}/bucket/prefix/", s3.url);
    let engine = Engine::start_on_s3(&endpoint, "access", "secret", &[]).await;
    let date =
        a_slot_is_backed_up_and_restored(&engine, "destination.disk = \"s3_backup\"", "mission-s3")
            .await;
    let folder = s3.bucket.join("prefix").join(&date);
    assert!(
        folder.join(".backup").is_file(),
        "no manifest in the bucket"
    );
    std::fs::remove_dir_all(&folder).unwrap();
    a_slot_is_backed_up_and_restored(
        &engine,
        "destination.collection = \"backups\"",
        "mission-collection",
    )
    .await;
    assert!(
        folder.join(".backup").is_file(),
        "no manifest in the bucket"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_is_restored_through_its_chain() {
    let engine = engine::shared().await;
    engine.seed("chain", 10_000).await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let names =
        ["chain-full", "chain-1", "chain-2"].map(|name| format!("{name}-{}", std::process::id()));

    daemon
        .succeeds(&format!("/backup/create?name={}&table=chain.*", names[0]))
        .await;
    for pair in names.windows(2) {
        engine
            .sql("INSERT INTO chain.customers SELECT max(id) + 1, 'one more' FROM chain.customers")
            .await;
        daemon
            .succeeds(&format!(
                "/backup/create?name={}&table=chain.*&diff-from-remote={}",
                pair[1], pair[0]
            ))
            .await;
    }
    let rows = daemon.rows("/backup/list/local").await;
    let required: Vec<&str> = rows
        .iter()
        .map(|row| row["required"].as_str().unwrap())
        .collect();
    assert_eq!(required, ["", names[0].as_str(), names[1].as_str()]);
    assert!(
        rows[2]["size"].as_u64() < rows[0]["size"].as_u64(),
        "an increment holds what is new: {rows:?}"
    );

    restore_and_compare(&engine, &daemon, &names[2], "chain").await;
    let unknown = daemon
        .fails("/backup/create?name=chain-3&table=chain.*&diff-from-remote=no-such-base")
        .await;
    assert!(
        unknown.contains("no-such-base") && unknown.contains("not found"),
        "{unknown}"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_puts_single_tables_beside_the_live_ones_drops_or_appends_only_when_asked() {
    let engine = engine::shared().await;
    engine.seed("tables", 1_000).await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let name = format!("tables-{}", std::process::id());
    daemon
        .succeeds(&format!("/backup/create?name={name}&table=tables.*"))
        .await;
    let live = engine.content("tables").await;

    daemon
        .succeeds(&format!(
            "/backup/restore/{name}?table=tables.orders&restore_table_mapping=orders:orders_old"
        ))
        .await;
    assert_eq!(
        engine.sql("SELECT count() FROM tables.orders_old").await,
        "1000"
    );
    engine.sql("DROP TABLE tables.orders_old SYNC").await;

    engine.sql("DROP DATABASE IF EXISTS tables_new SYNC").await;
    daemon.succeeds(&format!("/backup/restore/{name}?table=tables.customers&restore_database_mapping=tables:tables_new")).await;
    assert_eq!(
        engine.sql("SELECT count() FROM tables_new.customers").await,
        "100"
    );
    engine.sql("DROP DATABASE tables_new SYNC").await;

    let refused = daemon.fails(&format!("/backup/restore/{name}")).await;
    assert!(
        refused.contains("tables.orders (1000 rows)")
            && refused.contains("tables.customers (100 rows)"),
        "{refused}"
    );
    assert_eq!(
        engine.content("tables").await,
        live,
        "a refusal changes nothing"
    );

    engine.sql("TRUNCATE TABLE tables.orders").await;
    daemon
        .succeeds(&format!("/backup/restore/{name}?rm=1"))
        .await;
    assert_eq!(engine.content("tables").await, live);

    daemon
        .succeeds(&format!(
            "/backup/restore/{name}?data=1&table=tables.customers"
        ))
        .await;
    assert_eq!(
        engine.sql("SELECT count() FROM tables.customers").await,
        "200"
    );

    engine.sql("DROP DATABASE tables SYNC").await;
    daemon
        .succeeds(&format!("/backup/restore/{name}?schema=1"))
        .await;
    assert_eq!(engine.sql("SELECT count() FROM tables.orders").await, "0");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rm_drops_nothing_when_the_backup_cannot_be_read() {
    let engine = engine::shared().await;
    let Some(backups) = engine.backups.clone() else {
        return;
    };
    engine.seed("precious", 500).await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    daemon
        .succeeds("/backup/create?name=precious-1&table=precious.*")
        .await;
    let live = engine.content("precious").await;
    std::fs::remove_file(backups.join("precious-1/.backup")).unwrap();
    let text = daemon.fails("/backup/restore/precious-1?rm=1").await;
    assert!(text.contains("not found"), "{text}");
    assert_eq!(engine.content("precious").await, live);

    daemon
        .succeeds("/backup/create?name=precious-2&table=precious.*")
        .await;
    engine.sql("CREATE DATABASE IF NOT EXISTS outside").await;
    engine
        .sql("CREATE OR REPLACE DICTIONARY outside.names (id UInt64, name String) PRIMARY KEY id SOURCE(CLICKHOUSE(DB 'precious' TABLE 'customers')) LAYOUT(FLAT()) LIFETIME(0)")
        .await;
    engine
        .sql("SELECT dictGet('outside.names', 'name', toUInt64(1))")
        .await;
    let text = daemon.fails("/backup/restore/precious-2?rm=1").await;
    assert!(text.contains("outside.names needs it"), "{text}");
    assert_eq!(engine.content("precious").await, live);
    engine.sql("DROP DATABASE outside SYNC").await;

    engine.seed("precious_copy", 100).await;
    let copy = engine.content("precious_copy").await;
    daemon
        .succeeds("/backup/create?name=precious-3&table=precious.*,precious_copy.*")
        .await;
    let text = daemon
        .fails("/backup/restore/precious-3?rm=1&restore_database_mapping=precious:precious_copy")
        .await;
    assert!(
        text.contains("would both be restored as precious_copy"),
        "{text}"
    );
    assert_eq!(engine.content("precious_copy").await, copy);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_on_the_server_is_backed_up_but_what_is_excluded() {
    if engine::is_foreign() {
        return;
    }
    let engine = Engine::start(&[]).await;
    engine.seed("one", 100).await;
    engine.seed("two", 100).await;
    engine
        .sql("CREATE TABLE one.tmp_a (x Int8) ENGINE = MergeTree ORDER BY x")
        .await;
    engine
        .sql("CREATE TABLE two.tmp_b (x Int8) ENGINE = MergeTree ORDER BY x")
        .await;
    let (cron, date) = daily_soon();
    let home = Home::new();
    home.write(
        &engine.url,
        &format!("[schedules.all]\ncron = \"{cron}\"\nexclude_tables = [\"*.tmp_*\"]"),
    );
    let daemon = home.start().await;
    eventually("the backup", || async {
        daemon.names().await.contains(&date).then_some(())
    })
    .await;
    let live = [engine.content("one").await, engine.content("two").await];
    for database in ["one", "two"] {
        engine.sql(&format!("DROP DATABASE {database} SYNC")).await;
    }
    daemon.succeeds(&format!("/backup/restore/{date}")).await;
    let without_tmp = |content: &[(String, String)]| {
        content
            .iter()
            .filter(|(name, _)| !name.starts_with("tmp_"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(engine.content("one").await, without_tmp(&live[0]));
    assert_eq!(engine.content("two").await, without_tmp(&live[1]));
    daemon.stop().await;
}
