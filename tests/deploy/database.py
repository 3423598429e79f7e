"""What ClickHouse reads: statements and configuration, tried on the real engine.

That the grants suffice is in rights.py.
"""

import json
import os
import re
import tempfile
from pathlib import Path

from tools import DEPLOY, ROOT, Missing, plain_environment, run

FOLDER = DEPLOY / "clickhouse"
STATEMENTS = ("backup-user.sql", "restore-user.sql")
PYTHON = Path(os.environ.get("ENGINE_HOME", ROOT / ".cache/engine")) / "bin/python"
# Nothing listens there.
VARIABLES = {
    "S3_BACKUP_ENDPOINT": "http://127.0.0.1:1/backups/clickhouse/",
    "S3_BACKUP_ACCESS_KEY_ID": "id",
    "S3_BACKUP_SECRET_ACCESS_KEY": "secret",
}
FORMAT = """
import json, sys, chdb
connection = chdb.connect(":memory:")
for statement in json.load(sys.stdin):
    quoted = statement.replace("\\\\", "\\\\\\\\").replace("'", "\\\\'")
    try:
        connection.query(f"SELECT formatQuery('{quoted}')", "TSVRaw")
    except Exception as error:
        print(statement.splitlines()[0], "->", str(error).splitlines()[0])
"""
OPEN = """
import sys, chdb
connection = chdb.connect(f"{sys.argv[1]}?config-file={sys.argv[2]}")
print(connection.query(sys.argv[3], "TSVRaw").bytes().decode().strip())
"""


def engine(program, *arguments, **options):
    if not PYTHON.exists():
        raise Missing("the ClickHouse engine is missing (run tests/engine/install)")
    return run([PYTHON, "-c", program, *arguments], **options)


def statements(text, offered=True):
    """The statements of a file, and those that it only offers, in comments of the form `-- GRANT …;`."""
    more = re.findall(r"^-- ((?:GRANT|REVOKE)\b.*);$", text, re.MULTILINE)
    plain = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [each.strip() for each in plain.split(";") if each.strip()] + (more if offered else [])


def tables_read():
    """Tables of `system` that the daemon selects from."""
    found = set()
    for file in (ROOT / "src/clickhouse").glob("*.rs"):
        code = file.read_text().split("#[cfg(test)]\nmod tests {")[0]
        found |= set(re.findall(r"FROM system\.(\w+)", code))
    return found


def statement_mistakes():
    texts = {name: (FOLDER / name).read_text() for name in STATEMENTS}
    found = [each for text in texts.values() for each in statements(text)]
    return refused(found) + grant_mistakes(texts["backup-user.sql"])


def refused(found):
    """What the parser of the engine says against these statements."""
    code, out, error = engine(FORMAT, input=json.dumps(found))
    return [error] if code else out.splitlines()


def grant_mistakes(text):
    """The user of the daemon may read every table that the daemon reads."""
    granted = set(re.findall(r"^GRANT SELECT ON system\.(\w+) TO backupd_backup;$", text, re.MULTILINE))
    wrong = [f"no grant to read system.{name}" for name in sorted(tables_read() - granted)]
    if not tables_read():
        wrong.append("found no table that the daemon reads")
    return wrong


def configuration_mistakes():
    cases = {
        "config.d/backup.xml": (
            "SELECT name, type, object_storage_type, metadata_type FROM system.disks WHERE name = 's3_backup'",
            "s3_backup\tObjectStorage\tS3\tPlain",
        ),
        "alternative/backup-collection.xml": (
            "SELECT name, arraySort(mapKeys(collection)) FROM system.named_collections",
            "backups\t['access_key_id','secret_access_key','url']",
        ),
    }
    wrong = []
    for name, (query, wanted) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            found = engine(OPEN, folder + "/db", FOLDER / name, query, env=plain_environment() | VARIABLES)
            without = dict(list(VARIABLES.items())[1:])
            refused = engine(OPEN, folder + "/other", FOLDER / name, query, env=plain_environment() | without)
        if found[0] or found[1].strip() != wanted:
            wrong.append(f"{name}: the engine says {found[1] or found[2]!r}")
        if name.startswith("config.d") and refused[0] == 0:
            wrong.append(f"{name}: the engine starts without a variable")
    if "<allowed_disk>s3_backup</allowed_disk>" not in (FOLDER / "config.d/backup.xml").read_text():
        wrong.append("config.d/backup.xml does not allow the disk for backups")
    return wrong
