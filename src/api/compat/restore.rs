//! `POST /backup/restore/{name}` and `POST /backup/restore?name=`: restores a backup, and answers at once.
//!
//! Whether the backup exists is not asked here: without a view of the destination only ClickHouse
//! knows, and the answer is in the operation's row, as before.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::answer::Refusal;
use super::arguments::{Argument, Arguments, Kind, backup_name, shown, truth};
use super::callback::callbacks;
use super::{acknowledged, submit};
use crate::api::ApiState;
use crate::operation::{Existing, RestoreWork, Work};
use crate::worker::Request;

const OPERATION: &str = "restore";
/// Most renamed databases or tables of one restore.
const MAPPINGS_MAX: usize = 1_000;

const NO_PARTITIONS: &str = "a native RESTORE is asked for by table; name tables, and move partitions with ALTER TABLE afterwards";
const NO_ACCESS: &str = "users and roles are restored by ClickHouse itself: RESTORE TABLE system.users, TABLE system.roles, ... FROM ...";
const NO_CONFIGS: &str = "ClickHouse's own BACKUP holds no configuration files";
const NO_NAMED_COLLECTIONS: &str = "ClickHouse's own BACKUP holds no named collections";
const NO_SUCH_WAY: &str = "a native RESTORE has no such way of working; leave it out";

/// Every argument that the server we replace knew for `restore`.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument::value("name", &[]),
    Argument::value("table", &["tables", "t"]),
    Argument::value("restore_database_mapping", &["m"]),
    Argument::value("restore_table_mapping", &["tm"]),
    Argument::flag("schema", &["s"]),
    Argument::flag("data", &["d"]),
    Argument::flag("drop", &[]),
    Argument::flag("rm", &[]),
    Argument::flag("ignore_dependencies", &["i"]),
    Argument::flag("resume", &[]),
    Argument::flag("resumable", &[]),
    Argument::refused("partitions", Kind::Value, NO_PARTITIONS),
    Argument::refused("rbac", Kind::Flag, NO_ACCESS),
    Argument::refused("rbac_only", Kind::Flag, NO_ACCESS),
    Argument::refused("configs", Kind::Flag, NO_CONFIGS),
    Argument::refused("configs_only", Kind::Flag, NO_CONFIGS),
    Argument::refused("named_collections", Kind::Flag, NO_NAMED_COLLECTIONS),
    Argument::refused("named_collections_only", Kind::Flag, NO_NAMED_COLLECTIONS),
    Argument::refused("skip_projections", Kind::Value, NO_SUCH_WAY),
    Argument::refused("restore_schema_as_attach", Kind::Flag, NO_SUCH_WAY),
    Argument::refused("replicated_copy_to_detached", Kind::Flag, NO_SUCH_WAY),
    Argument::refused("skip_empty_tables", Kind::Flag, NO_SUCH_WAY),
    Argument::refused("rebind_replica_path_if_exists", Kind::Flag, NO_SUCH_WAY),
    Argument::value("callback", &[]),
];

/// The query style that DAGs use.
pub(in crate::api) async fn restore(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    answer(&state, query.as_deref(), None).await
}

/// The path style.
pub(in crate::api) async fn restore_named(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    answer(&state, query.as_deref(), Some(&name)).await
}

async fn answer(
    state: &ApiState,
    query: Option<&str>,
    name: Option<&str>,
) -> Result<Response, Refusal> {
    let arguments = Arguments::from_query(OPERATION, query, ARGUMENTS)?;
    let request = request(&arguments, name)?;
    let accepted = submit(state, OPERATION, request).await?;
    Ok(acknowledged(OPERATION, &accepted))
}

