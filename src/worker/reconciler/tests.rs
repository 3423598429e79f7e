use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tempfile::TempDir;

use crate::backup::{Deleting, Origin, Pin};
use crate::catalog::View;
use crate::clock::Clock;
use crate::destination::testing::{S3, folder_view, put};
use crate::operation::{DeleteCause, ItemState, Work};
use crate::worker::publisher::document::{FORMAT, Sidecar, sidecar_file};
use crate::worker::testing::{
    FakeServer, NOBODY, at, backup, name, put_backups, put_folder_of, put_manifest, worker,
};
use crate::worker::{GONE_MAX_BACKUPS, ViewState, Worker};

use super::*;

const NOW: &str = "2026-11-22T12:00:00Z";

/// A worker over a folder.
struct Fixture {
    worker: Worker,
    root: TempDir,
    server: FakeServer,
    _state: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let [root, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let server = FakeServer::start().await;
        let destination = Some(folder_view(root.path()));
        let worker = worker(
            state.path(),
            destination,
            &server.url,
            &Clock::anchored(at(NOW)),
        );
        Self {
            worker,
            root,
            server,
            _state: state,
        }
    }

    fn root(&self) -> &Path {
        self.root.path()
    }

    fn view(&self) -> Arc<View> {
        self.worker.0.catalog.view()
    }

    fn names(&self) -> Vec<String> {
        let view = self.view();
        view.backups()
            .map(|backup| backup.name.to_string())
            .collect()
    }

    /// A backup of this server, known and there: with it the view is bound.
    async fn bound() -> Self {
        let fixture = Self::new().await;
        let anchor = backup("anchor", "2026-11-20T02:00:00Z");
        put_folder_of(fixture.root(), &anchor);
        put_backups(&fixture.worker, &[anchor]).await;
        fixture.worker.refresh().await.unwrap();
        assert_eq!(fixture.worker.standing().view, ViewState::Bound);
        fixture
    }

    fn put_sidecar(&self, backup: &crate::backup::Backup) {
        let bytes = serde_json::to_vec(&Sidecar::new(backup.clone(), None)).unwrap();
        self.put_own(&sidecar_file(&backup.name), &bytes);
    }

    fn put_own(&self, file: &str, bytes: &[u8]) {
        put(self.root(), &format!(".clickhouse-backupd/{file}"), bytes);
    }

    fn has_own(&self, file: &str) -> bool {
        self.root().join(".clickhouse-backupd").join(file).exists()
    }

    /// Makes a file as old as `hours` before the fixture's now.
    fn age(&self, key: &str, hours: i64) {
        let then = at(NOW).as_second() - hours * 3_600;
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(then.try_into().unwrap());
        let file = std::fs::File::options()
            .write(true)
            .open(self.root().join(key))
            .unwrap();
        file.set_modified(then).unwrap();
    }
}

#[tokio::test]
async fn what_others_left_is_listed_and_nothing_is_taken_for_more_than_it_is() {
    let fixture = Fixture::new().await;
    put_manifest(fixture.root(), "by_hand", "41b1", None);
    put_manifest(fixture.root(), "inc", "", Some("by_hand"));
    put(
        fixture.root(),
        "daily/2026-01-01/.backup",
        b"<config></config>",
    );
    put(fixture.root(), "abc/defghijklmnopqrstuvwxyz", b"x");
    put(fixture.root(), "-odd name/x", b"x");
    put(
        fixture.root(),
        "page/.backup",
        b"<html>this is no manifest</html>",
    );
    assert!(!fixture.worker.is_read_in());
    fixture.worker.read_in().await.unwrap();
    assert!(fixture.worker.is_read_in());
    assert_eq!(fixture.names(), ["by_hand", "inc"]);
    let view = fixture.view();
    let foreign = view.record(&name("by_hand")).unwrap();
    assert_eq!(
        (&foreign.origin, foreign.attempt.as_str(), foreign.bytes),
        (&Origin::Foreign, "41b1", None)
    );
    assert!(foreign.manifest.is_some());
    let increment = view.record(&name("inc")).unwrap();
    assert_eq!(increment.base, Some(name("by_hand")));
    let standing = fixture.worker.standing();
    assert_eq!(standing.view, ViewState::Unbound);
    assert_eq!(standing.others, ["-odd name", "abc", "daily", "page"]);
    assert_eq!((standing.others_count, standing.broken.len()), (4, 0));
    assert!(standing.listed_at.is_some());

    let before = fixture.view();
    fixture.worker.refresh().await.unwrap();
    assert!(
        Arc::ptr_eq(&before, &fixture.view()),
        "nothing is written where nothing is new"
    );
}

