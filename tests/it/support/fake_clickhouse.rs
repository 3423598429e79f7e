//! A scripted ClickHouse inside the test's own runtime, for time, faults and races only: it knows
//! the statements the daemon sends, and forgets, stalls, loses and restarts as told.
//!
//! It lives in the same runtime as the daemon because a paused clock would jump to every time-out
//! while the answer of another process is on its way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clickhouse_backupd::clock::Clock;
use jiff::Timestamp;
use uuid::Uuid;

/// How a coming backup or restore goes.
#[derive(Debug, Clone)]
pub struct Fate {
    pub takes: Duration,
    /// The text of `system.backups.error`; `None` is a success.
    pub error: Option<String>,
}

#[derive(Debug, Clone)]
pub struct FakeRow {
    pub id: String,
    pub destination: String,
    pub is_restore: bool,
    pub began: Timestamp,
    pub fate: Fate,
    pub killed: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Server {
    pub uuid: Uuid,
    pub started: Timestamp,
    /// While down, something that is not ClickHouse answers, as a proxy does.
    pub down: bool,
    /// The next statements that are carried out without their answer arriving.
    pub lose_answers: usize,
    /// Whether KILL QUERY has an effect.
    pub kills: bool,
    pub rows: Vec<FakeRow>,
    /// Names whose `.lock` a crash left behind.
    pub locked: Vec<String>,
    pub fates: VecDeque<Fate>,
    pub databases: Vec<(String, String)>,
    pub tables: usize,
    pub statements: Vec<String>,
    pub unknown: Vec<String>,
    clock: Clock,
}

#[derive(Clone)]
pub struct FakeClickHouse {
    pub url: String,
    server: Arc<Mutex<Server>>,
}

impl FakeClickHouse {
    pub async fn start(clock: Clock) -> Self {
        let server = Server {
            uuid: Uuid::from_u128(7),
            started: clock.now(),
            down: false,
            lose_answers: 0,
            kills: true,
            rows: Vec::new(),
            locked: Vec::new(),
            fates: VecDeque::new(),
            databases: vec![
                ("default".into(), "Atomic".into()),
                ("shop".into(), "Atomic".into()),
                ("system".into(), "Atomic".into()),
            ],
            tables: 3,
            statements: Vec::new(),
            unknown: Vec::new(),
            clock,
        };
        let server = Arc::new(Mutex::new(server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, server }
    }

    pub fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// A crash and a start: the rows are forgotten, and what was being written keeps its lock.
    pub fn restart(&self) {
        let mut server = self.server();
        let now = server.clock.now();
        let writing: Vec<String> = server
            .rows
            .iter()
            .filter(|row| row.is_running(now))
            .map(|row| row.destination.clone())
            .collect();
        server.locked.extend(writing);
        server.rows.clear();
        server.started = now;
    }

    /// Every backup statement that arrived, by its id.
    pub fn backups(&self) -> Vec<String> {
        self.server()
            .statements
            .iter()
            .filter(|sql| sql.starts_with("BACKUP"))
            .map(|sql| setting(sql, "id"))
            .collect()
    }

    /// Fails the test if the daemon sent something that this fake does not know.
    pub fn assert_understood(&self) {
        assert_eq!(self.server().unknown, Vec::<String>::new());
    }
}

impl Fate {
    pub fn success(takes: Duration) -> Self {
        Self { takes, error: None }
    }

    pub fn failure(error: &str) -> Self {
        Self {
            takes: Duration::from_secs(1),
            error: Some(error.to_owned()),
        }
    }
}

impl FakeRow {
    fn ends(&self) -> Timestamp {
        let natural = self.began.saturating_add(self.fate.takes).unwrap();
        self.killed.map_or(natural, |killed| killed.min(natural))
    }

    fn is_running(&self, now: Timestamp) -> bool {
        now < self.ends()
    }

