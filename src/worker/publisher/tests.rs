use std::path::Path;

use jiff::Timestamp;
use tempfile::TempDir;

use super::document::backup_of;
use super::*;
use crate::backup::{
    BackupKind, Contents, Missing, Pin, Proof, ProofLevel, ProofOutcome, Scope, Suspicion, Table,
};
use crate::catalog::{Change, Decision, LastSlot};
use crate::clock::Clock;
use crate::destination::testing::{Fault, S3, folder_view};
use crate::operation::{
    Attempt, AttemptId, BackupWork, Delivery, Event, Existing, Failure, FailureKind, Operation,
    OperationId, Outcome, RestoreWork, Server, State, Trigger, Work,
};
use crate::retention::Adoption;
use crate::schedule::{Pause, ScheduleName};
use crate::worker::ViewState;
use crate::worker::testing::{
    FakeServer, at, backup, name, place, put_backups, put_folder_of, worker, write,
};

const NOW: &str = "2026-11-22T12:00:00Z";

fn schedule(text: &str) -> ScheduleName {
    ScheduleName::try_from(text.to_owned()).unwrap()
}

fn pin() -> Option<Pin> {
    Some(Pin {
        at: at(NOW),
        by: Some("anna".to_owned()),
        reason: Some("the audit".to_owned()),
    })
}

/// An operation of a slot or of a client, with an attempt that began.
fn begun(worker: &Worker, number: u64, work: Work, of: Option<&str>) -> Operation {
    let (id, trigger) = match of {
        Some(text) => {
            let slot = at("2026-11-22T02:00:00Z");
            let schedule = schedule(text);
            let id = OperationId::of_slot(&schedule, slot);
            (
                id,
                Trigger::Schedule {
                    schedule,
                    slot,
                    run: 1,
                },
            )
        }
        None => (OperationId::of_client(), Trigger::Client),
    };
    let mut operation = Operation::new(
        id,
        trigger,
        work,
        "x".to_owned(),
        worker.client_limits(),
        at(NOW),
    );
    operation.number = number;
    let attempt = Attempt {
        id: operation.next_attempt_id(),
        backup: operation.next_backup_name().unwrap(),
        place: place(),
        started_at: at(NOW),
        ended_at: None,
        delivery: Delivery::MaybeSent,
        server: None,
        tables: Some(1),
        bytes_expected: None,
        manifest: None,
        is_cleared: false,
        failure: None,
    };
    operation
        .apply(Event::Begun(Box::new(attempt)), at(NOW))
        .unwrap()
}

fn backup_work(text: &str) -> Work {
    Work::Backup(BackupWork {
        name: name(text),
        scope: Scope::everything(),
        base: None,
        increments: None,
        kind_reason: None,
    })
}

fn server() -> Server {
    Server {
        uuid: uuid::Uuid::from_u128(7),
        host: "ch-0".to_owned(),
        started_at: Timestamp::UNIX_EPOCH,
    }
}

fn put_operation(operation: &Operation) -> Change {
    Change::PutOperation(Box::new(operation.clone()))
}

fn own(root: &Path, file: &str) -> std::path::PathBuf {
    root.join(".clickhouse-backupd").join(file)
}

/// Runs the publisher until `done`, and ends it.
async fn publish_until(worker: &Worker, done: impl Fn() -> bool) {
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.clone().run_publisher(stop.clone()));
    while !done() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    running.await.unwrap();
}

/// Backups of every sort, all of them there.
fn backups() -> Vec<Backup> {
    let created = "2026-11-20T02:00:00Z";
    let proof = |outcome| Proof {
        level: ProofLevel::Files,
        at: at(NOW),
        took_ms: 5,
        outcome,
        files: 9,
        bytes: 99,
    };
    let missing = Missing {
        backup: "damaged".to_owned(),
        file: "data/x".to_owned(),
        size_wanted: Some(3),
        problem: "is not there".to_owned(),
        size_found: None,
    };
    vec![
        Backup {
            proofs: vec![proof(ProofOutcome::Passed)],
            pinned: pin(),
            ..backup("full", created)
        },
        Backup {
            kind: BackupKind::Incremental,
            base: Some(name("full")),
            ..backup("inc", created)
        },
        Backup {
            proofs: vec![proof(ProofOutcome::Damaged {
                count: 1,
                first: vec![missing],
            })],
            ..backup("damaged", created)
        },
        Backup {
            suspect: Some(Suspicion {
                measure: "tables".to_owned(),
                found: 0,
                usual: 12,
                adopted_at: Some(at(NOW)),
            }),
            ..backup("state", created)
        },
    ]
}

