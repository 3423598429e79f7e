//! `/backup/actions`: the history, and commands in the words of the old command line.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::answer::{self, Refusal};
use super::arguments::{Arguments, check_length, shown};
use super::delete::Removal;
use super::status::{Row, history, row};
use super::{create, default_name, delete, kill, list as lists, not_served, restore, submit};
use crate::api::ApiState;
use crate::worker::Request;

const OPERATION: &str = "actions";
/// What an unknown command is told.
const COMMANDS: &str = "create, restore, delete, clean, clean_local_broken, clean_remote_broken, list and kill are known";
/// Commands in one request.
const COMMANDS_MAX: usize = 100;

/// One line of a request; other fields are ignored, because ClickHouse sends every column.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    command: String,
}

/// A command that was understood.
#[derive(Debug)]
struct Command {
    text: String,
    verb: Verb,
}

#[derive(Debug)]
enum Verb {
    Create(Request),
    Restore(Request),
    Kill(Option<String>),
    Delete(Removal),
    /// By the word that was used for it.
    Clean(&'static str),
    /// In this place, or everywhere.
    List(Option<String>),
}

#[derive(Serialize)]
struct Done<'a> {
    status: &'static str,
    operation: &'a str,
}

/// What a caller wants to see of the history.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    filter: String,
    last: Option<usize>,
}

/// The history, oldest first.
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let selection = selection(query.as_deref())?;
    let shown = history(&state.catalog.view(), state.clock.now());
    let rows = shown.iter().map(|operation| row(operation, &state.zone));
    Ok(answer::rows(select(rows, &selection)))
}

/// Runs commands, one JSON object a line. Everything is read before anything is begun, so a mistake
/// in the last line starts nothing. A command that fails ends the request: the answer has a row for
/// each one before it, then the error, under the status of the error.
pub(in crate::api) async fn run(
    State(state): State<ApiState>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let commands = match body {
        Ok(body) => parse(&body, &default_name(state.clock.now(), &state.zone)),
        Err(rejection) => return rejection.into_response(),
    };
    let commands = match commands {
        Ok(commands) => commands,
        Err(refusal) => return refusal.into_response(),
    };
    // One wait for all: a request must end within its own limit.
    let deadline = Instant::now() + kill::WAIT;
    let mut lines = Vec::new();
    for Command { text, verb } in commands {
        let mut printed = Vec::new();
        match perform(&state, verb, &text, deadline, &mut printed).await {
            Ok(status) => {
                lines.push(answer::line(&Done {
                    status,
                    operation: &text,
                }));
                lines.append(&mut printed);
            }
            Err(refusal) => {
                lines.push(refusal.line());
                return answer::lines(refusal.status(), lines);
            }
        }
    }
    answer::lines(StatusCode::OK, lines)
}

/// Does it, and says how it went; `printed` gets what that server wrote to its own terminal.
async fn perform(
    state: &ApiState,
    verb: Verb,
    text: &str,
    deadline: Instant,
    printed: &mut Vec<String>,
) -> Result<&'static str, Refusal> {
    match verb {
        Verb::Create(request) => submit(state, "create", request)
            .await
            .map(|_| "acknowledged"),
        Verb::Restore(request) => submit(state, "restore", request)
            .await
            .map(|_| "acknowledged"),
        Verb::Kill(command) => {
            let (_, end) = kill::end(state, command.as_deref(), deadline).await?;
            Ok(end.as_str())
        }
        Verb::Delete(removal) => {
            let (_, end) = removal.run(state, Some(text), deadline).await?;
            Ok(end.as_str())
        }
        Verb::Clean(operation) => {
            let end = delete::run_clean(state, operation, text.to_owned(), deadline).await?;
            Ok(end.as_str())
        }
        Verb::List(location) => {
            *printed = lists::lines(state, location.as_deref())?;
            Ok("success")
        }
    }
}

/// Reads every line of a request, or says which one is wrong.
fn parse(body: &[u8], default_name: &str) -> Result<Vec<Command>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Refusal::bad_request(OPERATION, format!("the body is no UTF-8: {error}"))
    })?;
    let mut commands = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if commands.len() >= COMMANDS_MAX {
            let text = format!("more than {COMMANDS_MAX} commands; send them in several requests");
            return Err(Refusal::bad_request(OPERATION, text));
        }
        let parsed: Line = serde_json::from_str(line)
            .map_err(|error| Refusal::bad_request(shown(line), error.to_string()))?;
        commands.push(command(parsed.command, default_name)?);
    }
    if commands.is_empty() {
        return Err(Refusal::bad_request("", "empty request"));
    }
    Ok(commands)
}

fn command(text: String, default_name: &str) -> Result<Command, Refusal> {
    check_length(OPERATION, text.len())?;
    let words = shlex::split(&text).ok_or_else(|| {
        let why = "a quotation mark is not closed, or a backslash stands at the end";
        Refusal::bad_request(shown(&text), why)
    })?;
    let Some((verb, words)) = words.split_first() else {
        return Err(Refusal::bad_request(OPERATION, "empty command"));
    };
    let verb = match verb.as_str() {
        "create" => Verb::Create(create_request(words, &text, default_name)?),
        "restore" => Verb::Restore(restore_request(words, &text)?),
        "kill" => Verb::Kill((!words.is_empty()).then(|| words.join(" "))),
        "delete" => Verb::Delete(delete_request(words)?),
        "clean" => Verb::Clean(alone("clean", words)?),
        "clean_remote_broken" => Verb::Clean(alone("clean_remote_broken", words)?),
        "clean_local_broken" => Verb::Clean(alone("clean_local_broken", words)?),
        "list" => Verb::List(list_location(words)?),
        other => return Err(not_run(other, &text)),
    };
    Ok(Command { text, verb })
}