#[tokio::test]
async fn a_view_is_bound_by_a_manifest_that_this_server_wrote() {
    let fixture = Fixture::new().await;
    put_manifest(fixture.root(), "theirs", "41b1", None);
    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.worker.standing().view, ViewState::Unbound);
    fixture.server.says().finished = vec!["41b1".to_owned()];
    fixture.worker.refresh().await.unwrap();
    assert_eq!(
        fixture.worker.standing().view,
        ViewState::Bound,
        "its system.backups has the id"
    );

    let fixture = Fixture::bound().await;
    fixture.server.says().uuid = uuid::Uuid::from_u128(8);
    fixture.worker.refresh().await.unwrap();
    assert_eq!(
        fixture.worker.standing().view,
        ViewState::Unbound,
        "another server binds anew"
    );
}

#[tokio::test]
async fn a_record_alone_does_not_bind() {
    let fixture = Fixture::new().await;
    let elsewhere = backup("2026-11-21", "2026-11-21T02:00:00Z");
    put_backups(&fixture.worker, std::slice::from_ref(&elsewhere)).await;
    fixture.worker.refresh().await.unwrap();
    assert_eq!(
        fixture.worker.standing().view,
        ViewState::Unbound,
        "an empty prefix"
    );
    assert_eq!(
        fixture.names(),
        ["2026-11-21"],
        "nothing is gone for an unbound view"
    );
    put_manifest(fixture.root(), "2026-11-21", "another id", None);
    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.worker.standing().view, ViewState::Unbound);
}

#[tokio::test]
async fn what_vanished_is_gone_and_comes_back() {
    let fixture = Fixture::bound().await;
    let one = backup("one", "2026-11-21T02:00:00Z");
    put_folder_of(fixture.root(), &one);
    put_backups(&fixture.worker, std::slice::from_ref(&one)).await;
    fixture.worker.refresh().await.unwrap();
    std::fs::remove_dir_all(fixture.root().join("one")).unwrap();
    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.names(), ["anchor"]);
    assert!(
        fixture
            .view()
            .record(&one.name)
            .unwrap()
            .gone_since
            .is_some()
    );

    put(fixture.root(), "one/data/x", b"without a manifest");
    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.names(), ["anchor"], "a folder alone is no backup");
    put_folder_of(fixture.root(), &one);
    fixture.worker.refresh().await.unwrap();
    let back = fixture.view().record(&one.name).unwrap().clone();
    assert_eq!((back.gone_since, back.origin), (None, Origin::Client));

    std::fs::remove_dir_all(fixture.root().join("one")).unwrap();
    fixture.worker.refresh().await.unwrap();
    let other = destination::testing::fixture("full1");
    put(fixture.root(), "one/.backup", other.as_bytes());
    fixture.worker.refresh().await.unwrap();
    let other = fixture.view().record(&one.name).unwrap().clone();
    assert_eq!(
        (other.origin, other.attempt.as_str()),
        (Origin::Foreign, "full1"),
        "another backup under the name"
    );
}

#[tokio::test]
async fn a_destination_that_cannot_be_listed_changes_nothing() {
    let fixture = Fixture::bound().await;
    let (away, before) = (fixture.root().with_extension("away"), fixture.view());
    std::fs::rename(fixture.root(), &away).unwrap();
    assert!(fixture.worker.refresh().await.is_err());
    let standing = fixture.worker.standing();
    assert_eq!(standing.view, ViewState::Bound);
    assert!(standing.failure.is_some());
    assert!(Arc::ptr_eq(&before, &fixture.view()));
    std::fs::rename(&away, fixture.root()).unwrap();
    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.worker.standing().failure, None);
}

