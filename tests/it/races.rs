//! Removals and what else happens to the same backup meanwhile: somebody makes it again under its name,
//! or it is being proved, or the bucket does not answer for a while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clickhouse_backupd::clock::Clock;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::nights::{Content, Nights, names, settled, unfinished};
use crate::support::s3::{Act, Seen};
use crate::support::{engine, eventually};

/// Something that a rule of the bucket has seen.
type Flag = Arc<AtomicBool>;

/// Whether a request deletes objects of this backup, whose manifest went before.
pub fn deletes_objects(
    nights: &Nights,
    name: &str,
) -> impl Fn(&Seen) -> bool + Send + 'static + use<> {
    let folder = nights.destination.join(name);
    move |seen| seen.is_bulk_delete() && folder.is_dir() && !folder.join(".backup").exists()
}

/// Changes the data, and makes a backup of it as somebody does who knows nothing of us.
async fn made_by_hand(nights: &Nights, name: &str, how: &str) -> Content {
    let change = "INSERT INTO shop.orders SELECT number + 5000000, toDate('2026-05-01') + number % 30, 7 FROM numbers(300)";
    nights.engine.sql(change).await;
    let merge = "OPTIMIZE TABLE shop.by_day FINAL";
    nights.engine.sql(merge).await;
    let content = nights.engine.content("shop").await;
    let statement = format!("BACKUP DATABASE shop TO Disk('s3_backup', '{name}'){how}");
    nights.engine.sql(&statement).await;
    content
}

async fn asked(daemon: &TestDaemon, kind: &str, name: &str) -> Value {
    let wanted = json!({"kind": kind, "backup": name});
    let (status, accepted) = daemon.post_json("/api/v1/operations", &wanted).await;
    assert_eq!(status, 202, "{accepted}");
    accepted
}

async fn refused(daemon: &TestDaemon, kind: &str, name: &str) -> String {
    let wanted = json!({"kind": kind, "backup": name});
    let (status, refusal) = daemon.post_json("/api/v1/operations", &wanted).await;
    assert_eq!(status, 409, "{refusal}");
    refusal.to_string()
}

async fn is_told(what: &str, flag: &Flag) {
    eventually(what, || async { flag.load(Ordering::SeqCst).then_some(()) }).await;
}

