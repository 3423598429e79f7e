//! A daemon before the scripted ClickHouse, under a clock that jumps.

use std::sync::Arc;
use std::time::Duration;

use clickhouse_backupd::catalog::{Catalog, Settings, View};
use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::daemon::Options;
use jiff::Timestamp;

use super::daemon::{Home, TestDaemon};
use super::fake_clickhouse::FakeClickHouse;

/// A daemon before the scripted ClickHouse, at a moment of our choice, under a paused clock.
pub struct Simulation {
    pub home: Home,
    pub fake: FakeClickHouse,
    pub clock: Clock,
    pub daemon: Option<TestDaemon>,
}

pub const DAILY: &str = "[schedules.daily]\ncron = \"0 2 * * *\"\ntimezone = \"Europe/Sofia\"\nretry = { attempts = 3, delay = \"5m\" }";

impl Simulation {
    pub async fn start(at: &str, config: &str) -> Self {
        let clock = Clock::anchored(at.parse().unwrap());
        let fake = FakeClickHouse::start(clock.clone()).await;
        let home = Home::new();
        home.write(&fake.url, config);
        let mut simulation = Self {
            home,
            fake,
            clock,
            daemon: None,
        };
        simulation.start_daemon().await;
        simulation
    }

    pub async fn start_daemon(&mut self) {
        let options = Options {
            clock: self.clock.clone(),
            reload: None,
            with_timer: false,
        };
        self.daemon = Some(self.home.start_with(options).await);
    }

    /// The daemon that runs.
    pub fn daemon(&self) -> &TestDaemon {
        self.daemon.as_ref().unwrap()
    }

    pub async fn stop_daemon(&mut self) {
        self.daemon.take().unwrap().stop().await;
    }

    pub async fn until(&self, at: &str) {
        let at: Timestamp = at.parse().unwrap();
        let wait = at.duration_since(self.clock.now());
        tokio::time::sleep(Duration::try_from(wait).unwrap()).await;
    }

    /// Stops the daemon and reads what it wrote.
    pub async fn end(mut self) -> Arc<View> {
        self.stop_daemon().await;
        self.fake.assert_understood();
        Catalog::open(&Settings {
            dir: self.home.state(),
        })
        .unwrap()
        .view()
    }
}
