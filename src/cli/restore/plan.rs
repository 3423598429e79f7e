//! What a restore would do, as text.

use std::collections::BTreeMap;

use clickhouse_backupd::api::v1::operation::{
    Existing, RestoreAction, RestoreCheck, RestoredTable,
};

use crate::cli::backup::sum;
use crate::cli::table::{self, Cell, Column, maybe};
use crate::cli::text::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, YELLOW, styled};

/// Tables that are shown one by one; of more there is a sum for each database first.
const TABLES_MAX: usize = 20;

/// What cannot be taken back.
#[derive(Debug, PartialEq, Eq)]
pub enum Danger {
    /// Tables are dropped: a sentence.
    Drops(String),
    /// Rows are mixed: a sentence.
    Appends(String),
}

/// What is dangerous about it.
pub fn danger(check: &RestoreCheck, existing: Existing) -> Option<Danger> {
    let Some(tables) = &check.tables else {
        return match existing {
            Existing::Drop => Some(Danger::Drops(
                "Tables of the same names are dropped first; which ones is not known here."
                    .to_owned(),
            )),
            Existing::Append => Some(Danger::Appends(
                "Rows are added to tables of the same names; to which ones is not known here."
                    .to_owned(),
            )),
            Existing::Refuse => None,
        };
    };
    let of = |action: RestoreAction| {
        let found: Vec<&RestoredTable> = tables
            .iter()
            .filter(|table| table.action == action)
            .collect();
        found
    };
    let rows = |tables: &[&RestoredTable]| sum(tables.iter().map(|table| table.existing_rows));
    let dropped = of(RestoreAction::Drop);
    if !dropped.is_empty() {
        let (are, holds) = verbs(dropped.len());
        let rows = rows(&dropped).map_or(String::new(), |rows| {
            format!(", which {holds} {}", text::counted(rows, "row"))
        });
        let tables = text::counted(dropped.len() as u64, "table");
        return Some(Danger::Drops(format!(
            "{tables} {are} dropped first{rows}."
        )));
    }
    let mut filled = of(RestoreAction::Fill);
    filled.retain(|table| table.existing_rows.is_some_and(|rows| rows > 0));
    let there = rows(&filled)?;
    let (_, holds) = verbs(filled.len());
    let tables = text::counted(filled.len() as u64, "table");
    Some(Danger::Appends(format!(
        "Rows are added to {tables}, which {holds} {} already.",
        text::counted(there, "row")
    )))
}

fn verbs(count: usize) -> (&'static str, &'static str) {
    if count == 1 {
        ("is", "holds")
    } else {
        ("are", "hold")
    }
}

/// What would happen, to be read before it happens.
pub fn told(check: &RestoreCheck, existing: Existing, structure_only: bool, look: &Look) -> String {
    let made = check
        .created_at
        .map(|time| format!(", made {} ({})", look.time(time), look.distance(time)))
        .unwrap_or_default();
    let what = if structure_only {
        "definitions without rows from"
    } else {
        "from"
    };
    let mut out = format!("restore {what} {}{made}\n", text::clean(&check.backup));
    if !check.create_databases.is_empty() {
        let names: Vec<String> = check
            .create_databases
            .iter()
            .map(|name| text::clean(name))
            .collect();
        out += &format!("databases made first: {}\n", text::some(&names, 10));
    }
    out += "\n";
    match &check.tables {
        Some(tables) => out += &(all(tables, look) + &left_out(tables)),
        None => {
            let statement = text::clean(&check.statement);
            out += &format!(
                "Which tables it holds is not known here. The statement is:\n{statement}\n"
            );
        }
    }
    if let Some(warning) = &check.warning {
        let warning = text::clean(warning);
        out += &format!("\n{}\n", styled(RED.bold(), &warning));
    }
    match danger(check, existing) {
        Some(Danger::Drops(sentence)) => out += &format!("\n{}\n", styled(RED.bold(), &sentence)),
        Some(Danger::Appends(sentence)) => {
            out += &format!("\n{}\n", styled(YELLOW.bold(), &sentence));
        }
        None => {}
    }
    out
}

