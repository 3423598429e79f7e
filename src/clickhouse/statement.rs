//! `BACKUP` and `RESTORE` as text.

use std::collections::{BTreeMap, BTreeSet};

use super::moved::why_left_out;
use super::quote::{identifier, string, table};
use super::scope::is_reserved;
use crate::backup::{BackupName, Contents, Place, Table, TablePattern};
use crate::operation::{AttemptId, Existing, Failure, FailureKind, RestoreWork};

/// What a statement is about.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The attempt whose id it carries.
    pub attempt: &'a AttemptId,
    /// Where the backup lies.
    pub place: &'a Place,
    /// The backup.
    pub backup: &'a BackupName,
}

/// What a restore sends, and what it would write into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePlan {
    /// The elements, as SQL.
    pub elements: String,
    /// The tables that it would make or fill; `None` where the backup's contents are not known, and
    /// ClickHouse decides.
    pub targets: Option<Vec<RestoredTable>>,
    /// Tables that were chosen and are not restored, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Databases that tables are restored into one by one: ClickHouse wants them to exist (seen: code 81).
    pub into_databases: BTreeSet<String>,
}

/// A table that a restore leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it would have gone.
    pub table: RestoredTable,
    /// Why it does not.
    pub reason: String,
}

/// A table of a backup, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredTable {
    /// The table in the backup.
    pub from: Table,
    /// The database that it goes into.
    pub into_database: String,
    /// The name that it gets there.
    pub into_name: String,
}

/// `BACKUP <elements> TO … SETTINGS … ASYNC`. `ASYNC` stands last: before `SETTINGS` it makes
/// ClickHouse take `id` for a query setting (code 115).
#[must_use]
pub fn backup_statement(
    target: Target<'_>,
    elements: &str,
    base: Option<&BackupName>,
    structure_only: bool,
) -> String {
    let mut settings = vec![format!("id = {}", string(target.attempt.as_str()))];
    if let Some(base) = base {
        settings.push(format!("base_backup = {}", location(target.place, base)));
    }
    if structure_only {
        settings.push("structure_only = 1".to_owned());
    }
    format!(
        "BACKUP {elements} TO {} SETTINGS {} ASYNC",
        location(target.place, target.backup),
        settings.join(", ")
    )
}

/// `RESTORE <elements> FROM … SETTINGS … ASYNC`.
#[must_use]
pub fn restore_statement(target: Target<'_>, plan: &RestorePlan, work: &RestoreWork) -> String {
    let id = format!("id = {}", string(target.attempt.as_str()));
    let settings: Vec<String> = [id].into_iter().chain(restore_settings(work)).collect();
    let from = location(target.place, target.backup);
    format!(
        "RESTORE {} FROM {from} SETTINGS {} ASYNC",
        plan.elements,
        settings.join(", ")
    )
}

/// The same for a person who has only ClickHouse: no id, and it answers when it is done.
#[must_use]
pub fn plain_restore_statement(
    place: &Place,
    backup: &BackupName,
    plan: &RestorePlan,
    work: &RestoreWork,
) -> String {
    let settings: Vec<String> = restore_settings(work).collect();
    let mut statement = format!("RESTORE {} FROM {}", plan.elements, location(place, backup));
    if !settings.is_empty() {
        statement.push_str(&format!(" SETTINGS {}", settings.join(", ")));
    }
    statement
}

fn restore_settings(work: &RestoreWork) -> impl Iterator<Item = String> {
    let structure_only = work.structure_only.then_some("structure_only = 1");
    let append = (work.existing == Existing::Append).then_some("allow_non_empty_tables = 1");
    structure_only.into_iter().chain(append).map(str::to_owned)
}

/// What a restore means, given what the backup holds (`None`: we never wrote that down).
///
/// # Errors
/// When it means no table, or names that only the contents could resolve.
pub fn restore_plan(
    work: &RestoreWork,
    contents: Option<&Contents>,
) -> Result<RestorePlan, Failure> {
    allowed_targets(work)?;
    match contents {
        Some(contents) => known(work, contents),
        None => unknown(work),
    }
}

