//! `POST /backup/create`: makes a backup, and answers at once.

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::answer::Refusal;
use super::arguments::{Argument, Arguments, Kind, backup_name};
use super::callback::callbacks;
use super::{acknowledged, default_name, submit};
use crate::api::ApiState;
use crate::backup::{BackupName, Scope};
use crate::operation::{BackupWork, Work};
use crate::worker::Request;

const OPERATION: &str = "create";

const NO_PARTITIONS: &str =
    "a native BACKUP of ClickHouse is asked for by table; name tables instead";
const NO_CONFIGS: &str =
    "ClickHouse's own BACKUP holds no configuration files; keep them where they are deployed from";
const NO_NAMED_COLLECTIONS: &str =
    "ClickHouse's own BACKUP holds no named collections; keep their definitions elsewhere";
const NO_ONLY: &str =
    "ask ClickHouse itself: BACKUP TABLE system.users, TABLE system.roles, ... TO ...";
const NO_PROJECTIONS: &str =
    "ClickHouse's own BACKUP always takes the projections with their table";
const NO_DELETE_SOURCE: &str =
    "a backup lies in its destination from the start; there is no local copy";

/// Every argument that the server we replace knew for `create`, in the order of its history text.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument::value("name", &[]),
    Argument::value("table", &["tables", "t"]),
    Argument::value("diff_from_remote", &[]),
    Argument::value("diff_from", &[]),
    Argument::flag("schema", &["s"]),
    Argument::flag("rbac", &["backup-rbac", "do-backup-rbac"]),
    Argument::flag("skip_check_parts_columns", &[]),
    Argument::flag("resume", &["resumable"]),
    Argument::refused("partitions", Kind::Value, NO_PARTITIONS),
    Argument::refused("rbac_only", Kind::Flag, NO_ONLY),
    Argument::refused("configs", Kind::Flag, NO_CONFIGS),
    Argument::refused("configs_only", Kind::Flag, NO_CONFIGS),
    Argument::refused("named_collections", Kind::Flag, NO_NAMED_COLLECTIONS),
    Argument::refused("named_collections_only", Kind::Flag, NO_NAMED_COLLECTIONS),
    Argument::refused("skip_projections", Kind::Value, NO_PROJECTIONS),
    Argument::refused("delete_source", Kind::Flag, NO_DELETE_SOURCE),
    Argument::value("callback", &[]),
];

/// The arguments come from the query alone: what a form sends in the body was never read.
pub(in crate::api) async fn create(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let arguments = Arguments::from_query(OPERATION, query.as_deref(), ARGUMENTS)?;
    let default_name = default_name(state.clock.now(), &state.zone);
    let request = request(&arguments, &default_name)?;
    let accepted = submit(&state, OPERATION, request).await?;
    Ok(acknowledged(OPERATION, &accepted))
}

/// The work that these arguments mean.
pub(super) fn request(arguments: &Arguments, default_name: &str) -> Result<Request, Refusal> {
    let given = arguments.value("name");
    let name = backup_name(OPERATION, given.unwrap_or(default_name))?;
    let base = base(arguments)?;
    if base.as_ref() == Some(&name) {
        let text = format!("backup {name} cannot be built on itself; give it another name");
        return Err(Refusal::bad_request(OPERATION, text));
    }
    let scope = Scope {
        tables: arguments.tables(OPERATION)?,
        access: arguments.has("rbac"),
        structure_only: arguments.has("schema"),
        ..Scope::everything()
    };
    let command = command(arguments, given);
    let work = Work::Backup(BackupWork {
        name,
        scope,
        base,
        increments: None,
        kind_reason: None,
    });
    Ok(Request {
        work,
        command,
        callbacks: callbacks(OPERATION, arguments)?,
    })
}

/// The base has two names; both are taken where they agree.
fn base(arguments: &Arguments) -> Result<Option<BackupName>, Refusal> {
    let given = ["diff_from_remote", "diff_from"].map(|name| arguments.value(name));
    match given {
        [Some(one), Some(other)] if one != other => {
            let text = "diff_from_remote and diff_from name different bases; give one of them";
            Err(Refusal::bad_request(OPERATION, text))
        }
        [one, other] => one
            .or(other)
            .map(|text| backup_name(OPERATION, text))
            .transpose(),
    }
}

