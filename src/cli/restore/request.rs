//! From the options of `restore` to what the API is asked for.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse_backupd::api::v1::backup::Contents;
use clickhouse_backupd::api::v1::operation::{Existing, RestoreRequest};

use super::Arguments;
use crate::cli::problem::Problem;
use crate::cli::text;

/// What is asked for; `contents` are needed for `--into` without a choice of tables.
///
/// # Errors
/// When the options mean nothing together.
pub fn request(
    arguments: &Arguments,
    contents: Option<&Contents>,
) -> Result<RestoreRequest, Problem> {
    let mut tables = arguments.tables.clone();
    tables.extend(
        arguments
            .databases
            .iter()
            .map(|database| format!("{database}.*")),
    );
    let mut database_mapping = BTreeMap::new();
    if let Some(into) = &arguments.into {
        let chosen = if tables.is_empty() {
            let only = only_database(&arguments.name, contents)?;
            tables.push(format!("{only}.*"));
            BTreeSet::from([only])
        } else {
            databases_of(&tables)?
        };
        database_mapping.extend(
            chosen
                .into_iter()
                .filter(|database| database != into)
                .map(|database| (database, into.clone())),
        );
    }
    Ok(RestoreRequest {
        backup: arguments.name.clone(),
        tables,
        database_mapping,
        table_mapping: renames(&arguments.rename)?,
        structure_only: arguments.schema_only,
        existing: match (arguments.drop, arguments.append) {
            (true, _) => Existing::Drop,
            (false, true) => Existing::Append,
            (false, false) => Existing::Refuse,
        },
        check: false,
    })
}

fn renames(asked: &[String]) -> Result<BTreeMap<String, String>, Problem> {
    let mut renames = BTreeMap::new();
    for rename in asked {
        let (from, to) = rename
            .split_once('=')
            .filter(|(from, to)| !from.is_empty() && !to.is_empty())
            .ok_or_else(|| {
                Problem::Usage(format!(
                    "--rename {rename:?} is not FROM=TO, as in --rename orders=orders_old"
                ))
            })?;
        if renames.insert(from.to_owned(), to.to_owned()).is_some() {
            return Err(Problem::Usage(format!("--rename names {from:?} twice")));
        }
    }
    Ok(renames)
}

/// The databases of the tables that are chosen, which all go into one.
fn databases_of(tables: &[String]) -> Result<BTreeSet<String>, Problem> {
    let mut databases = BTreeSet::new();
    for table in tables {
        let Some((database, _)) = table.split_once('.') else {
            return Err(Problem::Usage(format!(
                "--table {table:?} is not DB.TABLE, as in shop.orders"
            )));
        };
        if database.contains(['*', '?']) {
            return Err(Problem::Usage(format!(
                "--into needs databases by name, and {database:?} is a pattern; name them with --database"
            )));
        }
        databases.insert(database.to_owned());
    }
    Ok(databases)
}

/// The only database that has tables in the backup.
fn only_database(name: &str, contents: Option<&Contents>) -> Result<String, Problem> {
    let choose = "say which one is meant with --database, or which table with --table";
    let tables = contents.map(|contents| contents.tables.as_slice());
    let held: BTreeSet<&String> = tables
        .unwrap_or_default()
        .iter()
        .map(|table| &table.database)
        .collect();
    let mut names: Vec<String> = held.into_iter().cloned().collect();
    match (names.len(), names.pop()) {
        (1, Some(only)) => Ok(only),
        (count, Some(last)) => {
            names.push(last);
            let names = text::some(&names, 20);
            Err(Problem::stopped(
                format!("{name} holds {count} databases: {names}"),
                choose,
            ))
        }
        (_, None) => Err(Problem::stopped(
            format!(
                "no table of {name} is known here, so --into alone does not say what goes there"
            ),
            choose,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::details;

    fn arguments(tables: &[&str], databases: &[&str], into: Option<&str>) -> Arguments {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Arguments {
            name: "2026-11-22".to_owned(),
            tables: owned(tables),
            databases: owned(databases),
            into: into.map(str::to_owned),
            ..Arguments::default()
        }
    }

    #[test]
    fn the_three_in_the_morning_case() {
        let asked = request(&arguments(&["shop.orders"], &[], Some("shop_old")), None).unwrap();
        assert_eq!(asked.tables, ["shop.orders"]);
        let mapping = [("shop".to_owned(), "shop_old".to_owned())];
        assert_eq!(asked.database_mapping, BTreeMap::from(mapping));
        assert_eq!(asked.existing, Existing::Refuse);
    }

    #[test]
    fn databases_are_all_their_tables() {
        let asked = request(&arguments(&[], &["web", "shop"], Some("old")), None).unwrap();
        assert_eq!(asked.tables, ["web.*", "shop.*"]);
        let into: Vec<&String> = asked.database_mapping.keys().collect();
        assert_eq!(into, ["shop", "web"]);
    }

    #[test]
    fn into_alone_means_the_only_database() {
        let mut contents = details().contents.unwrap();
        let asks = arguments(&[], &[], Some("old"));
        let told = request(&asks, Some(&contents)).unwrap_err();
        assert_eq!(
            told.to_string(),
            "2026-11-22 holds 2 databases: shop and web"
        );
        assert!(told.hint().contains("--database"));
        assert!(
            request(&asks, None)
                .unwrap_err()
                .to_string()
                .contains("is known here")
        );
        contents.tables.retain(|table| table.database == "shop");
        let asked = request(&asks, Some(&contents)).unwrap();
        assert_eq!(asked.database_mapping["shop"], "old");
        assert_eq!(
            asked.tables,
            ["shop.*"],
            "an empty database beside it stays out"
        );
    }

    #[test]
    fn what_means_nothing_is_usage() {
        let wrong = |arguments: Arguments| {
            let told = request(&arguments, None).unwrap_err();
            assert_eq!(told.exit_code(), 2);
            told.to_string()
        };
        assert!(wrong(arguments(&["orders"], &[], Some("old"))).contains("DB.TABLE"));
        assert!(wrong(arguments(&["sh*.orders"], &[], Some("old"))).contains("pattern"));
        for rename in [&["orders"][..], &["=x"], &["a=b", "a=c"]] {
            let mut asks = arguments(&[], &[], None);
            asks.rename = rename.iter().map(ToString::to_string).collect();
            assert!(wrong(asks).contains("--rename"));
        }
    }
}
