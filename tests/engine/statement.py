"""What the HTTP front must know about a statement before the engine sees it.

The engine is a library made for local use: it runs several statements in one
text, writes files for INTO OUTFILE, and has no UUID of its own. A server does
none of that, so the text is read here, token by token, and never changed inside
string literals, quoted names or comments.
"""

import re
from typing import NamedTuple, Optional

# Formats whose Content-Type is not plain text, as ClickHouse sends them.
CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNames": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
}


class Refused(Exception):
    """The front refuses the request, in the words and with the code of ClickHouse."""

    def __init__(self, code: int, name: str, message: str):
        super().__init__(f"Code: {code}. DB::Exception: {message} ({name})")
        self.code = code


class Statement(NamedTuple):
    """One statement, ready for the engine."""

    text: bytes
    verb: str  # first word, upper case
    output_format: Optional[str]  # of a FORMAT clause, if there is one
    insert_format: Optional[str]  # of INSERT … FORMAT <name> <data>
    insert_data: bytes


_TOKEN = re.compile(
    rb"""
      (?P<space>  \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/ )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*"
                | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<word>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<mark>   . )
    """,
    re.S | re.X,
)
_CALL = re.compile(rb"serverUUID\s*\(\s*\)")
# What ClickHouse skips between the format's name and the data.
_BEFORE_DATA = re.compile(rb"[ \t\f]*;?[ \t\f]*(?:\r?\n)?")


def read(sql: bytes, server_uuid: str) -> Statement:
    """Reads one statement; raises Refused for what a server would not run."""
    out, verb, output_format, depth, before, ended = [], "", None, 0, b"", False
    position, end = 0, len(sql)
    while position < end:
        token = _TOKEN.match(sql, position)
        kind, text = token.lastgroup, token.group()
        start, position = position, token.end()
        if kind == "space":
            out.append(text)
            continue
        if ended:
            raise Refused(
                62,
                "SYNTAX_ERROR",
                f"Syntax error (Multi-statements are not allowed): failed at position {ended} (end of query).",
            )
        if kind == "word":
            upper = text.upper()
            if not verb:
                verb = upper.decode()
            elif verb == "INSERT" and depth == 0 and upper == b"VALUES":
                # What follows are values, which the engine reads by itself.
                out.append(sql[start:])
                break
            elif upper == b"OUTFILE" and before == b"INTO":
                raise Refused(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
            elif before == b"FORMAT" and depth == 0:
                output_format = text.decode()
                if verb == "INSERT":
                    data = sql[_BEFORE_DATA.match(sql, position).end() :]
                    head = b"".join(out).rstrip()[: -len(b"FORMAT")]
                    return Statement(head, verb, None, output_format, data)
            elif text == b"serverUUID" and before != b"." and (call := _CALL.match(sql, start)):
                # The alias keeps the column's name; an explicit alias after it wins.
                text = b"(toUUID('%s') AS `serverUUID()`)" % server_uuid.encode()
                position, upper = call.end(), b")"
            before = upper
        else:
            before = text
            depth += (text == b"(") - (text == b")")
            ended = position if text == b";" else False
        out.append(text)
    if not verb:
        raise Refused(62, "SYNTAX_ERROR", "Empty query.")
    return Statement(b"".join(out), verb, output_format, None, b"")
