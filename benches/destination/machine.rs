//! What the kernel says of this process and this machine.

use std::time::Duration;

use anyhow::Context as _;

/// The highest resident memory since it was last set to the present one.
pub struct Peak {
    from_kib: u64,
}

impl Peak {
    /// Begins anew from what is resident now; `5` is in `proc_pid_clear_refs(5)`.
    pub fn begin() -> anyhow::Result<Self> {
        std::fs::write("/proc/self/clear_refs", "5").context("resetting VmHWM")?;
        Ok(Self {
            from_kib: status("VmHWM:")?,
        })
    }

    /// How much it grew since, in KiB.
    pub fn growth_kib(&self) -> anyhow::Result<u64> {
        Ok(status("VmHWM:")?.saturating_sub(self.from_kib))
    }
}

fn status(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("/proc/self/status is short")?.parse()?)
}

/// Times and memory of several rounds.
#[derive(Default)]
pub struct Rounds {
    seconds: Vec<f64>,
    peak_kib: u64,
}

impl Rounds {
    pub fn add(&mut self, took: Duration, peak: &Peak) -> anyhow::Result<()> {
        self.seconds.push(took.as_secs_f64());
        self.seconds.sort_by(f64::total_cmp);
        self.peak_kib = self.peak_kib.max(peak.growth_kib()?);
        Ok(())
    }

    pub fn time(&self) -> String {
        match (self.seconds.first(), self.seconds.last()) {
            (Some(first), Some(last)) => {
                let median = self.seconds[self.seconds.len() / 2];
                format!("{median:.2} s ({first:.2}..{last:.2})")
            }
            _ => String::new(),
        }
    }

    pub fn memory(&self) -> String {
        format!("+{:.1} MiB", self.peak_kib as f64 / 1024.0)
    }
}

/// What the figures depend on.
pub fn facts() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().context("/proc/loadavg is empty")?;
    Ok(format!(
        "\n{cores} cores, {model}; load average at the end {load}"
    ))
}
