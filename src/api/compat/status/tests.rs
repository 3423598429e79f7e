use super::*;
use crate::api::testing::{Fixture, operation};
use crate::operation::CancelCause;
use rstest::rstest;

/// Seconds after the fixture's start.
type Second = i64;

/// What is known of one operation in a case.
#[derive(Debug, Clone, Copy)]
struct Given {
    name: &'static str,
    scheduled: bool,
    asked: Second,
    began: Option<Second>,
    ended: Option<(Second, OperationState)>,
}

const fn client(name: &'static str, asked: Second) -> Given {
    Given {
        name,
        scheduled: false,
        asked,
        began: None,
        ended: None,
    }
}

const fn slot(name: &'static str, asked: Second) -> Given {
    Given {
        name,
        scheduled: true,
        asked,
        began: None,
        ended: None,
    }
}

impl Given {
    const fn began(mut self, at: Second) -> Self {
        self.began = Some(at);
        self
    }

    const fn ended(mut self, at: Second, state: OperationState) -> Self {
        self.ended = Some((at, state));
        self
    }

    const fn done(self, at: Second) -> Self {
        self.ended(at, OperationState::Succeeded)
    }

    fn operation(self, start: Timestamp) -> Operation {
        let at = |second| start + SignedDuration::from_secs(second);
        let mut made = operation(self.name, self.scheduled, at(self.asked));
        made.started_at = self.began.map(at);
        made.state = match (self.began, self.ended) {
            (_, Some((_, state))) => state,
            (Some(_), None) => OperationState::Running,
            (None, None) => OperationState::Pending,
        };
        made.finished_at = self.ended.map(|(second, _)| at(second));
        made
    }
}

#[rstest]
#[case::nothing(&[], 0, &[], None)]
#[case::a_clients_counts_from_the_request(&[client("c", 0)], 1, &["c"], Some("c"))]
#[case::a_waiting_slot_is_not_shown(&[slot("s", 0)], 1, &[], None)]
#[case::a_running_slot_is(&[slot("s", 0).began(5)], 9, &["s"], Some("s"))]
#[case::a_skipped_slot_is_not(&[slot("s", 0).ended(1, OperationState::Skipped)], 9, &[], None)]
#[case::a_slot_cancelled_while_it_waited_is_not(&[slot("s", 0).ended(1, OperationState::Cancelled)], 9, &[], None)]
#[case::a_night_that_could_not_begin_is(&[slot("s", 0).ended(90, OperationState::Failed)], 99, &["s"], Some("s"))]
#[case::a_client_behind_a_running_slot(
    &[slot("s", 0).began(0), client("c", 10)], 20, &["s", "c"], Some("c")
)]
#[case::a_slot_that_began_behind_a_client_is_hidden_while_that_runs(
    &[client("c", 0).began(0), slot("s", 10).began(10)], 20, &["c"], Some("c")
)]
#[case::and_for_a_minute_after_its_end(
    &[client("c", 0).began(0).done(100), slot("s", 10).began(101)], 159, &["c"], Some("c")
)]
#[case::and_then_shown(
    &[client("c", 0).began(0).done(100), slot("s", 10).began(101)], 160, &["c", "s"], Some("s")
)]
#[case::even_if_it_has_ended_within_the_minute(
    &[client("c", 0).began(0).done(100), slot("s", 10).began(101).done(103)], 120, &["c"], Some("c")
)]
#[case::a_slot_that_waits_for_its_next_attempt_does_not_answer_for_a_client(
    &[slot("s", 0).began(0), client("c", 10).began(12).done(30)], 40, &["s", "c"], Some("c")
)]
#[case::it_does_after_the_minute(
    &[slot("s", 0).began(0), client("c", 10).began(12).done(30)], 90, &["s", "c"], Some("s")
)]
#[case::a_slot_that_ended_after_the_client_does_not_either(
    &[slot("s", 0).began(0).done(50), client("c", 10).began(12).done(30)], 60, &["s", "c"], Some("c")
)]
#[case::of_two_clients_the_newest_that_is_not_over(
    &[client("a", 0).began(0), client("b", 5).ended(6, OperationState::Cancelled)], 10, &["a", "b"], Some("a")
)]
#[case::a_slot_behind_the_older_of_two_clients_stays_hidden(
    &[client("a", 0).began(0), client("b", 5).ended(6, OperationState::Cancelled), slot("s", 7).ended(90, OperationState::Failed)],
    100, &["a", "b"], Some("a")
)]
#[case::when_all_is_over_the_last_that_ended(
    &[slot("s", 0).began(0).done(200), client("c", 10).began(20).done(100)], 900, &["s", "c"], Some("s")
)]
#[case::a_clock_that_was_set_back_hides_nothing(
    &[client("c", 0).began(0).done(5_000), slot("s", 10).began(10)], 100, &["c", "s"], Some("s")
)]
#[case::the_same_second_keeps_the_order_of_submission(
    &[slot("s", 0).began(10), client("c", 10)], 20, &["s", "c"], Some("c")
)]
#[tokio::test]
async fn a_script_finds_its_own_row(
    #[case] given: &[Given],
    #[case] now: Second,
    #[case] rows: &[&str],
    #[case] answer: Option<&str>,
) {
    let api = Fixture::new();
    for one in given {
        api.put(one.operation(api.start())).await;
    }
    let now = api.start() + SignedDuration::from_secs(now);
    let name = |operation: &Arc<Operation>| operation.subject();
    let view = api.state.catalog.view();
    assert_eq!(
        history(&view, now).iter().map(name).collect::<Vec<_>>(),
        rows
    );
    assert_eq!(current(&view, now).as_ref().map(name).as_deref(), answer);
}

