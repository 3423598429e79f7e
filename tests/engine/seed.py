"""Fills a database with a small shop, the same on every run and every server.

Everything follows from `number` by cityHash64, nothing from rand() or now(). Sent
over HTTP in statements of bounded size, to the test engine or any clickhouse-server.

    seed.py --url http://127.0.0.1:8123 [--database shop] [--rows 200000]
"""

import argparse
import base64
import os
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

# One INSERT … SELECT makes at most this many orders (and twice as many items).
ROWS_PER_STATEMENT = 100_000
TIMEOUT_SECONDS = 60

# {d} is the database, quoted. Orders lie in the twelve months from January 2026.
TABLES = [
    """CREATE TABLE {d}.orders
    (
        id UInt64,
        customer_id UInt32,
        ordered_at DateTime('UTC'),
        status Enum8('new' = 1, 'paid' = 2, 'shipped' = 3, 'returned' = 4),
        total Decimal(12, 2),
        note String
    )
    ENGINE = MergeTree PARTITION BY toYYYYMM(ordered_at) ORDER BY (customer_id, id)""",
    """CREATE TABLE {d}.order_items
    (
        order_id UInt64,
        line UInt8,
        sku LowCardinality(String),
        quantity UInt16,
        price Decimal(10, 2)
    )
    ENGINE = MergeTree ORDER BY (order_id, line)""",
    """CREATE TABLE {d}.customers
    (
        id UInt32,
        name String,
        country LowCardinality(String),
        updated_at DateTime('UTC')
    )
    ENGINE = ReplacingMergeTree(updated_at) ORDER BY id""",
    """CREATE TABLE {d}.sales_by_day (day Date, country LowCardinality(String), orders UInt64, revenue Decimal(38, 2))
    ENGINE = SummingMergeTree ORDER BY (day, country)""",
    # A dictionary of its own server needs no address: the source reads the table beside it.
    """CREATE DICTIONARY {d}.customer_country (id UInt64, country String)
    PRIMARY KEY id
    SOURCE(CLICKHOUSE(TABLE 'customers' DB '{name}'))
    LAYOUT(HASHED()) LIFETIME(0)""",
    # A view over the order's own target table …
    """CREATE MATERIALIZED VIEW {d}.sales_by_day_mv TO {d}.sales_by_day AS
    SELECT
        toDate(ordered_at) AS day,
        ['BG', 'DE', 'GR', 'RO', 'TR'][customer_id % 5 + 1] AS country,
        count() AS orders,
        sum(total) AS revenue
    FROM {d}.orders GROUP BY day, country""",
    # … and one that keeps its rows in a hidden table of its own.
    """CREATE MATERIALIZED VIEW {d}.quantity_by_sku
    ENGINE = SummingMergeTree ORDER BY sku AS
    SELECT sku, sum(quantity) AS quantity FROM {d}.order_items GROUP BY sku""",
    """CREATE VIEW {d}.open_orders AS
    SELECT id, customer_id, total FROM {d}.orders WHERE status IN ('new', 'paid')""",
    # Names that quoting must survive: a back-tick, quotes, a dot, a space, letters beyond ASCII.
    """CREATE TABLE {d}.`odd \\`name\\` "x" 'y'.ключ` (`ключ №1` UInt32, `a.b` String)
    ENGINE = MergeTree ORDER BY `ключ №1`""",
]

CUSTOMERS = """INSERT INTO {d}.customers
SELECT
    number,
    concat(['Ana', 'Boris', 'Chiara', 'Dimitar', 'Elif', 'Florin'][cityHash64(number, 1) % 6 + 1], ' ', toString(number)),
    ['BG', 'DE', 'GR', 'RO', 'TR'][number % 5 + 1],
    toDateTime('2025-12-01 00:00:00', 'UTC') + number
FROM numbers({count})"""

ODD = """INSERT INTO {d}.`odd \\`name\\` "x" 'y'.ключ`
SELECT number, concat('стойност `', toString(number), '\\'') FROM numbers(100)"""

ORDERS = """INSERT INTO {d}.orders
SELECT
    number,
    cityHash64(number, 2) % {customers},
    toDateTime('2026-01-01 00:00:00', 'UTC') + cityHash64(number, 3) % (365 * 86400),
    cityHash64(number, 4) % 4 + 1,
    toDecimal64(cityHash64(number, 5) % 50000, 2) / 100,
    lower(hex(cityHash64(number, 6)))
FROM numbers({first}, {count})"""

ITEMS = """INSERT INTO {d}.order_items
SELECT
    intDiv(number, 2),
    number % 2 + 1,
    concat('SKU-', toString(cityHash64(number, 7) % 500)),
    cityHash64(number, 8) % 9 + 1,
    toDecimal64(cityHash64(number, 9) % 10000, 2) / 100
FROM numbers({first} * 2, {count} * 2)"""


def statements(database: str, rows: int):
    quoted = "`" + database.replace("\\", "\\\\").replace("`", "\\`") + "`"
    name = database.replace("\\", "\\\\").replace("'", "\\'")
    customers = max(rows // 20, 1)
    yield f"CREATE DATABASE {quoted}"
    for table in TABLES:
        yield table.format(d=quoted, name=name)
    yield CUSTOMERS.format(d=quoted, count=customers)
    yield ODD.format(d=quoted)
    for first in range(0, rows, ROWS_PER_STATEMENT):
        count = min(ROWS_PER_STATEMENT, rows - first)
        yield ORDERS.format(d=quoted, customers=customers, first=first, count=count)
        yield ITEMS.format(d=quoted, first=first, count=count)
    # Summed up now, so that no merge changes their number of rows later.
    yield f"OPTIMIZE TABLE {quoted}.sales_by_day FINAL"
    yield f"OPTIMIZE TABLE {quoted}.quantity_by_sku FINAL"


def send(url: str, sql: str) -> None:
    parts = urlsplit(url)
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", parts.query, ""))
    request = urllib.request.Request(address, data=sql.encode())
    if parts.username:
        pair = f"{parts.username}:{parts.password or ''}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default=os.environ.get("CLICKHOUSE_URL", "http://127.0.0.1:8123"), help="http://[user:password@]host:port")
    parser.add_argument("--database", default="shop", help="must not exist yet")
    parser.add_argument("--rows", type=int, default=200_000, help="orders; twice as many items, a twentieth as many customers")
    given = parser.parse_args()
    started = time.monotonic()
    for sql in statements(given.database, given.rows):
        try:
            send(given.url, sql)
        except urllib.error.HTTPError as error:
            sys.exit(f"the server refused «{sql.splitlines()[0]} …»: {error.read().decode(errors='replace').strip()}")
        except OSError as error:
            sys.exit(f"cannot reach the server: {error}")
    print(f"{given.database}: {given.rows} orders in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