fn known(work: &RestoreWork, contents: &Contents) -> Result<RestorePlan, Failure> {
    let all = work.tables.is_empty();
    let chosen: Vec<&Table> = contents
        .tables
        .iter()
        .filter(|t| all || work.tables.iter().any(|p| p.matches(&t.database, &t.name)))
        .collect();
    for (from, _) in &work.database_mapping {
        let is_chosen =
            all && contents.databases.contains(from) || chosen.iter().any(|t| t.database == *from);
        if !is_chosen {
            return Err(missing(format!(
                "no database {from} is among what would be restored from {}, so it cannot get another name",
                work.backup
            )));
        }
    }
    renames_something(work, |from| {
        chosen
            .iter()
            .any(|t| *from == t.name || *from == format!("{}.{}", t.database, t.name))
    })?;
    let (left_out, kept) = divided(work, contents, &chosen);
    // A database is named as a whole only where all of it is restored under one name.
    let whole = |database: &String| {
        let lacks = |left_out: &LeftOut| left_out.table.from.database == *database;
        all && work.table_mapping.is_empty() && !left_out.iter().any(lacks)
    };
    let databases: Vec<&String> = contents
        .databases
        .iter()
        .filter(|name| whole(name))
        .collect();
    one_name_each(work, &databases, &kept)?;
    let mut elements: Vec<String> = databases
        .iter()
        .map(|name| database_element(work, name))
        .collect();
    let mut into_databases = BTreeSet::new();
    for t in kept.iter().filter(|t| !databases.contains(&&t.database)) {
        elements.push(table_element(work, &t.database, &t.name));
        into_databases.insert(mapped(work, &t.database, &t.name).0);
    }
    match (elements.is_empty(), left_out.first()) {
        (false, _) => {}
        (true, Some(first)) => {
            return Err(missing(format!(
                "{}.{} is not restored under another name: {}",
                first.table.from.database, first.table.from.name, first.reason
            )));
        }
        (true, None) => {
            return Err(missing(format!(
                "the backup {} holds no table that matches {}",
                work.backup,
                named(&work.tables)
            )));
        }
    }
    Ok(RestorePlan {
        elements: elements.join(", "),
        targets: Some(kept.into_iter().map(|t| restored(work, t)).collect()),
        left_out,
        into_databases,
    })
}

/// What is left out, and what stays.
fn divided<'a>(
    work: &RestoreWork,
    contents: &Contents,
    chosen: &[&'a Table],
) -> (Vec<LeftOut>, Vec<&'a Table>) {
    let (mut left_out, mut kept) = (Vec::new(), Vec::new());
    for table in chosen {
        match why_left_out(table, work, contents, chosen) {
            Some(reason) => left_out.push(LeftOut {
                table: restored(work, table),
                reason,
            }),
            None => kept.push(*table),
        }
    }
    (left_out, kept)
}

fn restored(work: &RestoreWork, table: &Table) -> RestoredTable {
    let (into_database, into_name) = mapped(work, &table.database, &table.name);
    RestoredTable {
        from: table.clone(),
        into_database,
        into_name,
    }
}

/// A new name for a table that is not among those restored is a mistake, and a dangerous one: the
/// table that was meant would go to its old name.
fn renames_something(
    work: &RestoreWork,
    is_restored: impl Fn(&String) -> bool,
) -> Result<(), Failure> {
    let idle = work
        .table_mapping
        .iter()
        .find(|(from, _)| !is_restored(from));
    idle.map_or(Ok(()), |(from, _)| {
        Err(missing(format!(
            "no table named {from} is among those that would be restored, so it cannot get another name"
        )))
    })
}

/// Two sources under one name would mix, or make ClickHouse refuse the whole statement (seen: code
/// 607) after what stood in the way was dropped.
fn one_name_each(
    work: &RestoreWork,
    databases: &[&String],
    chosen: &[&Table],
) -> Result<(), Failure> {
    let mut sources = BTreeMap::new();
    let databases = databases
        .iter()
        .map(|name| (mapped_database(work, name).to_owned(), (*name).clone()));
    let tables = chosen.iter().map(|t| {
        let (database, name) = mapped(work, &t.database, &t.name);
        (
            format!("{database}.{name}"),
            format!("{}.{}", t.database, t.name),
        )
    });
    for (target, source) in databases.chain(tables) {
        if let Some(other) = sources.insert(target.clone(), source.clone()) {
            return Err(missing(format!(
                "{other} and {source} would both be restored as {target}; give one another name, or name the tables you want"
            )));
        }
    }
    Ok(())
}

/// What belongs to the server, or to us, is no place for a restore.
fn allowed_targets(work: &RestoreWork) -> Result<(), Failure> {
    let databases = work.database_mapping.iter().map(|(_, to)| to.as_str());
    let tables = work
        .table_mapping
        .iter()
        .filter_map(|(_, to)| Some(to.split_once('.')?.0));
    match databases.chain(tables).find(|name| is_reserved(name)) {
        Some(name) => Err(missing(format!(
            "nothing is restored into {name}: it belongs to the server or to this daemon"
        ))),
        None => Ok(()),
    }
}

