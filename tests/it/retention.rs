//! Retention on the real engine: what the policy says is kept, and nothing else is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::civil::{Date, date};
use serde_json::json;

use crate::support::daemon::TestDaemon;
use crate::support::engine;
use crate::support::nights::{Content, Nights, names, settled};
use crate::support::s3::Act;

/// Weekly full backups with increments between them.
const INCREMENTAL: &str = "[schedules.daily]\ncron = \"0 2 * * *\"\ndatabases = [\"shop\"]\n\
    kind = \"incremental\"\nfull_every = \"7d\"\n";
/// A full backup each night.
const FULL: &str = "[schedules.daily]\ncron = \"0 2 * * *\"\ndatabases = [\"shop\"]\n";

const FIRST: Date = date(2026, 10, 20);

fn dates(count: usize) -> Vec<Date> {
    from(FIRST, count)
}

fn from(first: Date, count: usize) -> Vec<Date> {
    first
        .series(jiff::Span::new().days(1))
        .take(count)
        .collect()
}

/// A change of the data, so that every night has its own content.
async fn trade(nights: &Nights, night: usize) {
    let statement = format!(
        "INSERT INTO shop.orders SELECT number + 1000000 * {night}, toDate('2026-04-01') + number % 30, 5 FROM numbers(200)"
    );
    nights.engine.sql(&statement).await;
    // A merge between the backup and the comparison would change what a sum is made of.
    nights.engine.sql("OPTIMIZE TABLE shop.by_day FINAL").await;
}

/// Nights one after the other, each with the exact look at the destination after it.
async fn pass(nights: &Nights, dates: &[Date]) -> BTreeMap<String, Content> {
    let mut contents = BTreeMap::new();
    for (night, date) in dates.iter().enumerate() {
        trade(nights, night + 1).await;
        contents.insert(date.to_string(), nights.engine.content("shop").await);
        let daemon = nights.night(*date).await;
        nights.assert_exact(&daemon).await;
        daemon.stop().await;
    }
    contents
}

fn some(dates: &[Date]) -> BTreeSet<String> {
    dates.iter().map(ToString::to_string).collect()
}