#[tokio::test(start_paused = true)]
async fn what_is_published_rebuilds_a_memory_that_was_lost() {
    let [root, first, second] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (fake, clock) = (FakeServer::start().await, Clock::anchored(at(NOW)));
    let with = |state: &TempDir| {
        worker(
            state.path(),
            Some(folder_view(root.path())),
            &fake.url,
            &clock,
        )
    };
    let old = with(&first);
    let backups = backups();
    backups
        .iter()
        .for_each(|backup| put_folder_of(root.path(), backup));
    put_backups(&old, &backups).await;
    let contents = Contents {
        databases: vec!["shop".to_owned()],
        tables: vec![Table {
            name: "orders".to_owned(),
            rows: Some(7),
            ..Table::default()
        }],
        not_covered: Vec::new(),
        inventory: None,
    };
    let id = AttemptId::parse(&backups[0].attempt).unwrap().0;
    let finished = Outcome {
        finished_at: at(NOW),
        files: 1,
        bytes: 2,
        bytes_written: 3,
    };
    let accepted = begun(&old, 1, backup_work("2026-11-22"), Some("daily"));
    let succeeded = accepted.apply(Event::Accepted(server()), at(NOW)).unwrap();
    let succeeded = succeeded.apply(Event::Finished(finished), at(NOW)).unwrap();
    let failed = begun(&old, 2, backup_work("hourly"), Some("hourly"));
    let failure = Failure::new(FailureKind::OutOfMemory, "no memory");
    let failed = failed
        .apply(
            Event::AttemptFailed {
                failure,
                retry_at: None,
            },
            at(NOW),
        )
        .unwrap();
    let running = begun(&old, 3, backup_work("by_hand"), None);
    let restore = Work::Restore(RestoreWork {
        backup: name("full"),
        tables: Vec::new(),
        database_mapping: Vec::new(),
        table_mapping: Vec::new(),
        structure_only: false,
        existing: Existing::Append,
    });
    let mut waiting = Operation::new(
        OperationId::of_client(),
        Trigger::Client,
        restore,
        "restore full".to_owned(),
        old.client_limits(),
        at(NOW),
    );
    waiting.number = 4;
    let pause = Pause {
        since: at(NOW),
        until: None,
        reason: Some("moving house".to_owned()),
    };
    let adoption = Adoption {
        at: at(NOW),
        by: None,
        reason: None,
        servers: vec![uuid::Uuid::from_u128(7)],
    };
    let last = LastSlot {
        at: at("2026-11-22T02:00:00Z"),
        calendar: "0 2 * * * UTC".to_owned(),
    };
    let mut changes: Vec<Change> = [&succeeded, &failed, &running, &waiting]
        .map(put_operation)
        .into();
    changes.extend([
        Change::PutContents(id, Box::new(contents.clone())),
        Change::PutPause(schedule("daily"), Some(pause.clone())),
        Change::PutAdoption(adoption.clone()),
        Change::PutLastSlot(schedule("daily"), last.clone()),
    ]);
    write(&old, changes).await;
    old.refresh().await.unwrap();
    assert_eq!(old.standing().view, ViewState::Bound);
    publish_until(&old, || own(root.path(), "state.json").exists()).await;
    assert_eq!(
        std::fs::read_dir(root.path().join(".clickhouse-backupd"))
            .unwrap()
            .count(),
        5
    );

    let new = with(&second);
    new.read_in().await.unwrap();
    let (before, after) = (old.0.catalog.view(), new.0.catalog.view());
    let all = |view: &View| view.all_backups().cloned().collect::<Vec<_>>();
    assert_eq!(all(&before), all(&after));
    assert_eq!(after.pause(&schedule("daily")), Some(&pause));
    assert_eq!(after.adoptions(), [adoption]);
    assert_eq!(after.last_slot(&schedule("daily")), Some(&last));
    for operation in [&succeeded, &failed, &running] {
        assert_eq!(after.operation(operation.id).unwrap().as_ref(), operation);
    }
    let waiting = after.operation(waiting.id).unwrap();
    assert_eq!(
        waiting.state,
        State::Failed,
        "a restore is never begun twice"
    );
    assert_eq!(after.next_number(), before.next_number());
    assert_eq!(
        new.0.catalog.contents(&backups[0].attempt).await.unwrap(),
        Some(contents)
    );
    assert!(after.read_in().is_some());
    assert_eq!(new.standing().view, ViewState::Bound);
}

