//! What Prometheus scrapes of a real daemon, the page that describes it, and whoever names a metric.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::metrics::{self, Kind};
use serde_json::json;

use crate::support::daemon::TestDaemon;
use crate::support::nights::Nights;
use crate::support::{engine, eventually, files_below};

const OURS: &str = "clickhouse_backupd_";
const OLD: &str = "clickhouse_backup_";

/// Far from now on any day, so that the test alone says when it runs.
const SCHEDULES: &str = "[schedules.daily]\ncron = \"0 2 1 1 *\"\ndatabases = [\"shop\"]\n\
    [schedules.proofs]\naction = \"verify\"\ncron = \"0 3 1 1 *\"\n[retention]\nkeep_last = 14\nmin_keep = 2";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One scrape: its text, its families with their types, and its series with their values.
struct Scraped {
    text: String,
    types: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Scraped {
    async fn of(daemon: &TestDaemon) -> Self {
        let (status, text) = daemon.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        let types = text.lines().filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            Some((name.to_owned(), kind.to_owned()))
        });
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let series = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        Self {
            types: types.collect(),
            series: series.collect(),
            text,
        }
    }

    /// The value of a series, without the prefix of our family.
    fn ours(&self, series: &str) -> f64 {
        self.value(&format!("{OURS}{series}"))
    }

    /// The same of the old family.
    fn old(&self, series: &str) -> f64 {
        self.value(&format!("{OLD}{series}"))
    }

    fn value(&self, series: &str) -> f64 {
        let value = self.series.get(series);
        *value.unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    /// Every series with this schedule.
    fn of_schedule(&self, schedule: &str) -> BTreeSet<&str> {
        let label = format!("schedule=\"{schedule}\"");
        let its = self.series.keys().filter(|series| series.contains(&label));
        its.map(String::as_str).collect()
    }

    /// The text of the families whose names begin like this.
    fn families(&self, prefix: &str) -> String {
        let mut is_in = false;
        let lines = self.text.lines().filter(|line| {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                is_in = rest.starts_with(prefix);
            }
            is_in
        });
        lines.map(|line| format!("{line}\n")).collect()
    }
}

/// promtool; `None`, with the reason in the output, where it cannot be had. With CI set it must be.
fn promtool() -> Option<PathBuf> {
    let home = root().join(".cache/prometheus");
    let tool = home.join("bin/promtool");
    if tool.exists() {
        return Some(tool);
    }
    let reason = std::fs::read_to_string(home.join(".not-available"))
        .expect("promtool was never looked for: run tests/prometheus/install, or make test");
    let is_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty());
    assert!(!is_ci, "promtool is not available: {reason}");
    eprintln!("LEFT OUT: promtool checks no metrics: {}", reason.trim());
    None
}