    fn status(&self, now: Timestamp) -> (&'static str, String) {
        let natural = self.began.saturating_add(self.fate.takes).unwrap();
        let words = if self.is_restore {
            [
                "RESTORING",
                "RESTORED",
                "RESTORE_FAILED",
                "RESTORE_CANCELLED",
            ]
        } else {
            [
                "CREATING_BACKUP",
                "BACKUP_CREATED",
                "BACKUP_FAILED",
                "BACKUP_CANCELLED",
            ]
        };
        match (&self.fate.error, self.killed) {
            _ if self.is_running(now) => (words[0], String::new()),
            (_, Some(killed)) if killed < natural => {
                (words[3], "Code: 394. DB::Exception: cancelled".into())
            }
            (Some(error), _) => (words[2], error.clone()),
            _ => (words[1], String::new()),
        }
    }
}

async fn answer(State(server): State<Arc<Mutex<Server>>>, body: String) -> Response {
    let mut server = server.lock().unwrap();
    if server.down {
        return (StatusCode::BAD_GATEWAY, "<html>502 Bad Gateway</html>").into_response();
    }
    let sql = body.split_whitespace().collect::<Vec<_>>().join(" ");
    server.statements.push(sql.clone());
    let answer = server.run(&sql);
    if server.lose_answers > 0 {
        server.lose_answers -= 1;
        return (StatusCode::BAD_GATEWAY, "<html>504 Gateway Timeout</html>").into_response();
    }
    match answer {
        Ok(rows) => rows.into_response(),
        Err(text) => (StatusCode::INTERNAL_SERVER_ERROR, text).into_response(),
    }
}

impl Server {
    fn run(&mut self, sql: &str) -> Result<String, String> {
        if sql.starts_with("BACKUP ") || sql.starts_with("RESTORE ") {
            self.begin(sql)
        } else if sql.starts_with("KILL QUERY") {
            let now = self.clock.now();
            let (kills, id) = (self.kills, quoted_after(sql, "WHERE id = "));
            for row in self
                .rows
                .iter_mut()
                .filter(|row| kills && row.id == id && row.is_running(now))
            {
                row.killed = now.saturating_add(Duration::from_secs(1)).ok();
            }
            Ok(String::new())
        } else if sql.contains("FROM system.backups") {
            Ok(self.look(sql))
        } else if sql.contains("FROM system.databases) AS databases") {
            let tables: Vec<_> = (0..self.tables)
                .map(|n| serde_json::json!(["shop", format!("t{n}"), "MergeTree", 100, 1_024, ""]))
                .collect();
            let held =
                serde_json::json!({ "databases": self.databases, "tables": tables }).to_string();
            Ok(format!("{{{},{}\n", self.identity(), &held[1..]))
        } else if sql.starts_with("SELECT name, engine FROM system.databases") {
            let row = |(name, engine): &(String, String)| {
                format!("{{\"name\":\"{name}\",\"engine\":\"{engine}\"}}\n")
            };
            Ok(self.databases.iter().map(row).collect())
        } else if sql.contains("FROM system.storage_policies") {
            Ok("{\"version\":\"26.9.1\"}\n".to_owned())
        } else if sql.starts_with("SELECT toString(serverUUID())") {
            Ok(format!("{{{},\"version\":\"26.9.1\"}}\n", self.identity()))
        } else if sql.starts_with("SELECT database, name, engine, total_rows,") {
            Ok(String::new())
        } else if sql.contains("FROM system.disks WHERE name = ") {
            Ok("{\"type\":\"Local\",\"metadata_type\":\"None\"}\n".to_owned())
        } else {
            self.unknown.push(sql.to_owned());
            Err(format!(
                "Code: 48. DB::Exception: the fake does not know: {sql}"
            ))
        }
    }

