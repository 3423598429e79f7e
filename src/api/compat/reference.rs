//! The interface of the server we replace as Markdown: every route, argument and command of it, and what
//! becomes of it here. What can be read from the code that serves them is read from there.

use super::arguments::{Argument, Kind, Support};
use super::{create, delete, not_served, restore};
use Standing::{Added, Differs, NotServed, Same};

/// A route of the old wire format.
pub(in crate::api) struct OldRoute {
    /// The methods that this line is about.
    pub(in crate::api) methods: &'static str,
    /// The path, in the spelling of the router.
    pub(in crate::api) path: &'static str,
    /// What becomes of it.
    pub(in crate::api) standing: Standing,
}

/// What becomes of a route.
pub(in crate::api) enum Standing {
    /// As before.
    Same,
    /// Served, and this is different.
    Differs(&'static str),
    /// Only here: DAGs ask in this way, and that server answered 404.
    Added(&'static str),
    /// An error that says what to use; its text is that of `not_served`.
    NotServed,
}

const fn route(methods: &'static str, path: &'static str, standing: Standing) -> OldRoute {
    OldRoute {
        methods,
        path,
        standing,
    }
}

const BY_POST: &str = "only by POST: a GET changes nothing here";
const CLEANS: &str =
    "removes what attempts that died have left in the destination, all three words alike";

/// Every route of that server, and what ours has beside them in the same format.
pub(in crate::api) const ROUTES: [OldRoute; 33] = [
    route(
        "GET, HEAD",
        "/",
        Differs("names this version and our routes"),
    ),
    route("POST", "/", NotServed),
    route("GET, POST", "/restart", NotServed),
    route("GET, HEAD", "/backup/version", Differs("our version")),
    route(
        "POST",
        "/backup/create",
        Differs(
            "200 instead of 201; a name that is being made already is acknowledged with its operation instead of 423",
        ),
    ),
    route("POST", "/backup/create_remote", NotServed),
    route(
        "POST",
        "/backup/restore/{name}",
        Differs(
            "refuses tables that hold rows unless rm, drop or data; bad mappings are 400 instead of 500",
        ),
    ),
    route(
        "POST",
        "/backup/restore",
        Added("the same, with ?name=, as create"),
    ),
    route("POST", "/backup/restore_remote/{name}", NotServed),
    route(
        "GET, HEAD",
        "/backup/list",
        Differs(
            "leaves no row in the history, locks nobody out, and answers while ClickHouse is down",
        ),
    ),
    route(
        "GET",
        "/backup/list/{where}",
        Differs("local is everything, remote and other words are nothing"),
    ),
    route(
        "POST",
        "/backup/delete/{where}/{name}",
        Differs(
            "removes the objects, too; local and remote mean the same backup; 404 and 409 instead of 500; after 20 s acknowledged, and the rest goes on",
        ),
    ),
    route("POST", "/backup/clean", Differs(CLEANS)),
    route("POST", "/backup/clean/remote_broken", Differs(CLEANS)),
    route("POST", "/backup/clean/local_broken", Differs(CLEANS)),
    route(
        "POST",
        "/backup/clean_remote_broken",
        Added("the same as /backup/clean/remote_broken"),
    ),
    route(
        "POST",
        "/backup/clean_local_broken",
        Added("the same as /backup/clean/local_broken"),
    ),
    route(
        "GET",
        "/backup/status",
        Differs(
            "the operation at work, else the last one that ended, also after a restart; never a list; ?operationid= as before",
        ),
    ),
    route(
        "GET, HEAD",
        "/backup/actions",
        Differs(
            "survives restarts; filter and last as before, and a last that is no number is 400 instead of 500",
        ),
    ),
    route(
        "POST",
        "/backup/actions",
        Differs(
            "the commands below; everything is read before anything is begun; busy is 423 instead of 500; rows before an error are not lost",
        ),
    ),
    route(
        "POST",
        "/backup/kill",
        Differs(
            "only by POST, command as before; nothing at work, or nothing with that command, is 404 instead of 500; after 20 s acknowledged, and the end is awaited further",
        ),
    ),
    route("GET", "/backup/kill", NotServed),
    route("GET, POST", "/backup/watch", NotServed),
    route("GET", "/backup/tables", NotServed),
    route("GET", "/backup/tables/all", NotServed),
    route("POST", "/backup/upload/{name}", NotServed),
    route("POST", "/backup/download/{name}", NotServed),
    route("POST", "/backup/rebase/{name}", NotServed),
    route("POST", "/backup/rebalance/{name}", NotServed),
    route("GET", "/health", Same),
    route(
        "GET",
        "/metrics",
        Differs(
            "the old names with the old meaning, and ours; asks neither ClickHouse nor the bucket",
        ),
    ),
    route("GET", "/debug/pprof/", NotServed),
    route("GET", "/debug/pprof/{*rest}", NotServed),
];

/// Arguments that are taken and do nothing, because nothing is left for them to do.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    (
        "skip_check_parts_columns",
        "taken, without effect: it belongs to a way of working that copies files",
    ),
    (
        "resume",
        "taken, without effect: an operation is always taken up again",
    ),
    (
        "resumable",
        "taken, without effect: an operation is always taken up again",
    ),
    (
        "ignore_dependencies",
        "taken, without effect: a table that another one needs is not dropped",
    ),
];