/// The history text, as the server we replace composed it: the base was never part of it, and the
/// name only where it was given.
fn command(arguments: &Arguments, name: Option<&str>) -> String {
    let mut text = OPERATION.to_owned();
    if arguments.has("table") {
        let tables: Vec<&str> = arguments.values("table").collect();
        text.push_str(&format!(" --tables=\"{}\"", tables.join(",")));
    }
    for flag in ["schema", "rbac", "skip_check_parts_columns", "resume"] {
        if arguments.has(flag) {
            text.push_str(&format!(" --{}", flag.replace('_', "-")));
        }
    }
    if let Some(name) = name {
        text.push(' ');
        text.push_str(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::Fixture;
    use crate::operation::State;
    use rstest::rstest;

    fn of(query: &str) -> Result<Request, String> {
        Arguments::from_query(OPERATION, Some(query), ARGUMENTS)
            .and_then(|arguments| request(&arguments, "2026-11-22T15-34-53"))
            .map_err(|refusal| refusal.line())
    }

    fn work(query: &str) -> BackupWork {
        match of(query).unwrap().work {
            Work::Backup(work) => work,
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case("name=2026-11-22", "create 2026-11-22")]
    #[case("", "create")]
    #[case("table=default.*&name=daily", "create --tables=\"default.*\" daily")]
    #[case(
        "name=d&resume&rbac=1&schema=&diff-from-remote=base&skip-check-parts-columns",
        "create --schema --rbac --skip-check-parts-columns --resume d"
    )]
    fn the_history_text_is_as_before(#[case] query: &str, #[case] expected: &str) {
        assert_eq!(of(query).unwrap().command, expected);
    }

    #[test]
    fn arguments_become_work() {
        let all = work("name=d");
        assert_eq!(all.scope, Scope::everything());
        assert_eq!(all.base, None);
        let some = work("table=shop.*&schema&rbac&diff_from=base");
        assert_eq!(some.name.as_str(), "2026-11-22T15-34-53");
        assert_eq!(some.scope.tables.len(), 1);
        assert!(some.scope.structure_only && some.scope.access);
        assert_eq!(some.base.unwrap().as_str(), "base");
    }

    #[rstest]
    #[case("name=../x", "../x")]
    #[case("name=a'b", "a")]
    #[case("name=d&diff_from=d", "built on itself")]
    #[case("diff_from=a&diff-from-remote=b", "different bases")]
    #[case("partitions=2026", "partitions")]
    #[case("configs", "configs")]
    #[case("named-collections-only", "named_collections_only")]
    fn bad_input_is_named(#[case] query: &str, #[case] expected: &str) {
        let error = of(query).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[tokio::test]
    async fn a_create_is_acknowledged_and_recorded() {
        let api = Fixture::new();
        let answer = api.post("/backup/create?name=2026-11-22", "").await;
        let operation = api.only_operation();
        assert_eq!(answer.status, 200);
        let id = operation.id;
        assert_eq!(
            answer.body,
            format!(
                "{{\"status\":\"acknowledged\",\"operation\":\"create\",\"backup_name\":\"2026-11-22\",\"operation_id\":\"{id}\"}}\n"
            )
        );
        assert_eq!(operation.state, State::Pending);
        assert_eq!(operation.command, "create 2026-11-22");
        let again = api.post("/backup/create?name=2026-11-22", "").await;
        assert_eq!((again.status, again.body), (200, answer.body));
        api.only_operation();
    }

    #[tokio::test]
    async fn wget_sends_an_empty_form() {
        let api = Fixture::new();
        let answer = api.form("/backup/create", "").await;
        assert_eq!(answer.status, 200);
        // The fixture's clock shows 13:34:53 in UTC, and its zone is two hours ahead.
        assert!(
            answer
                .body
                .contains("\"backup_name\":\"2026-11-22T15-34-53\""),
            "{}",
            answer.body
        );
        assert_eq!(api.only_operation().command, "create");
    }

    #[tokio::test]
    async fn a_busy_lane_is_423_with_the_known_text() {
        let api = Fixture::new();
        api.post("/backup/create?name=a", "").await;
        let answer = api.post("/backup/create?name=b", "").await;
        assert_eq!(answer.status, 423);
        assert_eq!(
            answer.body,
            "{\"status\":\"error\",\"operation\":\"create\",\"error\":\"another operation is currently running\"}\n"
        );
        assert_eq!(
            answer.header("content-type"),
            "application/json; charset=UTF-8"
        );
    }

    #[tokio::test]
    async fn a_refused_name_starts_nothing() {
        let api = Fixture::new();
        let answer = api.post("/backup/create?name=..%2Fx", "").await;
        assert_eq!(answer.status, 400);
        assert_eq!(api.operations().len(), 0);
    }
}