/// The work that these arguments mean; the name stands beside them or among them.
pub(super) fn request(arguments: &Arguments, name: Option<&str>) -> Result<Request, Refusal> {
    let refused = |text: String| Refusal::bad_request(OPERATION, text);
    let name = match (name, arguments.value("name")) {
        (Some(one), Some(other)) if one != other => {
            let text = format!(
                "the backup is named twice, {:?} and {:?}; name one",
                shown(one),
                shown(other)
            );
            return Err(refused(text));
        }
        (one, other) => one.or(other).ok_or_else(|| {
            refused("which backup? POST /backup/restore/<name> or ?name=<name>".to_owned())
        })?,
    };
    let databases = mapping(arguments, "restore_database_mapping")?;
    let tables = mapping(arguments, "restore_table_mapping")?;
    let work = RestoreWork {
        backup: backup_name(OPERATION, name)?,
        tables: arguments.tables(OPERATION)?,
        database_mapping: databases,
        table_mapping: tables,
        // Both together always meant definitions and rows.
        structure_only: arguments.has("schema") && !arguments.has("data"),
        existing: existing(arguments)?,
    };
    Ok(Request {
        command: command(arguments, name),
        work: Work::Restore(work),
        callbacks: callbacks(OPERATION, arguments)?,
    })
}

/// What happens to tables that hold rows. `rm=false` meant yes in the server we replace; a caller
/// who writes it surely means no, and dropping tables is not the place for a guess.
fn existing(arguments: &Arguments) -> Result<Existing, Refusal> {
    for name in ["rm", "drop"] {
        if let Some(value) = arguments
            .values(name)
            .find(|value| truth(value) == Some(false))
        {
            let text = format!(
                "{name}={value} is ambiguous: the argument drops tables whatever its value; leave it out to keep them"
            );
            return Err(Refusal::bad_request(OPERATION, text));
        }
    }
    Ok(if arguments.has("rm") || arguments.has("drop") {
        Existing::Drop
    } else if arguments.has("data") {
        Existing::Append
    } else {
        Existing::Refuse
    })
}

/// Pairs `from:to`, in lists with commas, given once or several times.
fn mapping(
    arguments: &Arguments,
    argument: &'static str,
) -> Result<Vec<(String, String)>, Refusal> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let lists = arguments.values(argument).filter(|list| !list.is_empty());
    for text in lists.flat_map(|list| list.split(',')) {
        let refused = |why: &str| {
            let text = format!("invalid values in {argument} {}{why}", shown(text));
            Refusal::bad_request(OPERATION, text)
        };
        let (from, to) = text
            .split_once(':')
            .ok_or_else(|| refused("; write from:to"))?;
        let (from, to) = (from.trim(), to.trim());
        if from.is_empty() || to.is_empty() || to.contains(':') {
            return Err(refused("; write from:to"));
        }
        if pairs.iter().any(|(known, _)| known == from) {
            return Err(refused("; it is given two new names"));
        }
        if pairs.len() >= MAPPINGS_MAX {
            return Err(refused("; there are more than 1000"));
        }
        pairs.push((from.to_owned(), to.to_owned()));
    }
    Ok(pairs)
}