/// The new backup is in the list as somebody else's, every file of it is there, and it restores.
async fn assert_whole(nights: &Nights, daemon: &TestDaemon, name: &str, content: &Content) {
    eventually("nothing is at work any more", || async {
        unfinished(daemon).await.is_empty().then_some(())
    })
    .await;
    daemon.worker.refresh().await.unwrap();
    let (status, backup) = daemon.get_json(&format!("/api/v1/backups/{name}")).await;
    assert_eq!(status, 200, "{backup}");
    assert_eq!(backup["origin"], "foreign", "{backup}");
    let proof = asked(daemon, "verify", name).await;
    let proof = daemon.end_of(&proof).await;
    assert_eq!(proof["state"], "succeeded", "{proof}");
    let drop = "DROP DATABASE IF EXISTS copy SYNC";
    nights.engine.sql(drop).await;
    daemon
        .succeeds(&format!(
            "/backup/restore?name={name}&restore_database_mapping=shop:copy"
        ))
        .await;
    assert_eq!(nights.engine.content("copy").await, *content, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_again_while_its_removal_waits_for_the_bucket_is_left_alone() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_s3("disk = \"s3_backup\"", "").await;
    nights.engine.seed("shop", 500).await;
    let mut now = Clock::System.now();
    let mut daemon = nights.daemon_at(now).await;
    daemon
        .succeeds("/backup/create?name=kept&table=shop.*")
        .await;
    for (name, keeps_memory) in [("remembered", true), ("forgotten", false)] {
        daemon
            .succeeds(&format!("/backup/create?name={name}&table=shop.*"))
            .await;
        settled(&daemon).await;
        let deletes = deletes_objects(&nights, name);
        let s3 = nights.s3.as_ref().unwrap();
        s3.rule(move |seen| match deletes(seen) {
            true => Act::Refuse(403),
            false => Act::Pass,
        });
        let removal = asked(&daemon, "delete", name).await;
        let path = format!("/api/v1/operations/{}", removal["id"].as_str().unwrap());
        eventually("the attempt that the bucket refused", || async {
            let (_, removal) = daemon.get_json(&path).await;
            let failure = removal["attempts"][0]["failure"].to_string();
            failure.contains("AccessDenied").then_some(())
        })
        .await;
        assert!(!nights.destination.join(name).join(".backup").exists());
        s3.heal();
        let content = made_by_hand(&nights, name, "").await;
        daemon.stop().await;
        if !keeps_memory {
            std::fs::remove_dir_all(nights.home.state()).unwrap();
        }
        // Later than the pause before the next attempt.
        now += SignedDuration::from_mins(5);
        daemon = nights.daemon_at(now).await;
        if keeps_memory {
            let removal = daemon.end_of(&removal).await;
            assert_eq!(removal["items"][0]["state"], "left", "{removal}");
            let why = removal["items"][0]["note"].to_string();
            assert!(why.contains("another backup was made"), "{removal}");
        }
        assert_whole(&nights, &daemon, name, &content).await;
    }
    daemon.stop().await;
}

/// What somebody's backup under the name is like when the removal looks at the folder again.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Again {
    Whole,
    Written,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_again_between_two_looks_of_its_removal_is_left_alone() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_s3("disk = \"s3_backup\"", "").await;
    nights.engine.seed("shop", 500).await;
    let daemon = nights.daemon_at(Clock::System.now()).await;
    for (name, again) in [("whole", Again::Whole), ("written", Again::Written)] {
        daemon
            .succeeds(&format!("/backup/create?name={name}&table=shop.*"))
            .await;
        settled(&daemon).await;
        let s3 = nights.s3.as_ref().unwrap();
        let (deletes, looked) = (deletes_objects(&nights, name), Flag::default());
        let (mut is_refused, told) = (false, Arc::clone(&looked));
        s3.rule(move |seen| {
            if !is_refused && deletes(seen) {
                is_refused = true;
                // This one is not tried again before the folder was looked at again.
                return Act::Refuse(400);
            }
            if is_refused && seen.lists(name) {
                told.store(true, Ordering::SeqCst);
                return Act::Hold;
            }
            Act::Pass
        });
        let removal = asked(&daemon, "delete", name).await;
        is_told("the second look", &looked).await;
        let how = match again {
            Again::Whole => "",
            Again::Written => " SETTINGS id = 'by-hand' ASYNC",
        };
        let (written, manifest) = (Flag::default(), format!("/{name}/.backup"));
        if again == Again::Written {
            let told = Arc::clone(&written);
            let manifest = manifest.clone();
            s3.rule(move |seen| {
                let writes = seen.method == "PUT" && seen.path.ends_with(&manifest);
                told.fetch_or(writes, Ordering::SeqCst);
                match writes || seen.lists(name) {
                    true => Act::Hold,
                    false => Act::Pass,
                }
            });
        }
        let content = made_by_hand(&nights, name, how).await;
        if again == Again::Written {
            is_told("all of it but the manifest", &written).await;
            s3.rule(move |seen| match seen.path.ends_with(&manifest) {
                true if seen.method == "PUT" => Act::Hold,
                _ => Act::Pass,
            });
        } else {
            s3.heal();
        }
        let removal = daemon.end_of(&removal).await;
        assert_eq!(removal["items"][0]["state"], "left", "{removal}");
        let why = removal["items"][0]["note"].to_string();
        let mark = match again {
            Again::Whole => "/whole/.backup is there",
            Again::Written => "/written/.lock is there",
        };
        assert!(why.contains(mark), "{removal}");
        s3.heal();
        eventually("the end of what somebody writes", || async {
            let left = "SELECT count() FROM system.backups WHERE status = 'CREATING_BACKUP'";
            (nights.engine.sql(left).await == "0").then_some(())
        })
        .await;
        assert_whole(&nights, &daemon, name, &content).await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_while_it_is_proved() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_s3("disk = \"s3_backup\"", "[retention]\nkeep_last = 1").await;
    nights.engine.seed("shop", 500).await;
    let daemon = nights.daemon_at(Clock::System.now()).await;
    daemon
        .succeeds("/backup/create?name=old&table=shop.*")
        .await;
    let (status, pinned) = daemon
        .post_json("/api/v1/backups/old/pin", &json!({}))
        .await;
    assert_eq!(status, 200, "{pinned}");
    daemon
        .succeeds("/backup/create?name=new&table=shop.*")
        .await;
    settled(&daemon).await;
    let looked = Flag::default();
    let told = Arc::clone(&looked);
    let s3 = nights.s3.as_ref().unwrap();
    s3.rule(move |seen| {
        let lists = seen.lists("old");
        told.fetch_or(lists, Ordering::SeqCst);
        match lists {
            true => Act::Hold,
            false => Act::Pass,
        }
    });
    let proof = asked(&daemon, "verify", "old").await;
    is_told("the look for its files", &looked).await;

    // From now on the policy wants it gone.
    let (status, unpinned) = daemon
        .post_json("/api/v1/backups/old/unpin", &json!({}))
        .await;
    assert_eq!(status, 200, "{unpinned}");
    for _ in 0..2 {
        let before = daemon.worker.retention_note().rounds;
        daemon.worker.ask_retention();
        eventually("a round of retention", || async {
            (daemon.worker.retention_note().rounds > before).then_some(())
        })
        .await;
    }
    let (_, plan) = daemon.get_json("/api/v1/retention/plan").await;
    let lines = plan["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["backup"] == "old").unwrap();
    assert_eq!(line["decision"], "keep", "{plan}");
    assert!(
        line["reasons"].to_string().contains("proving old"),
        "{plan}"
    );
    let refusal = refused(&daemon, "delete", "old").await;
    assert!(refusal.contains("proving old"), "{refusal}");
    let (status, cleaned) = daemon
        .post_json("/api/v1/operations", &json!({"kind": "clean"}))
        .await;
    assert_eq!(status, 202, "{cleaned}");
    let cleaned = daemon.end_of(&cleaned).await;
    assert_eq!(cleaned["items"], json!([]), "{cleaned}");
    let both = BTreeSet::from(["new".to_owned(), "old".to_owned()]);
    assert_eq!(nights.folders(), both);

    s3.heal();
    let proof = daemon.end_of(&proof).await;
    assert_eq!(proof["state"], "succeeded", "{proof}");
    settled(&daemon).await;
    nights.assert_exact(&daemon).await;
    assert_eq!(names(&daemon).await, BTreeSet::from(["new".to_owned()]));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_hangs_in_a_removal_keeps_nothing_else_up() {
    if engine::is_foreign() {
        return;
    }
    let nights = Nights::on_s3("disk = \"s3_backup\"", "").await;
    nights.engine.seed("shop", 500).await;
    let daemon = nights.daemon_at(Clock::System.now()).await;
    for name in ["goes", "kept"] {
        daemon
            .succeeds(&format!("/backup/create?name={name}&table=shop.*"))
            .await;
    }
    settled(&daemon).await;
    let (deletes, hangs) = (deletes_objects(&nights, "goes"), Flag::default());
    let told = Arc::clone(&hangs);
    let s3 = nights.s3.as_ref().unwrap();
    s3.rule(move |seen| {
        let is_its = deletes(seen);
        told.fetch_or(is_its, Ordering::SeqCst);
        match is_its {
            true => Act::Hold,
            false => Act::Pass,
        }
    });
    let removal = asked(&daemon, "delete", "goes").await;
    is_told("the deletion that is not answered", &hangs).await;

    // Its name is not free yet, and it is no backup that lost files.
    let kept = BTreeSet::from(["kept".to_owned()]);
    assert_eq!(names(&daemon).await, kept);
    daemon.fails("/backup/create?name=goes&table=shop.*").await;
    daemon.fails("/backup/restore?name=goes").await;
    let wanted = json!({"kind": "verify", "backup": "goes"});
    let (status, answer) = daemon.post_json("/api/v1/operations", &wanted).await;
    assert!(matches!(status, 404 | 409), "{status} {answer}");
    let (status, again) = daemon
        .post_json(
            "/api/v1/operations",
            &json!({"kind": "delete", "backup": "goes"}),
        )
        .await;
    assert_eq!(
        (status, &again["id"]),
        (202, &removal["id"]),
        "the same removal: {again}"
    );
    // The lane goes on beside it, and so do proofs.
    daemon
        .succeeds("/backup/create?name=meanwhile&table=shop.*")
        .await;
    let proof = asked(&daemon, "verify", "meanwhile").await;
    let proof = daemon.end_of(&proof).await;
    assert_eq!(proof["state"], "succeeded", "{proof}");

    s3.heal();
    let removal = daemon.end_of(&removal).await;
    assert_eq!(removal["state"], "succeeded", "{removal}");
    assert_eq!(removal["attempts"].as_array().unwrap().len(), 1);
    settled(&daemon).await;
    nights.assert_exact(&daemon).await;
    let both = BTreeSet::from(["kept".to_owned(), "meanwhile".to_owned()]);
    assert_eq!(names(&daemon).await, both);
    let content = nights.engine.content("shop").await;
    let contents = both.into_iter().map(|name| (name, content.clone()));
    nights
        .assert_restores(&daemon, "shop", &contents.collect())
        .await;
    daemon.stop().await;
}
