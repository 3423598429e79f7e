//! The table itself: path, kind, meaning; `or` the built-in value; `was` the old variables.

use super::Key;
use super::Kind::{Choice, Count, Duration, Flag, List, OneOrMore, Path, Secret, Text};

/// Keys outside of policies.
pub(super) const KEYS: &[Key] = &[
    Key::new(
        "clickhouse.url",
        Text,
        "Where ClickHouse answers over HTTP: http:// or https://, host and port.",
    )
    .or("\"http://127.0.0.1:8123\"")
    .was(&["CLICKHOUSE_HOST", "CLICKHOUSE_PORT", "CLICKHOUSE_SECURE"]),
    Key::new(
        "clickhouse.user",
        Text,
        "The ClickHouse user that backs up and restores.",
    )
    .or("\"default\"")
    .was(&["CLICKHOUSE_USERNAME"]),
    Key::new(
        "clickhouse.password",
        Secret,
        "Its password; better in a file.",
    )
    .was(&["CLICKHOUSE_PASSWORD"]),
    Key::new(
        "clickhouse.password_file",
        Path,
        "The file that holds its password; read again when it was rotated.",
    ),
    Key::new(
        "clickhouse.verify_certificate",
        Flag,
        "Whether the certificate of an https:// server must be valid.",
    )
    .or("true")
    .was(&["CLICKHOUSE_SKIP_VERIFY"]),
    Key::new(
        "clickhouse.timeout",
        Duration,
        "The longest that one BACKUP or RESTORE may take.",
    )
    .or("\"4h\"")
    .was(&["CLICKHOUSE_TIMEOUT"]),
    Key::new(
        "clickhouse.client_deadline",
        Duration,
        "How long a client's operation waits for an unreachable ClickHouse.",
    )
    .or("\"5m\""),
    Key::new(
        "clickhouse.cancel_limit",
        Duration,
        "How long a cancelled operation may go on before it counts as failed.",
    )
    .or("\"10m\""),
    Key::new(
        "destination.disk",
        Text,
        "The disk of the ClickHouse server that backups are written to.",
    )
    .was(&["CLICKHOUSE_EMBEDDED_BACKUP_DISK"]),
    Key::new(
        "destination.collection",
        Text,
        "Or the named collection of the ClickHouse server that says where in S3.",
    ),
    Key::new(
        "destination.url",
        Text,
        "Our own view of the same place: s3://bucket/prefix or file:///path. Without it nothing is proved or removed.",
    ),
    Key::new(
        "destination.s3.endpoint",
        Text,
        "Another S3 server than Amazon's, as http:// or https:// URL.",
    ),
    Key::new("destination.s3.region", Text, "The region of the bucket."),
    Key::new(
        "destination.s3.virtual_hosted_style",
        Flag,
        "Whether the bucket is part of the host name instead of the path; off unless said.",
    ),
    Key::new(
        "destination.s3.ca_file",
        Path,
        "Certificates (PEM) that the S3 server may show beside those that the system trusts.",
    ),
    Key::new(
        "destination.s3.access_key_id",
        Secret,
        "The S3 access key; without one the usual provider chain is asked.",
    ),
    Key::new(
        "destination.s3.access_key_id_file",
        Path,
        "The file that holds the S3 access key.",
    ),
    Key::new(
        "destination.s3.secret_access_key",
        Secret,
        "The S3 secret key; better in a file.",
    ),
    Key::new(
        "destination.s3.secret_access_key_file",
        Path,
        "The file that holds the S3 secret key.",
    ),
    Key::new("state.dir", Path, "The folder of the catalog, our memory.")
        .or("\"/var/lib/clickhouse-backupd\""),
    Key::new(
        "api.listen",
        Text,
        "Host and port of the API; `:7171` means every IPv4 address.",
    )
    .or("\"127.0.0.1:7171\"")
    .was(&["API_LISTEN"]),
    Key::new(
        "api.user",
        Text,
        "The operator, who may do everything; needs a password.",
    )
    .was(&["API_USERNAME"]),
    Key::new(
        "api.password",
        Secret,
        "The password of the operator; better in a file.",
    )
    .was(&["API_PASSWORD"]),
    Key::new(
        "api.password_file",
        Path,
        "The file that holds the password of the operator.",
    ),
    Key::new(
        "api.token",
        Secret,
        "A bearer token that makes an operator, beside or instead of user and password; better in a file.",
    ),
    Key::new(
        "api.token_file",
        Path,
        "The file that holds the token of the operator.",
    ),
    Key::new(
        "api.read_only.user",
        Text,
        "A caller who may only look (GET and HEAD); needs a password.",
    ),
    Key::new(
        "api.read_only.password",
        Secret,
        "The password of the read-only caller; better in a file.",
    ),
    Key::new(
        "api.read_only.password_file",
        Path,
        "The file that holds the password of the read-only caller.",
    ),
    Key::new(
        "api.read_only.token",
        Secret,
        "A bearer token of a read-only caller; better in a file.",
    ),
    Key::new(
        "api.read_only.token_file",
        Path,
        "The file that holds the token of the read-only caller.",
    ),
    Key::new(
        "api.open_metrics",
        Flag,
        "Whether a scrape of /metrics needs no credentials.",
    )
    .or("false"),
    Key::new(
        "api.allow_parallel",
        Flag,
        "Whether a client's operation queues behind another one instead of being refused with 423.",
    )
    .or("false")
    .was(&["API_ALLOW_PARALLEL"]),
    Key::new(
        "api.tls.certificate_file",
        Path,
        "The certificate chain, PEM; turns TLS on together with its key.",
    )
    .was(&["API_SECURE", "API_CERTIFICATE_FILE"]),
    Key::new(
        "api.tls.private_key_file",
        Path,
        "The key of the certificate, PEM.",
    )
    .was(&["API_SECURE", "API_PRIVATE_KEY_FILE"]),
    Key::new(
        "log.level",
        Choice(&["error", "warn", "info", "debug", "trace"]),
        "What is logged: error, warn, info, debug or trace.",
    )
    .or("\"info\"")
    .was(&["LOG_LEVEL"]),
    Key::new(
        "log.format",
        Choice(&["auto", "json", "pretty"]),
        "How: json, pretty, or auto (pretty on a terminal).",
    )
    .or("\"auto\""),
    Key::new(
        "notify.callback_url",
        Secret,
        "Called with a POST when a backup or a restore ended, where its request named no address.",
    )
    .was(&["CALLBACK_URL"]),
    Key::new(
        "notify.callback_url_file",
        Path,
        "The file that holds this address.",
    ),
    Key::new(
        "notify.timeout",
        Duration,
        "How long one call of a heartbeat or a callback may take.",
    )
    .or("\"5s\"")
    .was(&["CALLBACK_TIMEOUT"]),
    Key::new(
        "schedules.*.cron",
        Text,
        "When it is due: five cron fields, six with seconds first, or @daily, @hourly and the like. Required.",
    ),
    Key::new(
        "schedules.*.timezone",
        Text,
        "The IANA time zone of `cron` and of names.",
    )
    .or("\"UTC\""),
    Key::new(
        "schedules.*.action",
        Choice(&["backup", "verify"]),
        "What a slot does: backup makes one, verify proves those that are there.",
    )
    .or("\"backup\""),
    Key::new(
        "schedules.*.verify",
        Choice(&["newest", "all"]),
        "With action = \"verify\": the newest backup of each schedule, or all; newest unless said.",
    ),
    Key::new(
        "schedules.*.name",
        Text,
        "How its backups are named: {date}, {time}, {logical_date}, {schedule}, {kind}.",
    )
    .or("\"{date}\""),
    Key::new(
        "schedules.*.kind",
        Choice(&["full", "incremental"]),
        "What it makes: full, or incremental: on the newest proved one of the schedule.",
    )
    .or("\"full\""),
    Key::new(
        "schedules.*.full_every",
        Duration,
        "An incremental schedule makes a full one when the last full one's slot is this long ago.",
    ),
    Key::new(
        "schedules.*.full_on",
        OneOrMore,
        "An incremental schedule makes a full one on these days of the week, one or a list.",
    ),
    Key::new(
        "schedules.*.chain_max",
        Count,
        "The most backups in a chain, the full one included; the next one is full.",
    )
    .or("60"),
    Key::new(
        "schedules.*.databases",
        List,
        "Databases, with * and ?; a lone * is every database that holds data.",
    )
    .or("[\"*\"]"),
    Key::new(
        "schedules.*.exclude_tables",
        List,
        "Tables left out, as database.table with * and ?.",
    )
    .or("[]")
    .was(&["CLICKHOUSE_SKIP_TABLES"]),
    Key::new(
        "schedules.*.access",
        Flag,
        "Also users, roles, settings profiles, row policies and quotas.",
    )
    .or("false"),
    Key::new("schedules.*.functions", Flag, "Also SQL functions.").or("false"),
    Key::new(
        "schedules.*.missed",
        Choice(&["run_latest", "skip"]),
        "What happens to slots missed while nobody looked: run_latest or skip.",
    )
    .or("\"run_latest\""),
    Key::new(
        "schedules.*.deadline",
        Duration,
        "How long after its slot a backup may take, retries included.",
    )
    .or("\"4h\""),
    Key::new(
        "schedules.*.retry.attempts",
        Count,
        "Attempts in all; 1 means no retry.",
    )
    .or("3"),
    Key::new(
        "schedules.*.retry.delay",
        Duration,
        "The wait before the next attempt.",
    )
    .or("\"5m\""),
    Key::new(
        "schedules.*.heartbeat.started_url",
        Secret,
        "Called with a GET when an operation of the schedule began.",
    ),
    Key::new(
        "schedules.*.heartbeat.started_url_file",
        Path,
        "The file that holds this address.",
    ),
    Key::new(
        "schedules.*.heartbeat.succeeded_url",
        Secret,
        "Called with a GET when one succeeded: the address of a dead-man switch.",
    ),
    Key::new(
        "schedules.*.heartbeat.succeeded_url_file",
        Path,
        "The file that holds this address.",
    ),
    Key::new(
        "schedules.*.heartbeat.failed_url",
        Secret,
        "Called with a GET when one failed for good, or was cancelled.",
    ),
    Key::new(
        "schedules.*.heartbeat.failed_url_file",
        Path,
        "The file that holds this address.",
    ),
    Key::new(
        "retention.every",
        Duration,
        "How often retention runs by itself; it runs after each success, too.",
    )
    .or("\"1h\""),
    Key::new(
        "retention.include_foreign",
        Flag,
        "Whether backups made by somebody else may be removed, too.",
    )
    .or("false"),
    Key::new(
        "retention.sweep_broken",
        Flag,
        "Whether remains of dead attempts are removed after a day.",
    )
    .or("false"),
];

/// Keys of a retention policy, without the section before them.
pub(super) const POLICY: &[Key] = &[
    Key::new("keep_last", Count, "Keep the newest n.").was(&["BACKUPS_TO_KEEP_LOCAL"]),
    Key::new(
        "keep_within",
        Duration,
        "Keep everything younger than this, counted from the newest backup.",
    ),
    Key::new(
        "keep_daily",
        Count,
        "Keep the newest of each of the last n days.",
    ),
    Key::new(
        "keep_weekly",
        Count,
        "Keep the newest of each of the last n ISO weeks.",
    ),
    Key::new(
        "keep_monthly",
        Count,
        "Keep the newest of each of the last n months.",
    ),
    Key::new(
        "keep_yearly",
        Count,
        "Keep the newest of each of the last n years.",
    ),
    Key::new(
        "min_keep",
        Count,
        "Never leave fewer than n, whatever the other rules say.",
    ),
];