/// What `promtool check metrics` says, and with which exit code.
fn checked(promtool: &Path, text: &str) -> (i32, String) {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The text is longer than a pipe holds, but promtool says nothing before it has read all.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

/// Rows `| name | type | …` of the page.
fn documented() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with(&format!("| `{}", OLD.trim_end_matches('_'))));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_series_of_a_schedule_is_there_before_and_after_a_real_backup() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_disk(SCHEDULES).await;
    nights.engine.seed("shop", 500).await;
    let daemon = nights.home.start().await;
    let first = Scraped::of(&daemon).await;
    assert!(first.of_schedule("daily").len() > 30, "{}", first.text);
    let daily = "{schedule=\"daily\"}";
    for never in ["last_success_timestamp_seconds", "last_success_bytes"] {
        assert_eq!(first.ours(&format!("schedule_{never}{daily}")), 0.0);
    }
    let mut types = first.types.clone();
    types.retain(|name, _| !name.starts_with("process_"));
    assert_eq!(types, documented(), "the page and the scrape differ");

    let now = json!({});
    let run = daemon.post_json("/api/v1/schedules/daily/run", &now);
    let (status, accepted) = run.await;
    assert_eq!(status, 202, "{accepted}");
    let ended = daemon.end_of(&accepted).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let proof = "schedule_last_proof_timestamp_seconds{schedule=\"daily\",level=\"files\",result=\"passed\"}";
    let proved = eventually("the proof is scraped, and a round of retention", || async {
        let scraped = Scraped::of(&daemon).await;
        let is_done = scraped.ours(proof) > 0.0
            && scraped.ours("retention_last_success_timestamp_seconds") > 0.0
            && scraped.ours("operations_running{kind=\"verify\"}") == 0.0;
        is_done.then_some(scraped)
    })
    .await;
    assert_eq!(proved.of_schedule("daily"), first.of_schedule("daily"));
    what_happened_is_scraped(&proved);
    if let Some(promtool) = promtool() {
        let ours = proved.families(OURS);
        assert!(ours.lines().count() > 300, "{ours}");
        assert_eq!(checked(&promtool, &ours), (0, String::new()));
        // The old names are what they were, and promtool finds fault with some; all of it is readable.
        let (code, said) = checked(&promtool, &proved.text);
        assert!(code == 0 || code == 3, "{code}: {said}");
        let complaints: Vec<&str> = said.lines().collect();
        let others = complaints.iter().filter(|line| !line.starts_with(OLD));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&&str>::new(), "{said}");
    }

    // A restart forgets what was counted, and nothing else.
    daemon.stop().await;
    let daemon = nights.home.start().await;
    let again = Scraped::of(&daemon).await;
    for kept in ["last_success_timestamp_seconds", "last_success_bytes"] {
        let series = format!("schedule_{kept}{daily}");
        assert_eq!(again.ours(&series), proved.ours(&series), "{series}");
    }
    assert_eq!(
        again.old("last_create_finish"),
        proved.old("last_create_finish")
    );
    assert_eq!(again.old("successful_creates"), 0.0);
    daemon.stop().await;
}

fn what_happened_is_scraped(scraped: &Scraped) {
    let now = Clock::System.now().as_second() as f64;
    let recent = |at: f64| (now - 120.0..=now + 5.0).contains(&at);
    let daily = "{schedule=\"daily\"}";
    for at in ["last_success", "last_attempt"] {
        let at = format!("schedule_{at}_timestamp_seconds{daily}");
        assert!(recent(scraped.ours(&at)), "{at}: {}", scraped.ours(&at));
    }
    for (series, value) in [
        (
            "schedule_last_result{schedule=\"daily\",result=\"succeeded\"}",
            1.0,
        ),
        (
            "schedule_runs_total{schedule=\"daily\",result=\"succeeded\"}",
            1.0,
        ),
        (
            "schedule_running_since_timestamp_seconds{schedule=\"daily\"}",
            0.0,
        ),
        ("schedule_restorable_backups{schedule=\"daily\"}", 1.0),
        ("schedule_min_keep_backups{schedule=\"daily\"}", 2.0),
        (
            "operations_total{kind=\"backup\",result=\"succeeded\"}",
            1.0,
        ),
        (
            "operation_duration_seconds_count{kind=\"backup\",result=\"succeeded\"}",
            1.0,
        ),
        (
            "destination_backups{origin=\"schedule\",status=\"complete\"}",
            1.0,
        ),
        ("destination_view{view=\"bound\"}", 1.0),
        ("destination_listable", 1.0),
        ("retention_planned_backups{verdict=\"keep\"}", 1.0),
        ("retention_stopped{reason=\"suspect\"}", 0.0),
        ("clickhouse_reachable", 1.0),
        ("catalog_read_in", 1.0),
        (
            "api_requests_total{code=\"202\",method=\"POST\",route=\"/api/v1/schedules/{name}/run\"}",
            1.0,
        ),
    ] {
        assert_eq!(scraped.ours(series), value, "{series}");
    }
    for positive in [
        "schedule_last_success_bytes{schedule=\"daily\"}",
        "schedule_last_success_files{schedule=\"daily\"}",
        "schedule_expected_interval_seconds{schedule=\"proofs\"}",
        "catalog_size_bytes",
    ] {
        assert!(scraped.ours(positive) > 0.0, "{positive}");
    }
    assert_eq!(scraped.old("successful_creates"), 1.0);
    assert_eq!(scraped.old("last_create_status"), 1.0);
    assert!(recent(scraped.old("last_create_finish")));
    assert!(
        scraped.old("last_create_duration") > 1e5,
        "nanoseconds: {}",
        scraped.old("last_create_duration")
    );
    assert_eq!(scraped.old("number_backups_local"), 1.0);
    assert_eq!(scraped.old("number_backups_local_expected"), 14.0);
    assert!(scraped.old("last_backup_size_local") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_path_makes_no_series() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_disk(SCHEDULES).await;
    let daemon = nights.home.start().await;
    for number in 0..50 {
        let (status, _) = daemon.get(&format!("/invented/{number}")).await;
        assert_eq!(status, 404);
        let (status, _) = daemon
            .get(&format!("/api/v1/backups/invented-{number}"))
            .await;
        // Before what lies there was read in, it is not known whether there is such a backup.
        assert!([404, 503].contains(&status), "{status}");
    }
    let scraped = Scraped::of(&daemon).await;
    assert!(!scraped.text.contains("invented"), "{}", scraped.text);
    let other = "api_requests_total{code=\"404\",method=\"GET\",route=\"other\"}";
    assert_eq!(scraped.ours(other), 50.0);
    daemon.stop().await;
}

/// Every word of a text that looks like a metric of one of the two families.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    // A recorded series has a colon, and is not ours to export.
    words
        .filter(|word| word.starts_with(OLD) || word.starts_with(OURS))
        .filter(|word| !word.contains(':'))
        .collect()
}