fn unknown(work: &RestoreWork) -> Result<RestorePlan, Failure> {
    if work.existing == Existing::Drop {
        let text = format!(
            "what the backup {} holds is not known here, so nothing can be dropped safely before the restore; \
             drop the tables yourself, or restore under another database name",
            work.backup
        );
        return Err(missing(text));
    }
    // A whole database has no place for the new name of one of its tables.
    renames_something(work, |from| {
        let exact = work.tables.iter().filter_map(|pattern| pattern.as_exact());
        exact
            .into_iter()
            .any(|(database, name)| from == name || *from == format!("{database}.{name}"))
    })?;
    let mut elements = Vec::new();
    let mut into_databases = BTreeSet::new();
    for pattern in &work.tables {
        if let Some((database, name)) = pattern.as_exact() {
            elements.push(table_element(work, database, name));
            into_databases.insert(mapped(work, database, name).0);
        } else if let Some(database) = pattern.as_exact_database() {
            elements.push(database_element(work, database));
        } else {
            let text = format!(
                "what the backup {} holds is not known here, so {pattern} cannot be resolved; name the tables",
                work.backup
            );
            return Err(missing(text));
        }
    }
    if work.tables.is_empty() {
        elements.extend(
            work.database_mapping
                .iter()
                .map(|(from, _)| database_element(work, from)),
        );
    }
    if elements.is_empty() {
        elements.push("ALL".to_owned());
    }
    Ok(RestorePlan {
        elements: elements.join(", "),
        targets: None,
        left_out: Vec::new(),
        into_databases,
    })
}

fn database_element(work: &RestoreWork, name: &str) -> String {
    let to = mapped_database(work, name);
    if to == name {
        format!("DATABASE {}", identifier(name))
    } else {
        format!("DATABASE {} AS {}", identifier(name), identifier(to))
    }
}

fn table_element(work: &RestoreWork, database: &str, name: &str) -> String {
    let (to_database, to_name) = mapped(work, database, name);
    if (to_database.as_str(), to_name.as_str()) == (database, name) {
        format!("TABLE {}", table(database, name))
    } else {
        format!(
            "TABLE {} AS {}",
            table(database, name),
            table(&to_database, &to_name)
        )
    }
}

fn mapped_database<'a>(work: &'a RestoreWork, name: &'a str) -> &'a str {
    work.database_mapping
        .iter()
        .find(|(from, _)| from == name)
        .map_or(name, |(_, to)| to)
}

/// Where a table goes: its own mapping says the table, and may say the database; else that one's mapping does.
pub(super) fn mapped(work: &RestoreWork, database: &str, name: &str) -> (String, String) {
    let full = format!("{database}.{name}");
    let to = work
        .table_mapping
        .iter()
        .find(|(from, _)| *from == full || from == name)
        .map(|(_, to)| to.as_str());
    match to.map(|to| to.split_once('.').ok_or(to)) {
        Some(Ok((to_database, to_name))) => (to_database.to_owned(), to_name.to_owned()),
        Some(Err(to_name)) => (
            mapped_database(work, database).to_owned(),
            to_name.to_owned(),
        ),
        None => (mapped_database(work, database).to_owned(), name.to_owned()),
    }
}

/// A backup as an argument of a statement.
pub(super) fn location(place: &Place, backup: &BackupName) -> String {
    match place {
        Place::Disk(disk) => format!("Disk({}, {})", string(disk), string(backup.as_str())),
        Place::Collection(collection) => format!(
            "S3({}, {})",
            identifier(collection),
            string(backup.as_str())
        ),
    }
}

fn missing(text: String) -> Failure {
    Failure::new(FailureKind::NotFound, text)
}

