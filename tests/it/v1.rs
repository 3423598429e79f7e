//! Our own API before the real engine.

use serde_json::{Value, json};

use crate::support::daemon::Home;
use crate::support::engine;

/// A name that no earlier run of the tests took, also on a server that is not ours.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_shown_checked_and_restored_beside_the_live_tables() {
    let engine = engine::shared().await;
    engine.seed("v1_shop", 10_000).await;
    engine.sql("DROP DATABASE IF EXISTS v1_old SYNC").await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let name = unique("v1");
    let wanted = json!({"kind": "backup", "backup": name, "databases": ["v1_shop"]});
    let made = daemon.operation(&wanted).await;
    assert_eq!(made["state"], "succeeded", "{made}");
    assert_eq!(made["result"]["backup"], name);
    assert!(made["result"]["files"].as_u64().unwrap() > 10, "{made}");

    let (_, shown) = daemon.get_json(&format!("/api/v1/backups/{name}")).await;
    assert_eq!(shown["contents"]["databases"], json!(["v1_shop"]));
    let tables = shown["contents"]["tables"].as_array().unwrap();
    let orders = tables.iter().find(|table| table["name"] == "orders");
    let orders = orders.unwrap();
    assert_eq!(orders["rows"], 10_000, "{orders}");
    assert!(orders["bytes"].as_u64().unwrap() > 1_000, "{orders}");

    // What no backup holds is named, and the server answered for all of it.
    let inventory = &shown["contents"]["inventory"];
    assert_eq!(inventory["unknown"], json!([]), "{inventory}");
    assert!(
        inventory["version"].as_str().unwrap().contains('.'),
        "{inventory}"
    );

    // Over the live tables it would be refused, and it says so without doing anything.
    let check = json!({"kind": "restore", "backup": name, "check": true});
    let (status, over) = daemon.post_json("/api/v1/operations", &check).await;
    assert_eq!(status, 200);
    assert_eq!(over["refused"]["kind"], "non_empty_target", "{over}");
    let refused = daemon
        .operation(&json!({"kind": "restore", "backup": name}))
        .await;
    assert_eq!(
        refused["failure"], over["refused"],
        "what the check says is what happens"
    );

    let beside = json!({
        "kind": "restore", "backup": name, "tables": ["v1_shop.orders"],
        "database_mapping": {"v1_shop": "v1_old"},
    });
    let mut check = beside.clone();
    check["check"] = json!(true);
    let (_, check) = daemon.post_json("/api/v1/operations", &check).await;
    let expected = json!([{
        "from": "v1_shop.orders", "into": "v1_old.orders", "rows": 10_000,
        "action": "create", "reason": null, "existing_rows": null,
    }]);
    assert_eq!(
        (&check["tables"], &check["refused"]),
        (&expected, &Value::Null)
    );
    assert_eq!(check["create_databases"], json!(["v1_old"]));
    let restored = daemon.operation(&beside).await;
    assert_eq!(restored["state"], "succeeded", "{restored}");
    let hash = "SELECT count(), sum(cityHash64(*)) FROM";
    assert_eq!(
        engine.sql(&format!("{hash} v1_old.orders")).await,
        engine.sql(&format!("{hash} v1_shop.orders")).await
    );
    let (_, drop) = daemon
        .post_json(
            "/api/v1/operations",
            &json!({
                "kind": "restore", "backup": name, "tables": ["v1_shop.orders"],
                "database_mapping": {"v1_shop": "v1_old"}, "existing": "drop", "check": true,
            }),
        )
        .await;
    assert_eq!(drop["tables"][0]["action"], "drop", "{drop}");
    assert_eq!(drop["tables"][0]["existing_rows"], 10_000);
    daemon.stop().await;
}

/// The statement for somebody who has only ClickHouse is one that ClickHouse takes.
#[tokio::test(flavor = "multi_thread")]
async fn the_plain_restore_statement_restores() {
    let engine = engine::shared().await;
    engine.seed("v1_plain", 1_000).await;
    let before = engine.content("v1_plain").await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let name = unique("v1-plain");
    let wanted = json!({"kind": "backup", "backup": name, "databases": ["v1_plain"]});
    assert_eq!(daemon.operation(&wanted).await["state"], "succeeded");
    let (_, shown) = daemon.get_json(&format!("/api/v1/backups/{name}")).await;
    daemon.stop().await;
    engine.sql("DROP DATABASE v1_plain SYNC").await;
    engine
        .sql(shown["restore_statement"].as_str().unwrap())
        .await;
    assert_eq!(engine.content("v1_plain").await, before);
}

/// A backup tells what it will come to, roughly, while it is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_backup_tells_how_far_it_is_and_can_be_cancelled() {
    if engine::is_foreign() {
        return;
    }
    let engine = engine::Engine::start_slow().await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let wanted = json!({"kind": "backup", "backup": "slow", "databases": ["slow"]});
    let (_, accepted) = daemon.post_json("/api/v1/operations", &wanted).await;
    let path = format!("/api/v1/operations/{}", accepted["id"].as_str().unwrap());
    let running = crate::support::eventually("progress with a total", || async {
        let (_, operation) = daemon.get_json(&path).await;
        let total = operation["progress"]["bytes_total"].as_u64();
        total.filter(|total| *total > 0).map(|_| operation)
    })
    .await;
    assert_eq!(running["state"], "running");
    let (_, status) = daemon.get_json("/api/v1/status").await;
    assert_eq!(status["running"][0]["id"], accepted["id"], "{status}");
    assert_eq!(status["clickhouse"]["reachable"], true);
    let (status, _) = daemon
        .post_json(&format!("{path}/cancel"), &json!({}))
        .await;
    assert_eq!(status, 202);
    let ended = daemon.end_of(&accepted).await;
    assert_eq!(ended["state"], "cancelled", "{ended}");
    daemon.stop().await;
}
