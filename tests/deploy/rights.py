"""That the grants in deploy/clickhouse suffice: the daemon at work on an engine whose user has them
and no others.

Not seen here: the engine lets everybody read the tables of `system`, so that those grants are
there is only compared (database.py).
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import database
from tools import ROOT, Missing, plain_environment, run

# Longest wait for an engine, a daemon or an operation.
WAIT_SECONDS_MAX = 60
# ClickHouse's ACCESS_DENIED.
DENIED = "Code: 497"
# What the user that backs up must not be able to do.
FORBIDDEN = (
    "INSERT INTO shop.customers SELECT * FROM shop.customers",
    "DROP TABLE shop.customers",
    "TRUNCATE TABLE shop.customers",
    "CREATE TABLE shop.other (x UInt8) ENGINE = MergeTree ORDER BY x",
    "CREATE DATABASE other",
    "DROP DATABASE shop",
    "SELECT * FROM shop.customers",
)


def granted(*names):
    """The grants to roles in these files, without their TO."""
    found = [each for name in names for each in database.statements((database.FOLDER / name).read_text(), offered=False)]
    matches = [re.fullmatch(r"(GRANT .* ON .*?)\s+TO\s+\w+", each, re.DOTALL) for each in found]
    return [" ".join(match.group(1).split()) for match in matches if match]


@contextlib.contextmanager
def engine(folder, grants, *options):
    """An engine on the folder, and a function that runs a statement on it; all is allowed without grants."""
    if not database.PYTHON.exists():
        raise Missing("the ClickHouse engine is missing (run tests/engine/install)")
    server = [ROOT / "tests/engine/server.py"]
    if grants is not None:
        file = folder / "grants.json"
        file.write_text(json.dumps(grants))
        server = [Path(__file__).with_name("limited_server.py"), file]
    paths = ["--path", folder / "server", "--disk-local", folder / "backups", "--parent-pipe"]
    process = subprocess.Popen(
        [str(part) for part in [database.PYTHON, "-B", *server, *paths, *options]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stdout.readline()
        if not said.startswith("READY "):
            raise AssertionError(f"the engine said {said!r}")
        yield said.split()[1]
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_SECONDS_MAX)


def statement(url, sql):
    """The answer of ClickHouse, also where it refuses."""
    return ask(url + "/", sql.encode())


def ask(url, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=WAIT_SECONDS_MAX) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


class Daemon:
    """The daemon that was built, on an engine; its command line and its old interface."""

    def __init__(self, binary, folder, clickhouse):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.binary, self.clickhouse = binary, clickhouse
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[clickhouse]\nurl = "{clickhouse}"\n[destination]\ndisk = "s3_backup"\nurl = "file://{folder}/backups"\n'
            f'[state]\ndir = "{folder}/state"\n[api]\nlisten = "{self.url.removeprefix("http://")}"\n'
        )
        (folder / "state").mkdir(exist_ok=True)
        self.log = folder / "daemon.log"

    def __enter__(self):
        command = [str(self.binary), "server", "--config", str(self.config)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=plain_environment())
        wait_for(lambda: self.command("health", "--ready")[0] == 0, f"a daemon that is ready; {self.log.read_text()}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(WAIT_SECONDS_MAX)

    def command(self, *arguments):
        return run([self.binary, *arguments], env=plain_environment() | {"BACKUPD_URL": self.url})

    def ends(self, path):
        """The row of an operation that is asked for, once it has ended."""
        acknowledged = json.loads(ask(self.url + path, b""))
        if acknowledged.get("status") != "acknowledged":
            return acknowledged
        return self.end_of(acknowledged["operation_id"])

    def end_of(self, operation):
        def row():
            found = json.loads(ask(f"{self.url}/backup/status?operationid={operation}"))
            return found if found["status"] != "in progress" else None

        return wait_for(row, f"the end of {operation}")


def wait_for(look, what):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {WAIT_SECONDS_MAX} s")


def mistakes(binary):
    backup = granted("backup-user.sql")
    return mistakes_with(binary, backup, backup + granted("restore-user.sql"))


def mistakes_with(binary, backup, restore):
    """What does not work with these grants, and what works though it must not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seed(folder)
        with engine(folder, backup) as url:
            wrong = allowed(url)
            with Daemon(binary, folder, url) as daemon:
                wrong += backing_up(daemon)
        with engine(folder, backup, "--slow-backups") as url, Daemon(binary, folder, url) as daemon:
            wrong += cancelling(daemon)
        with engine(folder, restore) as url, Daemon(binary, folder, url) as daemon:
            wrong += restoring(daemon)
    return wrong


def seed(folder):
    """Makes the tables that are backed up, as a user that may do everything."""
    with engine(folder, None) as url:
        code, _, error = run([sys.executable, ROOT / "tests/engine/seed.py", "--url", url, "--rows", "1000"])
        if code:
            raise AssertionError(f"seeding: {error}")


def allowed(url):
    """What the user of the daemon may do, and must not."""
    return [f"may do {sql}" for sql in FORBIDDEN if DENIED not in statement(url, sql)]


def unless(row, status):
    return [] if row["status"] == status else [f"{row.get('command', row)} ends as {row['status']}: {row.get('error')}"]


def backing_up(daemon):
    wrong = unless(daemon.ends("/backup/create?name=one"), "success")
    wrong += unless(daemon.ends("/backup/create?name=all&diff-from=one"), "success")
    for command in (["verify", "one"], ["config", "check", "--connect", "--config", str(daemon.config)]):
        code, out, error = daemon.command(*command)
        wrong += [f"{' '.join(command[:2])}: {(out + error).strip()}"] if code else []
    refused = daemon.ends("/backup/restore?name=one&restore_database_mapping=shop:shop_old")
    if refused["status"] != "error" or "Not enough privileges" not in refused["error"]:
        wrong.append(f"restores: {refused}")
    return wrong


def cancelling(daemon):
    acknowledged = json.loads(ask(daemon.url + "/backup/create?name=slow", b""))
    wait_for(lambda: statement(daemon.clickhouse, "SELECT status FROM system.backups").strip(), "a slow backup")
    ask(daemon.url + "/backup/kill", b"")
    return unless(daemon.end_of(acknowledged["operation_id"]), "cancel")


def restoring(daemon):
    wrong = unless(daemon.ends("/backup/restore?name=one&restore_database_mapping=shop:shop_old"), "success")
    return wrong + unless(daemon.ends("/backup/restore?name=one&rm=1"), "success")