/// The history text, as the server we replace composed it.
fn command(arguments: &Arguments, name: &str) -> String {
    let mut text = OPERATION.to_owned();
    for (argument, option) in [
        ("table", "tables"),
        ("restore_database_mapping", "restore-database-mapping"),
        ("restore_table_mapping", "restore-table-mapping"),
    ] {
        if arguments.has(argument) {
            let values: Vec<&str> = arguments.values(argument).collect();
            text.push_str(&format!(" --{option}=\"{}\"", values.join(",")));
        }
    }
    let flags = [
        "schema",
        "data",
        "drop",
        "rm",
        "ignore_dependencies",
        "resume",
        "resumable",
    ];
    for flag in flags {
        if arguments.has(flag) {
            text.push_str(&format!(" --{}", flag.replace('_', "-")));
        }
    }
    text.push(' ');
    text.push_str(name);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::Fixture;
    use rstest::rstest;

    fn of(query: &str, name: Option<&str>) -> Result<Request, String> {
        Arguments::from_query(OPERATION, Some(query), ARGUMENTS)
            .and_then(|arguments| request(&arguments, name))
            .map_err(|refusal| refusal.line())
    }

    fn work(query: &str) -> RestoreWork {
        match of(query, Some("N")).unwrap().work {
            Work::Restore(work) => work,
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case(
        "rm=1&restore_database_mapping=shop:shop2",
        "restore --restore-database-mapping=\"shop:shop2\" --rm N"
    )]
    #[case("", "restore N")]
    #[case(
        "resume&ignore-dependencies&rm&drop&data&schema&restore-table-mapping=a:b&restore_database_mapping=c:d&restore-database-mapping=e:f&table=shop.*",
        "restore --tables=\"shop.*\" --restore-database-mapping=\"c:d,e:f\" --restore-table-mapping=\"a:b\" --schema --data --drop --rm --ignore-dependencies --resume N"
    )]
    fn the_history_text_is_as_before(#[case] query: &str, #[case] expected: &str) {
        assert_eq!(of(query, Some("N")).unwrap().command, expected);
    }

    #[rstest]
    #[case("", Existing::Refuse, false)]
    #[case("schema", Existing::Refuse, true)]
    #[case("data", Existing::Append, false)]
    #[case("data&schema", Existing::Append, false)]
    #[case("rm", Existing::Drop, false)]
    #[case("drop=", Existing::Drop, false)]
    #[case("data&rm=1", Existing::Drop, false)]
    fn flags_decide_about_what_is_there(
        #[case] query: &str,
        #[case] existing: Existing,
        #[case] structure_only: bool,
    ) {
        let work = work(query);
        assert_eq!(
            (work.existing, work.structure_only),
            (existing, structure_only)
        );
    }

    #[test]
    fn mappings_are_pairs_in_order() {
        let work = work("restore_database_mapping=a:b,c:d&restore_table_mapping=x.t:y.u");
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(work.database_mapping, [pair("a", "b"), pair("c", "d")]);
        assert_eq!(work.table_mapping, [pair("x.t", "y.u")]);
    }

    #[rstest]
    #[case(
        "restore_database_mapping=shop",
        "invalid values in restore_database_mapping shop"
    )]
    #[case(
        "restore_database_mapping=a:b:c",
        "invalid values in restore_database_mapping a:b:c"
    )]
    #[case(
        "restore_table_mapping=a:",
        "invalid values in restore_table_mapping a:"
    )]
    #[case("restore_table_mapping=a:b,a:c", "two new names")]
    #[case("rm=false", "rm=false is ambiguous")]
    #[case("partitions=2026", "partitions")]
    #[case("rbac", "rbac")]
    #[case("name=other", "named twice")]
    fn bad_input_is_named(#[case] query: &str, #[case] expected: &str) {
        let error = of(query, Some("N")).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn without_a_name_there_is_nothing_to_restore() {
        assert!(of("", None).unwrap_err().contains("which backup"));
        assert!(of("name=a%20b", None).unwrap_err().contains("a b"));
    }

    #[tokio::test]
    async fn both_styles_are_acknowledged() {
        for path in [
            "/backup/restore/2026-11-22",
            "/backup/restore?name=2026-11-22",
        ] {
            let api = Fixture::new();
            let answer = api.post(path, "").await;
            let id = api.only_operation().id;
            assert_eq!(answer.status, 200);
            assert_eq!(
                answer.body,
                format!(
                    "{{\"status\":\"acknowledged\",\"operation\":\"restore\",\"backup_name\":\"2026-11-22\",\"operation_id\":\"{id}\"}}\n"
                )
            );
        }
    }

    #[tokio::test]
    async fn a_name_from_the_path_is_checked_too() {
        let api = Fixture::new();
        let answer = api.post("/backup/restore/..%2F..%2Fetc", "").await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("../../etc"), "{}", answer.body);
        assert_eq!(api.post("/backup/restore/%ff", "").await.status, 400);
        assert_eq!(api.operations().len(), 0);
    }
}
