//! `make bench`: the daemon beside the raw statement, in the same run, on the same engine.
//!
//! `docs/benchmarks.md` says what each measure is and how to read it.
//! A missed aim is marked and is no failure: machines are noisy.
//! What fails is a backup that failed, a wrong answer, or a process that did not start or end.

mod children;
mod engine;
mod figures;
mod folder;
mod http;
mod load;
mod measures;
mod proxy;
mod report;
mod server;
mod session;
mod state;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use measures::Measure;
use session::Session;

#[derive(Parser)]
#[command(about = "Measures the daemon beside the raw statement; see docs/benchmarks.md")]
struct Arguments {
    /// Only these, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measure>,
    /// Another binary than the one that was just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_clickhouse-backupd"))]
    binary: PathBuf,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // One thread: the daemon has the other core to itself, as far as the engine leaves it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = runtime
        .context("starting tokio")
        .and_then(|runtime| runtime.block_on(until_signal(Arguments::parse())));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever way this ends, what the run owns is dropped: processes are ended, files are removed.
async fn until_signal(arguments: Arguments) -> anyhow::Result<()> {
    let mut ends = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    let [interrupt, terminate, hangup] = &mut ends;
    tokio::select! {
        ended = run(arguments) => ended,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("asked to end"),
        _ = hangup.recv() => anyhow::bail!("the terminal is gone"),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut session = Session::begin(arguments.binary)?;
    let mut report = report::Report::default();
    for measure in Measure::in_order() {
        if arguments.only.is_empty() || arguments.only.contains(&measure) {
            report::told(format!("— {}", measure.says()));
            measure.take(&mut session, &mut report).await?;
        }
    }
    let facts = report::facts(&mut session).await?;
    session.end().await?;
    println!("{}", report.table());
    println!("{facts}");
    Ok(())
}
