//! The command line against the real daemon in front of the real engine: what it prints and how it ends.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::daemon::{Home, TestDaemon};
use crate::support::engine::{self, Engine};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clickhouse-backupd");

/// A command as a shell would start it in Sofia, with no variables but these.
fn command(url: &str, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("TZ", "Europe/Sofia")
        .env("BACKUPD_URL", url)
        .args(arguments);
    command
}

/// What a command printed, as `$ command`, standard output, standard error and the exit code if it is
/// not 0.
fn said(url: &str, line: &str) -> String {
    let output = command(url, &shlex::split(line).unwrap()).output().unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(
        !(out.clone() + &err).contains('\u{1b}'),
        "no colours in a pipe: {out}{err}"
    );
    let code = match output.status.code().unwrap() {
        0 => String::new(),
        code => format!("exit {code}\n"),
    };
    format!("$ {line}\n{out}{err}{code}")
}

fn exit_code(url: &str, arguments: &[&str]) -> i32 {
    command(url, arguments)
        .output()
        .unwrap()
        .status
        .code()
        .unwrap()
}

fn json(url: &str, line: &str) -> serde_json::Value {
    let output = command(url, &shlex::split(line).unwrap())
        .arg("--json")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

/// What is seen on a terminal of 80 characters, where a question is answered; and the exit code.
fn on_a_terminal(url: &str, question: &str, answer: &str, arguments: &[&str]) -> (String, i32) {
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/terminal.py");
    let output = Command::new("python3")
        .args([driver, question, answer, PROGRAM])
        .args(arguments)
        .env("BACKUPD_URL", url)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    let seen = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.is_empty(), "{err}");
    (seen, output.status.code().unwrap())
}

/// Compares with a snapshot, with everything masked that differs from run to run.
macro_rules! shows {
    ($name:expr, $text:expr) => {
        insta::with_settings!({filters => vec![
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
            (r"\b[0-9a-f]{8}  ", "IDENTITY  "),
            (r"(operation show|cancel|operation) [0-9a-f]{8}\b", "$1 IDENTITY"),
            (r"20\d\d-\d\d-\d\d \d\d:\d\d(:\d\d)? EES?T", "TIME"),
            (r"20\d\d-\d\d-\d\dT[0-9:.]+Z", "TIME"),
            // On a slow machine there is time for a word about the way.
            (r"(?m)^(backup|restore) \S+: (waits|starting|running|cancelling).*\n", ""),
            (r"http://[^ \n]+", "URL"),
            (r"[0-9.]+ (B|KiB|MiB)\b", "SIZE"),
            (r"ClickHouse [0-9.]+\n", "ClickHouse VERSION\n"),
            (r"\b[0-9]+ files?", "FILES"),
            (r"(in |up for |after |, |\()([0-9]+[dhm] )?[0-9.]+[smh]( ago)?([\n),])", "${1}LENGTH$4"),
            (r" ([0-9]+m )?[0-9]+(\.[0-9])?s\b", " LENGTH"),
            (r"\b26(\.[0-9]+)+ on [^ ,]+", "VERSION on HOST"),
            // Widths follow from what is masked.
            (r" {3,}", "  "),
        ]}, { insta::assert_snapshot!($name, $text) });
    };
}

const SCHEDULE: &str =
    "[schedules.cli]\ncron = \"0 0 1 1 *\"\ndatabases = [\"cli\"]\nname = \"cli-{date}-{time}\"";

