//! The view on a real S3 server and on a folder.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rstest::rstest;

use super::testing::{Fault, S3, fixture, folder_view, impatient, put, put_fixture, view};
use super::*;

/// Both kinds of place, to the same questions.
struct Both {
    s3: S3,
    folder: tempfile::TempDir,
}

impl Both {
    async fn start() -> Self {
        let (s3, folder) = (S3::start().await, tempfile::tempdir().unwrap());
        std::fs::create_dir(s3.prefix()).unwrap();
        Self { s3, folder }
    }

    fn views(&self) -> [(Destination, std::path::PathBuf); 2] {
        [
            (self.s3.view(), self.s3.prefix()),
            (
                folder_view(self.folder.path()),
                self.folder.path().to_owned(),
            ),
        ]
    }
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

fn chain<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

fn denied(code: &str) -> Fault {
    let body = format!("<Error><Code>{code}</Code><Message>not you</Message></Error>");
    Fault::Answer(403, body)
}

fn is_send<T: Send>(_: &T) {}

#[tokio::test]
async fn every_question_can_be_asked_from_a_task_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let view = folder_view(dir.path());
    is_send(&view.folders());
    is_send(&view.own_files());
    is_send(&view.read_own("x"));
    is_send(&view.write_own("x", Bytes::new()));
    is_send(&view.head("x"));
    is_send(&view.lock("x"));
    is_send(&view.summary("x"));
    is_send(&view.manifest("x"));
    is_send(&view.prove(&[]));
    is_send(&view.clear("x", || true));
    is_send(&view.writable());
    is_send(&view.folders().await);
}

