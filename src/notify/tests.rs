use jiff::Timestamp;
use rstest::rstest;

use super::*;
use crate::operation::testing::{daily, ended};

fn settings() -> Settings {
    let address = |path: &str| Some(SecretSource::from(format!("http://h/{path}").as_str()));
    let heartbeat = Heartbeat {
        started: address("started"),
        succeeded: address("succeeded"),
        failed: address("failed"),
    };
    Settings {
        heartbeats: [(
            ScheduleName::try_from("daily".to_owned()).unwrap(),
            heartbeat,
        )]
        .into(),
        ..Settings::default()
    }
}

fn texts(operation: &Operation, settings: &Settings) -> Vec<String> {
    let owed = owed(operation, settings).map_or_else(Vec::new, |(_, messages)| messages);
    let text = |message: &Message| {
        let address = address(&message.address).unwrap();
        format!("{} {}", message.kind.as_str(), address.path())
    };
    owed.iter().map(text).collect()
}

#[rstest]
#[case(State::Pending, None, &[])]
#[case(State::Starting, None, &["heartbeat /started"])]
#[case(State::Running, None, &["heartbeat /started"])]
#[case(State::Running, Some(Told::Started), &[])]
#[case(State::Succeeded, None, &["heartbeat /succeeded"])]
#[case(State::Succeeded, Some(Told::Started), &["heartbeat /succeeded"])]
#[case(State::Succeeded, Some(Told::Ended), &[])]
#[case(State::Failed, Some(Told::Started), &["heartbeat /failed"])]
#[case(State::Cancelled, None, &["heartbeat /failed"])]
#[case(State::Skipped, None, &[])]
fn a_schedule_tells_each_moment_once(
    #[case] state: State,
    #[case] told: Option<Told>,
    #[case] expected: &[&str],
) {
    let operation = Operation {
        state,
        told,
        ..daily()
    };
    assert_eq!(texts(&operation, &settings()), expected);
    assert!(
        texts(&operation, &Settings::default()).is_empty(),
        "nobody listens"
    );
}

#[test]
fn who_asked_is_called_and_else_the_address_for_all() {
    let for_all = Settings {
        callback_url: Some(SecretSource::from("https://h/all")),
        ..Settings::default()
    };
    let operation = ended(State::Failed);
    assert_eq!(texts(&operation, &for_all), ["callback /all"]);
    let operation = Operation {
        callbacks: vec!["http://h/mine".to_owned(), "http://h/two".to_owned()],
        ..operation
    };
    assert_eq!(
        texts(&operation, &for_all),
        ["callback /mine", "callback /two"]
    );
    let running = Operation {
        state: State::Running,
        ..operation
    };
    assert!(texts(&running, &for_all).is_empty());
}

#[test]
fn the_body_is_that_of_the_server_we_replace() {
    let mut operation = ended(State::Succeeded);
    operation.command = "create daily".to_owned();
    operation.started_at = Some(Timestamp::UNIX_EPOCH);
    operation.finished_at = Some("1970-01-01T00:04:11.5Z".parse().unwrap());
    let id = operation.id;
    assert_eq!(
        body(&operation),
        format!(
            r#"{{"status":"success","error":"","operation_id":"{id}","command":"create daily","duration":"4m11.5s"}}"#
        )
    );
    let failed = ended(State::Failed);
    assert!(
        body(&failed).contains(r#""status":"error","error":"it \"broke\"""#),
        "{}",
        body(&failed)
    );
    assert!(body(&ended(State::Cancelled)).contains(r#""status":"cancel","error":"""#));
}

#[rstest]
#[case(0, "0s")]
#[case(7, "7ms")]
#[case(1_000, "1s")]
#[case(1_050, "1.05s")]
#[case(60_000, "1m0s")]
#[case(3_600_000, "1h0m0s")]
#[case(90_061_001, "25h1m1.001s")]
fn lengths_are_written_as_go_does(#[case] millis: u64, #[case] text: &str) {
    assert_eq!(go_duration(millis), text);
}

#[rstest]
#[case("https://hc.example/ping/1", Ok(()))]
#[case("http://[::1]:8080", Ok(()))]
#[case("", Err(UrlError::NotHttp))]
#[case("ftp://x/", Err(UrlError::NotHttp))]
#[case("http://", Err(UrlError::NotHttp))]
#[case("/path", Err(UrlError::NotHttp))]
fn addresses_are_of_http(#[case] text: &str, #[case] expected: Result<(), UrlError>) {
    assert_eq!(check_url(text), expected);
    let long = format!("http://h/{}", "x".repeat(URL_MAX_CHARS));
    assert_eq!(check_url(&long), Err(UrlError::TooLong));
}

#[tokio::test]
async fn an_error_names_the_host_and_nothing_else_of_the_address() {
    let message = Message {
        address: SecretSource::from("http://127.0.0.1:1/secret-token"),
        kind: MessageKind::Heartbeat,
    };
    let caller = Caller::new().unwrap();
    let error = caller
        .tell(&message, Duration::from_secs(5))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1") && !text.contains("secret-token"),
        "{text}"
    );
}