/// Every name that can be asked for, those of the parts of a histogram included.
fn exported() -> BTreeSet<String> {
    let names = |metric: metrics::Metric| match metric.kind {
        Kind::Gauge | Kind::Counter => vec![metric.name.to_owned()],
        Kind::Histogram => ["bucket", "sum", "count"]
            .map(|part| format!("{}_{part}", metric.name))
            .to_vec(),
    };
    metrics::all().into_iter().flat_map(names).collect()
}

/// Names in a text that nobody exports.
fn unknown_in(text: &str) -> Vec<&str> {
    let exported = exported();
    let names = names_in(text).into_iter();
    names.filter(|name| !exported.contains(*name)).collect()
}

#[test]
fn what_dashboards_and_rules_name_is_exported() {
    // First of all that a mistake would be found.
    let wrong = "time() - clickhouse_backupd_schedule_last_succes_timestamp_seconds > 1";
    let found = unknown_in(wrong);
    assert_eq!(
        found,
        ["clickhouse_backupd_schedule_last_succes_timestamp_seconds"]
    );
    let right = "rate(clickhouse_backupd_operation_duration_seconds_bucket[5m]) + clickhouse_backup_last_create_status";
    assert_eq!(unknown_in(right), Vec::<&str>::new());
    let folder = root().join("dashboards");
    if !folder.exists() {
        return;
    }
    for file in files_below(&folder) {
        let is_read = [".json", ".yaml", ".yml"]
            .iter()
            .any(|end| file.ends_with(end));
        if !is_read {
            continue;
        }
        let text = std::fs::read_to_string(folder.join(&file)).unwrap();
        // Where Grafana finds things, and how alerts are sent, needs no metric.
        let is_about_places = ["alertmanager.yaml", "provisioning/d"]
            .iter()
            .any(|start| file.starts_with(start));
        assert!(
            is_about_places || !names_in(&text).is_empty(),
            "{file} names no metric"
        );
        assert_eq!(unknown_in(&text), Vec::<&str>::new(), "{file}");
    }
}

/// The page has expressions for rules, which name metrics as well.
#[test]
fn the_page_names_no_metric_that_is_not_exported() {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let histograms = metrics::all().into_iter();
    let histograms: BTreeSet<&str> = histograms
        .filter(|metric| metric.kind == Kind::Histogram)
        .map(|metric| metric.name)
        .collect();
    let mut unknown = unknown_in(&page);
    unknown.retain(|name| !histograms.contains(name) && *name != OURS && *name != OLD);
    assert_eq!(unknown, Vec::<&str>::new());
}
