//! `cargo bench --bench destination`: our own view of the destination, in time, memory and requests.
//!
//! The S3 servers are in this process and on loopback: what is measured is what the daemon adds, not a
//! store or a network. Prints one table in Markdown on standard output.
//! What fails is a wrong answer; no time is asserted.

#[allow(dead_code, reason = "the benchmark of the daemon uses the rest")]
#[path = "../daemon/children.rs"]
mod children;
mod machine;
mod many;
mod measures;
mod quick;
mod requests;
mod servers;

use std::process::ExitCode;

use clap::Parser;
use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};

use measures::Measure;

#[derive(Parser)]
#[command(
    about = "Measures our own view of the destination: manifests, proofs, clearing, retention"
)]
struct Arguments {
    /// Only these, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measure>,
    /// Files of the manifest.
    #[arg(long, default_value_t = 1_000_000)]
    files: u64,
    /// Folders that are cleared.
    #[arg(long, default_value_t = 50)]
    folders: u64,
    /// Backups that retention works among.
    #[arg(long, default_value_t = 2_000)]
    backups: u64,
    /// How many of them it removes.
    #[arg(long, default_value_t = 200)]
    remove: u64,
    /// Rounds of `manifest`, `prove` and `clear`.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut table = Table::new();
    table
        .load_style(ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "measure",
            "ours: median (min..max)",
            "raw",
            "peak memory",
            "requests",
        ]);
    for measure in Measure::of(&arguments.only) {
        eprintln!("{measure:?} …");
        for row in runtime.block_on(measure.run(arguments))? {
            table.add_row(row);
        }
    }
    println!("{table}");
    println!("{}", machine::facts()?);
    Ok(())
}
