//! The table, the facts about the machine, and the lines that say how far the run is.

use anyhow::Context as _;
use clickhouse_backupd::clock::Clock;
use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};

use crate::figures::{Aim, Sample};
use crate::session::Session;

/// The rows of the table.
#[derive(Default)]
pub struct Report {
    rows: Vec<[String; 6]>,
}

impl Report {
    /// A figure of ours, with the raw statement or another floor beside it where there is one.
    pub fn row(&mut self, measure: &str, ours: &Sample, raw: Option<&Sample>, aim: Aim) {
        let verdict = match aim.is_met(ours, raw) {
            None => "",
            Some(true) => "ok",
            Some(false) => "SHORT",
        };
        let row = [
            measure.to_owned(),
            ours.shown(),
            raw.map(Sample::shown).unwrap_or_default(),
            raw.map(|raw| ours.difference(raw)).unwrap_or_default(),
            aim.shown(ours.unit()),
            verdict.to_owned(),
        ];
        told(
            row.iter()
                .filter(|cell| !cell.is_empty())
                .fold(String::from("   "), |line, cell| format!("{line}{cell} · ")),
        );
        self.rows.push(row);
    }

    /// A figure of the raw statement alone.
    pub fn raw(&mut self, measure: &str, raw: &Sample) {
        let blank = String::new;
        self.rows.push([
            measure.to_owned(),
            blank(),
            raw.shown(),
            blank(),
            blank(),
            blank(),
        ]);
    }

    /// The table in Markdown.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(ASCII_MARKDOWN)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header([
                "measure",
                "ours: median (min..max, rounds)",
                "raw or floor",
                "difference",
                "aim",
                "",
            ]);
        for row in &self.rows {
            table.add_row(row.clone());
        }
        table.to_string()
    }
}

/// A line for the person who waits; standard output holds the table alone.
pub fn told(line: impl AsRef<str>) {
    eprintln!("{}", line.as_ref().trim_end_matches([' ', '·']));
}

/// What the figures depend on.
pub async fn facts(session: &mut Session) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().context("/proc/loadavg is empty")?;
    let engine = match session.engine_if_started() {
        Some(engine) => engine.sql("SELECT version()").await?,
        None => "not used".to_owned(),
    };
    let version = session.version()?;
    Ok(format!(
        "\n{cores} cores, {model}; Linux {}; ClickHouse engine {}; {version}; {}; load average at the end {load}",
        kernel.trim(),
        engine.trim(),
        Clock::System.now().strftime("%Y-%m-%d %H:%M UTC"),
    ))
}