#[tokio::test]
async fn folders_with_odd_names_are_listed_and_cleared_as_they_are_called() {
    let both = Both::start().await;
    for (view, root) in both.views() {
        let odd = [
            "2026-11-22",
            "a b",
            "100%20",
            "é~#1[x]",
            "a&b<c>",
            "+",
            "quo'te",
            ".hidden",
        ];
        for name in odd {
            put(
                &root,
                &format!("{name}/data/d/odd%20name%2E1%25/all_1_1_0/x.bin"),
                b"12345",
            );
        }
        put(&root, ".clickhouse-backupd/2026-11-22.json", b"{}");
        put(&root, "a-file.tar", b"no folder");
        assert_eq!(view.folders().await.unwrap(), names(odd), "{view:?}");
        for name in odd {
            let summary = view.summary(name).await.unwrap();
            assert_eq!((summary.objects, summary.bytes), (1, 5), "{name}");
            assert!(!summary.has_lock && !summary.has_manifest && summary.newest.is_some());
            let cleared = view.clear(name, || true).await.unwrap();
            let expected = Cleared {
                objects: 1,
                bytes: 5,
                interrupted: None,
            };
            assert_eq!(cleared, expected, "{name}");
            assert_eq!(view.summary(name).await.unwrap(), FolderSummary::default());
        }
        let own = view.own_files().await.unwrap();
        assert_eq!(own[0].name, "2026-11-22.json");
        assert!(root.join("a-file.tar").exists());
    }
    assert_eq!(
        folder_view(both.folder.path()).folders().await.unwrap(),
        names([])
    );
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused_before_anything_is_asked() {
    let both = Both::start().await;
    both.s3.asked();
    for (view, _) in both.views() {
        for name in ["", ".", "..", "a/b", "../x", OWN_FOLDER, "a\0b"] {
            let refused = |error| assert!(matches!(error, Error::Name { .. }), "{name}: {error}");
            refused(view.head(name).await.unwrap_err());
            refused(view.lock(name).await.unwrap_err());
            refused(view.remove_lock(name).await.unwrap_err());
            refused(view.remove_manifest(name).await.unwrap_err());
            refused(view.summary(name).await.unwrap_err());
            refused(view.clear(name, || true).await.unwrap_err());
            refused(view.prove(&chain([name])).await.unwrap_err());
            refused(view.manifest(name).await.map(|_| ()).unwrap_err());
        }
        assert!(matches!(
            view.write_own("../x", Bytes::new()).await,
            Err(Error::Name { .. })
        ));
    }
    assert_eq!(both.s3.asked().len(), 0);
}

#[tokio::test]
async fn our_own_files_are_written_read_listed_and_deleted() {
    let both = Both::start().await;
    for (view, _) in both.views() {
        assert_eq!(view.own_files().await.unwrap(), []);
        assert_eq!(view.read_own("state.json").await.unwrap(), None);
        let body = Bytes::from(vec![b'x'; 100_000]);
        view.write_own("state.json", body.clone()).await.unwrap();
        view.write_own("a b%.json", Bytes::new()).await.unwrap();
        view.writable().await.unwrap();
        assert_eq!(view.read_own("state.json").await.unwrap(), Some(body));
        assert_eq!(
            view.read_own("a b%.json").await.unwrap(),
            Some(Bytes::new())
        );
        let found = view.own_files().await.unwrap();
        let found: Vec<&str> = found.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(found, ["a b%.json", "state.json"]);
        for _ in 0..2 {
            view.delete_own("state.json").await.unwrap();
        }
        assert_eq!(view.read_own("state.json").await.unwrap(), None);
        // What is larger than the limit is never fetched.
        view.write_own("large.json", Bytes::from_static(b"0123456789a"))
            .await
            .unwrap();
        let large = own_key("large.json").unwrap();
        let read = view.store.get(&large, None, None, 10).await;
        assert!(matches!(read, Err(Error::Invalid { .. })), "{read:?}");
    }
    // 64 MiB and one byte, which take no room in a folder; the bucket would hash them.
    let [_, (view, root)] = both.views();
    let large = std::fs::File::create(root.join(OWN_FOLDER).join("large.json")).unwrap();
    large.set_len(OWN_FILE_MAX_BYTES + 1).unwrap();
    assert!(matches!(
        view.read_own("large.json").await,
        Err(Error::Invalid { .. })
    ));
}

#[tokio::test]
async fn locks_and_manifests_are_seen_and_removed() {
    let both = Both::start().await;
    for (view, root) in both.views() {
        put_fixture(&root, "full1");
        put(
            &root,
            "full1/.lock",
            b"7a8feea7-5c95-4f88-b955-4eedcedd9643",
        );
        assert!(view.lock("full1").await.unwrap().is_some());
        let summary = view.summary("full1").await.unwrap();
        assert!(summary.has_lock && summary.has_manifest);
        assert_eq!((summary.objects, summary.bytes), (54, 48_040 + 36));
        let cleared = view.clear("full1", || true).await.unwrap();
        assert_eq!(cleared.objects, 0);
        assert!(cleared.interrupted.unwrap().contains("full1/."));
        for _ in 0..2 {
            view.remove_manifest("full1").await.unwrap();
            view.remove_lock("full1").await.unwrap();
        }
        assert_eq!(view.lock("full1").await.unwrap(), None);
        assert_eq!(view.head("full1").await.unwrap(), None);
        assert_eq!(view.clear("full1", || true).await.unwrap().objects, 52);
    }
}

#[tokio::test]
async fn a_head_is_one_ranged_request() {
    let both = Both::start().await;
    put_fixture(&both.s3.prefix(), "inc1");
    both.s3.asked();
    let view = both.s3.view();
    let head = view.head("inc1").await.unwrap().unwrap();
    assert_eq!(head.uuid, "fc5d86be-6554-4825-9afd-01496abba67a");
    assert_eq!(head.backup_id.as_deref(), Some("inc1"));
    assert_eq!(head.timestamp.as_deref(), Some("2026-11-22 21:18:50"));
    let base = head.base.unwrap();
    assert_eq!(base.text, "Disk('s3_backup', 'full1')");
    assert_eq!(
        base.uuid.as_deref(),
        Some("19065681-0b44-4658-850a-388374942e25")
    );
    assert_eq!(head.size_bytes, 14_830);
    let asked = both.s3.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].range.as_deref(), Some("bytes=0-4095"));
    assert!(
        asked[0].agent.starts_with("clickhouse-backupd/"),
        "{}",
        asked[0].agent
    );
}

