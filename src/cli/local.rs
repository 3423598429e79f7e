//! The commands that read the configuration: `server`, `config`, `schedule next`.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use anyhow::Context as _;
use clap::Subcommand;
use clickhouse_backupd::backup::SlotNaming;
use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::config::{self, ConfigErrors, Loaded, LogFormat, LogSettings, Source};
use clickhouse_backupd::daemon::{Daemon, Options};
use clickhouse_backupd::operation::{Action, Schedule, Selection};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::connect::{self, Finding};
use super::output::print;
use super::schedule::Next;

/// Exit code for a configuration that is not valid (`EX_USAGE` of sysexits): a supervisor can tell it
/// from a failed start.
const EXIT_CONFIG: u8 = 64;
/// How long threads in the file system may take at the end.
const THREADS_LIMIT: Duration = Duration::from_secs(2);
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is valid, and everything that is wrong with it.
    Check {
        /// Try ClickHouse, the disk and our own view of it, too; 0 only when all of it works.
        #[arg(long)]
        connect: bool,
    },
    /// Print every value that is in effect and where it came from; secrets are not printed.
    Show,
}

/// Looks at the configuration.
///
/// # Errors
/// When its answer cannot be printed.
pub fn configuration(source: &Source, command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let loaded = match config::load(source, Clock::System.now()) {
        Ok(loaded) => loaded,
        Err(errors) => return Ok(refused(source, &errors)),
    };
    print(&match command {
        ConfigCommand::Check { .. } => check(source, &loaded),
        ConfigCommand::Show => config::show(&loaded),
    })?;
    match command {
        ConfigCommand::Check { connect: true } => connect_all(&loaded),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn connect_all(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let findings = runtime.block_on(connect::findings(&loaded.config));
    // A look-up of a host name that hangs must not keep the process.
    runtime.shutdown_background();
    print(&findings.iter().map(Finding::lines).collect::<String>())?;
    Ok(match findings.iter().all(Finding::is_ok) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Prints the coming slots.
///
/// # Errors
/// When they cannot be printed.
pub fn coming_slots(source: &Source, next: &Next) -> anyhow::Result<ExitCode> {
    let now = Clock::System.now();
    match config::load(source, now) {
        Ok(loaded) => slots(
            &loaded,
            usize::from(next.count),
            next.schedule.as_deref(),
            now,
        ),
        Err(errors) => Ok(refused(source, &errors)),
    }
}

fn refused(source: &Source, errors: &ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    let mistakes = counted(errors.0.len(), "mistake");
    eprintln!("{}: not valid, {mistakes}", place(source));
    ExitCode::from(EXIT_CONFIG)
}

/// Runs the daemon until it is asked to end.
///
/// # Errors
/// When it cannot start.
pub fn serve(source: Source) -> anyhow::Result<ExitCode> {
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
        LogFormat::Auto => !std::io::stdout().is_terminal(),
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
    anstream::AutoStream::choice(&std::io::stdout()) != ColorChoice::Never
}

fn check(source: &Source, loaded: &Loaded) -> String {
    let warnings: String = loaded
        .config
        .warnings
        .iter()
        .map(|warning| format!("warning: {warning}\n"))
        .collect();
    let schedules = counted(loaded.config.schedules.len(), "schedule");
    format!("{warnings}{}: valid, {schedules}\n", place(source))
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

fn slots(
    loaded: &Loaded,
    count: usize,
    only: Option<&str>,
    now: Timestamp,
) -> anyhow::Result<ExitCode> {
    let chosen: Vec<&Schedule> = loaded
        .config
        .schedules
        .values()
        .filter(|schedule| only.is_none_or(|name| schedule.name.as_str() == name))
        .collect();
    if chosen.is_empty() {
        eprintln!("{}", nothing_chosen(loaded, only));
        return Ok(ExitCode::FAILURE);
    }
    print(
        &chosen
            .iter()
            .map(|schedule| coming(schedule, count, now))
            .collect::<String>(),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A schedule and its coming slots, a line each.
fn coming(schedule: &Schedule, count: usize, now: Timestamp) -> String {
    let (expression, zone) = (
        schedule.calendar.expression(),
        schedule.calendar.zone_name(),
    );
    let does = does(schedule);
    let mut text = format!("{}  {expression} ({zone})  {does}\n", schedule.name);
    let mut previous = schedule.calendar.previous_before(now).unwrap_or(now);
    for slot in schedule.calendar.slots_after(now).take(count) {
        text += &format!("  {}\n", line(schedule, slot, previous));
        previous = slot;
    }
    text
}

/// What its slots do, in words.
fn does(schedule: &Schedule) -> &'static str {
    match &schedule.action {
        Action::Backup if schedule.increments.is_some() => "incremental backups",
        Action::Backup => "full backups",
        Action::Verify(work) => match work.selection {
            Selection::All => "proves all backups",
            Selection::Newest | Selection::One(_) => "proves the newest backups",
        },
    }
}

fn nothing_chosen(loaded: &Loaded, only: Option<&str>) -> String {
    let schedules = loaded.config.schedules.keys();
    let known: Vec<&str> = schedules.map(|name| name.as_str()).collect();
    match only {
        Some(name) => format!(
            "there is no schedule {name}; there are: {}",
            known.join(", ")
        ),
        None => "there is no schedule; add [schedules.daily] with a cron to the configuration"
            .to_owned(),
    }
}

fn line(schedule: &Schedule, slot: Timestamp, previous: Timestamp) -> String {
    let zone = schedule.calendar.zone();
    let local = slot
        .to_zoned(zone.clone())
        .strftime("%a %Y-%m-%d %H:%M:%S %:z")
        .to_string();
    // What proves backups makes none that would have a name.
    if let Action::Verify(_) = schedule.action {
        return format!("{local}   {slot}");
    }
    let naming = SlotNaming {
        schedule: schedule.name.as_str(),
        kind: schedule.kind().as_str(),
        slot,
        previous,
        zone,
    };
    match schedule.template.render(naming) {
        Ok(name) => format!("{local}   {slot}   {name}"),
        Err(error) => format!("{local}   {slot}   {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coming_slots_have_the_names_of_the_backups_that_they_make() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let text = "\
            [destination]\ndisk = \"s3_backup\"\nurl = \"file:///backups\"\n\
            [schedules.daily]\ncron = \"0 2 * * *\"\n\
            [schedules.nightly]\ncron = \"0 3 * * *\"\nname = \"n-{date}\"\nkind = \"incremental\"\nfull_every = \"7d\"\n\
            [schedules.proofs]\ncron = \"0 6 * * 0\"\naction = \"verify\"\n\
            [schedules.proofs-of-all]\ncron = \"0 7 1 * *\"\naction = \"verify\"\nverify = \"all\"\n";
        std::fs::write(&file, text).unwrap();
        let source = Source {
            file: Some(file),
            environment: Vec::new(),
        };
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let loaded = config::load(&source, now).unwrap();
        let schedules = loaded.config.schedules.values();
        let text: String = schedules.map(|one| coming(one, 1, now)).collect();
        insta::assert_snapshot!(text, @r"
        daily  0 2 * * * (UTC)  full backups
          Mon 2026-11-23 02:00:00 +00:00   2026-11-23T02:00:00Z   2026-11-23
        nightly  0 3 * * * (UTC)  incremental backups
          Mon 2026-11-23 03:00:00 +00:00   2026-11-23T03:00:00Z   n-2026-11-23
        proofs  0 6 * * 0 (UTC)  proves the newest backups
          Sun 2026-11-29 06:00:00 +00:00   2026-11-29T06:00:00Z
        proofs-of-all  0 7 1 * * (UTC)  proves all backups
          Tue 2026-12-01 07:00:00 +00:00   2026-12-01T07:00:00Z
        ");
    }
}
