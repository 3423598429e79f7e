"""`make demo`: ClickHouse, the daemon, a backup every fifteen seconds, and the proof that it restores.

Everything lies in .cache/demo and starts afresh each time. What is told comes from the daemon's REST
API and from ClickHouse, as any client sees it, never from a log. Needs the standard library only.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
HOME = CACHE / "demo"
ENGINE_PYTHON = CACHE / "engine" / "bin" / "python"
CONFIG = ROOT / "config" / "demo.toml"

LIVE, RESTORED = "shop", "shop_restored"
# Orders of the seed; items are twice as many, customers a twentieth.
ORDERS = 100_000
# Orders that come in between two rounds.
NEW_ORDERS = 1_000
# The documented ports; another one is taken where these are in use.
DAEMON_PORT, CLICKHOUSE_PORT = 7171, 8123

READY_LIMIT_SECONDS = 60
# Three slots of the demo's schedule.
BACKUP_BEGIN_LIMIT_SECONDS = 45
OPERATION_LIMIT_SECONDS = 120
POLL_SECONDS = 0.2
REQUEST_TIMEOUT_SECONDS = 10
ENDING_LIMIT_SECONDS = 5
# prctl(2)
PR_SET_PDEATHSIG = 1
LOG_TAIL_LINES = 15
# More backups than the demo's policy keeps, once old ones are removed.
KEPT = 3

# These would change what the daemon does; the demo must be the same for everybody.
FOREIGN_VARIABLES = ("BACKUPD_", "CLICKHOUSE_", "API_", "BACKUPS_TO_KEEP_", "LOG_LEVEL")

# Their rows are summed up in merges, which may come at any time: compared as a reader sees them.
MERGING_ENGINES = ("ReplacingMergeTree", "SummingMergeTree", "MaterializedView")


class Failure(Exception):
    """The demo cannot go on, in words for the person at the terminal."""


class Ended(Exception):
    """Somebody asked for the end."""


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def shown(path: Path) -> str:
    return os.path.relpath(path)


class Child:
    """A program of the demo, with its output in a file."""

    def __init__(self, name: str, command: list, environment: dict, **options):
        self.name = name
        self.log = HOME / f"{name.split()[0].lower()}.log"
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C reaches this script alone, which then ends everything in order.
            options = {"stdout": log, "stdin": subprocess.DEVNULL, **options}
            self.process = subprocess.Popen(
                [str(word) for word in command], stderr=log, env=environment, cwd=ROOT, start_new_session=True,
                preexec_fn=die_with_parent, **options,
            )  # fmt: skip

    def check(self) -> None:
        code = self.process.poll()
        if code is not None:
            how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
            raise Failure(f"the {self.name} ended {how}\n{self.tail()}")

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([f"the last lines of {shown(self.log)}:", *(f"  {line}" for line in lines or ["(it is empty)"])])


class Demo:
    """What runs, and how to ask it."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)
        }
        # Everything is on this machine, whatever proxy it uses for the rest of the world.
        self.environment["no_proxy"] = "127.0.0.1"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.binary = self.daemon = self.clickhouse = ""
        self.round = self.finished = 0
        self.began = time.monotonic()

    # -- starting and ending

    def build(self) -> None:
        say("building the daemon (the first build takes some minutes) …")
        command = ["cargo", "build", "--locked", "--bin", "clickhouse-backupd", "--message-format", "json-render-diagnostics"]
        # Cargo's progress goes to the terminal; its standard output says where the program is.
        built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if built.returncode != 0:
            raise Failure("the daemon could not be built; cargo says why above")
        messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
        self.binary = next(message["executable"] for message in reversed(messages) if message.get("executable"))

    def start_clickhouse(self) -> None:
        port = choose_port(CLICKHOUSE_PORT, "ClickHouse")
        # What is told at the end does not count the build, which depends on the machine alone.
        self.began = time.monotonic()
        say("starting ClickHouse …")
        command = [
            ENGINE_PYTHON, ROOT / "tests/engine/server.py", "--path", HOME / "clickhouse",
            "--disk-local", HOME / "backups", "--port", port, "--parent-pipe",
        ]  # fmt: skip
        self.clickhouse = f"http://127.0.0.1:{port}"
        self.start("ClickHouse engine", command, self.environment, stdin=subprocess.PIPE)
        self.wait("ClickHouse to answer", READY_LIMIT_SECONDS, lambda: self.sql_or_none("SELECT 1"))
        say(f"ClickHouse {self.sql('SELECT version()')} answers at {self.clickhouse}")
        seed = [sys.executable, str(ROOT / "tests/engine/seed.py"), "--url", self.clickhouse, "--database", LIVE, "--rows", str(ORDERS)]
        seeded = subprocess.run(seed, env=self.environment, capture_output=True, text=True)
        if seeded.returncode != 0:
            raise Failure(f"filling the database {LIVE}: {seeded.stderr.strip()}")
        contents = self.contents(LIVE)
        say(f"the database {LIVE} holds {total(contents):,} rows in {len(contents)} tables, views and dictionaries")

    def start_daemon(self) -> None:
        port = choose_port(DAEMON_PORT, "the daemon")
        self.daemon = f"http://127.0.0.1:{port}"
        self.environment.update(
            BACKUPD_CLICKHOUSE__URL=self.clickhouse,
            BACKUPD_STATE__DIR=str(HOME / "state"),
            BACKUPD_API__LISTEN=f"127.0.0.1:{port}",
        )
        child = self.start("daemon", [self.binary, "server", "--config", CONFIG], self.environment)
        self.wait("the daemon to be ready", READY_LIMIT_SECONDS, lambda: self.ask_or_none("/readyz"))
        say(f"the daemon answers at {self.daemon}, with {shown(CONFIG)}; its log is {shown(child.log)}")

    def start(self, *arguments, **options) -> Child:
        child = Child(*arguments, **options)
        self.children.append(child)
        return child

    def end(self) -> None:
        """Ends the children, the daemon first; none may outlive this."""
        running = [child.process for child in reversed(self.children) if child.process.poll() is None]
        for process in running:
            process.terminate()
        until = time.monotonic() + ENDING_LIMIT_SECONDS
        for process in running:
            try:
                process.wait(max(until - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- asking

    def fetch(self, url: str, data: bytes | None = None) -> str:
        with self.opener.open(urllib.request.Request(url, data=data), timeout=REQUEST_TIMEOUT_SECONDS) as answer:
            return answer.read().decode()

    def sql(self, statement: str) -> str:
        try:
            return self.fetch(self.clickhouse, statement.encode()).rstrip("\n")
        except urllib.error.HTTPError as error:
            raise Failure(f"ClickHouse refused «{statement}»: {error.read().decode(errors='replace').strip()}") from None
        except OSError as error:
            self.check()
            raise Failure(f"ClickHouse at {self.clickhouse} does not answer: {error}") from None

    def ask(self, path: str, *, post: bool = False) -> str:
        try:
            return self.fetch(self.daemon + path, b"" if post else None)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace").strip()
            raise Failure(f"the daemon answered {error.code} to {path}: {text}") from None
        except OSError as error:
            self.check()
            raise Failure(f"the daemon at {self.daemon} does not answer: {error}") from None

    def rows(self, path: str) -> list[dict]:
        """An answer of one JSON object a line; none at all is an empty answer."""
        return [json.loads(line) for line in self.ask(path).splitlines()]

    def sql_or_none(self, statement: str) -> str | None:
        try:
            return self.fetch(self.clickhouse, statement.encode())
        except OSError:
            return None

    def ask_or_none(self, path: str) -> str | None:
        try:
            return self.fetch(self.daemon + path)
        except OSError:
            return None

    def check(self) -> None:
        for child in self.children:
            child.check()

    def wait(self, what: str, limit_seconds: float, look):
        """The first answer of `look` that is not None."""
        until = time.monotonic() + limit_seconds
        while True:
            self.check()
            found = look()
            if found is not None:
                return found
            if time.monotonic() > until:
                tails = "\n".join(child.tail() for child in self.children)
                raise Failure(f"waited {limit_seconds} s for {what}, in vain\n{tails}")
            time.sleep(POLL_SECONDS)

    # -- one round

    def play_round(self) -> None:
        self.round += 1
        if self.round > 1:
            self.more_orders()
        before = {attempt["id"] for attempt in self.attempts()}
        say(f"next slot: {self.next_slot()}")
        name = self.backup(before)
        self.restore(name)
        self.compare(name)
        self.finished += 1

    def more_orders(self) -> None:
        shift = self.round * 10_000_000
        self.sql(
            f"INSERT INTO {LIVE}.orders SELECT id + {shift}, customer_id, ordered_at, status, total, note "
            f"FROM {LIVE}.orders WHERE id < {NEW_ORDERS}"
        )
        self.sql(
            f"INSERT INTO {LIVE}.order_items SELECT order_id + {shift}, line, sku, quantity, price "
            f"FROM {LIVE}.order_items WHERE order_id < {NEW_ORDERS}"
        )
        print()
        say(f"{NEW_ORDERS:,} new orders came in")

    def next_slot(self) -> str:
        """The coming slot as the daemon's own `schedule next` tells it: local time, (UTC,) name."""
        command = [self.binary, "schedule", "next", "-n", "1", "--config", str(CONFIG)]
        told = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True)
        if told.returncode != 0:
            raise Failure(f"«schedule next» failed: {told.stderr.strip()}")
        *moment, _utc, name = told.stdout.splitlines()[-1].split()
        return f"{' '.join(moment)}, its backup will be named {name}"

    def attempts(self) -> list[dict]:
        """What ClickHouse knows of the schedule's attempts: the daemon leaves a schedule's work out of
        /backup/actions for a minute after a client's, so that a script finds its own row there."""
        found = self.sql(
            "SELECT id, extract(name, '\\'([^\\']+)\\'\\)$') AS backup, toString(status) AS status, error, num_files AS files, "
            "total_size AS bytes, dateDiff('millisecond', start_time, end_time) AS took FROM system.backups "
            "WHERE startsWith(id, 'backupd:demo:') ORDER BY start_time FORMAT JSONEachRow"
        )
        return [json.loads(line) for line in found.splitlines()]

    def backup(self, before: set) -> str:
        """Waits for a backup that begins now or later, and for its end; what began before may lack
        the newest rows."""

        def begun():
            return next((attempt for attempt in self.attempts() if attempt["id"] not in before), None)

        began = self.wait("a backup to begin", BACKUP_BEGIN_LIMIT_SECONDS, begun)
        name = began["backup"]
        say(f"backup {name} started")

        def ended():
            attempt = next(attempt for attempt in self.attempts() if attempt["id"] == began["id"])
            if attempt["status"] in ("BACKUP_FAILED", "BACKUP_CANCELLED"):
                raise Failure(f"the backup {name} ended as {attempt['status']}: {attempt['error']}\n{self.children[-1].tail()}")
            return attempt if name in [backup["name"] for backup in self.rows("/backup/list")] else None

        done = self.wait(f"the backup {name} in /backup/list", OPERATION_LIMIT_SECONDS, ended)
        say(f"backup {name} done: {int(done['files']):,} files, {int(done['bytes']):,} bytes, {int(done['took']):,} ms")
        return name

    def restore(self, name: str) -> None:
        if self.round > 1:
            self.sql(f"DROP DATABASE {RESTORED} SYNC")
            say(f"dropped {RESTORED} in ClickHouse")
        started = time.monotonic()
        mapping = urllib.parse.quote(f"{LIVE}:{RESTORED}")
        path = f"/backup/restore/{urllib.parse.quote(name)}?restore_database_mapping={mapping}"
        accepted = json.loads(self.ask(path, post=True))
        say(f"restore of {name} into {RESTORED} asked for: POST {path}")
        self.finish(accepted["operation_id"], f"restore of {name}")
        say(f"restore of {name} done, seen {(time.monotonic() - started) * 1000:,.0f} ms after asking; comparing …")

    def finish(self, operation: str, what: str) -> None:
        def ended():
            found = self.rows(f"/backup/status?operationid={operation}")
            return found[0] if found and found[0]["status"] != "in progress" else None

        row = self.wait(f"the {what} to end", OPERATION_LIMIT_SECONDS, ended)
        if row["status"] != "success":
            raise Failure(f"the {what} ended as {row['status']}: {row.get('error', 'no reason given')}\n{self.children[-1].tail()}")

    def compare(self, name: str) -> None:
        """Counts and content hashes of everything in both databases; hidden tables of views are read
        through their views, because ClickHouse names them by a new UUID."""
        live, restored = self.contents(LIVE), self.contents(RESTORED)
        width = max(map(len, live | restored))
        different = 0
        for table in sorted(live | restored):
            here, there = live.get(table), restored.get(table)
            different += here != there
            verdict = "equal" if here == there else f"DIFFERENT: restored {there or 'is missing'}"
            rows, content = (f"{here[0]:,}", here[1]) if here else ("-", "is missing")
            print(f"            {table:<{width}}  {rows:>9} rows  content {content:<20}  {verdict}", flush=True)
        if different:
            raise Failure(f"{different} of {len(live | restored)} tables of {name} came back different")
        say(f"restored {total(restored):,} rows in {len(restored)} tables, views and dictionaries of {name}: all came back equal, same rows, same content")

    def contents(self, database: str) -> dict[str, tuple[int, str]]:
        """Rows and content hash of each table, view and dictionary."""
        found = self.sql(
            f"SELECT name, engine FROM system.tables WHERE database = '{database}' AND NOT startsWith(name, '.inner') FORMAT JSONEachRow"
        )
        tables = [json.loads(line) for line in found.splitlines()]
        return {table["name"]: self.content(database, **table) for table in tables}

    def content(self, database: str, name: str, engine: str) -> tuple[int, str]:
        quoted = name.replace("\\", "\\\\").replace("`", "\\`")
        final = " FINAL" if engine in MERGING_ENGINES else ""
        rows, content = self.sql(f"SELECT count(), sum(cityHash64(*)) FROM `{database}`.`{quoted}`{final}").split("\t")
        return int(rows), content

    def addresses(self) -> None:
        count = len(self.rows("/backup/list"))
        kept = " (this version does not remove old ones yet)" if count > KEPT else ""
        say(f"backups in {shown(HOME / 'backups')}: {count}{kept}")
        if self.round > 1:
            return
        say("to look at, until Ctrl-C:")
        for path in ("/backup/list", "/backup/actions", "/backup/status", "/health", "/metrics"):
            print(f"            curl {self.daemon}{path}")
        print(f"            curl '{self.clickhouse}/?query=SELECT+count()+FROM+{LIVE}.orders'", flush=True)


def total(contents: dict[str, tuple[int, str]]) -> int:
    return sum(rows for rows, _ in contents.values())


def die_with_parent() -> None:
    """Runs in a child: it ends when this script is killed and cannot end it. Other systems have no such call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def choose_port(preferred: int, whose: str) -> int:
    with socket.socket() as taken, socket.socket() as free:
        # As servers do: connections of an earlier run that are still being closed do not count.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", preferred))
            return preferred
        except OSError as error:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            say(f"port {preferred} cannot be used ({error.strerror}), so {whose} gets {port}")
            return port


def fresh_home():
    """Empties the folder of the demo, which only one may use; gives the lock."""
    CACHE.mkdir(exist_ok=True)
    lock = open(CACHE / "demo.lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Failure("another demo of this repository is running; end it with Ctrl-C first") from None
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    return lock


def asked_to_end(*_) -> None:
    raise Ended


def run(demo: Demo, once: bool) -> None:
    demo.build()
    demo.start_clickhouse()
    demo.start_daemon()
    while True:
        demo.play_round()
        if once:
            return
        demo.addresses()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--once", action="store_true", help="one round; exit code 0 when every table came back equal")
    once = parser.parse_args().once
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, asked_to_end)
    if not ENGINE_PYTHON.exists():
        print("the ClickHouse engine is not installed: run tests/engine/install, or `make demo`", file=sys.stderr)
        return 1
    demo = Demo()
    lock = None
    try:
        lock = fresh_home()
        run(demo, once)
        say(f"one round, {time.monotonic() - demo.began:.0f} s from the start of ClickHouse; `make demo` goes on, and can be looked at")
        return 0
    except Ended:
        print(flush=True)
        say(f"ended, rounds finished: {demo.finished}")
        # Ended on purpose is what the endless demo is for; a single round has not shown what it should.
        return 130 if once else 0
    except Failure as failure:
        print(f"\nthe demo failed: {failure}", file=sys.stderr, flush=True)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        demo.end()
        if lock:
            lock.close()


if __name__ == "__main__":
    sys.exit(main())
