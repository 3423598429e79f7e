//! The dashboard and the alerts, on a real Prometheus and a real Alertmanager in front of a real daemon.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::nights::Nights;
use crate::support::prometheus::{Operator, Process, python, tool};
use crate::support::{engine, eventually};

/// Far from now on any day, so that the test alone says when it runs; what fails, fails soon.
const SCHEDULES: &str = "[schedules.daily]\ncron = \"0 2 1 1 *\"\ndatabases = [\"shop\"]\n\
    deadline = \"9s\"\nretry = { attempts = 1 }\nname = \"{date}-{time}\"\n\
    [retention]\nkeep_last = 14\nmin_keep = 1";
/// Longer than what any two things that belong together are apart, in the time of [`faster`].
const QUIET: Duration = Duration::from_secs(7);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The same rules or route in a world where a minute is a second, and nothing else is different.
fn faster(yaml: &str) -> String {
    const KEYS: [&str; 5] = [
        "for",
        "group_wait",
        "group_interval",
        "repeat_interval",
        "interval",
    ];
    let line = |line: &str| match line.split_once(": ") {
        Some((key, time)) if KEYS.contains(&key.trim()) => {
            let (number, unit) = time.split_at(time.len() - 1);
            let unit = match unit {
                "m" => "s",
                "h" => "m",
                other => panic!("{line}: what is a 60th of {other}?"),
            };
            assert!(number.parse::<u32>().is_ok(), "{line}");
            format!("{key}: {number}{unit}\n")
        }
        _ => format!("{line}\n"),
    };
    yaml.lines().map(line).collect()
}

/// Our route, with this operator.
fn route(operator: &Operator) -> String {
    let ours = read("alertmanager.yaml");
    let place = "http://127.0.0.1:9095/";
    assert!(ours.contains(place));
    faster(&ours.replace(place, &operator.url))
}

/// Runs a command; what it says, if it ends well.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{command:?}\n{said}");
    said
}

#[test]
fn every_rule_is_valid_and_its_tests_pass() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let mut check = Command::new(&promtool);
    said(
        check
            .args(["check", "rules", "alerts.yaml"])
            .current_dir(folder()),
    );
    let mut test = Command::new(&promtool);
    said(
        test.args(["test", "rules", "alerts_test.yaml"])
            .current_dir(folder()),
    );
}

#[test]
fn the_dashboard_is_one_of_grafana_and_every_alert_has_its_tests_texts_and_section() {
    let Some(python) = python() else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let check = root.join("tests/dashboards/check.py");
    said(Command::new(python).arg(check).arg(root));
}

/// Keys are known to Grafana's models whatever their values; types know the values.
#[test]
fn the_dashboard_has_the_types_of_grafana() {
    let Some(python) = python() else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let types = root.join(".cache/dashboards/types");
    if !types.exists() {
        eprintln!("LEFT OUT, the types of the dashboard: node and npm are missing");
        return;
    }
    let mut write = Command::new(python);
    write.arg(root.join("tests/dashboards/typescript.py"));
    let written = said(write.arg(folder().join("clickhouse-backupd.json")));
    let of_it = |written: &str| {
        // Modules are found from the file's own folder on.
        let file = tempfile::Builder::new()
            .suffix(".ts")
            .tempfile_in(&types)
            .unwrap();
        std::fs::write(file.path(), written).unwrap();
        let options = [
            "--noEmit",
            "--strict",
            "--skipLibCheck",
            "--module",
            "nodenext",
        ];
        let mut tsc = Command::new(types.join("node_modules/.bin/tsc"));
        tsc.args(options).arg(file.path()).current_dir(&types);
        let output = tsc.output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(of_it(&written), "");
    // That a mistake would be found.
    let wrong = written.replace("\"drawStyle\": \"bars\"", "\"drawStyle\": \"barz\"");
    assert!(of_it(&wrong).contains("barz"));
}

#[test]
fn grafanas_own_rules_are_those_of_prometheus() {
    let Some(python) = python() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made.yaml");
    let generate = folder().join("provisioning/generate");
    said(Command::new(python).arg(generate).arg(&made));
    let made = std::fs::read_to_string(made).unwrap();
    assert!(
        made == read("provisioning/alerting/clickhouse-backupd.yaml"),
        "alerts.yaml was changed: run dashboards/provisioning/generate"
    );
}

/// What an operator is told to run at night can be run: every word of it but the names.
#[test]
fn the_commands_of_alerts_are_ours() {
    let text = read("alerts.yaml");
    let commands = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("command: "));
    let commands: BTreeSet<&str> = commands
        .flat_map(|line| line.split(" && "))
        .filter(|command| command.starts_with("clickhouse-backupd "))
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let command = command.replace("{{ $labels.schedule }}", "daily");
        let words = command.split(' ').skip(1);
        let mut ours = Command::new(env!("CARGO_BIN_EXE_clickhouse-backupd"));
        said(ours.args(words).arg("--help"));
    }
}

