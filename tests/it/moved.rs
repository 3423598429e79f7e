//! Restoring beside the live tables must not touch them, nor make them do anything.

use serde_json::{Value, json};

use crate::support::daemon::{Home, TestDaemon};
use crate::support::engine::{self, Engine};

const HASH: &str = "SELECT count(), sum(cityHash64(*)) FROM";

fn restore(name: &str, tables: &[&str], into: &str) -> Value {
    json!({
        "kind": "restore", "backup": name, "tables": tables,
        "database_mapping": {"moved": into},
    })
}

async fn checked(daemon: &TestDaemon, wanted: &Value) -> (u16, Value) {
    let mut wanted = wanted.clone();
    wanted["check"] = json!(true);
    daemon.post_json("/api/v1/operations", &wanted).await
}

/// `moved` with a view inside, and one that writes into another database.
async fn live(engine: &Engine) {
    engine.seed("moved", 1_000).await;
    for statement in [
        "DROP DATABASE IF EXISTS moved_other SYNC",
        "DROP DATABASE IF EXISTS moved_old SYNC",
        "CREATE DATABASE moved_other",
        "CREATE TABLE moved_other.ids (id UInt64) ENGINE = MergeTree ORDER BY id",
        "CREATE MATERIALIZED VIEW moved.ids_mv TO moved_other.ids AS SELECT id FROM moved.orders",
    ] {
        engine.sql(statement).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_materialized_view_never_works_on_live_tables() {
    let engine = engine::shared().await;
    live(&engine).await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let name = format!("moved-{}", std::process::id());
    let wanted = json!({"kind": "backup", "backup": name, "databases": ["moved"]});
    assert_eq!(daemon.operation(&wanted).await["state"], "succeeded");

    // Alone it would read from the live orders and write into the live sums.
    let alone = restore(&name, &["moved.by_day_mv"], "moved_old");
    let (status, refused) = checked(&daemon, &alone).await;
    assert_eq!(status, 409, "{refused}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("materialized view"), "{message}");
    assert_eq!(daemon.operation(&alone).await["state"], "failed");

    // With all of its database it is rewritten; the one that writes elsewhere is left out.
    let all = restore(&name, &["moved.*"], "moved_old");
    let (_, check) = checked(&daemon, &all).await;
    let tables = check["tables"].as_array().unwrap();
    let action = |name: &str| {
        let from = format!("moved.{name}");
        let table = tables.iter().find(|table| table["from"] == from.as_str());
        table.unwrap()["action"].as_str().unwrap().to_owned()
    };
    assert_eq!(action("by_day_mv"), "create");
    assert_eq!(action("ids_mv"), "left_out", "{check}");
    let restored = daemon.operation(&all).await;
    assert_eq!(restored["state"], "succeeded", "{restored}");
    let note = restored["notes"][0].as_str().unwrap();
    assert!(
        note.contains("moved.ids_mv") && note.contains("moved_other"),
        "{note}"
    );
    // The whole backup under another name leaves out the same.
    let (_, whole) = checked(&daemon, &restore(&name, &[], "moved_old")).await;
    assert!(
        whole["statement"]
            .as_str()
            .unwrap()
            .contains("TABLE `moved`.`orders`"),
        "{whole}"
    );

    let copy = engine.sql(&format!("{HASH} moved_old.by_day")).await;
    let sum = "SELECT sum(amount) FROM moved.by_day";
    let before: f64 = engine.sql(sum).await.parse().unwrap();
    engine
        .sql("INSERT INTO moved.orders VALUES (1000000, '2026-02-01', 10)")
        .await;
    let after: f64 = engine.sql(sum).await.parse().unwrap();
    assert!(
        (after - before - 10.0).abs() < 0.001,
        "{before} and then {after}: counted once"
    );
    assert_eq!(engine.sql(&format!("{HASH} moved_old.by_day")).await, copy);
    assert_eq!(engine.sql("SELECT count() FROM moved_other.ids").await, "1");
    daemon.stop().await;
}

/// What was meant by a wrong name nobody knows; the live table would be the one that is hit.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_for_nothing_is_refused() {
    let engine = engine::shared().await;
    live(&engine).await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let name = format!("moved-names-{}", std::process::id());
    let wanted = json!({"kind": "backup", "backup": name, "databases": ["moved"]});
    assert_eq!(daemon.operation(&wanted).await["state"], "succeeded");
    let before = engine.content("moved").await;
    for (field, mapping) in [
        ("table_mapping", json!({"moved.order": "moved.orders_old"})),
        ("database_mapping", json!({"move": "moved_old"})),
    ] {
        let mut wanted = json!({"kind": "restore", "backup": name, "existing": "append"});
        wanted[field] = mapping;
        let ended = daemon.operation(&wanted).await;
        assert_eq!(ended["state"], "failed", "{ended}");
        assert_eq!(ended["failure"]["kind"], "not_found", "{ended}");
    }
    // A backup that is not known here cannot be asked what it holds.
    let unknown = json!({
        "kind": "restore", "backup": "made-by-somebody", "existing": "append",
        "table_mapping": {"moved.orders": "moved.orders_old"},
    });
    let ended = daemon.operation(&unknown).await;
    assert_eq!(ended["failure"]["kind"], "not_found", "{ended}");
    assert_eq!(engine.content("moved").await, before);
    daemon.stop().await;
}

/// A backup of definitions looks like any other, and restoring it over live tables would empty them.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_alone_drop_no_rows() {
    let engine = engine::shared().await;
    live(&engine).await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let name = format!("moved-definitions-{}", std::process::id());
    let wanted = json!({
        "kind": "backup", "backup": name, "databases": ["moved"], "structure_only": true,
    });
    assert_eq!(daemon.operation(&wanted).await["state"], "succeeded");
    let (_, shown) = daemon.get_json(&format!("/api/v1/backups/{name}")).await;
    assert_eq!(shown["structure_only"], true, "{shown}");
    assert_eq!(
        shown["contents"]["tables"][0]["rows"],
        Value::Null,
        "{shown}"
    );
    let before = engine.content("moved").await;
    let over = json!({"kind": "restore", "backup": name, "existing": "drop"});
    let (_, check) = checked(&daemon, &over).await;
    let ended = daemon.operation(&over).await;
    assert_eq!(ended["failure"], check["refused"], "{ended}");
    let message = ended["failure"]["message"].as_str().unwrap();
    assert!(message.contains("definitions only"), "{message}");
    assert_eq!(engine.content("moved").await, before);
    daemon.stop().await;
}