#[tokio::test]
async fn a_broken_folder_needs_a_lock_or_an_attempt_of_ours_and_an_age() {
    let fixture = Fixture::new().await;
    for folder in ["locked", "young", "running"] {
        put(fixture.root(), &format!("{folder}/.lock"), b"x");
        put(fixture.root(), &format!("{folder}/data/x"), b"12345");
        let hours = if folder == "young" { 23 } else { 25 };
        for file in [".lock", "data/x"] {
            fixture.age(&format!("{folder}/{file}"), hours);
        }
    }
    put(fixture.root(), "data/x", b"12345");
    fixture.age("data/x", 1_000);
    let unproven = crate::backup::Backup {
        manifest: None,
        ..backup("ours", "2026-11-01T02:00:00Z")
    };
    fixture.put_sidecar(&unproven);
    put(fixture.root(), "ours/data/x", b"1");
    fixture.age("ours/data/x", 48);
    fixture.server.says().running = vec![[
        "theirs",
        "Disk('s3_backup', 'running')",
        "",
        "CREATING_BACKUP",
    ]];
    fixture.worker.refresh().await.unwrap();
    let standing = fixture.worker.standing();
    let broken: Vec<_> = standing
        .broken
        .iter()
        .map(|broken| broken.name.as_str())
        .collect();
    assert_eq!(broken, ["locked", "ours"]);
    assert_eq!(
        (standing.broken[0].objects, standing.broken[0].bytes),
        (2, 6)
    );
    assert!(
        standing.broken[0].reason.contains(".lock"),
        "{:?}",
        standing.broken
    );
    assert_eq!(standing.others, ["data"]);
    assert_eq!(fixture.names(), Vec::<String>::new());

    fixture.server.says().running.clear();
    fixture.worker.refresh().await.unwrap();
    assert_eq!(
        fixture.worker.standing().broken.len(),
        3,
        "it ran, and is dead now"
    );
    put_manifest(fixture.root(), "locked", "late", None);
    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.worker.standing().broken.len(), 2);
    assert_eq!(fixture.names(), ["locked"]);
}