/// Names of the alerts in a notification that fire, or that are over.
fn alerts(notification: &Value, status: &str) -> Vec<String> {
    let alerts = notification["alerts"].as_array().unwrap().iter();
    let mut names: Vec<String> = alerts
        .filter(|alert| alert["status"] == status)
        .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// What is wrong, alerts by name and schedule, and those of them that the operator has to read.
type Night = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

/// What Alertmanager makes of what Prometheus tells it in bad nights, each in a cluster of its own.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_night_is_one_notification() {
    let Some(alertmanager) = tool("alertmanager") else {
        return;
    };
    let nights: [Night; 6] = [
        (
            "three schedules fail in one night",
            &[
                ("LastRunFailed", "a"),
                ("LastRunFailed", "b"),
                ("LastRunFailed", "c"),
            ],
            &["LastRunFailed", "LastRunFailed", "LastRunFailed"],
        ),
        (
            "ClickHouse is down",
            &[
                ("ServerUnreachable", ""),
                ("SlotLate", "a"),
                ("LastRunFailed", "a"),
                ("LastRunFailed", "b"),
                ("FailedRepeatedly", "b"),
                ("Stale", "b"),
                ("DestinationUnbound", ""),
            ],
            &["ServerUnreachable"],
        ),
        (
            "the daemon is gone",
            &[
                ("dAbsent", ""),
                ("LastRunFailed", "a"),
                ("Stale", "a"),
                ("ServerUnreachable", ""),
            ],
            &["dAbsent"],
        ),
        (
            "a second night has failed, and another schedule once",
            &[
                ("LastRunFailed", "a"),
                ("FailedRepeatedly", "a"),
                ("LastRunFailed", "b"),
            ],
            &["FailedRepeatedly", "LastRunFailed"],
        ),
        (
            "the bucket does not answer",
            &[
                ("DestinationNotListable", ""),
                ("RetentionFailing", ""),
                ("PublishFailing", ""),
                ("LastRunFailed", "a"),
            ],
            &["DestinationNotListable", "LastRunFailed"],
        ),
        (
            "the server was emptied",
            &[("Suspect", ""), ("SizeAnomaly", "a")],
            &["Suspect"],
        ),
    ];
    let operator = Operator::listen().await;
    let alertmanager = Process::alertmanager(&alertmanager, route(&operator)).await;
    let mut told = Vec::new();
    for (cluster, alerts, _) in nights {
        for (name, schedule) in alerts {
            let name = format!("ClickHouseBackup{name}");
            let mut labels = json!({"alertname": name, "cluster": cluster, "namespace": "n", "job": "j", "schedule": schedule});
            if !name.ends_with("Absent") {
                labels["instance"] = json!("i");
            }
            told.push(json!({"labels": labels}));
        }
    }
    alertmanager.tell(&json!(told)).await;
    operator.is_told(nights.len()).await;
    tokio::time::sleep(QUIET).await;
    for (cluster, _, expected) in nights {
        let all = operator.told();
        let of_it = |told: &&Value| told["groupLabels"]["cluster"] == cluster;
        let its: Vec<_> = all.iter().filter(of_it).collect();
        assert_eq!(its.len(), 1, "{cluster}: {its:#?}");
        let expected: Vec<_> = expected
            .iter()
            .map(|name| format!("ClickHouseBackup{name}"))
            .collect();
        assert_eq!(alerts(its[0], "firing"), expected, "{cluster}");
    }
}

/// The expressions of all panels, by title, as Grafana would send them.
fn asked(dashboard: &Value, namespace: &str) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (title.to_owned(), target["expr"].as_str().unwrap()))
    });
    targets
        .map(|(title, expression)| {
            let sent = expression
                .replace("$__rate_interval", "20s")
                .replace("$__range", "1m")
                .replace("$namespace", namespace)
                .replace("$schedule", ".*");
            assert!(!sent.contains('$'), "{title}: {sent}");
            (title, sent)
        })
        .collect()
}

/// Every panel has data, for a chosen namespace and for all; the choices are there, too.
async fn every_panel_has_data(prometheus: &Process) {
    let dashboard: Value = serde_json::from_str(&read("clickhouse-backupd.json")).unwrap();
    // First of all that a panel without data would be found.
    assert_eq!(
        prometheus.query("clickhouse_backupd_no_such_metric").await,
        Vec::<Value>::new()
    );
    let mut executed = 0;
    for namespace in ["backups", ".*"] {
        for (title, expression) in asked(&dashboard, namespace) {
            // Rates need a second sample.
            eventually(
                &format!("data of the panel {title}: {expression}"),
                || async {
                    let series = prometheus.query(&expression).await;
                    (!series.is_empty()).then_some(())
                },
            )
            .await;
            executed += 1;
        }
    }
    assert!(executed > 80, "{executed} queries");
    println!("{executed} queries of panels have data");
    for (label, value) in [("namespace", "backups"), ("schedule", "daily")] {
        let series = ("match[]", "clickhouse_backupd_schedule_info");
        let choices = prometheus
            .ask(&format!("label/{label}/values"), &[series])
            .await;
        assert_eq!(choices, json!([value]));
    }
}

