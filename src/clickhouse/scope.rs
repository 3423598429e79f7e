//! What the server holds, and which elements of a `BACKUP` statement a scope therefore means.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::moved::MATERIALIZED_VIEW;
use super::quote::{identifier, string, table};
use super::{Client, Error};
use crate::backup::{Contents, NotCovered, Scope, Table, TablePattern, glob};
use crate::operation::{Failure, FailureKind, Server};

/// Databases of the server itself.
const SYSTEM_DATABASES: [&str; 3] = ["system", "INFORMATION_SCHEMA", "information_schema"];
/// Scratch databases of our own drills.
const OWN_PREFIX: &str = "_backupd_";
/// Engines of databases that hold no data of ours, or that fail a whole `BACKUP` (seen for `SQLite`: code 647).
const FOREIGN_ENGINES: [&str; 6] = [
    "Backup",
    "SQLite",
    "MySQL",
    "PostgreSQL",
    "MaterializedPostgreSQL",
    "DataLakeCatalog",
];
/// Where ClickHouse keeps users and what belongs to them.
const ACCESS_TABLES: [&str; 5] = [
    "users",
    "roles",
    "settings_profiles",
    "row_policies",
    "quotas",
];
/// Longest list of elements in one statement; ClickHouse's `max_query_size` is 256 KiB by default.
const STATEMENT_MAX_BYTES: usize = 200 * 1024;

/// What is known of a server before a statement is built.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// Who answered.
    pub server: Server,
    databases: Vec<Database>,
    tables: Vec<Table>,
}

/// The one row of the preflight.
#[derive(Debug, Deserialize)]
struct PreflightRow {
    #[serde(flatten)]
    server: ServerRow,
    databases: Vec<(String, String)>,
    tables: Vec<TableColumns>,
}

/// A table as an array: its database, name, engine, rows, bytes, and the definition of a materialized
/// view.
#[derive(Debug, Deserialize)]
struct TableColumns(String, String, String, Option<u64>, Option<u64>, String);

/// A scope that means nothing on this server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolvable {
    /// A database that was named is not there.
    #[error("the database {0} does not exist on the server")]
    NoDatabase(String),
    /// No database matches.
    #[error("no database on the server matches {}", .0.join(", "))]
    NoMatch(Vec<String>),
    /// No table matches.
    #[error("no table on the server matches {}", .0.join(", "))]
    NoTable(Vec<String>),
    /// Too many elements for one statement.
    #[error(
        "the statement would be {0} bytes long, and ClickHouse takes 256 KiB; name whole databases (shop.*) or shorten exclude_tables"
    )]
    TooLong(usize),
}

