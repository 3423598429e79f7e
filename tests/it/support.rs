//! What the tests stand on: a real engine, a scripted one, and a daemon in front of either.

pub mod daemon;
pub mod engine;
pub mod fake_clickhouse;
pub mod nights;
pub mod prometheus;
pub mod s3;
pub mod simulation;

use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for anything in a test. Machines are shared: it is there to end a hung test, and no
/// test's meaning depends on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Files below a folder, as paths from there, sorted.
pub fn files_below(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let below = path.strip_prefix(folder).unwrap();
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Asks again until there is an answer.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            Instant::now() < end,
            "waited {} s for: {what}",
            PATIENCE.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