/// What Prometheus made of the rules: as many as we wrote, and none with an error.
async fn every_rule_is_evaluated(prometheus: &Process) {
    let written = read("alerts.yaml").matches("- alert: ").count();
    eventually("an evaluation of every rule", || async {
        let groups = prometheus.ask("rules", &[]).await;
        let groups = groups["groups"].as_array().unwrap().clone();
        let rules: Vec<&Value> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap())
            .collect();
        assert_eq!(rules.len(), written);
        let is_err = |rule: &&&Value| rule["health"] == "err";
        assert_eq!(rules.iter().find(is_err), None);
        rules
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_has_data_and_a_bad_night_is_one_alert_until_it_is_over() {
    if engine::is_foreign() {
        return;
    }
    let (Some(prometheus), Some(alertmanager)) = (tool("prometheus"), tool("alertmanager")) else {
        return;
    };
    let mut nights = Nights::on_disk(SCHEDULES).await;
    nights.engine.seed("shop", 500).await;
    let daemon = nights.home.start().await;
    let run = "/api/v1/schedules/daily/run";
    let accepted = daemon.post_json(run, &json!({})).await.1;
    assert_eq!(daemon.end_of(&accepted).await["state"], "succeeded");
    // The first scrape looks at every calendar, which a build for tests takes its time for: longer than a
    // daemon may be silent where five minutes are five seconds.
    assert_eq!(daemon.get("/metrics").await.0, 200);

    let operator = Operator::listen().await;
    let alertmanager = Process::alertmanager(&alertmanager, route(&operator)).await;
    let rules = faster(&read("alerts.yaml"));
    let prometheus = Process::prometheus(&prometheus, rules, &daemon.url, &alertmanager.url).await;
    every_panel_has_data(&prometheus).await;
    every_rule_is_evaluated(&prometheus).await;
    let firing = "ALERTS{alertstate=\"firing\"}";
    // On a busy machine the first scrape may come later than a daemon may be silent, where five minutes are
    // five seconds: then its absence is told, and over.
    let told_first = operator.told();
    let mut told_first = told_first.iter().flat_map(|told| alerts(told, "firing"));
    assert!(told_first.all(|name| name == "ClickHouseBackupdAbsent"));
    eventually("nothing that fires", || async {
        prometheus.query(firing).await.is_empty().then_some(())
    })
    .await;
    operator.begins_anew().await;

    // ClickHouse goes away, and a slot is due.
    nights.engine.crash();
    let accepted = daemon.post_json(run, &json!({})).await.1;
    let told = operator.is_told(1).await;
    let unreachable = ["ClickHouseBackupServerUnreachable".to_owned()];
    assert_eq!(alerts(&told, "firing"), unreachable, "{told:#}");
    let labels = &told["alerts"][0]["labels"];
    assert_eq!(labels["severity"], "critical");
    assert_eq!(labels["namespace"], "backups");
    let url = &told["alerts"][0]["annotations"]["runbook_url"];
    assert_eq!(url, "docs/runbook.md#clickhousebackupserverunreachable");
    assert_eq!(daemon.end_of(&accepted).await["state"], "failed");
    // That the run failed is an alert by itself, and is not told beside its cause.
    eventually("the failed run as an alert", || async {
        let failed = "ALERTS{alertstate=\"firing\", alertname=\"ClickHouseBackupLastRunFailed\"}";
        (!prometheus.query(failed).await.is_empty()).then_some(())
    })
    .await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(operator.told().len(), 1, "{:#?}", operator.told());

    // It comes back, and the night is made up for.
    nights.engine.start_again();
    let accepted = daemon.post_json(run, &json!({})).await.1;
    assert_eq!(daemon.end_of(&accepted).await["state"], "succeeded");
    let told = operator.is_told(2).await;
    assert_eq!(told["status"], "resolved", "{told:#}");
    // What was not told beside its cause is over with it, and may be named here.
    assert!(
        alerts(&told, "resolved").contains(&unreachable[0]),
        "{told:#}"
    );
    assert_eq!(alerts(&told, "firing"), Vec::<String>::new(), "{told:#}");
    assert_eq!(prometheus.query(firing).await, Vec::<Value>::new());
    assert_eq!(operator.told().len(), 2, "{:#?}", operator.told());

    // ClickHouse is well, and the run fails all the same.
    nights.engine.sql("DROP DATABASE shop SYNC").await;
    let accepted = daemon.post_json(run, &json!({})).await.1;
    assert_eq!(daemon.end_of(&accepted).await["state"], "failed");
    let told = operator.is_told(3).await;
    let failed = ["ClickHouseBackupLastRunFailed"];
    assert_eq!(alerts(&told, "firing"), failed, "{told:#}");
    nights.engine.seed("shop", 500).await;
    let accepted = daemon.post_json(run, &json!({})).await.1;
    assert_eq!(daemon.end_of(&accepted).await["state"], "succeeded");
    let told = operator.is_told(4).await;
    assert_eq!(told["status"], "resolved", "{told:#}");
    assert_eq!(alerts(&told, "resolved"), failed, "{told:#}");

    // The daemon goes away.
    daemon.stop().await;
    let told = operator.is_told(5).await;
    assert_eq!(
        alerts(&told, "firing"),
        ["ClickHouseBackupdAbsent"],
        "{told:#}"
    );
}
