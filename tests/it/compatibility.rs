//! What was said to the server we replace, said to this one: its setup, its commands, its routes.

use std::process::{Command, Output};

use clickhouse_backupd::config::Source;
use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::engine;
use crate::support::nights::Nights;

/// What stands before the tables of `docs/compatibility.md`.
const HEAD: &str = "\
# Compatibility with Altinity clickhouse-backup server

Every route, argument, command and variable of that server (2.8), and what becomes of it here.
A test makes this page from the code and fails when it is old.
What the differences mean in practice stands in [migration.md](migration.md), the interface itself in [api.md](api.md#the-old-wire-format), metrics in [metrics.md](metrics.md).

Errors are `application/json`; an error that says 501 or 400 names what to use instead.
HEAD is answered wherever GET is, and `user` and `pass` in the query are taken as before.

";

/// What stands before the variables.
const VARIABLES: &str = "
## Variables

They count below the file ([configuration.md](configuration.md#variables-of-altinity-clickhouse-backup)).
`clickhouse-backupd migrate check` reads them, or the YAML file of that server, and prints a file of ours.
*Needless* ones are passed over without a word at start; `migrate check` names them.
Variables that neither that server nor this daemon knows are no errors.
In the YAML file `general.disable_environment_override` has no variable; `migrate check` minds it.

";

/// Tables of that server in ClickHouse.
const INTEGRATION: &str = "
## Integration tables

`system.backup_list`, `system.backup_actions` and `system.backup_version` are not made here (`API_CREATE_INTEGRATION_TABLES`), and nothing drops those that are there.
Drop them when nobody asks them any more: `DROP TABLE system.backup_list`.
Ask `GET /backup/list` and `GET /backup/actions` instead, or ClickHouse itself: `SELECT * FROM system.backups`.
";

#[test]
fn the_page_on_compatibility_is_what_the_code_says() {
    let made = format!(
        "{HEAD}{}{VARIABLES}{}{INTEGRATION}",
        clickhouse_backupd::api::interface_of_the_old_server(),
        clickhouse_backupd::config::variables_of_the_old_server()
    );
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
    let fresh = concat!(env!("CARGO_TARGET_TMPDIR"), "/compatibility.md");
    std::fs::write(fresh, &made).unwrap();
    assert!(
        std::fs::read_to_string(kept).unwrap_or_default() == made,
        "docs/compatibility.md is old: cp {fresh} docs/compatibility.md"
    );
}

fn program(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_clickhouse-backupd"))
        .env_clear()
        .envs(environment.iter().copied())
        .args(arguments)
        .output()
        .unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// The environment of the deployment that this daemon replaces.
const DEPLOYMENT: [(&str, &str); 6] = [
    ("CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE", "true"),
    ("CLICKHOUSE_EMBEDDED_BACKUP_DISK", "s3_backup"),
    ("CLICKHOUSE_TIMEOUT", "4h"),
    ("BACKUPS_TO_KEEP_LOCAL", "14"),
    ("CLICKHOUSE_USERNAME", "backup"),
    ("CLICKHOUSE_PASSWORD", "hunter2"),
];

#[test]
fn the_users_environment_becomes_a_file_that_config_check_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let (code, toml, warnings) = program(&["migrate", "check"], &DEPLOYMENT);
    assert_eq!(code, 0, "{warnings}");
    assert!(
        !format!("{toml}{warnings}").contains("hunter2"),
        "{toml}{warnings}"
    );
    assert!(
        warnings.contains("warning: disk \"s3_backup\""),
        "{warnings}"
    );
    let file = dir.path().join("config.toml");
    std::fs::write(&file, &toml).unwrap();
    let file = file.display().to_string();
    let (code, said, errors) = program(&["config", "check", "--config", &file], &[]);
    assert_eq!(code, 0, "{errors}");
    assert!(said.ends_with(": valid, 1 schedule\n"), "{said}");

    // The same from a file of variables, from standard input, and from the YAML of that server.
    let lines: String = DEPLOYMENT
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    let environment = dir.path().join("old.env");
    std::fs::write(&environment, lines).unwrap();
    let yaml = dir.path().join("config.yml");
    let text = "general:\n  backups_to_keep_local: 14\nclickhouse:\n  use_embedded_backup_restore: true\n  embedded_backup_disk: s3_backup\n  timeout: 4h\n  username: backup\n  password: hunter2\n";
    std::fs::write(&yaml, text).unwrap();
    let (environment, yaml) = (
        environment.display().to_string(),
        yaml.display().to_string(),
    );
    for arguments in [["--env-file", &environment], ["--yaml", &yaml]] {
        let all = [&["migrate", "check"], &arguments[..]].concat();
        // What else is set where it runs is no part of it.
        let (code, other, warnings) = program(&all, &[("CLICKHOUSE_TIMEOUT", "9h")]);
        assert_eq!((code, other), (0, toml.clone()), "{warnings}");
    }
    let shell = format!(
        "{} migrate check --env-file - < {environment}",
        env!("CARGO_BIN_EXE_clickhouse-backupd")
    );
    let piped = Command::new("sh").args(["-c", &shell]).output().unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), toml);
}

/// With the variables that say where this engine is and listens, above the file, it works as it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_that_is_printed_backs_up_the_engine() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_disk("").await;
    nights.engine.seed("shop", 300).await;
    let skip = "system.*,INFORMATION_SCHEMA.*,information_schema.*,shop.customers";
    let environment = [&DEPLOYMENT[..], &[("CLICKHOUSE_SKIP_TABLES", skip)]].concat();
    let (code, toml, warnings) = program(&["migrate", "check"], &environment);
    assert_eq!(code, 0, "{warnings}");
    std::fs::write(nights.home.file(), &toml).unwrap();
    let state = nights.home.state().display().to_string();
    let above = [
        ("BACKUPD_CLICKHOUSE__URL", nights.engine.url.as_str()),
        ("BACKUPD_CLICKHOUSE__USER", "default"),
        ("BACKUPD_CLICKHOUSE__PASSWORD", ""),
        ("BACKUPD_STATE__DIR", &state),
        ("BACKUPD_API__LISTEN", "127.0.0.1:0"),
    ];
    let source = Source {
        file: Some(nights.home.file()),
        environment: above
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
    };
    let daemon = nights.home.start_from(&source).await;
    let (status, run) = daemon
        .post_json("/api/v1/schedules/daily/run", &json!({}))
        .await;
    assert_eq!(status, 202, "{run}");
    let ended = daemon.end_of(&run).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let path = format!("/api/v1/backups/{}", ended["backup"].as_str().unwrap());
    let (_, backup) = daemon.get_json(&path).await;
    let tables = backup["contents"]["tables"].as_array().unwrap();
    let has = |name: &str| tables.iter().any(|table| table["name"] == name);
    assert!(has("orders") && !has("customers"), "{backup}");
    daemon.stop().await;
}

