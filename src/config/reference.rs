//! The table of all keys as Markdown: what `docs/configuration.md` contains, row by row.

use super::keys::{self, Key};

/// Every key with its meaning, default, variable, and the old variables that say the same.
#[must_use]
pub fn reference() -> String {
    let mut text =
        "| key | meaning | default | variable | old variable |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for key in keys::all() {
        text.push_str(&row(key));
        text.push('\n');
    }
    text
}

fn row(key: &Key) -> String {
    let code = |text: &str| format!("`{text}`");
    let default = key.default.map(code).unwrap_or_default();
    let old: Vec<String> = key.old.iter().map(|name| code(name)).collect();
    let path = key.path.replace('*', "<name>");
    format!(
        "| `{path}` | {} | {default} | `{}` | {} |",
        key.meaning,
        key.variable("<NAME>"),
        old.join(", ")
    )
}