#[tokio::test]
async fn heads_that_are_long_empty_or_none() {
    let both = Both::start().await;
    for (view, root) in both.views() {
        let long = format!("<x>{}</x>", "y".repeat(9_000));
        let long = fixture("inc1").replacen("<uuid>", &format!("{long}<uuid>"), 1);
        put(&root, "long/.backup", long.as_bytes());
        assert!(view.head("long").await.unwrap().is_some());
        let empty_backup = "<config><version>1</version><uuid>u</uuid><contents/></config>";
        put(&root, "nothing/.backup", empty_backup.as_bytes());
        assert_eq!(view.head("nothing").await.unwrap().unwrap().uuid, "u");
        let endless = format!("<config><version>1</version>{}", "<x>y</x>".repeat(100_000));
        for (name, body) in [
            ("empty", ""),
            ("html", "<html>"),
            ("endless", &endless),
            ("text", "hello"),
        ] {
            put(&root, &format!("{name}/.backup"), body.as_bytes());
            let answer = view.head(name).await;
            assert!(
                matches!(answer, Err(Error::Invalid { .. })),
                "{name}: {answer:?}"
            );
        }
        let text = view.head("html").await.unwrap_err().to_string();
        assert!(
            text.contains("html/.backup") && text.contains("no manifest"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn listing_2500_folders_takes_three_requests() {
    let both = Both::start().await;
    for number in 0..2_500 {
        put(&both.s3.prefix(), &format!("b{number}/.backup"), b"x");
    }
    both.s3.asked();
    assert_eq!(both.s3.view().folders().await.unwrap().len(), 2_500);
    assert_eq!(both.s3.kinds(), ["list"; 3]);
}

#[tokio::test]
async fn a_clear_takes_all_of_its_folder_and_nothing_beside_it() {
    let both = Both::start().await;
    for (view, root) in both.views() {
        for number in 0..2_500 {
            put(&root, &format!("one/data/{}/{number}", number % 7), b"123");
        }
        put(&root, "one-more/data/x", b"stays");
        put(&root, "on", b"stays");
        let cleared = view.clear("one", || true).await.unwrap();
        assert_eq!((cleared.objects, cleared.bytes), (2_500, 7_500));
        assert_eq!(cleared.interrupted, None);
        assert!(root.join("one-more/data/x").exists() && root.join("on").exists());
    }
    assert!(!both.folder.path().join("one").exists());
}

#[tokio::test]
async fn clearing_2500_objects_takes_three_deletes() {
    let s3 = S3::start().await;
    for number in 0..2_500 {
        put(&s3.prefix(), &format!("one/data/{number}"), b"123");
    }
    s3.asked();
    s3.view().clear("one", || true).await.unwrap();
    let mut kinds = s3.kinds();
    assert_eq!(kinds.pop(), Some("list"));
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        ["delete", "delete", "delete", "list", "list", "list"]
    );
}

#[tokio::test]
async fn a_clear_stops_when_it_is_told_to() {
    let both = Both::start().await;
    for (view, root) in both.views() {
        for number in 0..3_500 {
            put(&root, &format!("one/data/{number}"), b"123");
        }
        let asked = AtomicUsize::new(0);
        let cleared = view
            .clear("one", || asked.fetch_add(1, Ordering::Relaxed) < 2)
            .await
            .unwrap();
        assert_eq!(cleared.objects, 2_000);
        assert_eq!(cleared.interrupted.as_deref(), Some("it was asked to stop"));
        assert_eq!(view.summary("one").await.unwrap().objects, 1_500);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_is_cleared_with_its_empty_folders_and_no_link_is_followed() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(other.path(), "data/precious", b"stays");
    put(dir.path(), "one/data/x", b"1");
    std::fs::create_dir_all(dir.path().join("one/data/empty/emptier")).unwrap();
    std::os::unix::fs::symlink(other.path(), dir.path().join("one/link")).unwrap();
    std::os::unix::fs::symlink(
        other.path().join("data/precious"),
        dir.path().join("one/file"),
    )
    .unwrap();
    std::os::unix::fs::symlink(other.path(), dir.path().join("elsewhere")).unwrap();
    let view = folder_view(dir.path());
    assert_eq!(view.folders().await.unwrap(), names(["elsewhere", "one"]));
    assert_eq!(view.clear("one", || true).await.unwrap().objects, 3);
    assert!(!dir.path().join("one").exists());
    let refused = view.clear("elsewhere", || true).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    assert!(other.path().join("data/precious").exists());
}

#[tokio::test]
async fn a_place_that_is_not_there_is_no_empty_place() {
    let s3 = S3::start().await;
    // The test server says NoSuchKey where Amazon says this.
    s3.make(|asked, _| {
        let body = "<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>".to_owned();
        let is_other = asked.path.starts_with("/nobucket/") && asked.kind != "list";
        is_other.then_some(Fault::Answer(404, body))
    });
    let mut settings = view("s3://nobucket/prefix", &s3.endpoint);
    let wrong_bucket = Destination::open_with(&settings, &impatient()).unwrap();
    settings.url = "s3://bucket/nowhere".to_owned();
    let wrong_prefix = Destination::open_with(&settings, &impatient()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let wrong_root = folder_view(&dir.path().join("absent"));
    for view in [wrong_bucket, wrong_root] {
        let unavailable = |error: Error| {
            assert!(
                matches!(error, Error::Unavailable { .. }),
                "{view:?}: {error:?}"
            );
        };
        unavailable(view.folders().await.unwrap_err());
        unavailable(view.own_files().await.unwrap_err());
        unavailable(view.read_own("x").await.unwrap_err());
        unavailable(view.write_own("x", Bytes::new()).await.unwrap_err());
        unavailable(view.summary("x").await.unwrap_err());
        unavailable(view.manifest("x").await.map(|_| ()).unwrap_err());
        unavailable(view.clear("x", || true).await.unwrap_err());
        unavailable(view.writable().await.unwrap_err());
        unavailable(view.head("x").await.unwrap_err());
        unavailable(view.lock("x").await.unwrap_err());
        unavailable(view.prove(&chain(["x"])).await.unwrap_err());
    }
    assert!(!dir.path().join("absent").exists());
    assert_eq!(wrong_prefix.folders().await.unwrap(), names([]));
    assert_eq!(wrong_prefix.own_files().await.unwrap(), []);
    assert_eq!(wrong_prefix.head("x").await.unwrap(), None);
}

#[tokio::test]
async fn a_real_chain_is_proved_and_every_kind_of_damage_is_named() {
    let both = Both::start().await;
    for (view, root) in both.views() {
        for name in [
            "full1",
            "inc1",
            "inc2",
            "hash",
            "hash2",
            "nodedup",
            "encrypted",
        ] {
            put_fixture(&root, name);
        }
        let full = view.prove(&chain(["full1"])).await.unwrap();
        let own = ManifestTotals {
            files: 85,
            bytes: 44_422,
            bytes_written: 48_040,
        };
        // As system.backups said: num_files, total_size, compressed_size.
        assert_eq!(
            (full.own, full.missing_count),
            (own, 0),
            "{:?}",
            full.missing
        );
        assert_eq!((full.files, full.bytes), (53, 48_040));
        let proved = view.prove(&chain(["inc2", "inc1", "full1"])).await.unwrap();
        let own = ManifestTotals {
            files: 94,
            bytes: 47_273,
            bytes_written: 19_969,
        };
        assert_eq!(
            (proved.own, proved.missing_count),
            (own, 0),
            "{:?}",
            proved.missing
        );
        assert_eq!(proved.bytes, 48_040 + 20_661 + 19_969);
        for others in [vec!["hash2", "hash"], vec!["nodedup"], vec!["encrypted"]] {
            let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
            let proved = view.prove(&others).await.unwrap();
            assert_eq!(proved.missing_count, 0, "{others:?} {:?}", proved.missing);
        }
        damage(&view, &root).await;
    }
}

/// The one missing file that a proof of `inc2` finds.
async fn only(view: &Destination, backups: &[String]) -> Missing {
    let proved = view.prove(backups).await.unwrap();
    assert_eq!(proved.missing_count, 1, "{:?}", proved.missing);
    proved.missing[0].clone()
}

async fn damage(view: &Destination, root: &std::path::Path) {
    let all = chain(["inc2", "inc1", "full1"]);
    let key = "data/d/log/s.bin";
    // The end of a file that grew, in the middle of the chain, is too short.
    put(root, &format!("inc1/{key}"), &[0; 892]);
    let missing = only(view, &all).await;
    assert_eq!(
        (missing.backup.as_str(), missing.file.as_str()),
        ("inc1", key)
    );
    assert_eq!(
        (missing.size_wanted, missing.size_found),
        (Some(893), Some(892))
    );
    assert_eq!(missing.problem, Problem::OtherSize);
    put(root, &format!("inc1/{key}"), &[0; 893]);
    // An object of the full that two files share: both are lost.
    let shared = "data/d/twin/all_1_1_0/x.bin";
    let size = std::fs::metadata(root.join("full1").join(shared))
        .unwrap()
        .len();
    std::fs::remove_file(root.join("full1").join(shared)).unwrap();
    let proved = view.prove(&all).await.unwrap();
    assert_eq!(proved.missing_count, 2, "{:?}", proved.missing);
    assert!(
        proved
            .missing
            .iter()
            .all(|one| one.file == shared && one.problem == Problem::Absent)
    );
    put(
        root,
        &format!("full1/{shared}"),
        &vec![0; size.try_into().unwrap()],
    );
    // A base that was made again under its name.
    let again = fixture("full1").replace("19065681-", "00000000-");
    put(root, "full1/.backup", again.as_bytes());
    assert_eq!(only(view, &all).await.problem, Problem::OtherBase);
    // A base whose manifest has not all that is wanted of it.
    let less = fixture("full1").replace("99f595e6f584fa1146db7ee8e96b7f22", "0");
    put(root, "full1/.backup", less.as_bytes());
    let missing = only(view, &all).await;
    assert_eq!(
        (missing.problem, missing.size_wanted),
        (Problem::NotInBase, Some(9_417))
    );
    assert_eq!(missing.file, key);
    // A manifest that was cut off, at the base and at the backup itself.
    put(root, "full1/.backup", &fixture("full1").as_bytes()[..9_000]);
    let missing = only(view, &all).await;
    assert_eq!(
        (missing.backup.as_str(), missing.file.as_str()),
        ("full1", ".backup")
    );
    assert_eq!(missing.problem, Problem::Unreadable);
    assert_eq!(
        only(view, &chain(["full1"])).await.problem,
        Problem::Unreadable
    );
    // One that is not there, and a chain that ends too early.
    std::fs::remove_file(root.join("full1/.backup")).unwrap();
    let missing = only(view, &all).await;
    assert_eq!(
        (missing.backup.as_str(), missing.problem),
        ("full1", Problem::Absent)
    );
    assert_eq!(only(view, &chain(["inc2", "inc1"])).await.backup, "full1");
    // Files in a base, and no base.
    let (before, after) = (fixture("inc2"), "<contents>");
    let (header, files) = before.split_once(after).unwrap();
    let header = header.split_once("<base_backup>").unwrap().0;
    put(
        root,
        "inc2/.backup",
        format!("{header}{after}{files}").as_bytes(),
    );
    let proved = view.prove(&chain(["inc2"])).await.unwrap();
    assert_eq!(proved.missing_count, 74, "{:?}", proved.missing);
    assert_eq!(proved.missing[0].problem, Problem::NotInBase);
    // Nothing at all.
    let proved = view.prove(&chain(["absent"])).await.unwrap();
    assert_eq!(
        (proved.missing_count, proved.own),
        (1, ManifestTotals::default())
    );
}

#[tokio::test]
async fn all_missing_files_are_counted_and_twenty_named() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "full1/.backup", fixture("full1").as_bytes());
    let proved = folder_view(dir.path())
        .prove(&chain(["full1"]))
        .await
        .unwrap();
    assert_eq!((proved.missing_count, proved.missing.len()), (81, 20));
    assert_eq!(proved.own.files, 85);
}

#[tokio::test]
async fn sizes_and_names_that_no_backup_has_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, size: u64| {
        format!("<file><name>{name}</name><size>{size}</size><checksum>1</checksum></file>")
    };
    let files = [
        file("a", u64::MAX),
        file("a", u64::MAX),
        file("../../b", 1),
        file("/", 1),
    ]
    .concat();
    let text =
        format!("<config><version>1</version><uuid>u</uuid><contents>{files}</contents></config>");
    put(dir.path(), "one/.backup", text.as_bytes());
    put(dir.path(), "b", b"1");
    let proved = folder_view(dir.path())
        .prove(&chain(["one"]))
        .await
        .unwrap();
    assert_eq!(
        (proved.missing_count, proved.own.files),
        (4, 4),
        "{:?}",
        proved.missing
    );
    assert_eq!(proved.own.bytes, u64::MAX);
}

/// Two entries of one name are one object; where they contradict each other, one of them is wrong.
#[tokio::test]
async fn a_name_that_stands_twice_is_looked_at_twice() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        |size: u64| format!("<file><name>a</name><size>{size}</size><checksum>1</checksum></file>");
    let text = |files: String| {
        format!("<config><version>1</version><uuid>u</uuid><contents>{files}</contents></config>")
    };
    put(dir.path(), "one/a", b"123");
    put(
        dir.path(),
        "one/.backup",
        text(file(3) + &file(3)).as_bytes(),
    );
    let view = folder_view(dir.path());
    let proved = view.prove(&chain(["one"])).await.unwrap();
    assert_eq!(
        (proved.missing_count, proved.files, proved.own.files),
        (0, 2, 2)
    );
    assert_eq!(proved.own.bytes_written - proved.bytes, 0);
    put(
        dir.path(),
        "one/.backup",
        text(file(3) + &file(4)).as_bytes(),
    );
    assert_eq!(
        only(&view, &chain(["one"])).await.problem,
        Problem::OtherSize
    );
}

#[tokio::test]
async fn a_store_that_is_busy_is_asked_again() {
    let s3 = S3::start().await;
    put(&s3.prefix(), "one/.lock", b"x");
    s3.make(|asked, number| {
        let busy = || Fault::Answer(503, "<Error><Code>SlowDown</Code></Error>".to_owned());
        (asked.kind == "list" && number <= 3).then(busy)
    });
    assert_eq!(s3.view().folders().await.unwrap(), names(["one"]));
    assert_eq!(s3.kinds(), ["list"; 4]);
    s3.make(|_, _| {
        Some(Fault::Answer(
            503,
            "<Error><Code>SlowDown</Code></Error>".to_owned(),
        ))
    });
    for error in [
        s3.view().folders().await.unwrap_err(),
        s3.view().lock("one").await.unwrap_err(),
        s3.view().clear("one", || true).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("SlowDown"), "{error}");
    }
    assert_eq!(s3.asked().len(), 15);
}