fn all(tables: &[RestoredTable], look: &Look) -> String {
    if tables.len() <= TABLES_MAX {
        return rows(tables.iter(), look);
    }
    let more = tables.len() - TABLES_MAX;
    // What is dangerous comes first, so that it is never among those that are not shown.
    let mut ordered: Vec<&RestoredTable> = tables.iter().collect();
    ordered.sort_by_key(|table| weight(table.action));
    format!(
        "{}\n{}{}\n",
        databases(tables, look),
        rows(ordered.into_iter().take(TABLES_MAX), look),
        styled(
            DIM,
            &format!("and {}", text::counted(more as u64, "more table"))
        )
    )
}

/// Why tables that were chosen are not restored.
fn left_out(tables: &[RestoredTable]) -> String {
    let reasons = tables
        .iter()
        .filter_map(|table| Some((table, table.reason.as_ref()?)));
    reasons
        .take(TABLES_MAX)
        .map(|(table, reason)| {
            let sentence = format!("left out {}: {reason}", table.from);
            styled(YELLOW, &text::clean(&sentence)) + "\n"
        })
        .collect()
}

fn weight(action: RestoreAction) -> u8 {
    match action {
        RestoreAction::Refuse => 0,
        RestoreAction::Drop => 1,
        RestoreAction::LeftOut => 2,
        RestoreAction::Fill => 3,
        RestoreAction::Keep => 4,
        RestoreAction::Create => 5,
    }
}

fn rows<'a>(tables: impl Iterator<Item = &'a RestoredTable>, look: &Look) -> String {
    const COLUMNS: [Column; 5] = [
        Column::name("TABLE"),
        Column::name("INTO"),
        Column::number("ROWS"),
        Column::number("THERE NOW"),
        Column::words("ACTION"),
    ];
    let row = |table: &RestoredTable| {
        let (style, action) = word(table);
        let there = match (table.action, table.existing_rows) {
            (RestoreAction::Create, _) => Cell::styled(DIM, "nothing"),
            (_, rows) => maybe(rows, text::count),
        };
        let into = if table.into == table.from {
            Cell::styled(DIM, "same")
        } else {
            Cell::from(&table.into)
        };
        vec![
            Cell::from(&table.from),
            into,
            maybe(table.rows, text::count),
            there,
            Cell::styled(style, action),
        ]
    };
    table::render(&COLUMNS, tables.map(row).collect(), look.width)
}

fn word(table: &RestoredTable) -> (clap::builder::styling::Style, &'static str) {
    match table.action {
        RestoreAction::Create => (GREEN, "create"),
        RestoreAction::Fill if table.existing_rows.is_some_and(|rows| rows > 0) => {
            (YELLOW, "append")
        }
        RestoreAction::Fill => (GREEN, "fill"),
        RestoreAction::Drop => (RED, "drop, create"),
        RestoreAction::Refuse => (RED, "in the way"),
        RestoreAction::Keep => (PLAIN, "keep"),
        RestoreAction::LeftOut => (YELLOW, "left out"),
    }
}