#[tokio::test]
async fn rows_are_byte_for_byte() {
    let api = Fixture::new();
    let mut made = operation("daily", false, api.start());
    made.command = "create --tables=\"default.*\" daily".to_owned();
    made.finished_at = None;
    let id = made.id;
    let number = api.put(made.clone()).await;
    assert_eq!(
        api.get("/backup/status").await.body,
        format!(
            "{{\"command\":\"create --tables=\\\"default.*\\\" daily\",\"status\":\"in progress\",\"start\":\"2026-11-22 15:34:53\",\"operation_id\":\"{id}\"}}\n"
        )
    );
    made.number = number;
    made.command = "create daily".to_owned();
    made.started_at = Some(api.start());
    made.finished_at = Some(api.start() + SignedDuration::from_secs(251));
    made.state = OperationState::Succeeded;
    api.put_again(made.clone()).await;
    let success = format!(
        "{{\"command\":\"create daily\",\"status\":\"success\",\"start\":\"2026-11-22 15:34:53\",\"finish\":\"2026-11-22 15:39:04\",\"operation_id\":\"{id}\"}}\n"
    );
    assert_eq!(api.get("/backup/status").await.body, success);
    assert_eq!(api.get("/backup/actions").await.body, success);
    made.state = OperationState::Cancelled;
    api.put_again(made.clone()).await;
    assert_eq!(
        api.get("/backup/status").await.body,
        format!(
            "{{\"command\":\"create daily\",\"status\":\"cancel\",\"start\":\"2026-11-22 15:34:53\",\"finish\":\"2026-11-22 15:39:04\",\"error\":\"canceled from API /backup/kill\",\"operation_id\":\"{id}\"}}\n"
        )
    );
    made.state = OperationState::Failed;
    made.failure = Some(Failure::new(FailureKind::Unknown, "code: 1, message: a<b"));
    api.put_again(made).await;
    assert_eq!(
        api.get("/backup/status").await.body,
        format!(
            "{{\"command\":\"create daily\",\"status\":\"error\",\"start\":\"2026-11-22 15:34:53\",\"finish\":\"2026-11-22 15:39:04\",\"error\":\"code: 1, message: a\\u003cb\",\"operation_id\":\"{id}\"}}\n"
        )
    );
}

#[test]
fn an_operation_that_is_being_ended_or_tried_again_is_in_progress_without_an_error() {
    let mut made = operation("daily", true, Timestamp::UNIX_EPOCH);
    made.failure = Some(Failure::new(FailureKind::Busy, "busy"));
    for state in [
        OperationState::Pending,
        OperationState::Cancelling(CancelCause::Caller),
    ] {
        made.state = state;
        let row = row(&made, &TimeZone::UTC);
        assert_eq!(
            (row.status, row.error.as_str(), row.finish.as_str()),
            ("in progress", "", "")
        );
    }
}

#[test]
fn a_failure_says_what_can_be_done() {
    let failure = Failure::new(FailureKind::Exists, "the name is taken");
    let text = failure_text(Some(&failure));
    assert!(
        text.starts_with("the name is taken; choose another"),
        "{text}"
    );
}

#[tokio::test]
async fn an_id_shows_its_operation_even_if_it_is_hidden() {
    let api = Fixture::new();
    let waiting = operation("s", true, api.start());
    let id = waiting.id;
    api.put(waiting).await;
    assert_eq!(api.get("/backup/status").await.body, "");
    for spelling in ["operationid", "operation_id"] {
        let answer = api.get(&format!("/backup/status?{spelling}={id}")).await;
        assert!(
            answer.body.contains("\"status\":\"in progress\""),
            "{}",
            answer.body
        );
    }
    for unknown in ["nope", "6f1c0000-0000-4000-8000-000000000000"] {
        let answer = api
            .get(&format!("/backup/status?operationid={unknown}"))
            .await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    }
}
