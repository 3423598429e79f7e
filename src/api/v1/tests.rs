//! The v1 API over a real catalog and worker; nothing runs behind it, so what is asked for waits.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::backups::{not_removed, speaks_against};
use crate::api::testing::{Answer, Fixture, backup, damaged_proof, operation, put_items, schedule};
use crate::api::{Access, Basic, Credentials};
use crate::backup::{BackupName, ManifestSeen, Origin, ProofLevel, Suspicion};
use crate::operation::{
    Action, CancelCause, DeleteCause, DeleteWork, Event, Failure, FailureKind, Increments,
    ItemState, Operation, Outcome, Selection, State, Trigger, VerifyWork, Work,
};
use crate::secret::SecretSource;
use crate::worker::{Broken, RemovalError, Standing, ViewState};

async fn post(api: &Fixture, path: &str, body: &Value) -> Answer {
    let request = Request::post(path).header("content-type", "application/json");
    api.send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

fn parsed(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), "application/json");
    serde_json::from_str(&answer.body).unwrap()
}

/// The error of an answer: its kind and message. Every one has a hint.
fn error(answer: &Answer) -> (String, String) {
    let body = parsed(answer);
    let text = |field: &str| body["error"][field].as_str().unwrap().to_owned();
    assert!(!text("hint").is_empty(), "{body}");
    (text("kind"), text("message"))
}

fn ended(operation: Operation, event: Event, now: Timestamp) -> Operation {
    operation.apply(event, now).unwrap()
}