#[test]
fn a_setup_that_cannot_be_taken_over_prints_no_file() {
    let environment = [("CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE", "false")];
    let (code, toml, errors) = program(&["migrate", "check"], &environment);
    assert_eq!((code, toml.as_str()), (1, ""));
    assert!(
        errors.contains("copies files itself does not exist"),
        "{errors}"
    );
    assert!(errors.contains("nothing says where backups go"), "{errors}");
    let (code, _, errors) = program(&["migrate", "check", "--yaml", "/nowhere.yml"], &[]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("/nowhere.yml: cannot read the YAML file"),
        "{errors}"
    );
}

/// Posts commands, one a line; the status, and the rows of the answer.
async fn actions(daemon: &TestDaemon, commands: &[&str]) -> (u16, Vec<Value>) {
    let body: String = commands
        .iter()
        .map(|command| {
            format!(
                "{}\n",
                json!({"command": command, "start": "1970-01-01 00:00:00"})
            )
        })
        .collect();
    let post = reqwest::Client::new().post(format!("{}/backup/actions", daemon.url));
    let answer = post.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let rows = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (status, rows.collect())
}

/// Posts a command that is acknowledged, and waits for its row to end; gives the row.
async fn act(daemon: &TestDaemon, command: &str) -> Value {
    let (status, rows) = actions(daemon, &[command]).await;
    assert_eq!(status, 200, "{command}: {rows:?}");
    assert_eq!(
        rows,
        [json!({"status": "acknowledged", "operation": command})]
    );
    let newest = daemon.rows("/backup/actions?last=1").await.remove(0);
    assert_eq!(newest["command"], command);
    daemon.ended(newest["operation_id"].as_str().unwrap()).await
}

/// Posts a command that ends within its request.
async fn now(daemon: &TestDaemon, command: &str) {
    let (status, rows) = actions(daemon, &[command]).await;
    assert_eq!((status, rows.len()), (200, 1), "{command}: {rows:?}");
    assert_eq!(rows[0], json!({"status": "success", "operation": command}));
}

