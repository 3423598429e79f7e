use super::*;
use crate::api::testing::{Fixture, backup, operation, put_items};
use crate::operation::{DeleteCause, DeleteWork, Event, Failure, FailureKind, Item, Trigger, Work};
use crate::worker::{Broken, Standing};
use rstest::rstest;

fn name(text: &str) -> BackupName {
    BackupName::parse(text).unwrap()
}

/// A removal at work, of these backups.
fn deletion(api: &Fixture, trigger: Trigger, names: &[&str]) -> Operation {
    let mut made = operation("x", false, api.start());
    made.trigger = trigger;
    made.work = Work::Delete(DeleteWork {
        cause: DeleteCause::Caller,
    });
    made.command = command("local", names[0], names.len() > 1);
    made.started_at = Some(api.start());
    made.state = OperationState::Running;
    put_items(&mut made, names);
    made
}

#[rstest]
#[case("/backup/delete/s3/daily", 400, "'local' or 'remote'")]
#[case("/backup/delete/local/..%2Fx", 400, "../x")]
#[case("/backup/delete/local/daily?force=maybe", 400, "force=\\\"maybe\\\"")]
#[case("/backup/delete/local/daily?yes", 400, "unknown argument")]
#[tokio::test]
async fn bad_input_is_named_and_removes_nothing(
    #[case] path: &str,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let api = Fixture::new();
    let answer = api.post(path, "").await;
    assert_eq!(answer.status, status, "{}", answer.body);
    assert!(answer.body.contains(expected), "{}", answer.body);
    assert_eq!(api.operations().len(), 0);
}

#[test]
fn a_refusal_names_what_is_in_the_way() {
    let told = |error: RemovalError| {
        let refusal = refused(DELETE, "local", &error);
        (refusal.status().as_u16(), refusal.line())
    };
    assert_eq!(
        told(RemovalError::NotFound(name("daily"))),
        (
            404,
            "{\"status\":\"error\",\"operation\":\"delete\",\"error\":\"'daily' is not found on local storage\"}"
                .to_owned()
        )
    );
    let (status, text) = told(RemovalError::HasDependents {
        name: name("full"),
        dependents: vec![name("monday"), name("tuesday")],
    });
    assert_eq!(status, 409);
    assert!(
        text.contains("'full' is required by local backup(s) monday, tuesday; ")
            && text.contains("force=1"),
        "{text}"
    );
    let (status, text) = told(RemovalError::Held {
        name: name("full"),
        reasons: vec!["pinned by anna".to_owned()],
    });
    assert_eq!(status, 409);
    assert!(text.contains("pinned by anna"), "{text}");
    assert_eq!(told(RemovalError::NoView("no url".to_owned())).0, 409);
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_answered_when_it_ends_or_after_twenty_seconds() {
    let api = Fixture::new();
    api.put(deletion(&api, Trigger::Client, &["a"])).await;
    let begun = api.only_operation();
    let began = Instant::now();
    let (_, end) = ended(&api.state, DELETE, begun.clone(), Instant::now() + WAIT)
        .await
        .unwrap();
    assert_eq!((end, began.elapsed()), (End::Awaited, WAIT));
    let failure = Failure::new(FailureKind::Destination, "removing a: 503");
    let event = Event::AttemptFailed {
        failure,
        retry_at: None,
    };
    let failed = begun.as_ref().clone().apply(event, api.start()).unwrap();
    let (refusal, ()) = tokio::join!(
        ended(&api.state, DELETE, begun.clone(), Instant::now() + WAIT),
        api.put_again(failed)
    );
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.status().as_u16(), 500);
    assert!(
        refusal.line().contains("removing a: 503"),
        "{}",
        refusal.line()
    );
}

#[test]
fn what_goes_along_is_told() {
    let api_start = jiff::Timestamp::UNIX_EPOCH;
    let mut removal = operation("x", false, api_start);
    removal.work = Work::Delete(DeleteWork {
        cause: DeleteCause::Caller,
    });
    put_items(&mut removal, &["tuesday", "monday", "full"]);
    assert_eq!(taken_along(&removal), ["tuesday", "monday"]);
    removal.work = Work::Delete(DeleteWork {
        cause: DeleteCause::Retention,
    });
    assert_eq!(
        taken_along(&removal),
        [""; 0],
        "they go for reasons of their own"
    );
}