async fn kinds(daemon: &TestDaemon) -> BTreeMap<String, String> {
    let (_, list) = daemon.get_json("/api/v1/backups?limit=1000").await;
    let items = list["items"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    items
        .iter()
        .map(|backup| (text(&backup["name"]), text(&backup["kind"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_nights_with_weekly_fulls_leave_fourteen_and_what_they_need() {
    if engine::is_foreign() {
        return;
    }
    let config = format!("{INCREMENTAL}[retention]\nkeep_last = 14");
    let nights = Nights::on_s3("disk = \"s3_backup\"", &config).await;
    nights.engine.seed("shop", 2_000).await;
    let dates = dates(20);
    let contents = pass(&nights, &dates).await;

    let daemon = nights
        .daemon_at(crate::support::nights::slot(dates[19]))
        .await;
    // The 14 newest begin with the 7th night, which is built on the first: its whole chain stays.
    let kinds = kinds(&daemon).await;
    let fulls: Vec<&String> = kinds
        .iter()
        .filter(|(_, kind)| *kind == "full")
        .map(|(name, _)| name)
        .collect();
    assert_eq!(fulls, ["2026-10-20", "2026-10-27", "2026-11-03"]);
    assert_eq!(names(&daemon).await, some(&dates));
    nights.assert_restores(&daemon, "shop", &contents).await;

    // One more night, and the first week has no one left that needs it.
    daemon.stop().await;
    let next = dates[19].tomorrow().unwrap();
    trade(&nights, 21).await;
    let daemon = nights.night(next).await;
    nights.assert_exact(&daemon).await;
    assert_eq!(
        names(&daemon).await.first().map(String::as_str),
        Some("2026-10-27"),
        "the first week is gone"
    );
    daemon.stop().await;

    // Another policy over the same backups: a day's, a week's and a month's.
    let text = std::fs::read_to_string(nights.home.file()).unwrap();
    let grandfather = "keep_daily = 3\nkeep_weekly = 2";
    std::fs::write(
        nights.home.file(),
        text.replace("keep_last = 14", grandfather),
    )
    .unwrap();
    let after = next.tomorrow().unwrap();
    trade(&nights, 22).await;
    let daemon = nights.night(after).await;
    nights.assert_exact(&daemon).await;
    let left = names(&daemon).await;
    // 2026-11-10 is a full one, on which the newest is built; the Sunday before it has its own week.
    for name in ["2026-11-08", "2026-11-09", "2026-11-10", "2026-11-03"] {
        assert!(left.contains(name), "{name}: {left:?}");
    }
    assert!(!left.contains("2026-10-27"), "{left:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_a_local_disk_and_with_a_named_collection() {
    if engine::is_foreign() {
        return;
    }
    let config = format!("{FULL}[retention]\nkeep_last = 2");
    for nights in [
        Nights::on_disk(&config).await,
        Nights::on_s3("collection = \"backups\"", &config).await,
    ] {
        nights.engine.seed("shop", 2_000).await;
        let dates = dates(4);
        let contents = pass(&nights, &dates).await;
        let daemon = nights
            .daemon_at(crate::support::nights::slot(dates[3]))
            .await;
        assert_eq!(names(&daemon).await, some(&dates[2..]));
        nights.assert_restores(&daemon, "shop", &contents).await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_server_removes_nothing_until_that_is_said_to_be_meant() {
    if engine::is_foreign() {
        return;
    }
    let config = "[schedules.daily]\ncron = \"0 2 * * *\"\n[retention]\nkeep_last = 3";
    let nights = Nights::on_disk(config).await;
    nights.engine.seed("shop", 2_000).await;
    // Later than the clock of the server, which says when a backup was made.
    let dates = from(date(2027, 3, 25), 10);
    pass(&nights, &dates[..3]).await;
    nights.engine.sql("DROP DATABASE shop SYNC").await;
    for date in &dates[3..9] {
        let daemon = nights.night(*date).await;
        nights.assert_exact(&daemon).await;
        daemon.stop().await;
    }
    let daemon = nights
        .daemon_at(crate::support::nights::slot(dates[8]))
        .await;
    settled(&daemon).await;
    assert_eq!(
        names(&daemon).await,
        some(&dates[..9]),
        "nothing is removed"
    );
    let (_, plan) = daemon.get_json("/api/v1/retention/plan").await;
    let stops = plan["stops"].to_string();
    assert!(
        stops.contains("retention adopt") && stops.contains("2027-0"),
        "the reason is told: {plan}"
    );
    let (status, _) = daemon
        .post_json(
            "/api/v1/retention/adopt",
            &json!({"reason": "moved to another cluster"}),
        )
        .await;
    assert_eq!(status, 200);
    settled(&daemon).await;
    let left = names(&daemon).await;
    // The newest that was proved stays in any case; all of these were.
    let (_, plan) = daemon.get_json("/api/v1/retention/plan").await;
    assert_eq!(left, some(&dates[6..9]), "it goes on: {plan}");
    daemon.stop().await;
    // The next small one is ordinary by now.
    let daemon = nights.night(dates[9]).await;
    assert_eq!(names(&daemon).await, some(&dates[7..10]));
    daemon.stop().await;
}

/// Requests to the bucket while something is done.
async fn requests(nights: &Nights, work: impl Future<Output = ()>) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let s3 = nights.s3.as_ref().unwrap();
    s3.rule(move |seen| {
        // Our own state is published now and then, whatever happens.
        if !seen.path.ends_with("/state.json") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Act::Pass
    });
    work.await;
    s3.heal();
    count.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_retention_costs_the_same_whatever_else_lies_there() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_s3("disk = \"s3_backup\"", "[retention]\nkeep_last = 100").await;
    nights.engine.seed("shop", 500).await;
    let daemon = nights
        .daemon_at(clickhouse_backupd::clock::Clock::System.now())
        .await;
    for number in 0..12 {
        daemon
            .succeeds(&format!("/backup/create?name=n{number}&table=shop.*"))
            .await;
        settled(&daemon).await;
    }
    let before = daemon.worker.retention_note().rounds;
    let made = requests(&nights, settled(&daemon)).await;
    let rounds = daemon.worker.retention_note().rounds - before;
    // Two listings and one manifest, however many backups lie there; a round may be under way still.
    assert!(made > 0, "rounds look at the destination");
    assert!(
        made as u64 <= 4 * (rounds + 1),
        "{made} requests for {rounds} rounds over 12 backups"
    );
    // Ten of its own around one bulk delete (manifest, lock and our file are looked at first, and the
    // listing is repeated at the end), and two rounds that list.
    daemon
        .succeeds("/backup/create?name=goes&table=shop.*")
        .await;
    settled(&daemon).await;
    let removal = requests(&nights, async {
        let (status, text) = daemon.post("/backup/delete/local/goes").await;
        assert_eq!(status, 200, "{text}");
    });
    let removal = removal.await;
    assert!(
        removal <= 20,
        "{removal} requests for the removal of one backup"
    );
    daemon.stop().await;
}