/// A daemon with one schedule, and a database `cli` with tables.
async fn start(engine: &Engine) -> (Home, TestDaemon) {
    for database in ["cli_old", "cli_drop"] {
        engine
            .sql(&format!("DROP DATABASE IF EXISTS {database} SYNC"))
            .await;
    }
    engine.seed("cli", 1_000).await;
    let home = Home::new();
    home.write(&engine.url, SCHEDULE);
    let daemon = home.start().await;
    (home, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_made_listed_and_shown() {
    let engine = engine::shared().await;
    if engine::is_foreign() {
        return;
    }
    let (_home, daemon) = start(&engine).await;
    let url = &daemon.url;
    let mut session = said(url, "backup list");
    session += &said(url, "operation list");
    session += &said(url, "cancel");
    session += &said(
        url,
        "backup create cli-full --database cli --exclude cli.customers",
    );
    session += &said(url, "backup create cli-more --table cli.* --base cli-full");
    session += &said(url, "backup create cli-full --database cli");
    session += &said(url, "backup create ../cli");
    session += &said(url, "backup list --schedule nobody");
    session += &said(url, "backup list -n 1");
    session += &said(url, "backup list --all");
    session += &said(url, "backup show cli-full --tables");
    session += &said(url, "backup show cli-none");
    session += &said(url, "operation list --kind backup --state succeeded");
    shows!("backups", session);

    let listed = json(url, "backup list");
    assert_eq!(listed["items"][0]["name"], "cli-more");
    let one = json(url, "backup show cli-more");
    assert_eq!(
        (
            one["base"].as_str(),
            one["created_at"].as_str().unwrap().ends_with('Z')
        ),
        (Some("cli-full"), true)
    );
    assert_eq!(
        json(url, "backup show cli-none")["error"]["kind"],
        "not_found"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_says_what_it_does_before_it_does_it() {
    let engine = engine::shared().await;
    if engine::is_foreign() {
        return;
    }
    let (_home, daemon) = start(&engine).await;
    let url = &daemon.url;
    daemon
        .succeeds("/backup/create?name=cli-restore&table=cli.*")
        .await;
    let live = engine.content("cli").await;
    let mut session = said(url, "restore cli-restore");
    session += &said(
        url,
        "restore cli-restore --table cli.orders --into cli_old --check",
    );
    let none = engine
        .sql("SELECT count() FROM system.databases WHERE name = 'cli_old'")
        .await;
    assert_eq!(none, "0", "a check changes nothing");
    session += &said(url, "restore cli-restore --table cli.orders --into cli_old");
    session += &said(
        url,
        "restore cli-restore --table cli.orders --rename cli.orders=cli_old.again",
    );
    session += &said(
        url,
        "restore cli-restore --table cli.orders --into cli_old --append",
    );
    session += &said(
        url,
        "restore cli-restore --database cli --into cli_old --drop",
    );
    session += &said(
        url,
        "restore cli-restore --table cli.orders --into cli_old --drop --yes",
    );
    session += &said(url, "restore cli-none");
    let asked = json(url, "operation list --backup cli-none");
    assert_eq!(asked["items"], serde_json::json!([]), "nothing was sent");
    session += &said(url, "restore cli-none --yes");
    session += &said(url, "restore cli-restore --table cli.nothing");
    shows!("restores", session);

    let counts = engine
        .sql("SELECT count() FROM cli_old.orders UNION ALL SELECT count() FROM cli_old.again")
        .await;
    assert_eq!(counts, "1000\n1000");
    assert_eq!(engine.content("cli").await, live, "what lives is untouched");

    let refused = json(url, "restore cli-restore");
    assert_eq!(refused["refused"]["kind"], "non_empty_target");
    let done = json(url, "restore cli-restore --into cli_drop");
    assert_eq!(done["state"], "succeeded", "{done}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_it_asks_first() {
    let engine = engine::shared().await;
    if engine::is_foreign() {
        return;
    }
    let (_home, daemon) = start(&engine).await;
    let url = &daemon.url;
    let (seen, code) = on_a_terminal(
        url,
        "no question",
        "",
        &["backup", "create", "cli-ask", "--database", "cli"],
    );
    assert!(
        code == 0 && seen.contains("\u{1b}[32mbackup cli-ask: "),
        "{code} {seen}"
    );

    let into = [
        "restore",
        "cli-ask",
        "--table",
        "cli.orders",
        "--into",
        "cli_old",
    ];
    let (seen, code) = on_a_terminal(url, "Restore? [y/N]", "n", &into);
    assert!(
        code == 1 && seen.contains("nothing was done"),
        "{code} {seen}"
    );
    let (seen, code) = on_a_terminal(url, "Restore? [y/N]", "", &into);
    assert!(
        code == 1 && seen.contains("nothing was done"),
        "silence is no consent: {code} {seen}"
    );
    assert_eq!(
        daemon.rows("/backup/actions").await.len(),
        1,
        "nothing was sent"
    );
    let (seen, code) = on_a_terminal(url, "Restore? [y/N]", "y", &into);
    assert!(
        code == 0 && seen.contains("restored cli-ask: "),
        "{code} {seen}"
    );

    let drop = [&into[..], &["--drop"]].concat();
    let (seen, code) = on_a_terminal(url, "to drop and restore:", "y", &drop);
    assert!(
        code == 1 && seen.contains("nothing was done"),
        "a habit drops nothing: {code} {seen}"
    );
    let (seen, code) = on_a_terminal(url, "to drop and restore:", "cli-ask", &drop);
    assert!(
        code == 0 && seen.contains("\u{1b}[1m\u{1b}[31m1 table is dropped first"),
        "{code} {seen}"
    );
    let (seen, code) = on_a_terminal(url, "?", "", &[&drop[..], &["--yes"]].concat());
    assert!(code == 0 && !seen.contains("Type"), "{code} {seen}");

    let unknown = ["restore", "cli-never-made"];
    let (seen, code) = on_a_terminal(url, "Restore? [y/N]", "n", &unknown);
    assert!(
        code == 1 && seen.contains("is not known here") && seen.contains("nothing was done"),
        "{code} {seen}"
    );

    let (seen, _) = on_a_terminal(url, "no question", "", &["status", "--json"]);
    assert!(
        seen.contains("{\r\n  \"version\": \""),
        "JSON for people has lines: {seen}"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_listed_run_and_paused() {
    let engine = engine::shared().await;
    if engine::is_foreign() {
        return;
    }
    let (_home, daemon) = start(&engine).await;
    let url = &daemon.url;
    let mut session = said(url, "schedule list");
    session += &said(url, "schedule run nobody");
    session += &said(url, "schedule run cli --slot 2020-01-01");
    session += &said(url, "schedule pause cli --reason 'moving house'");
    session += &said(url, "schedule list");
    session += &said(url, "status --check");
    session += &said(url, "schedule resume cli");
    session += &said(url, "schedule pause cli --for long");
    session += &said(url, "schedule pause cli --until 2020-01-01");
    session += &said(url, "status --check");
    session += &said(url, "health");
    session += &said(url, "health --ready");
    shows!("schedules", session);

    let made = said(url, "schedule run cli");
    assert!(made.contains("\nbackup cli-20"), "{made}");
    let paused = json(url, "schedule pause cli --for 2h");
    assert!(
        paused["paused"]["until"].as_str().unwrap().ends_with('Z'),
        "{paused}"
    );
    assert_eq!(json(url, "status")["schedules"][0]["paused"], true);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_can_be_left_and_ended() {
    if engine::is_foreign() {
        return;
    }
    let engine = Engine::start_slow().await;
    // Sixty parts, eight files each: half a minute.
    engine.sql("CREATE TABLE slow.parts (x UInt64) ENGINE = MergeTree PARTITION BY x % 60 ORDER BY x AS SELECT number FROM numbers(60)").await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let url = &daemon.url;

    let create = ["backup", "create", "slow-1", "--table", "slow.parts"];
    let mut child = command(url, &create)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("backup slow-1: "), "{first}");
    let busy = said(url, "backup create slow-2 --table slow.parts");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let rest: Vec<String> = lines
        .map(Result::unwrap)
        .filter(|line| !line.starts_with("backup slow-1:"))
        .collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let left = rest.join("\n") + "\n";

    let id = json(url, "operation list")["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let cancelled = said(url, &format!("cancel {}", &id[..4])).replace(&id[..4], "ID");
    let again = said(url, &format!("cancel {id}"));
    let shown = said(url, &format!("operation show {}", &id[..8]))
        .replace(&id, "UUID")
        .replace(&id[..8], "ID");
    shows!(
        "waits",
        busy + &left + &cancelled + &again + &shown.lines().take(5).collect::<Vec<_>>().join("\n")
    );

    let begun = json(url, "backup create slow-3 --table slow.parts --no-wait");
    assert_eq!(begun["backup"], "slow-3");
    assert!(begun["finished_at"].is_null(), "{begun}");
    let ended = json(url, "cancel");
    assert_eq!(ended["state"], "cancelled", "{ended}");
    assert_eq!(exit_code(url, &["cancel"]), 1, "nothing is left to cancel");
    daemon.stop().await;
    assert_eq!(exit_code(&daemon_gone(), &["status"]), 3);
}

/// An address at which nobody listens.
fn daemon_gone() -> String {
    "http://127.0.0.1:1".to_owned()
}

#[test]
fn without_a_daemon_it_says_where_it_looked() {
    let url = "http://me:hunter2@127.0.0.1:1/";
    let text = said(url, "status");
    assert!(!text.contains("hunter2"), "{text}");
    insta::assert_snapshot!(text, @"
    $ status
    error: no answer from http://127.0.0.1:1: Connection refused (os error 111)
      hint: see whether the daemon runs there, or say where it is with --url or BACKUPD_URL
    exit 3
    ");
    let answer = json(url, "backup list");
    assert_eq!(answer["error"]["kind"], "unreachable");
    insta::assert_snapshot!(said(url, "health"), @"
    $ health
    unreachable
    exit 1
    ");
    insta::assert_snapshot!(said("nowhere", "status"), @"
    $ status
    error: --url (BACKUPD_URL) is no URL: relative URL without a base; it looks like http://127.0.0.1:7171
    exit 2
    ");
    assert_eq!(
        exit_code(url, &["server", "--json"]),
        2,
        "it is no command that asks"
    );
    assert_eq!(exit_code(url, &["restore", "a", "--drop", "--append"]), 2);
}

#[test]
fn documents_need_no_daemon() {
    let document: serde_json::Value =
        serde_json::from_slice(&command("", &["openapi"]).output().unwrap().stdout).unwrap();
    assert!(document["paths"]["/api/v1/status"].is_object());
    let out = |arguments: &[&str]| {
        let output = command("", arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            out(&["completions", shell]).contains("clickhouse-backupd"),
            "{shell}"
        );
    }
    assert!(out(&["man"]).contains(".TH clickhouse-backupd"));
    let dir = tempfile::tempdir().unwrap();
    out(&["man", "--dir", dir.path().to_str().unwrap()]);
    assert!(dir.path().join("clickhouse-backupd-restore.1").is_file());
    let help = out(&["--help"]);
    assert!(
        !help.contains("--password") && help.contains("restore"),
        "{help}"
    );
}

#[test]
fn secrets_are_not_in_any_help() {
    for arguments in [
        &["--help"][..],
        &["status", "--help"],
        &["backup", "create", "--help"],
    ] {
        let output = command("http://me:hunter1@host", arguments)
            .env("BACKUPD_TOKEN", "hunter2")
            .env("API_USERNAME", "me")
            .env("API_PASSWORD", "hunter3")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && !text.contains("hunter"),
            "{text}"
        );
    }
}

/// What bash offers after these words, with the script as it is printed.
fn offered(words: &[&str]) -> Vec<String> {
    const ASK: &str = r#"
        source <("$0" completions bash) || exit
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        function=$(complete -p clickhouse-backupd | sed 's/.* -F \([^ ]*\) .*/\1/')
        "$function" clickhouse-backupd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let output = Command::new("bash")
        .args(["--norc", "-c", ASK, PROGRAM])
        .args(words)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && err.is_empty(), "{err}");
    let out = String::from_utf8(output.stdout).unwrap();
    out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_below_the_first_word() {
    let of = |words: &[&str]| offered(&[&["clickhouse-backupd"], words].concat());
    let commands = of(&["backup", ""]);
    for word in ["create", "list", "show"] {
        assert!(commands.contains(&word.to_owned()), "{word}: {commands:?}");
    }
    assert!(!commands.contains(&"restore".to_owned()), "{commands:?}");
    assert_eq!(of(&["ba"]), ["backup"]);
    assert_eq!(of(&["schedule", "pau"]), ["pause"]);
    assert_eq!(of(&["backup", "create", "--excl"]), ["--exclude"]);
    assert_eq!(of(&["operation", "list", "--state", "fai"]), ["failed"]);
}