#[test]
fn what_was_left_is_no_success() {
    let mut removal = operation("x", false, jiff::Timestamp::UNIX_EPOCH);
    removal.state = OperationState::Succeeded;
    let mut item = Item::new(name("a"), None, Vec::new());
    item.state = ItemState::Done {
        objects: 3,
        bytes: 9,
    };
    removal.items = vec![item.clone()];
    assert_eq!(not_done(&removal), None);
    item.state = ItemState::Left {
        reason: "another backup has its name".to_owned(),
    };
    removal.items.push(item);
    let told = not_done(&removal).unwrap();
    assert!(told.contains("a was left: another backup"), "{told}");
}

#[tokio::test]
async fn only_removals_that_were_asked_for_are_rows_and_can_be_killed() {
    let api = Fixture::new();
    let mut own = deletion(&api, Trigger::Daemon, &["a", "b"]);
    own.command = "retention".to_owned();
    api.put(own).await;
    assert_eq!(api.get("/backup/actions").await.body, "");
    assert_eq!(api.get("/backup/status").await.body, "");
    assert_eq!(api.post("/backup/kill", "").await.status, 404);
    assert_eq!(
        api.post("/backup/kill?command=retention", "").await.status,
        404
    );
    api.put(deletion(&api, Trigger::Client, &["c", "d"])).await;
    let rows = api.get("/backup/actions").await.body;
    assert_eq!(rows.lines().count(), 1, "{rows}");
    assert!(rows.contains("\"command\":\"delete local c --force\",\"status\":\"in progress\""));
}

#[tokio::test]
async fn a_proof_is_no_row_and_hides_nobody() {
    let api = Fixture::new();
    api.put_backup(backup("a", "2026-11-21T13:34:54Z", 1, None))
        .await;
    let mut proof = operation("x", false, api.start());
    proof.work = Work::Verify(crate::operation::VerifyWork {
        selection: crate::operation::Selection::One(name("a")),
        level: crate::backup::ProofLevel::Files,
    });
    proof.command = "verify a".to_owned();
    api.put(proof).await;
    assert_eq!(api.get("/backup/actions").await.body, "");
    let created = api.post("/backup/create?name=b", "").await;
    assert_eq!(
        created.status, 200,
        "a proof keeps nobody out: {}",
        created.body
    );
}

#[tokio::test]
async fn remains_are_listed_as_broken_and_words_of_damage_do_not_look_like_it() {
    let api = Fixture::new();
    let mut damaged = backup("b", "2026-11-22T13:34:54Z", 7, None);
    damaged.set_proof(crate::api::testing::damaged_proof());
    api.put_backup(damaged).await;
    let mut foreign = backup("f", "2026-11-23T13:34:54Z", 0, None);
    foreign.origin = crate::backup::Origin::Foreign;
    foreign.bytes_written = None;
    api.put_backup(foreign).await;
    assert_eq!(api.get("/backup/list").await.body.lines().count(), 2);
    api.state.worker.pretend_standing(Standing {
        broken: vec![Broken {
            name: name("a"),
            newest: Some("2026-11-20T13:34:54Z".parse().unwrap()),
            objects: 3,
            bytes: 99,
            reason: "a .lock is inside".to_owned(),
        }],
        ..Standing::default()
    });
    let body = api.get("/backup/list").await.body;
    let rows: Vec<&str> = body.lines().collect();
    assert_eq!(
        rows[0],
        "{\"name\":\"a\",\"created\":\"2026-11-20 15:34:54\",\"metadata_size\":0,\"location\":\"local\",\"required\":\"\",\"desc\":\"broken .backup not found: a .lock is inside\"}"
    );
    assert!(
        rows[1].ends_with("\"desc\":\"embedded, damaged\"}"),
        "{}",
        rows[1]
    );
    assert!(
        rows[2].contains("\"name\":\"f\"")
            && !rows[2].contains("\"size\"")
            && rows[2].ends_with("\"desc\":\"embedded\"}"),
        "{}",
        rows[2]
    );
}

#[tokio::test]
async fn until_the_destination_was_read_in_nothing_is_listed_or_removed() {
    let api = Fixture::with_view();
    for answer in [
        api.get("/backup/list").await,
        api.get("/backup/list/local").await,
        api.post("/backup/delete/local/a", "").await,
        api.post("/backup/clean", "").await,
    ] {
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(
            answer
                .body
                .starts_with("{\"status\":\"error\",\"operation\":\"")
        );
        assert!(
            answer.body.contains("not been read in yet"),
            "{}",
            answer.body
        );
    }
    assert_eq!(api.get("/backup/actions").await.status, 200);
    api.read_in().await;
    assert_eq!(api.get("/backup/list").await.status, 200);
}
