//! Reading the configuration again when its file changes, or at SIGHUP.
//!
//! The folder is watched, not the file: editors and Kubernetes replace files by renaming, and a
//! ConfigMap swaps a symbolic link beside it. What counts is whether the bytes changed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::Notices;
use crate::clock::Clock;
use crate::config::{self, Config, Source};
use crate::metrics::Metrics;
use crate::retention::Rules;
use crate::worker::scheduler::Schedules;

/// Events of one edit come in a burst.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// A network file system gives no events, so the file is also read now and then.
const READ_AGAIN: Duration = Duration::from_secs(30);

/// Largest file that is compared, in bytes; a larger one is refused when it is loaded.
const COMPARED_MAX_BYTES: u64 = 1024 * 1024;

/// When the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Once more at the start, which is worth a word only where it differs.
    AtStart,
    /// Because it changed, or somebody asked for it.
    Later,
}

/// The loop that keeps the configuration in use equal to the file.
#[derive(Debug)]
pub(super) struct Reload {
    pub source: Source,
    pub current: Config,
    pub schedules: watch::Sender<Arc<Schedules>>,
    pub rules: watch::Sender<Arc<Rules>>,
    pub notify: watch::Sender<Arc<crate::notify::Settings>>,
    pub notices: watch::Sender<Notices>,
    pub metrics: Metrics,
    pub clock: Clock,
}

impl Reload {
    pub(super) async fn run(mut self, mut hangups: Signal, stop: CancellationToken) {
        let (changed, mut changes) = mpsc::channel(1);
        let _watcher = self
            .source
            .file
            .as_deref()
            .and_then(|file| watch_folder(file, changed.clone()));
        let mut last = self.bytes().await;
        // The file may have changed between its reading at start and now.
        self.reload(Asked::AtStart).await;
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = hangups.recv() => true,
                _ = changes.recv() => {
                    tokio::time::sleep(DEBOUNCE).await;
                    false
                }
                () = tokio::time::sleep(READ_AGAIN) => false,
            };
            let now = self.bytes().await;
            if asked || now != last {
                last = now;
                self.reload(Asked::Later).await;
            }
        }
    }

    /// The file as it is now; `None` where there is none that could be a configuration.
    async fn bytes(&self) -> Option<Vec<u8>> {
        let path = self.source.file.as_ref()?;
        let found = tokio::fs::metadata(path).await.ok()?;
        if !found.is_file() || found.len() > COMPARED_MAX_BYTES {
            return None;
        }
        tokio::fs::read(path).await.ok()
    }

    async fn reload(&mut self, asked: Asked) {
        let (source, now) = (self.source.clone(), self.clock.now());
        let loaded = match tokio::task::spawn_blocking(move || config::load(&source, now)).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(errors)) => {
                self.metrics.config_refused();
                self.notices
                    .send_modify(|notices| notices.refused = Some(errors.to_string()));
                tracing::error!(
                    "the changed configuration is invalid, and the one before it stays in use:\n{errors}"
                );
                return;
            }
            Err(error) => {
                tracing::error!("reading the configuration: {error}");
                return;
            }
        };
        self.metrics.config_loaded(now);
        self.notices.send_replace(Notices {
            warnings: super::warnings(&loaded.config),
            refused: None,
        });
        if asked == Asked::AtStart && loaded.config == self.current {
            return;
        }
        for section in self.current.restart_sections(&loaded.config) {
            tracing::warn!(
                "[{section}] changed in the configuration; that takes a restart to come into effect"
            );
        }
        for warning in &loaded.config.warnings {
            tracing::warn!("{warning}");
        }
        self.tell_schedules(&loaded.config, now);
        self.schedules
            .send_replace(Arc::new(loaded.config.schedules.clone()));
        // Sections that take a restart keep their old values here, so that each reload tells of them.
        self.current.schedules = loaded.config.schedules;
        self.rules
            .send_replace(Arc::new(loaded.config.retention.clone()));
        self.current.retention = loaded.config.retention;
        self.notify
            .send_replace(Arc::new(loaded.config.notify.clone()));
        self.current.notify = loaded.config.notify;
    }

    fn tell_schedules(&self, new: &Config, now: jiff::Timestamp) {
        for (name, schedule) in &new.schedules {
            if self.current.schedules.get(name) != Some(schedule) {
                let next = schedule.calendar.next_after(now).map(|at| at.to_string());
                tracing::info!(schedule.name = %name, next, "the schedule changed");
            }
        }
        for name in self
            .current
            .schedules
            .keys()
            .filter(|name| !new.schedules.contains_key(*name))
        {
            tracing::info!(schedule.name = %name, "the schedule is gone");
        }
        tracing::info!(
            schedules = new.schedules.len(),
            "the configuration was read again"
        );
    }
}

/// Watches the folder of a file; where that is not possible, reading it now and then must do.
fn watch_folder(file: &Path, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let wake = move |event: notify::Result<notify::Event>| {
        // Our own reading of the file is an event too.
        if event.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        // One waiting wake-up is enough.
        let _ = changed.try_send(());
    };
    let watcher = notify::recommended_watcher(wake).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| {
            let every = READ_AGAIN.as_secs();
            tracing::warn!(
                "watching {} is not possible ({error}); the file is read every {every} s",
                folder.display()
            );
        })
        .ok()
}
