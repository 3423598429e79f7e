//! The commands that work on the configuration: `server`, `config`, `schedule next`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use clickhouse_backupd::backup::SlotNaming;
use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::config::{self, ConfigErrors, Loaded, LogFormat, LogSettings, Source};
use clickhouse_backupd::daemon::{Daemon, Options};
use clickhouse_backupd::operation::Schedule;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Exit code for a configuration that is not valid (`EX_USAGE` of sysexits): a supervisor can tell it
/// from a failed start.
const EXIT_CONFIG: u8 = 64;
/// How long threads in the file system may take at the end.
const THREADS_LIMIT: Duration = Duration::from_secs(2);
/// Slots that `schedule next` prints at most.
const NEXT_MAX: u16 = 1_000;

/// The backup daemon for ClickHouse.
#[derive(Debug, Parser)]
#[command(
    name = "clickhouse-backupd",
    version,
    about,
    arg_required_else_help = false
)]
pub struct Arguments {
    /// The configuration file (default: `BACKUPD_CONFIG`, else /etc/clickhouse-backupd/config.toml).
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon; the default.
    Server,
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the schedules.
    #[command(subcommand)]
    Schedule(ScheduleCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration is valid, and everything that is wrong with it.
    Check,
    /// Print every value that is in effect and where it came from; secrets are not printed.
    Show,
}

#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    /// Print the coming slots and the names their backups will have.
    Next {
        /// How many of each schedule.
        #[arg(short = 'n', long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=i64::from(NEXT_MAX)))]
        count: u16,
        /// Only this schedule.
        schedule: Option<String>,
    },
}

/// Runs a command.
///
/// # Errors
/// When it failed; a configuration that is not valid is an exit code instead, told already.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let source = Source::from_process(arguments.config);
    let command = arguments.command.unwrap_or(Command::Server);
    if matches!(command, Command::Server) {
        return serve(source);
    }
    let loaded = match config::load(&source, Clock::System.now()) {
        Ok(loaded) => loaded,
        Err(errors) => return Ok(refused(&source, &errors)),
    };
    match command {
        Command::Server => {}
        Command::Config(ConfigCommand::Check) => check(&source, &loaded),
        Command::Config(ConfigCommand::Show) => print!("{}", config::show(&loaded)),
        Command::Schedule(ScheduleCommand::Next { count, schedule }) => {
            let now = Clock::System.now();
            return Ok(next(&loaded, usize::from(count), schedule.as_deref(), now));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(source: &Source, errors: &ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    let mistakes = counted(errors.0.len(), "mistake");
    eprintln!("{}: not valid, {mistakes}", place(source));
    ExitCode::from(EXIT_CONFIG)
}

fn serve(source: Source) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let code = runtime.block_on(async {
        // Before anything else: a signal that nobody listens for ends the process.
        let stop = stop_signal()?;
        let hangups = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        let loaded = match config::load(&source, Clock::System.now()) {
            Ok(loaded) => loaded,
            Err(errors) => return Ok(refused(&source, &errors)),
        };
        start_log(&loaded.config.log)?;
        let options = Options {
            clock: Clock::System,
            reload: Some((source, hangups)),
            with_timer: true,
        };
        Daemon::build(loaded.config, options)?.run(stop).await;
        Ok(ExitCode::SUCCESS)
    });
    // A thread that hangs in the file system must not keep the process.
    runtime.shutdown_timeout(THREADS_LIMIT);
    code
}

/// Cancelled by the first SIGTERM or SIGINT; the second one ends the process at once.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if cancelled.is_cancelled() {
                std::process::exit(1);
            }
            tracing::info!("asked to end");
            cancelled.cancel();
        }
    });
    Ok(stop)
}

fn start_log(settings: &LogSettings) -> anyhow::Result<()> {
    // Of the libraries only what goes wrong matters. A directive means every target that begins with
    // it, so one for the crate `clickhouse` would mean this program too.
    let directives = format!("warn,clickhouse_backupd={}", settings.level);
    let filter = EnvFilter::try_new(directives).context("reading log.level")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::IsTerminal::is_terminal(&std::io::stdout()),
    };
    if json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_ansi(colours()).init();
    }
    Ok(())
}

/// Colours on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::IsTerminal::is_terminal(&std::io::stdout())
}

fn check(source: &Source, loaded: &Loaded) {
    for warning in loaded
        .config
        .warnings
        .iter()
        .chain(&loaded.config.not_yet())
    {
        println!("warning: {warning}");
    }
    let schedules = counted(loaded.config.schedules.len(), "schedule");
    println!("{}: valid, {schedules}", place(source));
}

/// What was read, for the line that says what came of it.
fn place(source: &Source) -> String {
    source.file.as_ref().map_or_else(
        || "the environment".to_owned(),
        |file| file.display().to_string(),
    )
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn next(loaded: &Loaded, count: usize, only: Option<&str>, now: Timestamp) -> ExitCode {
    let chosen: Vec<&Schedule> = loaded
        .config
        .schedules
        .values()
        .filter(|schedule| only.is_none_or(|name| schedule.name.as_str() == name))
        .collect();
    if chosen.is_empty() {
        let known: Vec<&str> = loaded
            .config
            .schedules
            .keys()
            .map(|name| name.as_str())
            .collect();
        match only {
            Some(name) => eprintln!(
                "there is no schedule {name}; there are: {}",
                known.join(", ")
            ),
            None => eprintln!(
                "there is no schedule; add [schedules.daily] with a cron to the configuration"
            ),
        }
        return ExitCode::FAILURE;
    }
    for schedule in chosen {
        println!(
            "{}  {} ({})",
            schedule.name,
            schedule.calendar.expression(),
            schedule.calendar.zone_name()
        );
        let mut previous = schedule.calendar.previous_before(now).unwrap_or(now);
        for slot in schedule.calendar.slots_after(now).take(count) {
            println!("  {}", line(schedule, slot, previous));
            previous = slot;
        }
    }
    ExitCode::SUCCESS
}

fn line(schedule: &Schedule, slot: Timestamp, previous: Timestamp) -> String {
    let zone = schedule.calendar.zone();
    let local = slot
        .to_zoned(zone.clone())
        .strftime("%a %Y-%m-%d %H:%M:%S %:z")
        .to_string();
    let naming = SlotNaming {
        schedule: schedule.name.as_str(),
        kind: schedule.kind.as_str(),
        slot,
        previous,
        zone,
    };
    match schedule.template.render(naming) {
        Ok(name) => format!("{local}   {slot}   {name}"),
        Err(error) => format!("{local}   {slot}   {error}"),
    }
}
