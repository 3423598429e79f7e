//! What the kernel says of processes and this machine.

use std::time::Duration;

use anyhow::Context as _;

/// The highest resident memory of a process since it was last set to the present one.
pub struct Peak {
    process: u32,
    from_kib: u64,
}

impl Peak {
    /// That of this process, from now on.
    pub fn begin() -> anyhow::Result<Self> {
        Self::begin_of(std::process::id())
    }

    /// Begins anew from what is resident now; `5` is in `proc_pid_clear_refs(5)`.
    pub fn begin_of(process: u32) -> anyhow::Result<Self> {
        std::fs::write(format!("/proc/{process}/clear_refs"), "5").context("resetting VmHWM")?;
        Ok(Self {
            process,
            from_kib: Self::of(process)?,
        })
    }

    /// How much it grew since, in KiB.
    pub fn growth_kib(&self) -> anyhow::Result<u64> {
        Ok(Self::of(self.process)?.saturating_sub(self.from_kib))
    }

    /// As it is, in KiB.
    pub fn of(process: u32) -> anyhow::Result<u64> {
        status(process, "VmHWM:")
    }
}

/// KiB in words.
pub fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn status(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
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
        format!("+{}", mib(self.peak_kib))
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
