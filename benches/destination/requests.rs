//! Requests to an S3 server, by kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use axum::http::Method;

/// What a request is for, as stores charge for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A page of a listing.
    List,
    /// `DeleteObjects`, up to 1,000 keys.
    BulkDelete,
    Get,
    Head,
    Put,
    /// `DeleteObject`, one key.
    Delete,
    /// A POST that is no bulk delete.
    Post,
}

/// How many came of each kind.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<Kind, u64>);

/// Counts while it is asked.
#[derive(Debug, Default)]
pub struct Counter(Mutex<Counts>);

impl Kind {
    /// `query` is that of the URL: a listing names its form there, a bulk delete has `delete`.
    fn of(method: &Method, query: &str) -> Self {
        let has = |wanted: &str| {
            query
                .split('&')
                .any(|part| part.split('=').next() == Some(wanted))
        };
        match *method {
            Method::GET if has("list-type") || has("prefix") => Self::List,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::PUT => Self::Put,
            Method::DELETE => Self::Delete,
            _ if has("delete") => Self::BulkDelete,
            _ => Self::Post,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::List => "LIST",
            Self::BulkDelete => "DeleteObjects",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Post => "POST",
        }
    }
}

impl Counter {
    pub fn count(&self, method: &Method, query: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.0.entry(Kind::of(method, query)).or_default() += 1;
    }

    /// What came since the last call.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many came since, without forgetting them.
    pub fn total(&self) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total()
    }
}

impl Counts {
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The same for each of `many`, such as `2.00 LIST, 1.00 GET`.
    pub fn for_each_of(&self, many: u64) -> String {
        let one = |(kind, count): (&Kind, &u64)| {
            format!("{:.2} {}", *count as f64 / many as f64, kind.name())
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(kind, count): (&Kind, &u64)| format!("{count} {}", kind.name());
        let each: Vec<String> = self.0.iter().map(one).collect();
        write!(f, "{}", self.total())?;
        match each.as_slice() {
            [] => Ok(()),
            each => write!(f, ": {}", each.join(", ")),
        }
    }
}