    fn begin(&mut self, sql: &str) -> Result<String, String> {
        let (id, now) = (setting(sql, "id"), self.clock.now());
        let is_restore = sql.starts_with("RESTORE");
        let destination = destination(sql);
        if self.rows.iter().any(|row| row.id == id) {
            return Err(format!(
                "Code: 36. DB::Exception: Cannot start backup with ID '{id}' because there is another backup with the same ID. (BAD_ARGUMENTS)"
            ));
        }
        let taken = |row: &&FakeRow| {
            !row.is_restore
                && !is_restore
                && row.destination == destination
                && matches!(row.status(now).0, "CREATING_BACKUP" | "BACKUP_CREATED")
        };
        let exists = self.rows.iter().any(|row| taken(&row))
            || (!is_restore && self.locked.contains(&destination));
        let fate = if exists {
            Fate::failure(&format!(
                "Code: 598. DB::Exception: Backup {destination} already exists. (BACKUP_ALREADY_EXISTS), Stack trace (…)"
            ))
        } else {
            self.fates
                .pop_front()
                .unwrap_or_else(|| Fate::success(Duration::from_secs(30)))
        };
        self.rows.push(FakeRow {
            id: id.clone(),
            destination,
            is_restore,
            began: now,
            fate,
            killed: None,
        });
        Ok(format!(
            "{{\"id\":\"{id}\",\"status\":\"CREATING_BACKUP\"}}\n"
        ))
    }

    fn look(&self, sql: &str) -> String {
        let now = self.clock.now();
        if sql.contains("groupArray((id, name, base_backup_name, toString(status)))") {
            let running = self.rows.iter().filter(|row| row.is_running(now));
            let rows: Vec<_> = running
                .map(|row| serde_json::json!([row.id, row.destination, "", row.status(now).0]))
                .collect();
            return format!("{}\n", serde_json::json!({ "found": rows }));
        }
        if sql.contains("groupArray(id) AS found") {
            let finished = |row: &&FakeRow| {
                row.status(now).0 == "BACKUP_CREATED" && sql.contains(&format!("'{}'", row.id))
            };
            let ids: Vec<_> = self
                .rows
                .iter()
                .filter(finished)
                .map(|row| &row.id)
                .collect();
            let ids = serde_json::json!(ids);
            return format!("{{{},\"found\":{ids}}}\n", self.identity());
        }
        let wanted = |row: &&FakeRow| {
            if sql.contains("startsWith(id") {
                row.id.starts_with("backupd:") && row.is_running(now)
            } else {
                sql.contains(&format!("'{}'", row.id))
            }
        };
        let found: Vec<String> = self
            .rows
            .iter()
            .filter(wanted)
            .map(|row| {
                let (status, error) = row.status(now);
                let end = if row.is_running(now) {
                    0
                } else {
                    row.ends().as_second()
                };
                let began = row.began.as_second();
                serde_json::json!([
                    row.id,
                    row.destination,
                    status,
                    error,
                    began,
                    end,
                    12,
                    4096,
                    2048,
                    0,
                    0
                ])
                .to_string()
            })
            .collect();
        format!("{{{},\"found\":[{}]}}\n", self.identity(), found.join(","))
    }

    fn identity(&self) -> String {
        format!(
            "\"server_uuid\":\"{}\",\"host\":\"ch-0\",\"started_at\":{}",
            self.uuid,
            self.started.as_second()
        )
    }

    /// How often each backup was made to the end, by destination.
    pub fn made(&self) -> BTreeMap<String, usize> {
        let now = self.clock.now();
        let mut made = BTreeMap::new();
        for row in self
            .rows
            .iter()
            .filter(|row| row.status(now).0 == "BACKUP_CREATED")
        {
            *made.entry(row.destination.clone()).or_default() += 1;
        }
        made
    }
}

/// `Disk('s3_backup', 'name')` of a statement.
fn destination(sql: &str) -> String {
    let start = sql.find("Disk(").unwrap();
    let end = sql[start..].find(')').unwrap();
    sql[start..=start + end].to_owned()
}

fn setting(sql: &str, name: &str) -> String {
    quoted_after(sql, &format!("{name} = "))
}

fn quoted_after(sql: &str, before: &str) -> String {
    let start = sql
        .find(before)
        .unwrap_or_else(|| panic!("{before} in {sql}"))
        + before.len()
        + 1;
    let end = sql[start..].find('\'').unwrap();
    sql[start..start + end].to_owned()
}
