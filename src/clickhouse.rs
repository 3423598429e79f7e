//! The ClickHouse server: statements out, system tables in.

mod client;
mod code;
mod disks;
mod inventory;
mod look;
mod moved;
mod quote;
mod scope;
mod statement;
mod tables;
mod transport;

pub use client::{Client, Error, SetupError};
pub use disks::{DiskFacts, NamesKept};
pub use look::{Adoptable, RunningRow};
pub use quote::{identifier, string};
pub use scope::{Preflight, Unresolvable};
pub use statement::{
    LeftOut, RestorePlan, RestoredTable, Target, backup_statement, plain_restore_statement,
    restore_plan, restore_statement,
};
pub use tables::ExistingTable;

use crate::secret::SecretSource;

/// How ClickHouse is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `http://host:8123` or `https://host:8443`; a path is kept, for proxies.
    pub url: String,
    /// The user, who needs `BACKUP` and reads `system.*`.
    pub user: String,
    /// Its password, if it has one.
    pub password: Option<SecretSource>,
    /// Whether the server's certificate must be one that we trust.
    pub verify_certificate: bool,
}