/// The history shows a command as it was written to whoever may look, and an address is a secret. The
/// server we replace called nobody from here, either.
fn no_callback(operation: &'static str, arguments: &Arguments) -> Result<(), Refusal> {
    if arguments.has("callback") {
        let text = format!("callback is taken by POST /backup/{operation}?callback=<address> only");
        return Err(Refusal::bad_request(operation, text));
    }
    Ok(())
}

/// The history keeps the command as it was written, which is what a later `kill` names.
fn create_request(words: &[String], text: &str, default_name: &str) -> Result<Request, Refusal> {
    let (mut arguments, rest) = Arguments::from_words("create", words, create::ARGUMENTS)?;
    no_callback("create", &arguments)?;
    if let Some(name) = only_name("create", &rest)? {
        arguments.set_name(name);
    }
    let request = create::request(&arguments, default_name)?;
    Ok(Request {
        command: text.to_owned(),
        ..request
    })
}

fn restore_request(words: &[String], text: &str) -> Result<Request, Refusal> {
    let (arguments, rest) = Arguments::from_words("restore", words, restore::ARGUMENTS)?;
    no_callback("restore", &arguments)?;
    let request = restore::request(&arguments, only_name("restore", &rest)?)?;
    Ok(Request {
        command: text.to_owned(),
        ..request
    })
}

fn delete_request(words: &[String]) -> Result<Removal, Refusal> {
    let (arguments, rest) = Arguments::from_words("delete", words, delete::OPTIONS)?;
    match rest.as_slice() {
        [location, name] => delete::removal(location, name, arguments.has("force")),
        _ => {
            let text = "delete takes a location and the name of a backup: delete local NAME";
            Err(Refusal::bad_request("delete", text))
        }
    }
}

/// A command that takes nothing.
fn alone(verb: &'static str, words: &[String]) -> Result<&'static str, Refusal> {
    match words.first() {
        None => Ok(verb),
        Some(word) => {
            let text = format!("{verb} takes nothing; {:?} is too much", shown(word));
            Err(Refusal::bad_request(verb, text))
        }
    }
}

fn only_name<'a>(operation: &'static str, rest: &'a [String]) -> Result<Option<&'a str>, Refusal> {
    match rest {
        [] => Ok(None),
        [name] => Ok(Some(name)),
        [_, second, ..] => {
            let text = format!(
                "{operation} takes one backup name; {:?} is too much",
                shown(second)
            );
            Err(Refusal::bad_request(operation, text))
        }
    }
}

/// The place that a list is of. That server ran the command and showed its list to nobody but whoever
/// sat at its terminal; here it is in the answer, behind the command's row.
fn list_location(words: &[String]) -> Result<Option<String>, Refusal> {
    match words {
        [] => Ok(None),
        [word] if word == "all" => Ok(None),
        [word] if word == "local" || word == "remote" => Ok(Some(word.clone())),
        [word, ..] => {
            let text = format!(
                "list takes local, remote or all, not {:?}; GET /backup/list has every backup, oldest first",
                shown(if words.len() == 1 { word } else { &words[1] })
            );
            Err(Refusal::bad_request("list", text))
        }
    }
}

/// Commands that the server we replace ran and this one does not, and words that are none.
fn not_run(verb: &str, text: &str) -> Refusal {
    let text = shown(text);
    match not_served::instead_of(verb) {
        Some(instead) => Refusal::not_served(text, instead),
        None => Refusal::bad_request(text, format!("unknown command; {COMMANDS}")),
    }
}

/// Reads `filter` and `last`; a `last` of 0 or less means all, as before.
fn selection(query: Option<&str>) -> Result<Selection, Refusal> {
    let mut selection = Selection::default();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "filter" => selection.filter = value.into_owned(),
            "last" if !value.is_empty() => {
                let last: i64 = value.parse().map_err(|error| {
                    let text = format!("last={:?} is no number of rows: {error}", shown(&value));
                    Refusal::bad_request(OPERATION, text)
                })?;
                selection.last = usize::try_from(last).ok().filter(|last| *last > 0);
            }
            _ => {}
        }
    }
    Ok(selection)
}

/// The newest rows that match, still oldest first. Rows that nobody wants are not even made: most
/// callers want the last one of a thousand.
fn select(newest_last: impl DoubleEndedIterator<Item = Row>, selection: &Selection) -> Vec<Row> {
    let filter = selection.filter.as_str();
    let is_wanted = |row: &Row| {
        [row.command.as_str(), row.status, row.error.as_str()]
            .iter()
            .any(|text| text.contains(filter))
    };
    let wanted = newest_last.rev().filter(is_wanted);
    let mut rows: Vec<Row> = wanted.take(selection.last.unwrap_or(usize::MAX)).collect();
    rows.reverse();
    rows
}

#[cfg(test)]
mod tests;