/// Where the end of the operation is told.
const CALLBACK: (&str, &str) = (
    "callback",
    "taken, up to eight times: called with a POST when the operation has ended",
);

/// Commands of `POST /backup/actions`.
const COMMANDS: [(&str, &str); 8] = [
    (
        "create [NAME]",
        "as `POST /backup/create`; the arguments above as options: `--tables='shop.*'`, `-t`, `--schema`, `-s`, `--rbac`, `--diff-from-remote=BASE`",
    ),
    (
        "restore NAME",
        "as `POST /backup/restore/NAME`; `--tables`, `-t`, `--restore-database-mapping`, `-m`, `--restore-table-mapping`, `--tm`, `--schema`, `-s`, `--data`, `-d`, `--rm`, `--drop`",
    ),
    (
        "delete local NAME, delete remote NAME",
        "as `POST /backup/delete/local/NAME`; `--force`, `-f`",
    ),
    ("clean", "as `POST /backup/clean`"),
    (
        "clean_remote_broken, clean_local_broken",
        "as `POST /backup/clean`",
    ),
    (
        "list, list all, list local, list remote",
        "the lines of `GET /backup/list` follow the command's row; that server printed them on its own terminal",
    ),
    (
        "kill [COMMAND]",
        "as `POST /backup/kill`; with nothing at work it is 404, where that server waited for itself",
    ),
    (
        "watch, create_remote, restore_remote, upload, download, rebase, rebalance",
        "501, with what to use instead",
    ),
];

/// Routes, arguments and commands, as `docs/compatibility.md` has them.
#[must_use]
pub fn reference() -> String {
    let mut text =
        "## Routes\n\n| route | here | what is different, or what instead |\n| --- | --- | --- |\n"
            .to_owned();
    for one in &ROUTES {
        let (word, what) = match one.standing {
            Same => ("as before", String::new()),
            Differs(how) => ("served, differs", how.to_owned()),
            Added(how) => ("added", how.to_owned()),
            NotServed => ("error", instead(one)),
        };
        text.push_str(&row(&[
            &format!("`{} {}`", one.methods, one.path),
            word,
            &what,
        ]));
    }
    for (title, arguments) in [
        ("`POST /backup/create`", create::ARGUMENTS),
        ("`POST /backup/restore`", restore::ARGUMENTS),
        ("`POST /backup/delete/{where}/{name}`", delete::OPTIONS),
    ] {
        text.push_str(&format!(
            "\n## Arguments of {title}\n\n| argument | as option | here |\n| --- | --- | --- |\n"
        ));
        for one in arguments {
            text.push_str(&argument(one));
        }
    }
    text.push_str("\n## Commands of `POST /backup/actions`\n\n| command | here |\n| --- | --- |\n");
    for (command, what) in COMMANDS {
        text.push_str(&row(&[
            &format!("`{}`", command.replace(", ", "`, `")),
            what,
        ]));
    }
    text
}

/// What the error says, or what it means where only the method is wrong.
fn instead(one: &OldRoute) -> String {
    let path = if one.path == "/" {
        "/restart"
    } else {
        one.path
    };
    let found = not_served::ALL.iter().find(|other| other.path == path);
    found.map_or_else(
        || format!("405: {BY_POST}"),
        |found| format!("501: {}", found.instead),
    )
}

fn argument(one: &Argument) -> String {
    let without_effect = WITHOUT_EFFECT.iter().chain([&CALLBACK]);
    let known = without_effect
        .clone()
        .find(|(name, _)| *name == one.name)
        .map(|(_, what)| (*what).to_owned());
    let what = known.unwrap_or_else(|| match one.support {
        Support::Accepted => "taken".to_owned(),
        Support::Refused(instead) => format!("400: {instead}"),
    });
    let dashed = format!("--{}", one.name.replace('_', "-"));
    let aliases = one.aliases.iter().map(|alias| match alias.len() {
        1 => format!("-{alias}"),
        _ => format!("--{alias}"),
    });
    let options: Vec<String> = std::iter::once(dashed)
        .filter(|_| one.name != "name")
        .chain(aliases)
        .map(|option| match one.kind {
            Kind::Value => format!("`{option}=…`"),
            Kind::Flag => format!("`{option}`"),
        })
        .collect();
    row(&[&format!("`{}`", one.name), &options.join(", "), &what])
}

/// A row of a table. A bar would end its cell, and `<name>` outside of code would be taken for HTML.
fn row(cells: &[&str]) -> String {
    let shown = |cell: &&str| {
        let cell = cell.replace('|', "\\|");
        match cell.contains('`') {
            true => cell,
            false => cell.replace('<', "\\<"),
        }
    };
    let cells: Vec<String> = cells.iter().map(shown).collect();
    format!("| {} |\n", cells.join(" | "))
}