impl From<Unresolvable> for Failure {
    fn from(error: Unresolvable) -> Self {
        Self::new(FailureKind::NotFound, error.to_string())
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Database {
    pub(super) name: String,
    engine: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerRow {
    server_uuid: uuid::Uuid,
    host: String,
    started_at: i64,
}

#[derive(Debug, Deserialize)]
struct IdentityRow {
    #[serde(flatten)]
    server: ServerRow,
    version: String,
}

/// The columns that name a server.
pub(super) const SERVER_COLUMNS: &str = "toString(serverUUID()) AS server_uuid, hostName() AS host, toInt64(toUnixTimestamp(now())) - toInt64(uptime()) AS started_at";

impl TryFrom<ServerRow> for Server {
    type Error = Error;
    fn try_from(row: ServerRow) -> Result<Self, Error> {
        let started_at = jiff::Timestamp::from_second(row.started_at)
            .map_err(|error| Error::Answer(error.to_string()))?;
        Ok(Self {
            uuid: row.server_uuid,
            host: row.host,
            started_at,
        })
    }
}

impl Client {
    /// Who answers, and its version.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn server(&self) -> Result<(Server, String), Error> {
        let sql = format!("SELECT {SERVER_COLUMNS}, version() AS version");
        let mut rows: Vec<IdentityRow> = self.rows(&sql).await?;
        let row = rows
            .pop()
            .ok_or_else(|| Error::Answer("no row for the server's identity".to_owned()))?;
        Ok((row.server.try_into()?, row.version))
    }

    /// Who answers, and what is there: one statement, whatever the number of tables.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn preflight(&self) -> Result<Preflight, Error> {
        let system: Vec<String> = SYSTEM_DATABASES.iter().map(|name| string(name)).collect();
        let sql = format!(
            "SELECT {SERVER_COLUMNS},
                 (SELECT groupArray((name, engine)) FROM system.databases) AS databases,
                 (SELECT groupArray((database, name, engine, total_rows, total_bytes,
                      if(engine = 'MaterializedView', create_table_query, ''))) FROM system.tables
                  WHERE database NOT IN ({}) AND NOT is_temporary AND NOT startsWith(name, '.inner')) AS tables",
            system.join(", ")
        );
        let mut rows: Vec<PreflightRow> = self.rows(&sql).await?;
        let row = rows
            .pop()
            .ok_or_else(|| Error::Answer("no row for what the server holds".to_owned()))?;
        let database = |(name, engine)| Database { name, engine };
        let mut databases: Vec<Database> = row.databases.into_iter().map(database).collect();
        let table = |TableColumns(database, name, engine, rows, bytes, definition)| Table {
            other_databases: (engine == MATERIALIZED_VIEW)
                .then(|| databases_named(&definition, &databases, &database)),
            database,
            name,
            engine,
            rows,
            bytes,
        };
        let mut tables: Vec<Table> = row.tables.into_iter().map(table).collect();
        databases.sort_by(|one, other| one.name.cmp(&other.name));
        tables.sort();
        Ok(Preflight {
            server: row.server.try_into()?,
            databases,
            tables,
        })
    }
}

/// Databases other than `own` that a definition names. ClickHouse writes definitions with full names;
/// a column of the same name is taken for a database too, which errs on the careful side.
fn databases_named(definition: &str, databases: &[Database], own: &str) -> Vec<String> {
    let is_named = |name: &str| {
        let quoted = format!("{}.", identifier(name));
        let plain = format!("{name}.");
        definition.contains(&quoted)
            || definition.match_indices(&plain).any(|(at, _)| {
                let before = definition[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '.')
            })
    };
    databases
        .iter()
        .map(|database| database.name.as_str())
        .filter(|name| *name != own && is_named(name))
        .map(str::to_owned)
        .collect()
}

impl Preflight {
    /// The elements that a scope means here, as SQL, and what they hold.
    ///
    /// # Errors
    /// When the scope means nothing on this server.
    pub fn resolve(&self, scope: &Scope) -> Result<(String, Contents), Unresolvable> {
        let (body, mut contents) = if scope.tables.is_empty() {
            self.whole_databases(scope)?
        } else {
            self.named_tables(scope)?
        };
        let mut elements: Vec<String> = Vec::new();
        if scope.access {
            elements.extend(
                ACCESS_TABLES
                    .iter()
                    .map(|name| format!("TABLE system.{name}")),
            );
        }
        if scope.functions {
            elements.push("TABLE system.functions".to_owned());
        }
        // Last, because only the last element of a list may have its own EXCEPT TABLES.
        elements.push(body);
        let sql = elements.join(", ");
        if sql.len() > STATEMENT_MAX_BYTES {
            return Err(Unresolvable::TooLong(sql.len()));
        }
        contents.tables.sort();
        Ok((sql, contents))
    }

