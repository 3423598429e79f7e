"""The ClickHouse engine on one folder: its configuration, and running statements on it."""

import os
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional
from urllib.parse import quote
from xml.sax.saxutils import escape

from statement import Refused, Statement

# A server's own limit (max_concurrent_queries) is of this order.
MAX_CONCURRENT_STATEMENTS = 100

# The engine is made for local use; a server has these otherwise.
SERVER_DEFAULTS = {"implicit_select": "0", "allow_introspection_functions": "0"}

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")


@dataclass
class Configuration:
    """What goes into the engine's config.xml, in the terms of a server's configuration."""

    path: Path
    disk_name: str = "s3_backup"
    disk_local: Optional[Path] = None
    disk_type: str = "s3_plain"  # of an S3 disk: s3_plain, or s3 with its metadata on the server
    s3_endpoint: Optional[str] = None
    s3_access_key: str = ""
    s3_secret_key: str = field(default="", repr=False)
    collection: Optional[str] = None
    extra_disks: dict = field(default_factory=dict)  # name → folder; not allowed for backups by itself
    allowed_disks: list = field(default_factory=list)  # empty: disk_name alone
    slow_backups: bool = False

    def xml(self) -> str:
        disks = {name: _element("type", "local") + _element("path", _folder(at)) for name, at in self.extra_disks.items()}
        if self.disk_local:
            disks[self.disk_name] = _element("type", "local") + _element("path", _folder(self.disk_local))
        elif self.s3_endpoint:
            disks[self.disk_name] = (
                _element("type", self.disk_type) + _element("endpoint", self._endpoint()) + self._s3_keys()
            )
        collection = ""
        if self.collection:
            keys = _element("url", self._endpoint()) + self._s3_keys()
            collection = f"<named_collections><{self.collection}>{keys}</{self.collection}></named_collections>"
        allowed = "".join(_element("allowed_disk", name) for name in self.allowed_disks or [self.disk_name])
        slow = _element("test_inject_sleep", "true") if self.slow_backups else ""
        return (
            "<clickhouse><storage_configuration><disks>"
            + "".join(f"<{name}>{body}</{name}>" for name, body in disks.items())
            + f"</disks></storage_configuration>{collection}<backups>{allowed}{slow}</backups></clickhouse>\n"
        )

    def _endpoint(self) -> str:
        return self.s3_endpoint.rstrip("/") + "/"

    def _s3_keys(self) -> str:
        return _element("access_key_id", self.s3_access_key) + _element("secret_access_key", self.s3_secret_key)


class Answer(NamedTuple):
    body: bytes
    read_rows: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_ns: int = 0


class Engine:
    """One ClickHouse on one folder. Every statement has a session of its own."""

    def __init__(self, configuration: Configuration, server_uuid: Optional[str]):
        import chdb  # here, so that `--help` and bad arguments answer at once

        self._connect = chdb.connect
        path = configuration.path
        path.mkdir(parents=True, exist_ok=True)
        config = path / "config.xml"
        with open(config, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            out.write(configuration.xml())
        self.server_uuid = _server_uuid(path / "server_uuid", server_uuid)
        self._address = f"{path / 'clickhouse'}?config-file={quote(str(config), safe='/')}"
        # The engine lives as long as a connection to it is open.
        self._anchor = self._connect(self._address)
        self._slots = threading.BoundedSemaphore(MAX_CONCURRENT_STATEMENTS)
        row = self._anchor.query("SELECT version(), timezone(), displayName()", "TSV").bytes()
        self.version, self.timezone, self.display_name = row.decode().rstrip("\n").split("\t")

    def run(self, statement: Statement, output_format: str, settings: dict, parameters: dict, database: str, readonly: bool) -> Answer:
        """Runs one statement; the engine's errors come as exceptions with its text."""
        if not self._slots.acquire(blocking=False):
            raise Refused(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many simultaneous queries.")
        try:
            started = time.monotonic_ns()
            connection = self._connect(self._address)
            try:
                _prepare(connection, settings, parameters, database, readonly)
                if statement.insert_format is None:
                    answer = _query(connection, statement, output_format)
                else:
                    answer = _insert(connection, statement)
            finally:
                connection.close()
            return answer._replace(elapsed_ns=time.monotonic_ns() - started)
        finally:
            self._slots.release()

    def close(self) -> None:
        self._anchor.close()


def _prepare(connection, settings: dict, parameters: dict, database: str, readonly: bool) -> None:
    for name, value in {**SERVER_DEFAULTS, **settings}.items():
        if not _SETTING_NAME.match(name):
            raise Refused(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'.")
        connection.query(f"SET {name} = {_literal(value)}")
    for name, value in parameters.items():
        if not _SETTING_NAME.match(name):
            raise Refused(36, "BAD_ARGUMENTS", f"Invalid name of a query parameter: '{name}'.")
        connection.query(f"SET param_{name} = {_literal(value)}")
    if database:
        connection.query("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`")
    # Last, because nothing can be undone after it. A server does the same for
    # every request that is not a POST.
    if readonly and settings.get("readonly", "0") == "0":
        connection.query("SET readonly = 2")


def _query(connection, statement: Statement, output_format: str) -> Answer:
    result = connection.query(statement.text, output_format)
    return Answer(
        bytes(result.bytes() or b""), result.storage_rows_read(), result.rows_written(), result.bytes_written()
    )


def _insert(connection, statement: Statement) -> Answer:
    # Data after FORMAT may hold any byte; only this way in takes it unread.
    insert = connection.send_insert(statement.text.decode("utf-8", "surrogateescape"), statement.insert_format)
    try:
        if statement.insert_data:
            insert.append(statement.insert_data)
        result = insert.finish()
    except BaseException:
        insert.cancel()
        raise
    return Answer(b"", 0, result.rows_written, result.bytes_written)


def _server_uuid(file: Path, given: Optional[str]) -> str:
    """The UUID given, else the one of this folder's first start, as a server keeps it."""
    if given:
        return str(uuid.UUID(given))
    if not file.exists():
        file.write_text(str(uuid.uuid4()) + "\n")
    return str(uuid.UUID(file.read_text().strip()))


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _folder(path) -> str:
    return str(Path(path).absolute()).rstrip("/") + "/"
