//! Lists that can grow come in pages.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Rows of the page, 1 to 1,000; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where it begins: `next` of the page before.
    pub cursor: Option<String>,
}
