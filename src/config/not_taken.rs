//! Variables of the server we replace that are not taken, where silence would mislead.

use std::collections::BTreeMap;

/// Variables, and what to write instead.
pub const NOT_TAKEN: [(&[&str], &str); 15] = [
    (
        &["CLICKHOUSE_BACKUP_CONFIG"],
        "that YAML file is not read; clickhouse-backupd migrate check --yaml FILE prints what to write instead",
    ),
    (
        &["REMOTE_STORAGE"],
        "backups go where destination.disk or destination.collection says",
    ),
    (
        &[
            "S3_BUCKET",
            "S3_PATH",
            "S3_ENDPOINT",
            "S3_REGION",
            "S3_ACCESS_KEY",
            "S3_SECRET_KEY",
        ],
        "backups go where the disk or collection of ClickHouse says; for our own view of the same place write destination.url = \"s3://bucket/path\", destination.s3.endpoint, region, access_key_id_file and secret_access_key_file",
    ),
    (
        &["S3_DISABLE_CERT_VERIFICATION"],
        "name the certificate of the S3 server's CA in destination.s3.ca_file",
    ),
    (
        &["BACKUPS_TO_KEEP_REMOTE"],
        "there is one place and one policy: write [retention]",
    ),
    (
        &[
            "WATCH_INTERVAL",
            "FULL_INTERVAL",
            "WATCH_SCHEDULES",
            "WATCH_BACKUP_NAME_TEMPLATE",
            "WATCH_IS_MAIN_PROCESS",
        ],
        "write [schedules.<name>]; increments with kind = \"incremental\" and full_every",
    ),
    (
        &[
            "CLICKHOUSE_TLS_CA",
            "CLICKHOUSE_TLS_CERT",
            "CLICKHOUSE_TLS_KEY",
        ],
        "only certificates that the system trusts are accepted; clickhouse.verify_certificate = false accepts any",
    ),
    (
        &[
            "CLICKHOUSE_SKIP_TABLE_ENGINES",
            "CLICKHOUSE_SKIP_DISKS",
            "CLICKHOUSE_SKIP_DISK_TYPES",
        ],
        "name the tables in exclude_tables of the schedule",
    ),
    (
        &[
            "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE_CLUSTER",
            "RESTORE_SCHEMA_ON_CLUSTER",
            "SHARDED_OPERATION_MODE",
        ],
        "one daemon backs up one server",
    ),
    (
        &["RBAC_BACKUP_ALWAYS"],
        "write access = true in the schedule",
    ),
    (
        &["CONFIG_BACKUP_ALWAYS", "NAMED_COLLECTIONS_BACKUP_ALWAYS"],
        "ClickHouse's own BACKUP holds neither configuration files nor named collections; keep them where they are deployed from",
    ),
    (
        &["RESTORE_DATABASE_MAPPING", "RESTORE_TABLE_MAPPING"],
        "give the new names with each restore: restore_database_mapping=shop:shop_old, restore_table_mapping",
    ),
    (
        &[
            "UPLOAD_MAX_BYTES_PER_SECOND",
            "DOWNLOAD_MAX_BYTES_PER_SECOND",
        ],
        "set max_backup_bandwidth in the profile of the ClickHouse user, or max_backup_bandwidth_for_server in the server's configuration",
    ),
    (
        &["API_CA_CERT_FILE", "API_CA_KEY_FILE"],
        "callers are not asked for certificates; give them a password (api.user) or a token (api.token_file)",
    ),
    (
        &["API_CREATE_INTEGRATION_TABLES"],
        "no tables are created in the server; use the API",
    ),
];

/// Values that ask for nothing.
const IDLE: [&str; 6] = ["", "0", "none", "false", "False", "FALSE"];

/// Whether a variable is set to something that asks for anything.
pub fn asks(variables: &BTreeMap<String, String>, name: &str) -> bool {
    variables
        .get(name)
        .is_some_and(|value| !IDLE.contains(&value.as_str()))
}

/// Every variable of the table.
pub fn names() -> impl Iterator<Item = &'static str> {
    NOT_TAKEN
        .iter()
        .flat_map(|(names, _)| names.iter().copied())
}

/// One warning for each group of which something is set.
pub fn warnings(variables: &BTreeMap<String, String>) -> Vec<String> {
    let groups = NOT_TAKEN.iter().filter_map(|(names, instead)| {
        let set: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| asks(variables, name))
            .collect();
        let verb = if set.len() == 1 { "is" } else { "are" };
        (!set.is_empty()).then(|| format!("{} {verb} not taken: {instead}", set.join(", ")))
    });
    groups.collect()
}
