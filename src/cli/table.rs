//! Plain columns that fit: no boxes, so that `awk -F '  +'` reads them.

use clap::builder::styling::Style;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::text::{self, BOLD, GREEN, PLAIN, RED, YELLOW};

/// Spaces between two columns.
const GAP: usize = 2;
/// A column is not cut below this many characters.
const COLUMN_MIN_CHARS: usize = 8;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    is_number: bool,
    gives_way: bool,
}

/// What stands in a cell.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Column {
    /// Words, shown whole.
    pub const fn words(title: &'static str) -> Self {
        Self {
            title,
            is_number: false,
            gives_way: false,
        }
    }

    /// Words that are cut in the middle when the table is too wide.
    pub const fn name(title: &'static str) -> Self {
        Self {
            title,
            is_number: false,
            gives_way: true,
        }
    }

    /// Numbers, at the right.
    pub const fn number(title: &'static str) -> Self {
        Self {
            title,
            is_number: true,
            gives_way: false,
        }
    }
}

impl Cell {
    /// Text in a style.
    pub fn styled(style: Style, text: impl AsRef<str>) -> Self {
        Self {
            text: text::clean(text.as_ref()),
            style,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(PLAIN, text)
    }
}

/// A number, or `-` where it is not known.
pub fn maybe(number: Option<u64>, spell: impl Fn(u64) -> String) -> Cell {
    Cell::from(number.map_or_else(|| "-".to_owned(), spell))
}

/// The table as lines, with its titles, within `width` characters where one is given.
pub fn render(columns: &[Column], mut rows: Vec<Vec<Cell>>, width: Option<usize>) -> String {
    let widths = widths(columns, &rows, width);
    for row in &mut rows {
        for ((cell, column), width) in row.iter_mut().zip(columns).zip(&widths) {
            if column.gives_way {
                cell.text = text::middle(&cell.text, *width);
            }
        }
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| marked(BOLD, column.title)));
    for row in rows {
        table.add_row(row.iter().map(|cell| marked(cell.style, &cell.text)));
    }
    for (column, laid_out) in columns.iter().zip(table.column_iter_mut()) {
        laid_out.set_padding((0, GAP as u16));
        if column.is_number {
            laid_out.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.lines().map(|line| coloured(line.trim_end()) + "\n");
    lines.collect()
}

/// Facts, one a line, their names in a column. Values are to be clean already: they may hold colours.
pub fn facts(facts: &[(&str, String)]) -> String {
    let widest = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        let padded = format!("{name:widest$}");
        format!("{}  {value}\n", text::styled(text::DIM, &padded))
    };
    facts.iter().map(line).collect()
}

/// How wide each column may be: those that give way share what the others leave, the widest first.
fn widths(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            cells
                .map(|cell| cell.text.chars().count())
                .chain([column.title.len()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let Some(width) = width else { return widths };
    let gaps = GAP * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let widest = (0..widths.len())
            .filter(|at| columns[*at].gives_way && widths[*at] > COLUMN_MIN_CHARS)
            .max_by_key(|at| widths[*at]);
        match widest {
            Some(at) => widths[at] -= 1,
            None => break,
        }
    }
    widths
}

// Colours go round the layout as characters without width: it counts an escape sequence as text. They
// are none of the content's own, from which `text::clean` takes them.
const END: char = '\u{2060}';
const MARKS: [(char, Style); 5] = [
    ('\u{2061}', RED),
    ('\u{2062}', YELLOW),
    ('\u{2063}', GREEN),
    ('\u{2064}', BOLD),
    ('\u{206a}', text::DIM),
];

fn marked(style: Style, text: &str) -> String {
    match MARKS.iter().find(|(_, marked)| *marked == style) {
        Some((mark, _)) => format!("{mark}{text}{END}"),
        None => text.to_owned(),
    }
}

fn coloured(line: &str) -> String {
    let mut coloured = line.to_owned();
    for (mark, style) in MARKS {
        coloured = coloured.replace(mark, &style.render().to_string());
    }
    coloured.replace(END, &PLAIN_AGAIN.render_reset().to_string())
}

/// Any style with something to end.
const PLAIN_AGAIN: Style = BOLD;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::plain;

    const COLUMNS: [Column; 3] = [
        Column::name("NAME"),
        Column::number("SIZE"),
        Column::words("STATE"),
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |name: &str, size: &str, style, state: &str| {
            vec![
                Cell::from(name),
                Cell::from(size),
                Cell::styled(style, state),
            ]
        };
        vec![
            row("2026-11-22", "1.21 GiB", GREEN, "succeeded"),
            row("before-the-great-migration-of-orders", "7 B", RED, "failed"),
        ]
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        insta::assert_snapshot!(plain(&render(&COLUMNS, rows(), None)), @"
        NAME                                      SIZE  STATE
        2026-11-22                            1.21 GiB  succeeded
        before-the-great-migration-of-orders       7 B  failed
        ");
    }

    #[test]
    fn names_give_way_where_it_is_narrow() {
        let text = plain(&render(&COLUMNS, rows(), Some(40)));
        insta::assert_snapshot!(text, @"
        NAME                     SIZE  STATE
        2026-11-22           1.21 GiB  succeeded
        before-th…of-orders       7 B  failed
        ");
        assert!(text.lines().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn colours_do_not_move_columns() {
        let text = render(&COLUMNS, rows(), None);
        assert!(text.contains("\u{1b}[32msucceeded\u{1b}[0m"), "{text:?}");
        assert!(!text.contains(END), "{text:?}");
    }
}