    fn whole_databases(&self, scope: &Scope) -> Result<(String, Contents), Unresolvable> {
        let mut contents = Contents {
            databases: self.chosen(scope)?,
            ..Contents::default()
        };
        contents.not_covered = self.left_out(scope, &contents.databases);
        let mut excluded = Vec::new();
        for found in self
            .tables
            .iter()
            .filter(|found| contents.databases.contains(&found.database))
        {
            if let Some(pattern) = matching(&scope.exclude_tables, found) {
                contents.not_covered.push(not_covered_table(found, pattern));
                excluded.push(found);
            } else {
                contents.tables.push(found.clone());
            }
        }
        let list = |names: &[&Table]| {
            names
                .iter()
                .map(|t| table(&t.database, &t.name))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let with_exclusions: BTreeSet<&str> =
            excluded.iter().map(|t| t.database.as_str()).collect();
        let sql = match with_exclusions.len() {
            0 => database_list(&contents.databases, None),
            1 => {
                let last = with_exclusions.into_iter().next();
                format!(
                    "{} EXCEPT TABLES {}",
                    database_list(&contents.databases, last),
                    list(&excluded)
                )
            }
            _ => {
                let others = self
                    .databases
                    .iter()
                    .map(|d| &d.name)
                    .filter(|name| !contents.databases.contains(name));
                let others: Vec<String> = others.map(|name| identifier(name)).collect();
                format!(
                    "ALL EXCEPT DATABASES {} EXCEPT TABLES {}",
                    others.join(", "),
                    list(&excluded)
                )
            }
        };
        Ok((sql, contents))
    }

    fn named_tables(&self, scope: &Scope) -> Result<(String, Contents), Unresolvable> {
        let mut contents = Contents::default();
        let mut elements = Vec::new();
        for database in self
            .databases
            .iter()
            .filter(|database| why_not(database).is_none())
        {
            let of_database: Vec<&Table> = self
                .tables
                .iter()
                .filter(|found| found.database == database.name)
                .collect();
            let wanted = |found: &&&Table| {
                matching(&scope.tables, found).is_some()
                    && matching(&scope.exclude_tables, found).is_none()
            };
            let chosen: Vec<&Table> = of_database.iter().filter(wanted).copied().collect();
            let whole = scope
                .tables
                .iter()
                .any(|p| p.is_whole_database() && p.matches_database(&database.name));
            if whole && chosen.len() == of_database.len() {
                elements.push(format!("DATABASE {}", identifier(&database.name)));
                contents.databases.push(database.name.clone());
            } else {
                elements.extend(
                    chosen
                        .iter()
                        .map(|found| format!("TABLE {}", table(&found.database, &found.name))),
                );
            }
            contents.tables.extend(chosen.into_iter().cloned());
        }
        if elements.is_empty() {
            return Err(Unresolvable::NoTable(
                scope.tables.iter().map(ToString::to_string).collect(),
            ));
        }
        Ok((elements.join(", "), contents))
    }

    fn chosen(&self, scope: &Scope) -> Result<Vec<String>, Unresolvable> {
        let mut chosen = Vec::new();
        for wanted in &scope.databases {
            let is_pattern = wanted.contains(['*', '?']);
            let found: Vec<&Database> = self
                .databases
                .iter()
                .filter(|database| glob(wanted, &database.name))
                .collect();
            if found.is_empty() && !is_pattern {
                return Err(Unresolvable::NoDatabase(wanted.clone()));
            }
            let allowed = found
                .into_iter()
                .filter(|database| !is_pattern || why_not(database).is_none());
            chosen.extend(allowed.map(|database| database.name.clone()));
        }
        chosen.sort();
        chosen.dedup();
        if chosen.is_empty() {
            Err(Unresolvable::NoMatch(scope.databases.clone()))
        } else {
            Ok(chosen)
        }
    }

    /// What an operator may have expected in the backup: databases that `*` leaves out for their engine.
    fn left_out(&self, scope: &Scope, chosen: &[String]) -> Vec<NotCovered> {
        let meant = |database: &&Database| {
            !chosen.contains(&database.name)
                && scope
                    .databases
                    .iter()
                    .any(|pattern| glob(pattern, &database.name))
        };
        let not_systems =
            |database: &&Database| !SYSTEM_DATABASES.contains(&database.name.as_str());
        let left_out = self.databases.iter().filter(meant).filter(not_systems);
        left_out
            .filter_map(|database| {
                Some(NotCovered {
                    what: database.name.clone(),
                    reason: why_not(database)?,
                })
            })
            .collect()
    }
}

/// Whether a database belongs to the server or to this daemon.
pub(super) fn is_reserved(name: &str) -> bool {
    SYSTEM_DATABASES.contains(&name) || name.starts_with(OWN_PREFIX)
}

/// Why a pattern does not reach a database; `None` when it does.
fn why_not(database: &Database) -> Option<String> {
    if SYSTEM_DATABASES.contains(&database.name.as_str()) {
        Some("belongs to the server itself".to_owned())
    } else if database.name.starts_with(OWN_PREFIX) {
        Some("is a scratch database of this daemon".to_owned())
    } else if FOREIGN_ENGINES.contains(&database.engine.as_str()) {
        Some(format!("its engine {} holds no data here", database.engine))
    } else {
        None
    }
}

fn matching<'a>(patterns: &'a [TablePattern], table: &Table) -> Option<&'a TablePattern> {
    patterns
        .iter()
        .find(|pattern| pattern.matches(&table.database, &table.name))
}

fn not_covered_table(table: &Table, pattern: &TablePattern) -> NotCovered {
    NotCovered {
        what: format!("{}.{}", table.database, table.name),
        reason: format!("exclude_tables has {pattern}"),
    }
}

