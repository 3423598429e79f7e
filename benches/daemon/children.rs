//! Processes of ours: they end with the value that owns them.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// How long one may take to end after SIGTERM.
const ENDING_LIMIT: Duration = Duration::from_secs(15);
/// Ticks a second in `/proc/PID/stat`: `USER_HZ`, which Linux keeps at 100 for every program.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running process.
pub struct Process {
    child: Child,
    name: &'static str,
}

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident, in MiB.
    pub resident_mib: f64,
    /// Threads.
    pub threads: f64,
}

impl Process {
    /// Starts one in a process group of its own, so that Ctrl-C reaches us alone and we end the
    /// others in order; its output goes to `log`.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).context("making a log file")?;
        let child = command
            .process_group(0)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting the {name}"))?;
        Ok(Self { child, name })
    }

    /// Its number in `/proc`.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, where that is piped.
    pub fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it still runs; otherwise an error.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the {} ended: {status}", self.name),
        }
    }

    /// Asks it to end (SIGTERM) and waits; anything but exit code 0 is an error.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .stdin(Stdio::null())
            .status()
            .context("running kill")?;
        ensure!(asked.success(), "the {} was gone already", self.name);
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return Ok::<_, std::io::Error>(status);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let status = tokio::time::timeout(ENDING_LIMIT, waiting)
            .await
            .with_context(|| format!("the {} does not end", self.name))??;
        ensure!(status.success(), "the {} ended with {status}", self.name);
        Ok(())
    }

    /// Processor time it has used, user and system, in seconds.
    pub fn processor_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The second field is the name in parentheses, which may hold spaces; `utime` and `stime` are
        // the 14th and 15th (proc_pid_stat(5)).
        let after = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |index: usize| -> anyhow::Result<f64> {
            let field = fields.get(index).context("/proc/PID/stat is short")?;
            Ok(field.parse::<f64>()?)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Its memory and threads now.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let field = |name: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            Ok(number.context("/proc/PID/status is short")?.parse()?)
        };
        Ok(Memory {
            resident_mib: field("VmRSS:")? / 1024.0,
            threads: field("Threads:")?,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
