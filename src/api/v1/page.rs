//! Lists that can grow come in pages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Problem;
use super::input::{bad, shown};

/// Rows of a page that nobody asked a length for.
pub const PAGE_DEFAULT_ROWS: u32 = 100;
/// Longest page, in rows.
pub const PAGE_MAX_ROWS: u32 = 1_000;

/// One page of a list, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// To be given as `cursor` for the next page; `null` on the last one.
    pub next: Option<String>,
}

/// Which page.
#[derive(Debug, Clone, Default)]
pub(super) struct PageQuery {
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

impl PageQuery {
    /// Rows of the page.
    pub(super) fn rows(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(PAGE_DEFAULT_ROWS) {
            limit @ 1..=PAGE_MAX_ROWS => Ok(limit as usize),
            limit => Err(bad(format!("limit: {limit} is not 1 to {PAGE_MAX_ROWS}"))),
        }
    }

    /// The cursor is none that we gave.
    pub(super) fn no_cursor(&self) -> Problem {
        let given = shown(self.cursor.as_deref().unwrap_or_default());
        bad(format!(
            "cursor: {given:?} is none that a page of this list gave as next"
        ))
    }
}
