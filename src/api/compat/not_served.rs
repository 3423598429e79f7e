//! Routes of the server we replace that this one does not serve: each says what to use instead.

use super::answer::Refusal;

/// A route that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct NotServed {
    /// Its path, in the spelling of the router.
    pub(in crate::api) path: &'static str,
    /// What that server calls it, on its command line too.
    pub(in crate::api) operation: &'static str,
    /// What to use instead.
    pub(in crate::api) instead: &'static str,
}

/// That server took `POST /` for a restart as well.
const RESTART: NotServed = NotServed {
    path: "/restart",
    operation: "restart",
    instead: "restarting over the API is not served; restart the process, and a running backup goes on in ClickHouse meanwhile",
};
const NO_TABLES: &str = "tables are not served, and neither are the integration tables system.backup_list and system.backup_actions; ask ClickHouse: SELECT database, name, engine, total_bytes FROM system.tables";
const NO_PROFILER: &str = "there is no profiler; GET /metrics has what the process uses (process_cpu_seconds_total and others)";

/// All of them.
pub(in crate::api) const ALL: [NotServed; 12] = [
    RESTART,
    NotServed {
        path: "/backup/watch",
        operation: "watch",
        instead: "watching is not served; write a [schedules.<name>] section with a cron expression into the configuration file",
    },
    NotServed {
        path: "/backup/tables",
        operation: "tables",
        instead: NO_TABLES,
    },
    NotServed {
        path: "/backup/tables/all",
        operation: "tables",
        instead: NO_TABLES,
    },
    NotServed {
        path: "/backup/create_remote",
        operation: "create_remote",
        instead: "there is no local copy to upload; POST /backup/create writes to the destination at once, with diff_from for an increment",
    },
    NotServed {
        path: "/backup/restore_remote/{name}",
        operation: "restore_remote",
        instead: "there is nothing to download first; POST /backup/restore/<name> reads from the destination",
    },
    NotServed {
        path: "/backup/upload/{name}",
        operation: "upload",
        instead: "there is nothing to upload; POST /backup/create writes to the destination at once",
    },
    NotServed {
        path: "/backup/download/{name}",
        operation: "download",
        instead: "there is nothing to download; POST /backup/restore/<name> reads from the destination",
    },
    NotServed {
        path: "/backup/rebase/{name}",
        operation: "rebase",
        instead: "backups are never rewritten; make a new full one with POST /backup/create",
    },
    NotServed {
        path: "/backup/rebalance/{name}",
        operation: "rebalance",
        instead: "ClickHouse's own RESTORE places the parts; there is nothing to rebalance",
    },
    NotServed {
        path: "/debug/pprof/",
        operation: "pprof",
        instead: NO_PROFILER,
    },
    NotServed {
        path: "/debug/pprof/{*rest}",
        operation: "pprof",
        instead: NO_PROFILER,
    },
];

impl NotServed {
    /// What a caller of the route gets.
    pub(in crate::api) fn refusal(&self) -> Refusal {
        Refusal::not_served(self.operation, self.instead)
    }
}

/// `POST /`.
pub(in crate::api) async fn restart() -> Refusal {
    RESTART.refusal()
}

/// What that server's command of this name is here, if it has a route that is not served.
pub(super) fn instead_of(command: &str) -> Option<&'static str> {
    let found = ALL.iter().find(|one| one.operation == command);
    found.map(|one| one.instead)
}