fn database_list(names: &[String], last: Option<&str>) -> String {
    let others = names
        .iter()
        .map(String::as_str)
        .filter(|name| Some(*name) != last);
    let elements: Vec<String> = others
        .chain(last)
        .map(|name| format!("DATABASE {}", identifier(name)))
        .collect();
    elements.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn server() -> Preflight {
        let databases = [
            ("default", "Atomic"),
            ("shop", "Atomic"),
            ("logs", "Atomic"),
            ("system", "Atomic"),
            ("pg", "PostgreSQL"),
            ("_backupd_1", "Atomic"),
        ];
        let tables = [
            ("shop", "orders"),
            ("shop", "tmp_a"),
            ("logs", "raw"),
            ("logs", "tmp_b"),
            ("it`s", "x"),
        ];
        Preflight {
            server: Server {
                uuid: uuid::Uuid::nil(),
                host: "h".into(),
                started_at: jiff::Timestamp::UNIX_EPOCH,
            },
            databases: databases
                .map(|(name, engine)| Database {
                    name: name.into(),
                    engine: engine.into(),
                })
                .to_vec(),
            tables: tables
                .map(|(database, name)| Table {
                    database: database.into(),
                    name: name.into(),
                    engine: "MergeTree".into(),
                    ..Table::default()
                })
                .to_vec(),
        }
    }

    fn patterns(texts: &[&str]) -> Vec<TablePattern> {
        texts
            .iter()
            .map(|text| TablePattern::parse(text).unwrap())
            .collect()
    }

    #[rstest]
    #[case(&["*"], &[], &[], "DATABASE `default`, DATABASE `logs`, DATABASE `shop`")]
    #[case(&["shop"], &[], &[], "DATABASE `shop`")]
    #[case(&["*"], &[], &["shop.tmp_*"], "DATABASE `default`, DATABASE `logs`, DATABASE `shop` EXCEPT TABLES `shop`.`tmp_a`")]
    #[case(&["logs", "shop"], &[], &["logs.tmp_*"], "DATABASE `shop`, DATABASE `logs` EXCEPT TABLES `logs`.`tmp_b`")]
    #[case(&["*"], &[], &["*.tmp_*"], "ALL EXCEPT DATABASES `system`, `pg`, `_backupd_1` EXCEPT TABLES `logs`.`tmp_b`, `shop`.`tmp_a`")]
    #[case(&["*"], &["shop.*"], &[], "DATABASE `shop`")]
    #[case(&["*"], &["shop.*"], &["*.tmp_*"], "TABLE `shop`.`orders`")]
    #[case(&["*"], &["*.raw", "shop.o*"], &[], "TABLE `shop`.`orders`, TABLE `logs`.`raw`")]
    fn a_scope_becomes_elements(
        #[case] databases: &[&str],
        #[case] tables: &[&str],
        #[case] exclude: &[&str],
        #[case] sql: &str,
    ) {
        let mut preflight = server();
        preflight.tables.sort();
        let scope = Scope {
            databases: databases.iter().map(ToString::to_string).collect(),
            tables: patterns(tables),
            exclude_tables: patterns(exclude),
            ..Scope::everything()
        };
        assert_eq!(preflight.resolve(&scope).unwrap().0, sql);
    }

    #[test]
    fn access_and_functions_stand_before_the_exclusions() {
        let scope = Scope {
            access: true,
            functions: true,
            databases: vec!["shop".into()],
            exclude_tables: patterns(&["shop.tmp_*"]),
            ..Scope::everything()
        };
        let (sql, contents) = server().resolve(&scope).unwrap();
        assert!(
            sql.starts_with("TABLE system.users, ")
                && sql.ends_with("DATABASE `shop` EXCEPT TABLES `shop`.`tmp_a`"),
            "{sql}"
        );
        assert_eq!(contents.tables.len(), 1);
        assert_eq!(
            contents.not_covered,
            [NotCovered {
                what: "shop.tmp_a".into(),
                reason: "exclude_tables has shop.tmp_*".into()
            }]
        );
    }

    #[test]
    fn what_is_left_out_is_told() {
        let (_, contents) = server().resolve(&Scope::everything()).unwrap();
        let left_out: Vec<&str> = contents
            .not_covered
            .iter()
            .map(|left| left.what.as_str())
            .collect();
        assert_eq!(left_out, ["pg", "_backupd_1"]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let scope = |databases: &[&str]| Scope {
            databases: databases.iter().map(ToString::to_string).collect(),
            ..Scope::everything()
        };
        assert_eq!(
            server().resolve(&scope(&["shap"])),
            Err(Unresolvable::NoDatabase("shap".into()))
        );
        assert_eq!(
            server().resolve(&scope(&["x*"])),
            Err(Unresolvable::NoMatch(vec!["x*".into()]))
        );
        let tables = Scope {
            tables: patterns(&["shop.nope"]),
            ..Scope::everything()
        };
        assert_eq!(
            server().resolve(&tables),
            Err(Unresolvable::NoTable(vec!["shop.nope".into()]))
        );
    }

    #[test]
    fn the_statement_does_not_grow_with_the_tables() {
        let mut preflight = server();
        preflight.tables = (0..10_000)
            .map(|n| Table {
                database: "shop".into(),
                name: format!("t{n}"),
                engine: "MergeTree".into(),
                ..Table::default()
            })
            .collect();
        let (sql, contents) = preflight.resolve(&Scope::everything()).unwrap();
        assert_eq!(contents.tables.len(), 10_000);
        assert!(sql.len() < 100, "{sql}");
    }
}
