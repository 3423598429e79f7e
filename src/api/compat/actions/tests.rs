use super::*;
use crate::api::testing::{Fixture, backup, operation};
use crate::operation::{Existing, State as OperationState, Work};
use jiff::SignedDuration;
use rstest::rstest;

const NAME: &str = "2026-11-22T15-34-53";

fn parsed(body: &str) -> Result<Vec<Command>, (u16, String)> {
    parse(body.as_bytes(), NAME).map_err(|refusal| (refusal.status().as_u16(), refusal.line()))
}

fn one(text: &str) -> Result<Work, (u16, String)> {
    let line = serde_json::json!({ "command": text, "start": "", "status": "" }).to_string();
    let mut commands = parsed(&line)?;
    match commands.remove(0).verb {
        Verb::Create(request) | Verb::Restore(request) => {
            assert_eq!(request.command, text);
            Ok(request.work)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_line_becomes_work() {
    let Work::Backup(work) = one("create --tables='shop.*' -s --rbac daily").unwrap() else {
        panic!("no backup")
    };
    assert_eq!(work.name.as_str(), "daily");
    assert_eq!(work.scope.tables[0].to_string(), "shop.*");
    assert!(work.scope.structure_only && work.scope.access);
    let Work::Backup(work) = one("create").unwrap() else {
        panic!("no backup")
    };
    assert_eq!(work.name.as_str(), NAME);
    let Work::Restore(work) = one("restore --rm -m shop:shop2 --tm \"a:b\" daily").unwrap() else {
        panic!("no restore")
    };
    assert_eq!(work.existing, Existing::Drop);
    assert_eq!(
        work.database_mapping,
        [("shop".to_owned(), "shop2".to_owned())]
    );
    assert_eq!(work.table_mapping, [("a".to_owned(), "b".to_owned())]);
}

#[rstest]
#[case("delete local daily", "local", false)]
#[case("delete --force remote daily", "remote", true)]
#[case("delete remote daily --force=false", "remote", false)]
fn a_removal_is_read(#[case] text: &str, #[case] location: &str, #[case] force: bool) {
    let line = serde_json::json!({ "command": text }).to_string();
    let Verb::Delete(removal) = parsed(&line).unwrap().remove(0).verb else {
        panic!("no removal")
    };
    assert_eq!(removal, delete::removal(location, "daily", force).unwrap());
}

#[tokio::test]
async fn a_removal_that_is_refused_ends_the_request_under_its_status() {
    let api = Fixture::new();
    let body = "{\"command\":\"create a\"}\n{\"command\":\"delete local none\"}\n{\"command\":\"clean\"}\n";
    let answer = api.post("/backup/actions", body).await;
    let rows: Vec<&str> = answer.body.lines().collect();
    assert_eq!(rows.len(), 2, "{}", answer.body);
    assert!(rows[1].starts_with("{\"status\":\"error\",\"operation\":\"delete\""));
    assert!(matches!(answer.status, 404 | 409), "{}", answer.status);
}

#[rstest]
#[case("", 400, "empty command")]
#[case("   ", 400, "empty command")]
#[case("create 'daily", 400, "quotation mark")]
#[case("create a b", 400, "too much")]
#[case("create --callback=http://h/ x", 400, "POST /backup/create?callback=")]
#[case(
    "restore --callback http://h/ x",
    400,
    "POST /backup/restore?callback="
)]
#[case("create ../x", 400, "../x")]
#[case("create --env CLICKHOUSE_TIMEOUT=1m x", 400, "unknown argument")]
#[case("restore", 400, "which backup")]
#[case("restore --partitions=1 x", 400, "partitions")]
#[case("frobnicate", 400, "unknown command")]
#[case("delete local", 400, "delete local NAME")]
#[case("delete daily", 400, "delete local NAME")]
#[case("delete s3 daily", 400, "'local' or 'remote'")]
#[case("delete local ../x", 400, "../x")]
#[case("delete local --yes daily", 400, "unknown argument")]
#[case("clean all", 400, "too much")]
#[case("list latest", 400, "GET /backup/list")]
#[case("list local latest", 400, "not \\\"latest\\\"")]
#[case("watch", 501, "schedules")]
#[case("watch --watch-interval=1h", 501, "schedules")]
#[case("tables", 501, "system.tables")]
#[case("create_remote daily", 501, "POST /backup/create")]
#[case("restore_remote daily", 501, "POST /backup/restore")]
#[case("upload daily", 501, "nothing to upload")]
#[case("download daily", 501, "nothing to download")]
#[case("rebase daily", 501, "never rewritten")]
#[case("rebalance daily", 501, "nothing to rebalance")]
fn a_command_that_is_not_run_says_why(
    #[case] text: &str,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let (code, error) = one(text).unwrap_err();
    assert_eq!(code, status, "{error}");
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn a_list_is_in_the_answer_behind_its_row() {
    let api = Fixture::new();
    api.put_backup(backup("a", "2026-11-21T13:34:54Z", 1, None))
        .await;
    let listed = api.get("/backup/list").await.body;
    assert_eq!(listed.lines().count(), 1);
    for (command, expected) in [
        ("list", listed.as_str()),
        ("list all", &listed),
        ("list local", &listed),
        ("list remote", ""),
    ] {
        let body = format!("{{\"command\":\"{command}\"}}");
        let answer = api.post("/backup/actions", &body).await;
        let row = format!("{{\"status\":\"success\",\"operation\":\"{command}\"}}\n");
        assert_eq!(answer.body, row + expected);
        assert_eq!(answer.status, 200);
    }
    assert_eq!(api.operations().len(), 0, "reading leaves no trace");
}

#[rstest]
#[case("", "empty request")]
#[case("\n\n", "empty request")]
#[case("create daily", "\"operation\":\"create daily\"")]
#[case("{\"command\":1}", "invalid type")]
fn a_body_that_is_no_list_of_commands_is_400(#[case] body: &str, #[case] expected: &str) {
    let (code, error) = parsed(body).unwrap_err();
    assert_eq!(code, 400);
    assert!(error.contains(expected), "{error}");
}

#[test]
fn there_are_limits() {
    assert!(parsed(&"{\"command\":\"kill\"}\n".repeat(101)).is_err());
    let long = format!("{{\"command\":\"create {}\"}}", "x".repeat(20_000));
    assert!(parsed(&long).is_err());
    assert!(parse(&[0xff], NAME).is_err());
}

proptest::proptest! {
    #[test]
    fn no_command_panics(text in "\\PC{0,60}", verb in "create|restore|kill|delete|clean|list|") {
        let line = serde_json::json!({ "command": format!("{verb} {text}") }).to_string();
        let _ = parsed(&line).is_ok();
        let _ = parsed(&text).is_ok();
    }
}

#[tokio::test]
async fn commands_are_acknowledged_and_keep_their_text() {
    let api = Fixture::new();
    let body = "\n{\"command\":\"create --tables=a.b daily\",\"start\":\"2026-11-22 00:00:00\"}\n";
    let answer = api.post("/backup/actions", body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        "{\"status\":\"acknowledged\",\"operation\":\"create --tables=a.b daily\"}\n"
    );
    assert_eq!(api.only_operation().command, "create --tables=a.b daily");
    let kill = "{\"command\":\"kill 'create --tables=a.b daily'\"}";
    let answer = api.post("/backup/actions", kill).await;
    assert_eq!(
        answer.body,
        "{\"status\":\"success\",\"operation\":\"kill 'create --tables=a.b daily'\"}\n"
    );
    assert_eq!(api.only_operation().state, OperationState::Cancelled);
}

#[tokio::test]
async fn a_busy_lane_is_423_and_earlier_rows_are_not_lost() {
    let api = Fixture::new();
    let body = "{\"command\":\"create a\"}\n{\"command\":\"create b\"}\n{\"command\":\"kill\"}\n";
    let answer = api.post("/backup/actions", body).await;
    assert_eq!(answer.status, 423);
    assert_eq!(
        answer.body,
        "{\"status\":\"acknowledged\",\"operation\":\"create a\"}\n\
         {\"status\":\"error\",\"operation\":\"create\",\"error\":\"another operation is currently running\"}\n"
    );
    assert_eq!(
        api.only_operation().state,
        OperationState::Pending,
        "the kill was not reached"
    );
}

#[tokio::test]
async fn a_mistake_in_the_last_line_starts_nothing() {
    let api = Fixture::new();
    let body = "{\"command\":\"create a\"}\n{\"command\":\"frobnicate\"}\n";
    assert_eq!(api.post("/backup/actions", body).await.status, 400);
    assert_eq!(api.operations().len(), 0);
}

#[tokio::test]
async fn the_history_is_filtered_and_cut() {
    let api = Fixture::new();
    for (second, name, state) in [
        (0, "a", OperationState::Succeeded),
        (1, "b", OperationState::Failed),
        (2, "c", OperationState::Succeeded),
    ] {
        let at = api.start() + SignedDuration::from_secs(second);
        let mut made = operation(name, false, at);
        made.state = state;
        made.finished_at = Some(at);
        api.put(made).await;
    }
    let names = async |query: &str| -> String {
        let body = api.get(&format!("/backup/actions{query}")).await.body;
        body.lines()
            .filter_map(|line| line.split("create ").nth(1)?.chars().next())
            .collect()
    };
    assert_eq!(names("").await, "abc");
    assert_eq!(names("?last=1").await, "c");
    assert_eq!(names("?last=2").await, "bc");
    assert_eq!(names("?last=99999").await, "abc");
    assert_eq!(names("?last=0").await, "abc");
    assert_eq!(names("?last=-1").await, "abc");
    assert_eq!(names("?filter=success&last=1").await, "c");
    assert_eq!(names("?filter=error").await, "b");
    assert_eq!(names("?filter=Success").await, "");
    let bad = api.get("/backup/actions?last=x").await;
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains("last"), "{}", bad.body);
}
