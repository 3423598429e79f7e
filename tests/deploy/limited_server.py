"""The ClickHouse engine of the tests, with a user that has nothing but the grants it is given.

Usage: limited_server.py GRANTS.json ARGUMENTS of tests/engine/server.py
The file holds a list of grants without their TO, as a server's users.xml takes them. The engine
takes users from its configuration, though no statement of SQL can make any there.
"""

import json
import sys
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

import engine  # noqa: E402
import server  # noqa: E402


def users(grants):
    """A users.xml with the one user that the engine works as."""
    queries = "".join(f"<query>{escape(grant)}</query>" for grant in grants)
    return (
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password/>"
        "<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
        f"<grants>{queries}</grants></default></users></clickhouse>\n"
    )


def main():
    grants = Path(sys.argv.pop(1))
    file = grants.with_suffix(".xml")
    file.write_text(users(json.loads(grants.read_text())))
    without = engine.Configuration.xml

    def limited(configuration):
        text = without(configuration)
        return text.replace("</clickhouse>", f"<users_config>{escape(str(file))}</users_config></clickhouse>")

    engine.Configuration.xml = limited
    server.main()


if __name__ == "__main__":
    main()
