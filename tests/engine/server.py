"""A real ClickHouse engine behind ClickHouse's HTTP interface, for tests and the demo.

Prints one line, `READY http://HOST:PORT`, when it answers. README.md tells more.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from engine import Configuration, Engine
from http_front import Server

# How long the engine may take to close; it survives being cut off like a server.
CLOSING_LIMIT_SECONDS = 3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--path", required=True, type=Path, help="folder of this server; starting again on it finds everything")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--user", default="default")
    parser.add_argument("--password", default="")
    parser.add_argument("--server-uuid", help="default: made at the first start and kept in the folder")
    parser.add_argument("--disk-name", default="s3_backup")
    disk = parser.add_mutually_exclusive_group(required=True)
    disk.add_argument("--disk-local", type=Path, metavar="DIR", help="the backup disk is this folder")
    disk.add_argument("--s3-endpoint", metavar="URL", help="the backup disk is http://host:port/bucket/prefix/")
    parser.add_argument("--s3-access-key", default="")
    parser.add_argument("--s3-secret-key", default=os.environ.get("ENGINE_S3_SECRET_KEY", ""), help="or ENGINE_S3_SECRET_KEY")
    parser.add_argument("--s3-disk-type", choices=("s3_plain", "s3"), default="s3_plain", help="s3 keeps the names on the server's own disk")
    parser.add_argument("--collection", metavar="NAME", help="named collection with the same endpoint and keys, for TO S3(NAME, …)")
    parser.add_argument("--extra-disk", action="append", default=[], metavar="NAME=DIR", help="a further local disk; repeatable")
    parser.add_argument("--allowed-disk", action="append", default=[], metavar="NAME", help="disks that may take backups (default: the backup disk); repeatable")
    parser.add_argument("--slow-backups", action="store_true", help="the engine sleeps inside every backup and restore")
    parser.add_argument("--parent-pipe", action="store_true", help="end when standard input ends, so as not to outlive the caller")
    parsed = parser.parse_args()
    if parsed.collection and not parsed.s3_endpoint:
        parser.error("--collection needs --s3-endpoint")
    if any("=" not in disk for disk in parsed.extra_disk):
        parser.error("--extra-disk is NAME=DIR")
    return parsed


def main() -> None:
    given = arguments()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if given.parent_pipe:
        threading.Thread(target=_wait_for_parent, args=(ended,), daemon=True).start()
    engine = Engine(
        Configuration(
            path=given.path.absolute(),
            disk_name=given.disk_name,
            disk_local=given.disk_local,
            disk_type=given.s3_disk_type,
            s3_endpoint=given.s3_endpoint,
            s3_access_key=given.s3_access_key,
            s3_secret_key=given.s3_secret_key,
            collection=given.collection,
            extra_disks=dict(disk.split("=", 1) for disk in given.extra_disk),
            allowed_disks=given.allowed_disk,
            slow_backups=given.slow_backups,
        ),
        given.server_uuid,
    )
    server = Server((given.host, given.port), engine, given.user, given.password)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    print(f"READY http://{given.host}:{server.server_port}", flush=True)
    ended.wait()
    server.server_close()
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(CLOSING_LIMIT_SECONDS)
    # Threads of the engine that are still in a statement would hold up a plain exit.
    os._exit(0)


def _wait_for_parent(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    ended.set()


if __name__ == "__main__":
    main()