#[tokio::test]
async fn a_clear_goes_on_where_every_third_delete_fails() {
    let s3 = S3::start().await;
    for number in 0..4_500 {
        put(&s3.prefix(), &format!("one/data/{number}"), b"1");
    }
    s3.make(|asked, number| {
        let broken = || Fault::Answer(500, "<Error><Code>InternalError</Code></Error>".to_owned());
        (asked.kind == "delete" && number % 3 == 0).then(broken)
    });
    let cleared = s3.view().clear("one", || true).await.unwrap();
    assert_eq!((cleared.objects, cleared.interrupted), (4_500, None));
    assert!(s3.kinds().iter().filter(|kind| **kind == "delete").count() >= 6);
}

#[rstest]
#[case("AccessDenied", 1)]
#[case("KeyTooLongError", 5)]
#[tokio::test]
async fn errors_of_single_keys_are_seen(#[case] code: &'static str, #[case] deletes: usize) {
    let s3 = S3::start().await;
    put(&s3.prefix(), "one/data/x", b"1");
    s3.make(move |asked, _| {
        let body = format!(
            "<DeleteResult><Error><Key>prefix/one/data/x</Key><Code>{code}</Code><Message>no</Message></Error></DeleteResult>"
        );
        (asked.kind == "delete").then_some(Fault::Answer(200, body))
    });
    let error = s3.view().clear("one", || true).await.unwrap_err();
    assert_eq!(
        matches!(error, Error::Denied { .. }),
        code == "AccessDenied",
        "{error:?}"
    );
    assert!(error.to_string().contains(code), "{error}");
    let kinds = s3.kinds();
    assert_eq!(
        kinds.iter().filter(|kind| **kind == "delete").count(),
        deletes
    );
    s3.heal();
    assert_eq!(s3.view().clear("one", || true).await.unwrap().objects, 1);
}

