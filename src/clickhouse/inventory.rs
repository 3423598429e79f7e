//! Asking a server what no backup of it can hold.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Client, Error};
use crate::backup::Inventory;

/// How long a backup waits for it at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked: the name of the answer, and the expression.
const PARTS: [(&str, &str); 5] = [
    ("version", "version()"),
    (
        "storage_policies",
        "(SELECT groupArray((policy_name, disks)) FROM system.storage_policies WHERE policy_name != 'default' AND NOT startsWith(policy_name, '__'))",
    ),
    (
        "macros",
        "(SELECT groupArray((macro, substitution)) FROM system.macros)",
    ),
    (
        "named_collections",
        "(SELECT groupArray(name) FROM system.named_collections)",
    ),
    (
        "dictionaries",
        "(SELECT groupArray(name) FROM system.dictionaries WHERE database = '')",
    ),
];

/// The answer to any of the parts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    version: String,
    /// A row for each volume of a policy.
    storage_policies: Vec<(String, Vec<String>)>,
    macros: Vec<(String, String)>,
    named_collections: Vec<String>,
    dictionaries: Vec<String>,
}

impl Client {
    /// What the server has beside databases. It is worth knowing and never worth a backup: what it
    /// does not tell is named in the answer. One statement; one for each part where that is refused,
    /// as by a user that may not read one of the tables.
    pub async fn inventory(&self) -> Inventory {
        let asked = tokio::time::timeout(PATIENCE, self.whole_inventory()).await;
        asked.unwrap_or_else(|_| Inventory {
            unknown: vec!["the server: no answer in 5 s".to_owned()],
            ..Inventory::default()
        })
    }

    async fn whole_inventory(&self) -> Inventory {
        match self.parts(&PARTS).await {
            Ok(row) => return Inventory::from(row),
            Err(Error::Refused { .. }) => {}
            Err(error) => return unknown("the server", &error),
        }
        let mut inventory = Inventory::default();
        for part in PARTS {
            match self.parts(&[part]).await {
                Ok(row) => add(&mut inventory, row.into()),
                Err(error) => add(&mut inventory, unknown(&part.0.replace('_', " "), &error)),
            }
        }
        inventory
    }

    async fn parts(&self, parts: &[(&str, &str)]) -> Result<Row, Error> {
        let columns: Vec<String> = parts
            .iter()
            .map(|(name, expression)| format!("{expression} AS {name}"))
            .collect();
        let sql = format!("SELECT {}", columns.join(", "));
        let mut rows: Vec<Row> = self.rows(&sql).await?;
        rows.pop()
            .ok_or_else(|| Error::Answer("no row for what the server has".to_owned()))
    }
}

fn unknown(what: &str, error: &Error) -> Inventory {
    Inventory {
        unknown: vec![format!("{what}: {error}")],
        ..Inventory::default()
    }
}

impl From<Row> for Inventory {
    fn from(row: Row) -> Self {
        let mut storage_policies: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (policy, disks) in row.storage_policies {
            storage_policies.entry(policy).or_default().extend(disks);
        }
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        Self {
            version: row.version,
            storage_policies,
            macros: row.macros.into_iter().collect(),
            named_collections: sorted(row.named_collections),
            dictionaries: sorted(row.dictionaries),
            unknown: Vec::new(),
        }
    }
}

/// Adds what another part tells.
fn add(inventory: &mut Inventory, other: Inventory) {
    inventory.version.push_str(&other.version);
    inventory.storage_policies.extend(other.storage_policies);
    inventory.macros.extend(other.macros);
    inventory.named_collections.extend(other.named_collections);
    inventory.dictionaries.extend(other.dictionaries);
    inventory.unknown.extend(other.unknown);
}