/// Some of the patterns: a request may hold a thousand.
fn named(patterns: &[TablePattern]) -> String {
    const NAMED_MAX_PATTERNS: usize = 5;
    let shown: Vec<String> = patterns
        .iter()
        .take(NAMED_MAX_PATTERNS)
        .map(ToString::to_string)
        .collect();
    match patterns.len().saturating_sub(NAMED_MAX_PATTERNS) {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn contents() -> Contents {
        let tables = [("logs", "raw"), ("shop", "orders"), ("shop", "view")];
        Contents {
            databases: vec!["shop".into(), "logs".into()],
            tables: tables
                .map(|(database, name)| Table {
                    database: database.into(),
                    name: name.into(),
                    engine: "MergeTree".into(),
                    ..Table::default()
                })
                .to_vec(),
            not_covered: Vec::new(),
            inventory: None,
        }
    }

    fn work(tables: &[&str], databases: &[(&str, &str)], renames: &[(&str, &str)]) -> RestoreWork {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(a, b)| (a.to_string(), b.to_string()))
                .collect()
        };
        RestoreWork {
            backup: BackupName::parse("2026-11-22").unwrap(),
            tables: tables
                .iter()
                .map(|text| TablePattern::parse(text).unwrap())
                .collect(),
            database_mapping: pairs(databases),
            table_mapping: pairs(renames),
            structure_only: false,
            existing: Existing::Refuse,
        }
    }

    #[rstest]
    #[case(&[], &[], &[], "DATABASE `shop`, DATABASE `logs`")]
    #[case(&[], &[("shop", "shop2")], &[], "DATABASE `shop` AS `shop2`, DATABASE `logs`")]
    #[case(&["shop.*"], &[("shop", "shop2")], &[], "TABLE `shop`.`orders` AS `shop2`.`orders`, TABLE `shop`.`view` AS `shop2`.`view`")]
    #[case(&["shop.orders"], &[], &[("orders", "orders_old")], "TABLE `shop`.`orders` AS `shop`.`orders_old`")]
    #[case(&["shop.orders"], &[("shop", "x")], &[("shop.orders", "old")], "TABLE `shop`.`orders` AS `x`.`old`")]
    #[case(&["shop.orders"], &[("shop", "x")], &[("orders", "y.old")], "TABLE `shop`.`orders` AS `y`.`old`")]
    fn what_is_known_is_restored_by_name(
        #[case] tables: &[&str],
        #[case] databases: &[(&str, &str)],
        #[case] renames: &[(&str, &str)],
        #[case] elements: &str,
    ) {
        let plan = restore_plan(&work(tables, databases, renames), Some(&contents())).unwrap();
        assert_eq!(plan.elements, elements);
    }

    #[rstest]
    #[case(&[], &[], "ALL")]
    #[case(&[], &[("shop", "shop2")], "DATABASE `shop` AS `shop2`")]
    #[case(&["shop.orders"], &[("shop", "shop2")], "TABLE `shop`.`orders` AS `shop2`.`orders`")]
    #[case(&["shop.*"], &[], "DATABASE `shop`")]
    fn what_is_not_known_is_left_to_clickhouse(
        #[case] tables: &[&str],
        #[case] databases: &[(&str, &str)],
        #[case] elements: &str,
    ) {
        let plan = restore_plan(&work(tables, databases, &[]), None).unwrap();
        assert_eq!((plan.elements.as_str(), plan.targets), (elements, None));
    }

    #[test]
    fn what_the_backup_does_not_hold_is_named() {
        let error = |work: &RestoreWork, contents: Option<&Contents>| {
            restore_plan(work, contents).unwrap_err().message
        };
        assert!(error(&work(&["shop.nope"], &[], &[]), Some(&contents())).contains("shop.nope"));
        assert!(
            error(&work(&[], &[("shap", "x")], &[]), Some(&contents()))
                .contains("no database shap")
        );
        assert!(error(&work(&["shop.o*"], &[], &[]), None).contains("shop.o*"));
        let both = error(&work(&[], &[("shop", "logs")], &[]), Some(&contents()));
        assert!(
            both.contains("shop and logs would both be restored as logs")
                || both.contains("logs and shop"),
            "{both}"
        );
        let both = error(
            &work(&["shop.*"], &[], &[("view", "orders")]),
            Some(&contents()),
        );
        assert!(
            both.contains("would both be restored as shop.orders"),
            "{both}"
        );
        for target in ["system", "_backupd_x"] {
            assert!(error(&work(&[], &[("shop", target)], &[]), None).contains(target));
        }
        let drop = RestoreWork {
            existing: Existing::Drop,
            ..work(&[], &[], &[])
        };
        assert!(error(&drop, None).contains("nothing can be dropped safely"));
    }

    #[test]
    fn statements_are_complete() {
        let attempt = AttemptId::parse("backupd:daily:20261122T000000Z:1")
            .unwrap()
            .0;
        let (name, base) = (
            BackupName::parse("2026-11-22").unwrap(),
            BackupName::parse("2026-11-21").unwrap(),
        );
        let disk = Place::Disk("s3_backup".into());
        let target = Target {
            attempt: &attempt,
            place: &disk,
            backup: &name,
        };
        assert_eq!(
            backup_statement(target, "DATABASE `shop`", Some(&base), true),
            "BACKUP DATABASE `shop` TO Disk('s3_backup', '2026-11-22') SETTINGS id = 'backupd:daily:20261122T000000Z:1', \
             base_backup = Disk('s3_backup', '2026-11-21'), structure_only = 1 ASYNC"
        );
        let collection = Place::Collection("backups".into());
        let target = Target {
            place: &collection,
            ..target
        };
        let work = RestoreWork {
            existing: Existing::Append,
            ..work(&[], &[], &[])
        };
        let plan = restore_plan(&work, None).unwrap();
        assert_eq!(
            restore_statement(target, &plan, &work),
            "RESTORE ALL FROM S3(`backups`, '2026-11-22') SETTINGS id = 'backupd:daily:20261122T000000Z:1', allow_non_empty_tables = 1 ASYNC"
        );
    }
}