/// Sums for each pair of databases.
fn databases(tables: &[RestoredTable], look: &Look) -> String {
    const COLUMNS: [Column; 5] = [
        Column::name("DATABASE"),
        Column::name("INTO"),
        Column::number("TABLES"),
        Column::number("ROWS"),
        Column::number("THERE NOW"),
    ];
    let database = |table: &str| {
        let (database, _) = table.split_once('.').unwrap_or((table, ""));
        database.to_owned()
    };
    let mut found: BTreeMap<(String, String), Vec<&RestoredTable>> = BTreeMap::new();
    for table in tables {
        let key = (database(&table.from), database(&table.into));
        found.entry(key).or_default().push(table);
    }
    let row = |((from, into), tables): ((String, String), Vec<&RestoredTable>)| {
        vec![
            Cell::from(from),
            Cell::styled(BOLD, into),
            Cell::from(text::count(tables.len() as u64)),
            maybe(sum(tables.iter().map(|table| table.rows)), text::count),
            maybe(
                sum(tables.iter().map(|table| table.existing_rows)),
                text::count,
            ),
        ]
    };
    table::render(&COLUMNS, found.into_iter().map(row).collect(), look.width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{at, look, plain};

    fn table(name: &str, action: RestoreAction, existing_rows: Option<u64>) -> RestoredTable {
        RestoredTable {
            from: format!("shop.{name}"),
            into: format!("shop_old.{name}"),
            rows: Some(1_200_000),
            action,
            reason: None,
            existing_rows,
        }
    }

    fn check(tables: Option<Vec<RestoredTable>>) -> RestoreCheck {
        RestoreCheck {
            backup: "2026-11-22".to_owned(),
            created_at: Some(at("2026-11-22T00:01:06Z")),
            statement: "RESTORE ALL FROM Disk('s3_backup', '2026-11-22')".to_owned(),
            create_databases: vec!["shop_old".to_owned()],
            tables,
            refused: None,
            warning: None,
        }
    }

    #[test]
    fn a_damaged_backup_is_told_before_anything_is_dropped() {
        let tables = vec![table("orders", RestoreAction::Drop, Some(90))];
        let mut check = check(Some(tables));
        check.warning = Some("2026-11-22 is damaged: 2 of the files\nare missing".to_owned());
        let text = plain(&told(&check, Existing::Drop, false, &look()));
        let damaged = text.find("2026-11-22 is damaged: 2 of the files are missing");
        assert!(
            damaged.unwrap() < text.find("dropped first").unwrap(),
            "{text}"
        );
    }

    #[test]
    fn what_would_happen_is_told_table_by_table() {
        let tables = vec![
            table("orders", RestoreAction::Create, None),
            table(
                "customers_of_the_last_ten_years",
                RestoreAction::Fill,
                Some(0),
            ),
            table("by_day", RestoreAction::Drop, Some(90)),
            RestoredTable {
                into: "shop.visits".to_owned(),
                ..table("visits", RestoreAction::Drop, Some(1_000))
            },
            RestoredTable {
                rows: None,
                ..table("view", RestoreAction::Keep, None)
            },
        ];
        let text = plain(&told(&check(Some(tables)), Existing::Drop, false, &look()));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn of_many_tables_the_dangerous_ones_are_shown() {
        let mut tables: Vec<RestoredTable> = (0..30)
            .map(|number| table(&format!("t{number:02}"), RestoreAction::Create, None))
            .collect();
        tables[29].action = RestoreAction::Fill;
        tables[29].existing_rows = Some(7);
        let text = plain(&told(&check(Some(tables)), Existing::Append, true, &look()));
        assert!(
            text.contains("shop.t29") && text.contains("and 10 more tables"),
            "{text}"
        );
        assert!(
            text.contains("Rows are added to 1 table, which holds 7 rows already."),
            "{text}"
        );
        assert!(text.contains("definitions without rows"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_dangerous_too() {
        let unknown = check(None);
        assert!(matches!(
            danger(&unknown, Existing::Drop),
            Some(Danger::Drops(_))
        ));
        assert!(matches!(
            danger(&unknown, Existing::Append),
            Some(Danger::Appends(_))
        ));
        assert_eq!(danger(&unknown, Existing::Refuse), None);
        let text = plain(&told(&unknown, Existing::Drop, false, &look()));
        assert!(
            text.contains("RESTORE ALL") && text.contains("dropped first"),
            "{text}"
        );
    }

    #[test]
    fn making_tables_is_not_dangerous() {
        let tables = vec![table("orders", RestoreAction::Create, None)];
        assert_eq!(danger(&check(Some(tables)), Existing::Drop), None);
    }
}
