//! Tables that must not simply get another name: they go on working by themselves, on tables that
//! kept theirs.
//!
//! A materialized view that is restored beside the live one reads from the live source and writes to
//! the live target: every insert then counts twice (seen: a `SummingMergeTree` target doubled).
//! ClickHouse rewrites the names in its definition only for tables that the same statement restores
//! under new names.

use crate::backup::{Contents, Table};
use crate::operation::RestoreWork;

use super::statement::mapped;

/// The engine of materialized views.
pub(super) const MATERIALIZED_VIEW: &str = "MaterializedView";
/// Engines that read a queue or a folder by themselves: a second one takes messages from the first.
const CONSUMERS: [&str; 7] = [
    "AzureQueue",
    "FileLog",
    "Kafka",
    "MaterializedPostgreSQL",
    "NATS",
    "RabbitMQ",
    "S3Queue",
];

/// Why a chosen table is left out of a restore that gives it another name; `None` where it is not.
pub(super) fn why_left_out(
    table: &Table,
    work: &RestoreWork,
    contents: &Contents,
    chosen: &[&Table],
) -> Option<String> {
    if !is_moved(work, table) {
        return None;
    }
    if CONSUMERS.contains(&table.engine.as_str()) {
        return Some(format!(
            "a second table of the engine {} would take its messages away from the first",
            table.engine
        ));
    }
    if table.engine != MATERIALIZED_VIEW {
        return None;
    }
    let stays = contents
        .tables
        .iter()
        .filter(|other| other.database == table.database)
        .find(|other| !chosen.contains(other) || !is_moved(work, other));
    let prefix = format!("{}.", table.database);
    let not_in_it = contents
        .not_covered
        .iter()
        .find(|left_out| left_out.what.starts_with(&prefix));
    let named = table.other_databases.as_ref().map(|names| names.first());
    let why = match (stays, not_in_it, named) {
        (Some(other), ..) => format!("{}.{} keeps its name", other.database, other.name),
        (_, Some(other), _) => format!("{} is not in the backup", other.what),
        (.., Some(Some(database))) => format!("it names the database {database}, too"),
        (.., None) => "the backup does not tell what it reads and writes".to_owned(),
        (.., Some(None)) => return None,
    };
    Some(format!(
        "a copy of a materialized view may write into live tables: {why}"
    ))
}

fn is_moved(work: &RestoreWork, table: &Table) -> bool {
    let (database, name) = mapped(work, &table.database, &table.name);
    (database, name) != (table.database.clone(), table.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{BackupName, NotCovered, TablePattern};
    use crate::operation::Existing;
    use rstest::rstest;

    fn table(name: &str, engine: &str, others: Option<&str>) -> Table {
        Table {
            database: "shop".into(),
            name: name.into(),
            engine: engine.into(),
            other_databases: others
                .map(|names| names.split_whitespace().map(str::to_owned).collect()),
            ..Table::default()
        }
    }

    fn left_out(
        tables: &[&str],
        renamed: &[(&str, &str)],
        excluded: bool,
        others: Option<&str>,
    ) -> Vec<String> {
        let contents = Contents {
            databases: vec!["shop".into()],
            tables: vec![
                table("by_day_mv", MATERIALIZED_VIEW, others),
                table("events", "Kafka", None),
                table("orders", "MergeTree", None),
            ],
            not_covered: excluded
                .then(|| NotCovered {
                    what: "shop.tmp".into(),
                    reason: "x".into(),
                })
                .into_iter()
                .collect(),
            inventory: None,
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let owned = |(from, to): &(&str, &str)| ((*from).to_owned(), (*to).to_owned());
            pairs.iter().map(owned).collect()
        };
        let is_database = |(from, _): &&(&str, &str)| !from.contains('.');
        let work = RestoreWork {
            backup: BackupName::parse("b").unwrap(),
            tables: tables
                .iter()
                .map(|text| TablePattern::parse(text).unwrap())
                .collect(),
            database_mapping: pairs(
                &renamed
                    .iter()
                    .filter(is_database)
                    .copied()
                    .collect::<Vec<_>>(),
            ),
            table_mapping: pairs(
                &renamed
                    .iter()
                    .filter(|pair| !is_database(pair))
                    .copied()
                    .collect::<Vec<_>>(),
            ),
            structure_only: false,
            existing: Existing::Refuse,
        };
        let all = work.tables.is_empty();
        let chosen: Vec<&Table> = contents
            .tables
            .iter()
            .filter(|t| all || work.tables.iter().any(|p| p.matches(&t.database, &t.name)))
            .collect();
        chosen
            .iter()
            .filter(|table| why_left_out(table, &work, &contents, &chosen).is_some())
            .map(|table| table.name.clone())
            .collect()
    }

    const INTO: &[(&str, &str)] = &[("shop", "shop_old")];

    #[rstest]
    #[case(&[], &[], false, Some(""), &[])] // everything under its own name
    #[case(&[], INTO, false, Some(""), &["events"])] // a whole database is rewritten in itself
    #[case(&["shop.*"], INTO, false, Some(""), &["events"])]
    #[case(&["shop.orders"], INTO, false, Some(""), &[])]
    #[case(&["shop.by_day_mv"], INTO, false, Some(""), &["by_day_mv"])] // its source stays
    #[case(&["shop.*"], INTO, true, Some(""), &["by_day_mv", "events"])] // an excluded table may be its source
    #[case(&["shop.*"], INTO, false, Some("other"), &["by_day_mv", "events"])]
    #[case(&["shop.*"], INTO, false, None, &["by_day_mv", "events"])]
    #[case(&[], &[("shop.by_day_mv", "shop.copy")], false, Some(""), &["by_day_mv"])]
    fn what_would_go_on_working_on_live_tables_is_left_out(
        #[case] tables: &[&str],
        #[case] renamed: &[(&str, &str)],
        #[case] excluded: bool,
        #[case] others: Option<&str>,
        #[case] expected: &[&str],
    ) {
        assert_eq!(left_out(tables, renamed, excluded, others), expected);
    }
}
