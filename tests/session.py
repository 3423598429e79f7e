"""`make session`: plays the main commands against a real ClickHouse and puts what they print into README.md.

What stands between the two marks in README.md is replaced, so that the page shows what this version
prints and nobody's memory of it. Needs the standard library only.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import demo  # noqa: E402  (the folder must be on the path first)

README = demo.ROOT / "README.md"
BEGIN, END = "<!-- session: made by make session -->\n", "<!-- session ends -->\n"
COMMAND_LIMIT_SECONDS = 60

CONFIG = """\
[destination]
disk = "s3_backup"
url = "file://{backups}"

[schedules.daily]
cron = "0 2 * * *"
timezone = "Europe/Sofia"
databases = ["shop"]

[retention]
keep_last = 14
"""

COMMANDS = [
    "clickhouse-backupd backup create before-upgrade --database shop",
    "clickhouse-backupd verify before-upgrade",
    "clickhouse-backupd backup show before-upgrade",
    "clickhouse-backupd restore before-upgrade",
    "clickhouse-backupd restore before-upgrade --table shop.orders --into shop_old",
    "clickhouse-backupd schedule pause daily --for 2h --reason 'disks are replaced'",
    "clickhouse-backupd retention plan",
    "clickhouse-backupd status",
    "clickhouse-backupd operation list",
]


def play(stage: demo.Demo, command: str) -> str:
    """The command as a reader would type it, and what it prints."""
    words = [stage.binary, *shlex.split(command)[1:]]
    done = subprocess.run(
        words, env=stage.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=COMMAND_LIMIT_SECONDS,
    )  # fmt: skip
    if done.returncode == 3:
        raise demo.Failure(f"{command}\n{done.stdout}")
    return f"$ {command}\n{done.stdout.rstrip()}\n"


def replaced(text: str, session: str) -> str:
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}```\n{session}```\n{END}{after}"


def main() -> int:
    stage = demo.Demo()
    lock = None
    try:
        lock = demo.fresh_home()
        demo.CONFIG = demo.HOME / "session.toml"
        backups = str(demo.HOME / "backups")
        demo.CONFIG.write_text(CONFIG.format(backups=backups))
        stage.build()
        stage.start_clickhouse()
        stage.start_daemon()
        stage.environment.update(BACKUPD_URL=stage.daemon, TZ="Europe/Sofia")
        session = "\n".join(play(stage, command) for command in COMMANDS)
    except demo.Failure as failure:
        print(f"the session failed: {failure}", file=sys.stderr)
        return 1
    finally:
        stage.end()
        if lock:
            lock.close()
    # The ports and the folders of one machine say nothing to a reader.
    session = session.replace(stage.clickhouse, "http://127.0.0.1:8123").replace(backups, "/backups")
    README.write_text(replaced(README.read_text(), session))
    print("README.md shows the session of this version")
    return 0


if __name__ == "__main__":
    sys.exit(main())
