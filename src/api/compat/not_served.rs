//! Routes of the server we replace that this one does not serve: each says what to use instead.

use super::answer::Refusal;

/// Where commands of the old command line that only read are found.
pub(super) const NO_LIST: &str = "lists are at GET /backup/list";

pub(in crate::api) async fn restart() -> Refusal {
    Refusal::not_served(
        "restart",
        "restarting over the API is not served; restart the process, and a running backup goes on in ClickHouse meanwhile",
    )
}

pub(in crate::api) async fn watch() -> Refusal {
    Refusal::not_served(
        "watch",
        "watching is not served; write a [schedules.<name>] section with a cron expression into the configuration file",
    )
}

pub(in crate::api) async fn tables() -> Refusal {
    Refusal::not_served(
        "tables",
        "tables are not served, and neither are the integration tables system.backup_list and system.backup_actions; ask ClickHouse: SELECT database, name, engine, total_bytes FROM system.tables",
    )
}

pub(in crate::api) async fn create_remote() -> Refusal {
    Refusal::not_served(
        "create_remote",
        "there is no local copy to upload; POST /backup/create writes to the destination at once, with diff_from for an increment",
    )
}

pub(in crate::api) async fn restore_remote() -> Refusal {
    Refusal::not_served(
        "restore_remote",
        "there is nothing to download first; POST /backup/restore/<name> reads from the destination",
    )
}

pub(in crate::api) async fn upload() -> Refusal {
    Refusal::not_served(
        "upload",
        "there is nothing to upload; POST /backup/create writes to the destination at once",
    )
}

pub(in crate::api) async fn download() -> Refusal {
    Refusal::not_served(
        "download",
        "there is nothing to download; POST /backup/restore/<name> reads from the destination",
    )
}

pub(in crate::api) async fn rebase() -> Refusal {
    Refusal::not_served(
        "rebase",
        "backups are never rewritten; make a new full one with POST /backup/create",
    )
}

pub(in crate::api) async fn rebalance() -> Refusal {
    Refusal::not_served(
        "rebalance",
        "ClickHouse's own RESTORE places the parts; there is nothing to rebalance",
    )
}