/// Every command that is run, in the spellings of the old command line, on the real engine.
#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_the_old_command_line_do_what_they_did() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_disk("").await;
    let engine = &nights.engine;
    engine.seed("shop", 300).await;
    engine.sql("CREATE DATABASE \"my db\"").await;
    engine
        .sql("CREATE TABLE \"my db\".t (x UInt64) ENGINE = MergeTree ORDER BY x")
        .await;
    engine.sql("INSERT INTO \"my db\".t VALUES (1), (2)").await;
    let live = engine.content("shop").await;
    let daemon = nights.home.start().await;

    for command in [
        "create --tables='shop.*' daily",
        "create -t shop.orders,'my db.*' --diff-from-remote=daily increment",
        "create --schema --table \"shop.*\" 'definitions'",
        "restore -m shop:shop_b --tables=shop.* daily",
        "restore --restore-database-mapping=\"my db:other db\" --table='my db.*' increment",
        "restore --rm --tables shop.orders daily",
    ] {
        let row = act(&daemon, command).await;
        assert_eq!(row["status"], "success", "{command}: {row}");
    }
    assert_eq!(engine.content("shop_b").await, live);
    assert_eq!(engine.content("shop").await, live);
    let count = engine.sql("SELECT count() FROM \"other db\".t").await;
    assert_eq!(count.trim(), "2");
    let refused = act(&daemon, "restore daily").await;
    assert_eq!(refused["status"], "error", "{refused}");

    let (status, rows) = actions(&daemon, &["list local", "list remote", "list"]).await;
    assert_eq!((status, rows.len()), (200, 3 + 2 * 3), "{rows:?}");
    assert_eq!(
        rows[0],
        json!({"status": "success", "operation": "list local"})
    );
    assert_eq!(rows[1..4], daemon.rows("/backup/list").await);
    assert_eq!(rows[2]["required"], "daily");
    assert_eq!(
        rows[4],
        json!({"status": "success", "operation": "list remote"})
    );

    let (status, rows) = actions(&daemon, &["delete local daily"]).await;
    assert_eq!(status, 409, "{rows:?}");
    assert!(
        rows[0]["error"].as_str().unwrap().contains("increment"),
        "{rows:?}"
    );
    for command in ["clean", "clean_remote_broken", "clean_local_broken"] {
        now(&daemon, command).await;
    }
    now(&daemon, "delete remote 'definitions'").await;
    now(&daemon, "delete local daily --force").await;
    assert_eq!(daemon.names().await, Vec::<String>::new());
    assert!(!nights.destination.join("daily").exists());
    let before = daemon.rows("/backup/actions").await.len();
    for (command, status, named) in [
        ("kill", 404, "empty command list"),
        ("kill 'create daily'", 404, "create daily"),
        ("watch --watch-interval=1h", 501, "[schedules.<name>]"),
        ("create_remote x", 501, "POST /backup/create"),
        ("create 'x", 400, "quotation mark"),
        ("backup x", 400, "create, restore, delete"),
    ] {
        let (code, rows) = actions(&daemon, &[command]).await;
        assert_eq!(code, status, "{command}: {rows:?}");
        let error = rows[0]["error"].as_str().unwrap();
        assert!(error.contains(named), "{command}: {error}");
    }
    assert_eq!(daemon.rows("/backup/actions").await.len(), before);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_ended_by_its_text() {
    if engine::is_foreign() {
        return;
    }
    let engine = engine::Engine::start_slow().await;
    let home = crate::support::daemon::Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let create = "create --tables='slow.*' \"in the way\"";
    let (status, rows) = actions(&daemon, &[create]).await;
    assert_eq!(status, 400, "a blank is in no name: {rows:?}");
    let create = "create --tables='slow.*' \"long\"";
    let kill = "kill 'create --tables='\\''slow.*'\\'' \"long\"'";
    let (status, rows) = actions(&daemon, &[create, kill]).await;
    assert_eq!(status, 200, "{rows:?}");
    assert_eq!(
        rows[0],
        json!({"status": "acknowledged", "operation": create})
    );
    assert_eq!(rows[1], json!({"status": "success", "operation": kill}));
    let row = daemon.rows("/backup/actions?last=1").await.remove(0);
    assert_eq!(
        (&row["command"], &row["status"]),
        (&json!(create), &json!("cancel"))
    );
    daemon.stop().await;
}