#[tokio::test]
async fn a_burst_is_one_write_and_what_did_not_change_is_not_written() {
    let (s3, fake) = (S3::start().await, FakeServer::start().await);
    let state = tempfile::tempdir().unwrap();
    let worker = worker(
        state.path(),
        Some(s3.view()),
        &fake.url,
        &Clock::anchored(at(NOW)),
    );
    let one = backup("one", "2026-11-20T02:00:00Z");
    put_folder_of(&s3.prefix(), &one);
    put_backups(&worker, std::slice::from_ref(&one)).await;
    worker.refresh().await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.clone().run_publisher(stop.clone()));
    let file = own(&s3.prefix(), "state.json");
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    s3.asked();
    for second in 0..20 {
        let mut pinned = one.clone();
        pinned.changed_at = Timestamp::from_second(second).unwrap();
        pinned.pinned = pin();
        put_backups(&worker, &[pinned]).await;
    }
    tokio::time::sleep(SETTLE * 3).await;
    stop.cancel();
    running.await.unwrap();
    let puts: Vec<String> = s3
        .asked()
        .into_iter()
        .filter(|asked| asked.kind == "put")
        .map(|asked| asked.path)
        .collect();
    assert!((1..=3).contains(&puts.len()), "{puts:?}");
    assert!(
        puts.iter().all(|path| path.ends_with("one.json")),
        "{puts:?}"
    );
    let bytes = std::fs::read(own(&s3.prefix(), "one.json")).unwrap();
    let published = Sidecar::read(&one.name, &bytes).unwrap().backup;
    assert_eq!(Some(&published), worker.0.catalog.view().record(&one.name));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_fails_is_told_and_gets_it_later() {
    let [root, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let fake = FakeServer::start().await;
    let worker = worker(
        state.path(),
        Some(folder_view(root.path())),
        &fake.url,
        &Clock::anchored(at(NOW)),
    );
    let one = backup("one", "2026-11-20T02:00:00Z");
    put_folder_of(root.path(), &one);
    put_backups(&worker, std::slice::from_ref(&one)).await;
    worker.refresh().await.unwrap();
    let away = root.path().with_extension("away");
    std::fs::rename(root.path(), &away).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.clone().run_publisher(stop.clone()));
    while worker.standing().publish_failure.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::rename(&away, root.path()).unwrap();
    while worker.standing().publish_failure.is_some() || !own(root.path(), "state.json").exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(own(root.path(), "one.json").exists());
    // What is committed just before the end is published, too.
    let pinned = Backup {
        pinned: pin(),
        ..one.clone()
    };
    put_backups(&worker, std::slice::from_ref(&pinned)).await;
    stop.cancel();
    running.await.unwrap();
    let bytes = std::fs::read(own(root.path(), "one.json")).unwrap();
    assert_eq!(Sidecar::read(&one.name, &bytes).unwrap().backup, pinned);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_forgotten_while_its_file_is_written_leaves_none() {
    let (s3, state) = (S3::start().await, tempfile::tempdir().unwrap());
    let destination = s3.view();
    let worker = worker(
        state.path(),
        Some(destination.clone()),
        crate::worker::testing::NOBODY,
        &Clock::anchored(at(NOW)),
    );
    let one = backup("one", "2026-11-20T02:00:00Z");
    put_backups(&worker, std::slice::from_ref(&one)).await;
    let (catalog, runtime) = (worker.0.catalog.clone(), tokio::runtime::Handle::current());
    let forgotten = one.name.clone();
    s3.make(move |asked, _| {
        if asked.kind == "put" {
            let (catalog, name, runtime) = (catalog.clone(), forgotten.clone(), runtime.clone());
            let forget = move || {
                let decide = |_: &View| Decision {
                    changes: vec![Change::ForgetBackup(name)],
                    answer: (),
                };
                runtime.block_on(catalog.write(decide)).unwrap();
            };
            std::thread::spawn(forget).join().unwrap();
        }
        None
    });
    worker
        .publish_current(&destination, &one.name)
        .await
        .unwrap();
    assert!(worker.0.catalog.view().record(&one.name).is_none());
    assert_eq!(destination.own_files().await.unwrap(), []);
    // One that is forgotten before is not written at all.
    s3.make(|asked, _| (asked.kind == "put").then(|| Fault::Answer(500, String::new())));
    worker
        .publish_current(&destination, &one.name)
        .await
        .unwrap();
    assert_eq!(s3.kinds(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn an_unbound_view_gets_no_state() {
    let [root, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let clock = Clock::anchored(at(NOW));
    let worker = worker(
        state.path(),
        Some(folder_view(root.path())),
        crate::worker::testing::NOBODY,
        &clock,
    );
    put_backups(&worker, &[backup("old", "2026-11-20T02:00:00Z")]).await;
    worker.0.live.started_at(at(NOW));
    worker.refresh().await.unwrap();
    put_backups(
        &worker,
        &[Backup {
            manifest: Some(crate::backup::ManifestSeen {
                uuid: "x".to_owned(),
                read_at: at("2026-11-22T12:00:01Z"),
            }),
            ..backup("new", "2026-11-22T12:00:00Z")
        }],
    )
    .await;
    publish_until(&worker, || own(root.path(), "new.json").exists()).await;
    let files: Vec<_> = folder_view(root.path()).own_files().await.unwrap();
    let names: Vec<_> = files
        .iter()
        .filter_map(|file| backup_of(&file.name))
        .collect();
    assert_eq!(names, [name("new")]);
    assert_eq!(files.len(), 1);
}