#[tokio::test]
async fn a_clear_ends_where_somebody_goes_on_writing() {
    let s3 = S3::start().await;
    put(&s3.prefix(), "one/data/x", b"1");
    let again = s3.prefix();
    s3.make(move |asked, _| {
        if asked.kind == "list" {
            put(&again, "one/data/x", b"1");
        }
        None
    });
    let error = s3.view().clear("one", || true).await.unwrap_err();
    assert!(error.to_string().contains("somebody writes"), "{error}");
    // One that writes a lock first is seen before anything of its own goes.
    let locked = s3.prefix();
    s3.make(move |asked, number| {
        if asked.kind == "list" && number == 2 {
            put(&locked, "one/.lock", b"1");
            put(&locked, "one/data/y", b"1");
        }
        None
    });
    put(&s3.prefix(), "one/data/x", b"1");
    let cleared = s3.view().clear("one", || true).await.unwrap();
    assert_eq!(cleared.objects, 1);
    assert!(cleared.interrupted.unwrap().contains("one/.lock"));
    assert!(s3.prefix().join("one/data/y").exists());
}

#[tokio::test]
async fn a_silent_store_is_unavailable_in_time() {
    let s3 = S3::start().await;
    s3.make(|_, _| Some(Fault::Silence));
    let mut patience = impatient();
    (patience.request, patience.retries) = (Duration::from_millis(100), 1);
    let silent =
        Destination::open_with(&view("s3://bucket/prefix", &s3.endpoint), &patience).unwrap();
    let dead = view("s3://bucket/prefix", "http://127.0.0.1:1");
    let dead = Destination::open_with(&dead, &patience).unwrap();
    for view in [silent, dead] {
        for error in [
            view.folders().await.unwrap_err(),
            view.head("x").await.unwrap_err(),
            view.clear("x", || true).await.unwrap_err(),
            view.prove(&chain(["x"])).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn wrong_keys_are_denied_and_never_printed() {
    let s3 = S3::start().await;
    put_fixture(&s3.prefix(), "full1");
    let mut settings = view("s3://bucket/prefix", &s3.endpoint);
    settings.s3_secret_access_key = Some(SecretSource::from("hunter2"));
    let wrong = Destination::open_with(&settings, &impatient()).unwrap();
    for error in [
        wrong.folders().await.unwrap_err(),
        wrong.head("full1").await.unwrap_err(),
        wrong.write_own("x", Bytes::new()).await.unwrap_err(),
        wrong.remove_manifest("full1").await.unwrap_err(),
        wrong.clear("full1", || true).await.unwrap_err(),
        wrong.prove(&chain(["full1"])).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        let text = format!("{error} {error:?} {wrong:?} {settings:?}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn rotated_keys_are_taken_from_their_files_without_a_restart() {
    let s3 = S3::start().await;
    put_fixture(&s3.prefix(), "full1");
    let keys = tempfile::tempdir().unwrap();
    let (id, secret) = (keys.path().join("id"), keys.path().join("secret"));
    std::fs::write(&id, "access\n").unwrap();
    std::fs::write(&secret, "secret-of-the-tests\n").unwrap();
    let mut settings = view("s3://bucket/prefix", &s3.endpoint);
    settings.s3_access_key_id = Some(SecretSource::File(id.clone()));
    settings.s3_secret_access_key = Some(SecretSource::File(secret.clone()));
    let view = Destination::open_with(&settings, &impatient()).unwrap();
    assert_eq!(view.folders().await.unwrap(), names(["full1"]));
    // The store no longer takes the old key; while it says so the first time, the files change.
    let (new_id, new_secret) = (id.clone(), secret.clone());
    s3.make(move |asked, _| {
        if !asked.authorization.contains("Credential=access/") {
            return None;
        }
        std::fs::write(&new_id, "rotated").unwrap();
        std::fs::write(&new_secret, "secret-of-tomorrow").unwrap();
        Some(denied("InvalidAccessKeyId"))
    });
    type Question<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;
    let view = &view;
    let questions: [(&str, Question<'_>); 5] = [
        (
            "folders",
            Box::pin(async { view.folders().await.map(drop) }),
        ),
        (
            "head",
            Box::pin(async { view.head("full1").await.map(drop) }),
        ),
        (
            "summary",
            Box::pin(async { view.summary("full1").await.map(drop) }),
        ),
        (
            "put",
            Box::pin(async { view.write_own("x", Bytes::new()).await }),
        ),
        (
            "delete",
            Box::pin(async { view.remove_manifest("full1").await }),
        ),
    ];
    for (what, question) in questions {
        std::fs::write(&id, "access").unwrap();
        std::fs::write(&secret, "secret-of-the-tests").unwrap();
        question
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(std::fs::read_to_string(&id).unwrap(), "rotated", "{what}");
    }
    std::fs::write(&id, "access").unwrap();
    std::fs::write(&secret, "secret-of-the-tests").unwrap();
    s3.make(|asked, _| {
        (asked.kind == "delete" && asked.authorization.contains("Credential=access/"))
            .then(|| denied("AccessDenied"))
    });
    let (id, secret) = (id.clone(), secret.clone());
    let error = view.clear("full1", || true).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    std::fs::write(&id, "rotated").unwrap();
    std::fs::write(&secret, "secret-of-tomorrow").unwrap();
    assert_eq!(view.clear("full1", || true).await.unwrap().objects, 52);
    std::fs::remove_file(&secret).unwrap();
    let error = view.folders().await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_changes_while_it_is_read_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let files: String = (0..80_000)
        .map(|number| format!("<file><name>data/d/t/all_{number}_{number}_0/some_column.bin</name><size>1</size><checksum>{number:032x}</checksum></file>"))
        .collect();
    let text =
        format!("<config><version>1</version><uuid>u</uuid><contents>{files}</contents></config>");
    assert!(text.len() > 8 * 1024 * 1024);
    put(dir.path(), "one/.backup", text.as_bytes());
    let view = folder_view(dir.path());
    let mut reader = view.manifest("one").await.unwrap();
    reader.next().await.unwrap().unwrap();
    put(
        dir.path(),
        "one/new",
        text.replace("<uuid>u<", "<uuid>v<").as_bytes(),
    );
    std::fs::rename(dir.path().join("one/new"), dir.path().join("one/.backup")).unwrap();
    let error = loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was read to its end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_is_trusted_by_the_ca_file_and_not_without() {
    let s3 = S3::start_with_tls().await;
    put(&s3.prefix(), "one/.lock", b"x");
    let mut settings = view("s3://bucket/prefix", &s3.endpoint);
    let stranger = Destination::open_with(&settings, &impatient()).unwrap();
    let error = stranger.folders().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let files = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    settings.s3_ca_file = Some(files.join("localhost.crt"));
    let view = Destination::open_with(&settings, &impatient()).unwrap();
    assert_eq!(view.folders().await.unwrap(), names(["one"]));
}

/// An answer to a list that names these keys, as a server gives it.
fn listing(keys: &[&str]) -> Fault {
    let contents: String = keys
        .iter()
        .map(|key| format!("<Contents><Key>{key}</Key><Size>0</Size><LastModified>2026-11-22T00:00:00.000Z</LastModified></Contents>"))
        .collect();
    let body =
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
    Fault::Answer(200, body)
}

#[tokio::test]
async fn an_object_named_as_the_folder_deletes_nothing_beside_it() {
    let s3 = S3::start().await;
    // What web consoles make. Its name without the slash would be another object.
    put(&s3.prefix(), "one", b"stays");
    s3.make(|asked, _| (asked.kind == "list").then(|| listing(&["prefix/one/"])));
    let error = s3.view().clear("one", || true).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert!(error.to_string().contains("prefix/one/"), "{error}");
    assert_eq!(s3.kinds(), ["list"]);
    assert!(s3.prefix().join("one").exists());
}

#[tokio::test]
async fn a_listing_that_names_other_places_is_not_believed() {
    let s3 = S3::start().await;
    s3.make(|asked, _| (asked.kind == "list").then(|| listing(&["prefix/one/x", "prefix/two/x"])));
    let error = s3.view().clear("one", || true).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(s3.kinds(), ["list"]);
    // A mark anywhere in the listing, in whatever order it comes.
    s3.make(|asked, _| {
        (asked.kind == "list").then(|| listing(&["prefix/one/x", "prefix/one/.backup"]))
    });
    let cleared = s3.view().clear("one", || true).await.unwrap();
    assert!(cleared.interrupted.unwrap().contains(".backup"));
    assert_eq!(s3.kinds(), ["list"]);
}