#[tokio::test]
async fn nothing_is_broken_while_clickhouse_cannot_be_asked() {
    let [root, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    put(root.path(), "dead/.lock", b"x");
    let clock = Clock::anchored("2036-11-22T12:00:00Z".parse().unwrap());
    let worker = worker(state.path(), Some(folder_view(root.path())), NOBODY, &clock);
    worker.refresh().await.unwrap();
    assert!(worker.is_read_in());
    assert_eq!(worker.standing().broken, Vec::new());
}

#[tokio::test]
async fn a_disk_that_keeps_names_on_the_server_sets_the_view_aside() {
    let fixture = Fixture::new().await;
    put_manifest(fixture.root(), "x", "y", None);
    fixture.server.says().disk =
        r#"{"type":"ObjectStorage","object_storage_type":"S3","metadata_type":"Local"}"#.into();
    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.worker.standing().view, ViewState::NamesOnServer);
    assert!(fixture.worker.is_read_in());
    assert_eq!(fixture.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_removal_that_did_not_end_goes_on_after_the_memory_is_lost() {
    let fixture = Fixture::new().await;
    let deleting = |text| crate::backup::Backup {
        deleting: Some(Deleting {
            operation: uuid::Uuid::from_u128(3),
            since: at("2026-11-22T10:00:00Z"),
        }),
        ..backup(text, "2026-11-01T02:00:00Z")
    };
    let (half, done, replaced) = (deleting("half"), deleting("done"), deleting("replaced"));
    for backup in [&half, &done, &replaced] {
        fixture.put_sidecar(backup);
    }
    put(fixture.root(), "half/data/x", b"x");
    put(
        fixture.root(),
        "replaced/.backup",
        destination::testing::fixture("full1").as_bytes(),
    );
    let lost = backup("lost", "2026-11-02T02:00:00Z");
    fixture.put_sidecar(&lost);
    fixture.worker.refresh().await.unwrap();

    let view = fixture.view();
    let operations: Vec<_> = view.unfinished().collect();
    assert_eq!(operations.len(), 1);
    let Work::Delete(work) = &operations[0].work else {
        panic!("{operations:?}")
    };
    assert_eq!(work.cause, DeleteCause::Resumed);
    let items = &operations[0].items;
    assert_eq!(
        (items.len(), &items[0].backup, &items[0].state),
        (1, &half.name, &ItemState::Begun)
    );
    assert_eq!(
        items[0].manifest,
        half.manifest.map(|manifest| manifest.uuid)
    );
    let record = view.record(&half.name).unwrap().deleting.clone().unwrap();
    assert_eq!(record.operation, operations[0].id.as_uuid());
    assert_eq!(record.since, at("2026-11-22T10:00:00Z"));
    assert!(!fixture.has_own("done.json") && view.record(&done.name).is_none());
    assert_eq!(view.record(&replaced.name).unwrap().origin, Origin::Foreign);
    assert!(!fixture.has_own("replaced.json"));
    assert!(view.record(&lost.name).unwrap().gone_since.is_some());

    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.view().operations().count(), 1, "once");
}

#[tokio::test]
async fn a_removal_whose_operation_ended_is_taken_up_or_forgotten() {
    let fixture = Fixture::bound().await;
    let deleting = |text| crate::backup::Backup {
        deleting: Some(Deleting {
            operation: uuid::Uuid::from_u128(3),
            since: at("2026-11-22T10:00:00Z"),
        }),
        ..backup(text, "2026-11-01T02:00:00Z")
    };
    put(fixture.root(), "half/data/x", b"x");
    fixture.put_sidecar(&deleting("done"));
    put_backups(&fixture.worker, &[deleting("half"), deleting("done")]).await;
    fixture.worker.refresh().await.unwrap();
    let view = fixture.view();
    assert_eq!(view.unfinished().count(), 1);
    assert!(view.record(&name("half")).is_some());
    assert!(view.record(&name("done")).is_none() && !fixture.has_own("done.json"));
}

#[tokio::test]
async fn files_that_cannot_be_read_are_left_and_the_manifest_counts() {
    let fixture = Fixture::new().await;
    let (newer, damaged) = (format!("{{\"format\":{}}}", FORMAT + 1), "{\"format\":1");
    for (text, body) in [("newer", newer.as_str()), ("damaged", damaged)] {
        put_manifest(fixture.root(), text, "x", None);
        fixture.put_own(&format!("{text}.json"), body.as_bytes());
    }
    fixture.put_own("state.json", newer.as_bytes());
    fixture.worker.refresh().await.unwrap();
    assert_eq!(fixture.names(), ["damaged", "newer"]);
    assert!(
        fixture
            .view()
            .backups()
            .all(|backup| backup.origin == Origin::Foreign)
    );
    for (file, is_left) in [
        ("newer.json", true),
        ("state.json", true),
        ("damaged.json", false),
    ] {
        assert_eq!(fixture.worker.seen().is_left_alone(file), is_left, "{file}");
        assert!(fixture.has_own(file));
    }
    let pinned = crate::backup::Backup {
        pinned: Some(Pin {
            at: at(NOW),
            by: None,
            reason: None,
        }),
        ..fixture.view().record(&name("newer")).unwrap().clone()
    };
    fixture.worker.publish_backup(&pinned).await.unwrap();
    let kept = std::fs::read(fixture.root().join(".clickhouse-backupd/newer.json")).unwrap();
    assert_eq!(kept, newer.as_bytes(), "never written over");
}

#[tokio::test]
async fn those_that_are_gone_are_kept_up_to_a_limit() {
    let fixture = Fixture::bound().await;
    let gone = |n: usize| {
        let second = i64::try_from(n).unwrap();
        crate::backup::Backup {
            gone_since: Some(Timestamp::from_second(second).unwrap()),
            ..backup(&format!("gone{n}"), "2026-11-01T02:00:00Z")
        }
    };
    let all: Vec<_> = (0..GONE_MAX_BACKUPS + 5).map(gone).collect();
    fixture.put_sidecar(&all[0]);
    put_backups(&fixture.worker, &all).await;
    fixture.worker.refresh().await.unwrap();
    let view = fixture.view();
    assert_eq!(
        view.all_backups()
            .filter(|backup| backup.gone_since.is_some())
            .count(),
        GONE_MAX_BACKUPS
    );
    assert!(view.record(&name("gone4")).is_none() && view.record(&name("gone5")).is_some());
    assert!(!fixture.has_own("gone0.json"));
}

#[tokio::test]
async fn two_thousand_files_of_ours_cost_a_request_each_and_the_next_round_none() {
    const BACKUPS: usize = 2_000;
    let s3 = S3::start().await;
    let state = tempfile::tempdir().unwrap();
    for n in 0..BACKUPS {
        let backup = backup(&format!("b{n}"), "2026-11-01T02:00:00Z");
        put_folder_of(&s3.prefix(), &backup);
        let bytes = serde_json::to_vec(&Sidecar::new(backup.clone(), None)).unwrap();
        put(
            &s3.prefix(),
            &format!(".clickhouse-backupd/b{n}.json"),
            &bytes,
        );
    }
    let clock = Clock::anchored(at(NOW));
    let worker = worker(state.path(), Some(s3.view()), NOBODY, &clock);
    worker.read_in().await.unwrap();
    let kinds = s3.kinds();
    let count = |wanted: &str| kinds.iter().filter(|kind| **kind == wanted).count();
    assert_eq!(worker.0.catalog.view().backups().count(), BACKUPS);
    // Two pages of folders with our own, two of files; state.json and each sidecar once.
    let lists = count("list");
    assert!((4..=6).contains(&lists), "{lists}");
    assert_eq!(count("get"), BACKUPS + 1);
    assert_eq!(kinds.len(), lists + BACKUPS + 1, "nothing else");
    worker.refresh().await.unwrap();
    assert_eq!(s3.kinds(), vec!["list"; lists]);
}

#[tokio::test]
async fn a_fault_of_the_store_while_reading_in_leaves_all_of_it_for_the_next_time() {
    use crate::destination::testing::Fault;
    let s3 = S3::start().await;
    let state = tempfile::tempdir().unwrap();
    for n in 0..40 {
        put_manifest(&s3.prefix(), &format!("b{n}"), "x", None);
    }
    let worker = worker(
        state.path(),
        Some(s3.view()),
        NOBODY,
        &Clock::anchored(at(NOW)),
    );
    s3.make(|asked, number| {
        let fails = asked.kind == "get" && number > 20;
        fails.then(|| Fault::Answer(503, String::new()))
    });
    assert!(worker.refresh().await.is_err());
    assert!(!worker.is_read_in());
    assert_eq!(worker.0.catalog.view().backups().count(), 0);
    s3.heal();
    worker.refresh().await.unwrap();
    assert_eq!(worker.0.catalog.view().backups().count(), 40);
}

#[tokio::test(start_paused = true)]
async fn the_loop_reads_in_refreshes_when_asked_and_ends() {
    let fixture = Fixture::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(fixture.worker.clone().run_reconciler(stop.clone()));
    let until = async |wanted: usize| {
        while fixture.names().len() != wanted || !fixture.worker.is_read_in() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(0).await;
    put_manifest(fixture.root(), "one", "x", None);
    fixture.worker.ask_refresh();
    until(1).await;
    put_manifest(fixture.root(), "two", "x", None);
    until(2).await;
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn waits_grow_to_a_limit() {
    let seconds: Vec<u64> = (1..=7).map(|n| retry_after(n, false).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(retry_after(u32::MAX, true), RETRY_MAX);
}