fn names(page: &Value, field: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item[field].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_backup_is_accepted_with_its_place_to_watch() {
    let api = Fixture::new();
    let wanted = json!({"kind": "backup", "backup": "one", "databases": ["shop"]});
    let answer = post(&api, "/api/v1/operations", &wanted).await;
    let operation = api.only_operation();
    assert_eq!(answer.status, 202);
    let location = format!("/api/v1/operations/{}", operation.id);
    assert_eq!(answer.header("location"), location);
    let shown = parsed(&answer);
    assert_eq!(
        (&shown["kind"], &shown["state"], &shown["trigger"]),
        (&json!("backup"), &json!("pending"), &json!("client"))
    );
    assert_eq!(operation.command, "create --tables=\"shop.*\" one");
    assert_eq!(parsed(&api.get(&location).await), shown);
    let again = post(&api, "/api/v1/operations", &wanted).await;
    assert_eq!((again.status, parsed(&again)), (202, shown));
    let other = json!({"kind": "backup", "backup": "two"});
    let busy = post(&api, "/api/v1/operations", &other).await;
    assert_eq!(
        (busy.status, error(&busy)),
        (
            423,
            (
                "busy".to_owned(),
                "another operation is currently running: create --tables=\"shop.*\" one".to_owned()
            )
        )
    );
}

#[tokio::test]
async fn a_backup_without_a_name_is_named_by_the_time() {
    let api = Fixture::new();
    let answer = post(&api, "/api/v1/operations", &json!({"kind": "backup"})).await;
    // The fixture's zone is two hours ahead of its clock.
    assert_eq!(parsed(&answer)["backup"], "2026-11-22T15-34-53");
}

#[tokio::test]
async fn a_restore_keeps_what_was_asked_for() {
    let api = Fixture::new();
    let wanted = json!({
        "kind": "restore", "backup": "one", "tables": ["shop.orders"],
        "database_mapping": {"shop": "shop_old"}, "existing": "append",
    });
    let answer = post(&api, "/api/v1/operations", &wanted).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(
        api.only_operation().command,
        "restore --tables=\"shop.orders\" --restore-database-mapping=\"shop:shop_old\" --data one"
    );
}

#[rstest]
#[case(json!({}), "missing field `kind`")]
#[case(json!({"kind": "rebase"}), "unknown variant `rebase`")]
#[case(json!({"kind": "verify"}), "missing field `backup`")]
#[case(json!({"kind": "verify", "backup": "a", "level": "drill"}), "unknown variant `drill`")]
#[case(json!({"kind": "delete", "backup": "../x"}), "../x")]
#[case(json!({"kind": "delete", "backup": "a", "force": 1}), "invalid type")]
#[case(json!({"kind": "clean", "backup": "a"}), "unknown field `backup`")]
#[case(json!({"kind": "backup", "database": ["shop"]}), "unknown field `database`")]
#[case(json!({"kind": "backup", "backup": "../x"}), "../x")]
#[case(json!({"kind": "backup", "backup": "a", "base": "a"}), "cannot be built on itself")]
#[case(json!({"kind": "backup", "databases": [""]}), "databases: \"\" is no name")]
#[case(json!({"kind": "backup", "databases": ["a"], "tables": ["a.b"]}), "only one of them")]
#[case(json!({"kind": "backup", "tables": ["orders"]}), "orders")]
#[case(json!({"kind": "backup", "tables": vec!["a.b"; 1_001]}), "1001 entries")]
#[case(json!({"kind": "backup", "access": "yes"}), "invalid type")]
#[case(json!({"kind": "restore"}), "missing field `backup`")]
#[case(json!({"kind": "restore", "backup": "a b"}), "a b")]
#[case(json!({"kind": "restore", "backup": "a", "existing": "overwrite"}), "overwrite")]
#[case(json!({"kind": "restore", "backup": "a", "database_mapping": {"shop": ""}}), "database_mapping")]
#[case(json!({"kind": "restore", "backup": "a", "table_mapping": {"shop.t": ""}}), "table_mapping")]
#[case(json!({"kind": "restore", "backup": "a", "table_mapping": {"shop.t": ".x"}}), "to \".x\" names no table")]
#[case(json!({"kind": "restore", "backup": "a", "table_mapping": {"shop.": "x"}}), "from \"shop.\" to")]
#[case(json!({"kind": "restore", "backup": "a", "table_mapping": {"t": "."}}), "to \".\" names no table")]
#[case(json!([1]), "reading the body")]
#[case(json!(null), "reading the body")]
#[tokio::test]
async fn bad_input_is_named_and_starts_nothing(#[case] wanted: Value, #[case] expected: &str) {
    let api = Fixture::new();
    let answer = post(&api, "/api/v1/operations", &wanted).await;
    let (kind, message) = error(&answer);
    assert_eq!((answer.status, kind.as_str()), (400, "bad_request"));
    assert!(message.contains(expected), "{message}");
    assert_eq!(api.operations().len(), 0);
}

#[tokio::test]
async fn a_body_must_be_json_and_say_so() {
    let api = Fixture::new();
    let form = api
        .form("/api/v1/operations", "{\"kind\":\"backup\"}")
        .await;
    assert_eq!(
        (form.status, error(&form).0.as_str()),
        (415, "unsupported_media_type")
    );
    let empty = api.post("/api/v1/operations", "").await;
    assert_eq!(
        (empty.status, error(&empty).0.as_str()),
        (400, "bad_request")
    );
    let request = Request::post("/api/v1/operations").header("content-type", "application/json");
    let broken = api
        .send(request.body(Body::from("{\"kind\":")).unwrap())
        .await;
    assert_eq!(
        (broken.status, error(&broken).0.as_str()),
        (400, "bad_request")
    );
    assert_eq!(api.operations().len(), 0);
}

#[tokio::test]
async fn operations_come_in_pages_newest_first_and_by_what_they_are() {
    let api = Fixture::new();
    for n in 1..=5 {
        let waiting = operation(
            &format!("b{n}"),
            n % 2 == 0,
            api.start()
                .saturating_add(SignedDuration::from_secs(n))
                .unwrap(),
        );
        let failure = Failure::new(FailureKind::Denied, "no");
        let failed = ended(waiting, Event::GaveUp(failure), api.start());
        api.put(failed).await;
    }
    api.put(operation("b6", false, api.start())).await;
    let first = parsed(&api.get("/api/v1/operations?limit=4").await);
    assert_eq!(names(&first, "backup"), ["b6", "b5", "b4", "b3"]);
    let next = first["next"].as_str().unwrap();
    let second = parsed(
        &api.get(&format!("/api/v1/operations?limit=4&cursor={next}"))
            .await,
    );
    assert_eq!(names(&second, "backup"), ["b2", "b1"]);
    assert_eq!(second["next"], Value::Null);
    let some = async |query: &str| {
        names(
            &parsed(&api.get(&format!("/api/v1/operations?{query}")).await),
            "backup",
        )
    };
    assert_eq!(some("state=pending").await, ["b6"]);
    assert_eq!(some("schedule=daily").await, ["b4", "b2"]);
    assert_eq!(some("kind=restore").await, [""; 0]);
    assert_eq!(some("backup=b3&kind=backup").await, ["b3"]);
}

#[rstest]
#[case("/api/v1/operations?limit=0", 400, "limit: 0")]
#[case("/api/v1/operations?limit=1001", 400, "limit: 1001")]
#[case("/api/v1/operations?limit=x", 400, "invalid digit")]
#[case("/api/v1/operations?cursor=x", 400, "cursor: \"x\"")]
#[case("/api/v1/operations?sate=failed", 400, "sate")]
#[case("/api/v1/operations?state=lost", 400, "lost")]
#[case("/api/v1/operations/1", 400, "\"1\" is no id")]
#[case(
    "/api/v1/operations/00000000-0000-0000-0000-000000000000",
    404,
    "there is no operation"
)]
#[case(
    "/api/v1/operations/00000000-0000-0000-0000-000000000000?wait=26s",
    400,
    "wait: \"26s\""
)]
#[case(
    "/api/v1/operations/00000000-0000-0000-0000-000000000000?wait=-1s",
    400,
    "wait: \"-1s\""
)]
#[case("/api/v1/backups?cursor=x", 400, "cursor: \"x\"")]
#[case("/api/v1/backups?status=lost", 400, "lost")]
#[case("/api/v1/backups/none", 404, "no backup named none")]
#[case("/api/v1/backups/..%2Fx", 400, "../x")]
#[case("/api/v1/backups/%ff", 400, "reading the path")]
#[case("/api/v1/schedules/none", 404, "there is no schedule \"none\"")]
#[tokio::test]
async fn what_is_wrong_or_not_there_is_told(
    #[case] path: &str,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let answer = Fixture::new().get(path).await;
    let (_, message) = error(&answer);
    assert_eq!(answer.status, status, "{message}");
    assert!(message.contains(expected), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_operation_or_with_its_time() {
    let api = Fixture::new();
    let number = api.put(operation("one", false, api.start())).await;
    let mut operation = api.only_operation().as_ref().clone();
    let path = format!("/api/v1/operations/{}?wait=25s", operation.id);
    let began = tokio::time::Instant::now();
    assert_eq!(parsed(&api.get(&path).await)["state"], "pending");
    assert_eq!(began.elapsed(), Duration::from_secs(25));
    operation.number = number;
    let ended = ended(operation, Event::Cancel(CancelCause::Caller), api.start());
    let began = tokio::time::Instant::now();
    let (answer, ()) = tokio::join!(api.get(&path), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        api.put_again(ended).await;
    });
    assert_eq!(parsed(&answer)["state"], "cancelled");
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn waits_leave_room_for_everybody_else() {
    let api = Arc::new(Fixture::new());
    let number = api.put(operation("one", false, api.start())).await;
    let mut operation = api.only_operation().as_ref().clone();
    let path = format!("/api/v1/operations/{}?wait=25s", operation.id);
    let began = tokio::time::Instant::now();
    let mut asked = JoinSet::new();
    for _ in 0..300 {
        let (api, path) = (api.clone(), path.clone());
        asked.spawn(async move { api.get(&path).await });
    }
    // Those that found no place to wait in are answered, and none of them for want of room.
    while asked.len() > 64 {
        let answer = asked.join_next().await.unwrap().unwrap();
        assert_eq!(
            (answer.status, &parsed(&answer)["state"]),
            (200, &json!("pending"))
        );
    }
    assert_eq!(api.get("/api/v1/status").await.status, 200);
    assert_eq!(began.elapsed(), Duration::ZERO);
    operation.number = number;
    let ended = ended(operation, Event::Cancel(CancelCause::Caller), api.start());
    api.put_again(ended).await;
    for answer in asked.join_all().await {
        assert_eq!(parsed(&answer)["state"], "cancelled");
    }
    assert!(began.elapsed() < Duration::from_secs(25));
    // The places are free again.
    api.put(self::operation("two", false, api.start())).await;
    let second = api.operations().last().unwrap().id;
    let began = tokio::time::Instant::now();
    let answer = api
        .get(&format!("/api/v1/operations/{second}?wait=5s"))
        .await;
    assert_eq!(parsed(&answer)["state"], "pending");
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_wait_does_not_keep_the_process_from_ending() {
    let api = Fixture::new();
    api.put(operation("one", false, api.start())).await;
    let path = format!("/api/v1/operations/{}?wait=25s", api.only_operation().id);
    let began = tokio::time::Instant::now();
    let (answer, ()) = tokio::join!(api.get(&path), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        api.state.stop.cancel();
    });
    assert_eq!(parsed(&answer)["state"], "pending");
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test]
async fn an_operation_is_cancelled_once() {
    let api = Fixture::new();
    api.put(operation("one", false, api.start())).await;
    let path = format!("/api/v1/operations/{}/cancel", api.only_operation().id);
    let answer = api.post(&path, "").await;
    assert_eq!(
        (answer.status, &parsed(&answer)["state"]),
        (202, &json!("cancelled"))
    );
    let again = api.post(&path, "").await;
    assert_eq!((again.status, error(&again).0.as_str()), (409, "conflict"));
}

#[tokio::test]
async fn backups_come_newest_first_with_what_is_built_on_them() {
    let api = Fixture::new();
    api.put_backup(backup("a", "2026-11-20T00:00:00Z", 10, None))
        .await;
    api.put_backup(backup("c", "2026-11-21T00:00:00Z", 10, Some("a")))
        .await;
    api.put_backup(backup("b", "2026-11-21T00:00:00Z", 10, Some("a")))
        .await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    while seen.len() < 4 {
        let page = parsed(&api.get(&format!("/api/v1/backups?limit=1{cursor}")).await);
        seen.extend(names(&page, "name"));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["c", "b", "a"]);
    let one = parsed(&api.get("/api/v1/backups/a").await);
    assert_eq!(one["dependents"], json!(["b", "c"]));
    let all = parsed(&api.get("/api/v1/backups").await);
    let dependents = all["items"].as_array().unwrap().iter();
    let dependents: Vec<_> = dependents.map(|item| &item["dependents"]).collect();
    assert_eq!(dependents, [&json!([]), &json!([]), &json!(["b", "c"])]);
    assert_eq!(one["contents"], Value::Null, "never written down");
    assert_eq!(
        one["restore_statement"],
        "RESTORE ALL FROM Disk('s3_backup', 'a')"
    );
    let increment = parsed(&api.get("/api/v1/backups/b").await);
    assert_eq!(
        (&increment["kind"], &increment["base"]),
        (&json!("incremental"), &json!("a"))
    );
}

#[tokio::test]
async fn a_schedule_shows_when_it_is_due_and_rests_while_it_is_paused() {
    let api = Fixture::with_schedules([schedule("daily", "0 2 * * *")]);
    let shown = parsed(&api.get("/api/v1/schedules/daily").await);
    assert_eq!(shown["next_slots"][0], "2026-11-23T00:00:00Z");
    assert_eq!(shown["next_backup"], "2026-11-23");
    assert_eq!(
        (&shown["action"], &shown["kind"]),
        (&json!("backup"), &json!("full"))
    );
    assert_eq!(
        (&shown["template"], &shown["verify"]),
        (&json!("{date}"), &Value::Null)
    );
    assert_eq!(shown["paused"], Value::Null);
    let path = "/api/v1/schedules/daily/pause";
    let past = post(&api, path, &json!({"until": "2026-11-22T00:00:00Z"})).await;
    assert_eq!((past.status, error(&past).0.as_str()), (400, "bad_request"));
    let essay = post(&api, path, &json!({"reason": "x".repeat(1_001)})).await;
    assert_eq!(essay.status, 400);
    let wanted = json!({"until": "2026-11-24T00:00:00Z", "reason": "disks are replaced"});
    let paused = parsed(&post(&api, path, &wanted).await);
    assert_eq!(paused["paused"]["reason"], "disks are replaced");
    let status = parsed(&api.get("/api/v1/status").await);
    assert_eq!(status["schedules"][0]["paused"], true);
    let resumed = parsed(&api.post("/api/v1/schedules/daily/resume", "").await);
    assert_eq!(resumed["paused"], Value::Null);
    let list = parsed(&api.get("/api/v1/schedules").await);
    assert_eq!(names(&list, "name"), ["daily"]);
}

#[tokio::test]
async fn a_slot_is_run_again_when_it_failed_and_not_when_it_was_made() {
    let api = Fixture::with_schedules([schedule("daily", "0 2 * * *")]);
    let path = "/api/v1/schedules/daily/run";
    let slot: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let unknown = post(&api, path, &json!({"slot": "2026-11-22"})).await;
    assert_eq!(
        (unknown.status, error(&unknown).0.as_str()),
        (404, "not_found")
    );
    let failure = Failure::new(FailureKind::Denied, "no");
    let failed = ended(
        operation("2026-11-22", true, slot),
        Event::GaveUp(failure),
        slot,
    );
    api.put(failed).await;
    let answer = post(&api, path, &json!({"slot": "2026-11-22"})).await;
    let again = parsed(&answer);
    assert_eq!((answer.status, &again["run"]), (202, &json!(2)), "{again}");
    assert_eq!(
        (&again["backup"], &again["slot"]),
        (&json!("2026-11-22"), &json!("2026-11-22T00:00:00Z"))
    );
    let once_more = post(&api, path, &json!({"slot": "2026-11-22T00:00:00Z"})).await;
    assert_eq!(parsed(&once_more)["id"], again["id"], "it has not ended");
    let now = post(&api, path, &json!({})).await;
    assert_eq!(
        (now.status, error(&now).0.as_str()),
        (423, "busy"),
        "one waits already"
    );
    for (slot, status, expected) in [
        ("2026-11-23", 409, "not due yet"),
        ("yesterday", 400, "yesterday"),
        ("2026-11-22T00:00:01Z", 404, "not due at"),
    ] {
        let refused = post(&api, path, &json!({"slot": slot})).await;
        let (_, message) = error(&refused);
        assert_eq!(refused.status, status, "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_slot_now_needs_a_free_name() {
    let api = Fixture::with_schedules([schedule("daily", "0 2 * * *")]);
    api.put_backup(backup("2026-11-22", "2026-11-22T00:00:09Z", 10, None))
        .await;
    let taken = api.post("/api/v1/schedules/daily/run", "").await;
    assert_eq!((taken.status, error(&taken).0.as_str()), (409, "conflict"));
    let hourly = Fixture::with_schedules([schedule("daily", "0 2 * * *")]);
    let answer = hourly.post("/api/v1/schedules/daily/run", "").await;
    let shown = parsed(&answer);
    assert_eq!((answer.status, &shown["run"]), (202, &json!(1)));
    assert_eq!(shown["slot"], "2026-11-22T13:34:53Z");
    assert_eq!(hourly.only_operation().state, State::Pending);
}

#[tokio::test]
async fn a_schedule_of_proofs_names_no_backups_and_tells_when_it_last_ended_well() {
    let work = |selection| VerifyWork {
        selection,
        level: ProofLevel::Files,
    };
    let mut proofs = schedule("proofs", "0 6 * * *");
    proofs.action = Action::Verify(work(Selection::Newest));
    let mut increments = schedule("nightly", "0 2 * * *");
    increments.increments = Some(Increments {
        full_every: None,
        full_on: vec![7],
        chain_max: 7,
        zone: "Europe/Sofia".to_owned(),
    });
    let api = Fixture::with_schedules([proofs, increments]);
    let shown = parsed(&api.get("/api/v1/schedules/proofs").await);
    for (field, value) in [
        ("action", json!("verify")),
        ("verify", json!("newest")),
        ("kind", Value::Null),
        ("template", Value::Null),
        ("next_backup", Value::Null),
        ("last_success", Value::Null),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(shown["next_slots"][0], "2026-11-23T04:00:00Z");
    let nightly = parsed(&api.get("/api/v1/schedules/nightly").await);
    assert_eq!(nightly["kind"], "incremental");

    let slot: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
    let mut run = operation("any", true, slot);
    run.trigger = Trigger::Schedule {
        schedule: "proofs".to_owned().try_into().unwrap(),
        slot,
        run: 1,
    };
    run.work = Work::Verify(work(Selection::Newest));
    let end: Timestamp = "2026-11-22T04:00:09Z".parse().unwrap();
    let begun = ended(run, Event::BegunHere(None), slot);
    let outcome = Outcome {
        finished_at: end,
        files: 12,
        bytes: 4_096,
        bytes_written: 0,
    };
    api.put(ended(begun, Event::Finished(outcome), end)).await;
    let status = parsed(&api.get("/api/v1/status").await);
    let of = |field: &str| status["schedules"][1][field].clone();
    assert_eq!(of("name"), "proofs");
    assert_eq!(of("last_success_at"), "2026-11-22T04:00:09Z");
}

#[tokio::test]
async fn a_check_tells_what_is_wrong_with_a_chain() {
    let api = Fixture::new();
    let mut base = backup("base", "2026-11-20T00:00:00Z", 10, None);
    api.put_backup(base.clone()).await;
    let mut increment = backup("increment", "2026-11-21T00:00:00Z", 1, Some("base"));
    api.put_backup(increment.clone()).await;
    api.put_backup(backup("orphan", "2026-11-21T00:00:00Z", 1, Some("lost")))
        .await;
    let told = |name: &str| {
        let name = BackupName::parse(name).unwrap();
        speaks_against(&api.state.catalog.view(), &name)
    };
    assert_eq!(told("increment"), None);
    assert_eq!(told("nobody-knows"), None);
    assert!(told("orphan").unwrap().contains("lost"));
    increment.suspect = Some(Suspicion {
        measure: "tables".to_owned(),
        found: 1,
        usual: 9,
        adopted_at: None,
    });
    api.put_backup(increment).await;
    let suspect = told("increment").unwrap();
    assert!(suspect.starts_with("increment is suspect: "), "{suspect}");
    assert_eq!(told("base"), None);
    base.set_proof(damaged_proof());
    api.put_backup(base).await;
    let damaged = told("increment").unwrap();
    assert!(damaged.starts_with("base is damaged: 2 of"), "{damaged}");
}

#[tokio::test]
async fn the_status_says_what_is_wrong_in_words() {
    let api = Fixture::with_schedules([schedule("daily", "0 2 * * *")]);
    let slot: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let failure = Failure::new(FailureKind::Denied, "Code: 497. Not enough privileges");
    api.put(ended(
        operation("2026-11-22", true, slot),
        Event::GaveUp(failure),
        slot,
    ))
    .await;
    api.put_backup(backup("2026-11-21", "2026-11-21T00:00:09Z", 10, None))
        .await;
    let status = parsed(&api.get("/api/v1/status").await);
    assert_eq!(status["clickhouse"]["reachable"], false);
    assert_eq!(status["destination"]["place"], "Disk('s3_backup')");
    assert_eq!(status["destination"]["view"], "none");
    assert_eq!(status["destination"]["backups"], 1);
    assert_eq!(status["backups"]["newest"], "2026-11-21");
    assert_eq!(status["schedules"][0]["last_state"], "failed");
    let problems = status["problems"].as_array().unwrap();
    let kinds: Vec<&str> = problems
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["clickhouse_unreachable", "schedule_failed"]);
    let text = problems[1]["message"].as_str().unwrap();
    assert!(text.contains("Not enough privileges"), "{text}");
    let empty = parsed(&Fixture::new().get("/api/v1/status").await);
    assert_eq!(empty["problems"][1]["kind"], "no_schedules");
}

#[tokio::test]
async fn a_restore_that_left_tables_dropped_is_told() {
    let api = Fixture::new();
    let wanted = json!({"kind": "restore", "backup": "one", "existing": "drop"});
    post(&api, "/api/v1/operations", &wanted).await;
    let mut restore = api.only_operation().as_ref().clone();
    restore.dropped = vec!["shop.orders".to_owned()];
    let failure = Failure::new(FailureKind::Lost, "gone");
    api.put_again(ended(restore, Event::GaveUp(failure), api.start()))
        .await;
    let told = async || {
        let status = parsed(&api.get("/api/v1/status").await);
        let problems = status["problems"].as_array().unwrap().clone();
        problems
            .into_iter()
            .find(|problem| problem["kind"] == "restore_left_tables_dropped")
    };
    let problem = told().await.unwrap();
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("shop.orders"), "{message}");
    let again = json!({"kind": "restore", "backup": "one"});
    post(&api, "/api/v1/operations", &again).await;
    let operations = api.operations();
    let newest = operations.last().unwrap().as_ref().clone();
    let failure = Failure::new(FailureKind::NotFound, "no such backup");
    api.put_again(ended(newest, Event::GaveUp(failure), api.start()))
        .await;
    assert_eq!(told().await, Some(problem), "nothing came back meanwhile");
}

#[tokio::test]
async fn a_check_changes_nothing_and_needs_clickhouse() {
    let api = Fixture::new();
    let wanted = json!({"kind": "restore", "backup": "one", "tables": ["shop.*"], "check": true});
    // Nothing is known of the backup, so there is nothing to look at on the server.
    let answer = post(&api, "/api/v1/operations", &wanted).await;
    let check = parsed(&answer);
    assert_eq!((answer.status, &check["tables"]), (200, &Value::Null));
    assert_eq!(
        check["statement"],
        "RESTORE DATABASE `shop` FROM Disk('s3_backup', 'one')"
    );
    let wanted =
        json!({"kind": "restore", "backup": "one", "tables": ["shop.orders"], "check": true});
    let answer = post(&api, "/api/v1/operations", &wanted).await;
    assert_eq!(
        (answer.status, error(&answer).0.as_str()),
        (503, "unavailable")
    );
    let wanted = json!({"kind": "restore", "backup": "one", "existing": "drop", "check": true});
    let answer = post(&api, "/api/v1/operations", &wanted).await;
    assert_eq!(
        (answer.status, error(&answer).0.as_str()),
        (409, "conflict")
    );
    assert_eq!(api.operations().len(), 0);
}

#[tokio::test]
async fn the_document_is_served() {
    let answer = Fixture::new().get("/api/v1/openapi.json").await;
    assert_eq!(answer.body, super::document());
    assert_eq!(parsed(&answer)["openapi"], "3.1.0");
}

fn broken(name: &str) -> Broken {
    Broken {
        name: BackupName::parse(name).unwrap(),
        newest: Some("2026-11-20T01:00:00Z".parse().unwrap()),
        objects: 3,
        bytes: 99,
        reason: "a .lock is inside".to_owned(),
    }
}

#[tokio::test]
async fn every_status_of_a_backup_is_told_with_its_reason() {
    let api = Fixture::new();
    let manifest = || ManifestSeen {
        uuid: "u".to_owned(),
        read_at: api.start(),
    };
    let mut complete = backup("complete", "2026-11-21T00:00:00Z", 10, None);
    complete.manifest = Some(manifest());
    let unproven = backup("unproven", "2026-11-21T00:00:00Z", 10, None);
    let mut suspect = complete.clone();
    suspect.name = BackupName::parse("suspect").unwrap();
    suspect.suspect = Some(Suspicion {
        measure: "tables".to_owned(),
        found: 0,
        usual: 9,
        adopted_at: None,
    });
    let mut damaged = suspect.clone();
    damaged.name = BackupName::parse("damaged").unwrap();
    damaged.set_proof(damaged_proof());
    let mut gone = complete.clone();
    gone.name = BackupName::parse("gone").unwrap();
    gone.gone_since = Some(api.start());
    let mut foreign = backup("foreign", "2026-11-19T00:00:00Z", 0, None);
    foreign.origin = Origin::Foreign;
    foreign.operation = uuid::Uuid::nil();
    (foreign.bytes, foreign.bytes_written, foreign.files) = (None, None, None);
    for one in [complete, unproven, suspect, damaged, gone, foreign] {
        api.put_backup(one).await;
    }
    api.state.worker.pretend_standing(Standing {
        broken: vec![broken("broken")],
        ..Standing::default()
    });
    let listed = async |query: &str| {
        let page = parsed(&api.get(&format!("/api/v1/backups{query}")).await);
        names(&page, "name")
    };
    assert_eq!(
        listed("").await,
        [
            "unproven", "suspect", "damaged", "complete", "broken", "foreign"
        ]
    );
    for (name, reason) in [
        ("suspect", "0 tables, where 9 are usual"),
        ("damaged", "2 of the files"),
        ("unproven", "its manifest was not read"),
        ("broken", ".lock"),
        ("gone", "no longer in the destination"),
    ] {
        let query = format!("?status={name}");
        let found = listed(&query).await;
        assert!(found.contains(&name.to_owned()), "{name}: {found:?}");
        let shown = parsed(&api.get(&format!("/api/v1/backups/{name}")).await);
        assert_eq!(shown["status"], name);
        let told = shown["status_reason"].as_str().unwrap();
        assert!(told.contains(reason), "{told}");
    }
    let shown = parsed(&api.get("/api/v1/backups/foreign").await);
    for field in ["bytes", "bytes_written", "files", "operation", "schedule"] {
        assert_eq!(shown[field], Value::Null, "{field}");
    }
    assert_eq!(shown["origin"], "foreign");
    let shown = parsed(&api.get("/api/v1/backups/broken").await);
    assert_eq!(shown["restore_statement"], Value::Null);
    assert_eq!(shown["bytes_written"], 99);
    let shown = parsed(&api.get("/api/v1/backups/damaged").await);
    let proof = &shown["proofs"][0];
    assert_eq!(
        (
            &proof["outcome"],
            &proof["missing_count"],
            &proof["missing"][0]["size_found"]
        ),
        (&json!("damaged"), &json!(2), &Value::Null)
    );
    let mut cursor = String::new();
    let mut paged = Vec::new();
    for _ in 0..6 {
        let page = parsed(&api.get(&format!("/api/v1/backups?limit=1{cursor}")).await);
        paged.extend(names(&page, "name"));
        cursor = format!("&cursor={}", page["next"].as_str().unwrap_or("0~x"));
    }
    assert_eq!(
        paged,
        listed("").await,
        "what is broken has its place in the pages, too"
    );
}

#[tokio::test]
async fn a_backup_shows_its_chain_what_needs_it_and_whether_it_stays() {
    let api = Fixture::new();
    api.put_backup(backup("full", "2026-11-19T00:00:00Z", 10, None))
        .await;
    api.put_backup(backup("one", "2026-11-20T00:00:00Z", 10, Some("full")))
        .await;
    api.put_backup(backup("two", "2026-11-21T00:00:00Z", 10, Some("one")))
        .await;
    api.put_backup(backup("orphan", "2026-11-21T00:00:00Z", 10, Some("lost")))
        .await;
    let shown = parsed(&api.get("/api/v1/backups/full").await);
    assert_eq!(shown["dependents"], json!(["one"]));
    assert_eq!(shown["needed_by"], json!(["one", "two"]));
    let shown = parsed(&api.get("/api/v1/backups/two").await);
    assert_eq!(shown["chain"], json!(["two", "one", "full"]));
    assert_eq!(shown["retention"]["decision"], "keep");
    assert!(
        !shown["retention"]["reasons"][0]
            .as_str()
            .unwrap()
            .is_empty()
    );
    let shown = parsed(&api.get("/api/v1/backups/orphan").await);
    assert_eq!(shown["chain"], json!(["orphan"]));
    assert_eq!(
        shown["chain_problem"],
        "orphan is built on lost, which is not there"
    );
}

#[test]
fn a_refused_removal_names_what_is_in_the_way_and_what_to_do() {
    let name = |text: &str| BackupName::parse(text).unwrap();
    let told = |error: RemovalError| {
        let answer = axum::response::IntoResponse::into_response(not_removed(&error));
        (
            answer.status().as_u16(),
            format!("{:?}", not_removed(&error)),
        )
    };
    let (status, text) = told(RemovalError::HasDependents {
        name: name("full"),
        dependents: vec![name("monday"), name("tuesday")],
    });
    assert_eq!(status, 409);
    assert!(text.contains("monday, tuesday") && text.contains("backup delete full --force"));
    let (status, text) = told(RemovalError::Held {
        name: name("full"),
        reasons: vec!["restore x reads it".to_owned()],
    });
    assert_eq!(status, 409);
    assert!(text.contains("restore x reads it") && text.contains("backup unpin full"));
    assert_eq!(told(RemovalError::NotFound(name("none"))).0, 404);
    let (status, text) = told(RemovalError::NoView(
        "there is no destination.url".to_owned(),
    ));
    assert_eq!(status, 409);
    assert!(text.contains("clickhouse-backupd status"), "{text}");
}

#[rstest]
#[case("DELETE", "/api/v1/backups/a?force=yes", 400)]
#[case("DELETE", "/api/v1/backups/a?fource=true", 400)]
#[case("DELETE", "/api/v1/backups/..%2Fx", 400)]
#[case("POST", "/api/v1/backups/none/pin", 404)]
#[case("POST", "/api/v1/backups/none/unpin", 404)]
#[case("POST", "/api/v1/backups/none/verify", 404)]
#[case("POST", "/api/v1/backups/a/verify", 409)]
#[case("DELETE", "/api/v1/backups/a", 409)]
#[tokio::test]
async fn what_cannot_be_asked_of_a_backup_changes_nothing(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: u16,
) {
    let api = Fixture::new();
    api.put_backup(backup("a", "2026-11-21T00:00:00Z", 10, None))
        .await;
    let answer = api.request(method, path, "").await;
    assert_eq!(answer.status, status, "{}", answer.body);
    error(&answer);
    assert_eq!(api.operations().len(), 0);
    assert_eq!(api.state.catalog.view().backups().count(), 1);
}

#[tokio::test]
async fn until_the_destination_was_read_in_lists_are_not_told() {
    let api = Fixture::with_view();
    for path in ["/api/v1/backups", "/api/v1/backups/a"] {
        let answer = api.get(path).await;
        assert_eq!(
            (answer.status, error(&answer).0.as_str()),
            (503, "unavailable")
        );
    }
    let delete = api.request("DELETE", "/api/v1/backups/a", "").await;
    assert_eq!(delete.status, 503, "{}", delete.body);
    let status = parsed(&api.get("/api/v1/status").await);
    let problems = status["problems"].as_array().unwrap();
    assert!(
        problems
            .iter()
            .any(|problem| problem["kind"] == "not_read_in")
    );
    assert_eq!(status["destination"]["view"], "unbound");
    let plan = parsed(&api.get("/api/v1/retention/plan").await);
    let stops = plan["stops"].as_array().unwrap();
    assert!(
        stops.iter().any(|stop| stop["kind"] == "not_read_in"),
        "{plan}"
    );
    api.read_in().await;
    assert_eq!(api.get("/api/v1/backups").await.status, 200);
}

#[tokio::test]
async fn a_proof_is_taken_in_once_and_keeps_nobody_out() {
    let api = Fixture::with_view();
    api.read_in().await;
    api.put_backup(backup("a", "2026-11-21T00:00:00Z", 10, None))
        .await;
    let path = "/api/v1/backups/a/verify";
    let asked = post(&api, path, &json!({"level": "files"})).await;
    let shown = parsed(&asked);
    assert_eq!((asked.status, &shown["kind"]), (202, &json!("verify")));
    assert_eq!(
        (&shown["backup"], &shown["state"]),
        (&json!("a"), &json!("pending"))
    );
    let again = json!({"kind": "verify", "backup": "a"});
    let again = post(&api, "/api/v1/operations", &again).await;
    assert_eq!(parsed(&again)["id"], shown["id"]);
    let create = json!({"kind": "backup", "backup": "b"});
    assert_eq!(post(&api, "/api/v1/operations", &create).await.status, 202);
    api.state.worker.pretend_standing(Standing {
        broken: vec![broken("rest")],
        ..Standing::default()
    });
    let remains = api.post("/api/v1/backups/rest/verify", "").await;
    assert_eq!(remains.status, 409, "{}", remains.body);
}

#[tokio::test]
async fn a_pin_says_who_wants_it_and_why() {
    let basic = Basic {
        user: "anna".to_owned(),
        password: SecretSource::from("s3cret"),
    };
    let api = Fixture::with_access(Access {
        operator: Credentials {
            basic: Some(basic),
            token: Some(SecretSource::from("t0ken")),
        },
        ..Access::default()
    });
    api.put_backup(backup("a", "2026-11-21T00:00:00Z", 10, None))
        .await;
    // `YW5uYTpzM2NyZXQ=` is `anna:s3cret`.
    let ask = async |path: &str, credentials: &str, body: Value| {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", credentials);
        let request = request.body(Body::from(body.to_string())).unwrap();
        api.send(request).await
    };
    let (pin, anna) = ("/api/v1/backups/a/pin", "Basic YW5uYTpzM2NyZXQ=");
    let pinned = parsed(&ask(pin, anna, json!({"reason": "the audit"})).await);
    assert_eq!(pinned["pinned"], true);
    assert_eq!(
        (&pinned["pin"]["by"], &pinned["pin"]["reason"]),
        (&json!("anna"), &json!("the audit"))
    );
    let essay = ask(pin, anna, json!({"reason": "x".repeat(501)})).await;
    assert_eq!(essay.status, 400, "{}", essay.body);
    let pinned = parsed(&ask(pin, "Bearer t0ken", json!({})).await);
    assert_eq!(pinned["pin"]["by"], Value::Null, "a token has no name");
    let unpinned = parsed(&ask("/api/v1/backups/a/unpin", anna, json!({})).await);
    assert_eq!(
        (&unpinned["pinned"], &unpinned["pin"]),
        (&json!(false), &Value::Null)
    );
    let open = Fixture::new();
    open.put_backup(backup("a", "2026-11-21T00:00:00Z", 10, None))
        .await;
    let request = Request::post(pin).header("authorization", anna);
    let pinned = open.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        parsed(&pinned)["pin"]["by"],
        Value::Null,
        "a name that nobody checked"
    );
}

#[tokio::test]
async fn a_removal_of_several_shows_its_journal() {
    let api = Fixture::new();
    let mut removal = operation("x", false, api.start());
    removal.trigger = Trigger::Daemon;
    removal.work = Work::Delete(DeleteWork {
        cause: DeleteCause::Retention,
    });
    put_items(&mut removal, &["a", "b"]);
    removal.items[0].state = ItemState::Done {
        objects: 3,
        bytes: 99,
    };
    removal.items[1].state = ItemState::Left {
        reason: "another backup has its name".to_owned(),
    };
    api.put(removal).await;
    let shown = parsed(&api.get("/api/v1/operations?kind=delete&backup=b").await);
    let shown = &shown["items"][0];
    assert_eq!(
        (&shown["backup"], &shown["trigger"]),
        (&Value::Null, &json!("daemon"))
    );
    assert_eq!(
        shown["items"],
        json!([
            {"backup": "a", "state": "done", "reasons": ["asked for"], "objects": 3, "bytes": 99, "note": null},
            {"backup": "b", "state": "left", "reasons": ["asked for"], "objects": null, "bytes": null, "note": "another backup has its name"},
        ])
    );
}

#[tokio::test]
async fn the_plan_is_told_with_ages_reasons_and_what_stands_against_it() {
    let api = Fixture::new();
    api.put_backup(backup("a", "2026-11-22T13:34:00Z", 10, None))
        .await;
    let plan = parsed(&api.get("/api/v1/retention/plan").await);
    let line = &plan["lines"][0];
    assert_eq!(
        (
            &line["backup"],
            &line["group"],
            &line["schedule"],
            &line["age_seconds"]
        ),
        (&json!("a"), &json!("manual"), &Value::Null, &json!(53))
    );
    assert_eq!(
        (&line["decision"], &plan["removals"]),
        (&json!("keep"), &json!(0))
    );
    assert!(!line["reasons"].as_array().unwrap().is_empty());
    assert_eq!(plan["stops"][0]["kind"], "no_view");
    // The server is asked who it is, and the one of the fixture does not answer.
    let adopt = api.post("/api/v1/retention/adopt", "").await;
    assert_eq!(
        (adopt.status, error(&adopt).0.as_str()),
        (503, "unavailable")
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_destination_is_told() {
    let api = Fixture::with_view();
    api.read_in().await;
    let mut damaged = backup("b", "2026-11-21T00:00:00Z", 10, None);
    damaged.set_proof(damaged_proof());
    api.put_backup(damaged).await;
    api.state.worker.pretend_standing(Standing {
        view: ViewState::NamesOnServer,
        url: Some("s3://bucket/path".to_owned()),
        failure: Some("listing: 503".to_owned()),
        broken: vec![broken("rest")],
        others: vec!["daily".to_owned()],
        ..Standing::default()
    });
    let status = parsed(&api.get("/api/v1/status").await);
    let destination = &status["destination"];
    assert_eq!(
        (
            &destination["view"],
            &destination["url"],
            &destination["failure"]
        ),
        (
            &json!("names_on_server"),
            &json!("s3://bucket/path"),
            &json!("listing: 503")
        )
    );
    assert_eq!(
        (
            &destination["backups"],
            &destination["broken"],
            &destination["others"]
        ),
        (&json!(1), &json!(1), &json!(["daily"]))
    );
    let problems = status["problems"].as_array().unwrap();
    let told = |kind: &str| {
        let found = problems.iter().find(|problem| problem["kind"] == kind);
        let found = found.unwrap_or_else(|| panic!("{kind}: {status}"));
        format!("{}; {}", found["message"], found["hint"])
    };
    assert!(told("names_on_server").contains("s3_plain"));
    assert!(told("destination_failing").contains("503"));
    assert!(told("newest_damaged").contains("backup show b"));
    assert!(told("broken_backups").contains("clickhouse-backupd clean"));
}
