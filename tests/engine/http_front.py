"""ClickHouse's HTTP interface in front of the engine, as far as clients here use it.

Follows the server: where statements come from, who may ask, what becomes a
setting, which status goes with which error code. What is not served is refused
with code 48 (NOT_IMPLEMENTED), never answered wrongly.
"""

import gzip
import json
import re
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Optional
from urllib.parse import urlsplit

import statement
from engine import Engine
from http_request import BodyTooLarge, Request, not_authenticated

KEEP_ALIVE_SECONDS = 30

# exceptionCodeToHTTPStatus() of the server; every other code is 500.
STATUS_OF_CODE = {
    194: 401,
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    # bad arguments, whatever cannot be parsed, bad syntax and types
    **dict.fromkeys((6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123), 400),
    **dict.fromkeys((167, 168, 223, 321, 376, 427, 441, 675, 676), 400),
    # unknown table, function, identifier, type, format, database, setting, …
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    159: 408,
    381: 411,
    229: 413,
    779: 415,
    48: 501,
    **dict.fromkeys((76, 209, 439), 503),
}

READING_VERBS = {"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "BACKUP", "RESTORE", "KILL"}

REPEATED_FRAME = re.compile(
    r"Code: (\d+)\. DB::Exception: (?P<inner>Code: \1\..*?) \(version [\w.]+\)\. \(\w+\)(?: \(version [\w.]+\))?\Z", re.S
)

NOT_FOUND = """There is no handle {path}

Use / or /ping for health checks.
Or /replicas_status for more sophisticated health checks.

Send queries from your program with POST method or GET /?query=...
"""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, engine: Engine, user: str, password: str):
        self.engine, self.user, self.password = engine, user, password
        super().__init__(address, Handler)

    def server_bind(self):
        # HTTPServer asks the resolver for this machine's name here, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        # A client that went away is no event; anything else is our own fault.
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = KEEP_ALIVE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one piece

    def do_GET(self):
        path = urlsplit(self.path).path
        if (self.command != "POST" or path != "/") and ("Content-Length" in self.headers or "Transfer-Encoding" in self.headers):
            self.close_connection = True  # this body is not read, and must not be taken for the next request
        if path == "/ping" or path == "/replicas_status":
            self.answer(200, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
        elif path == "/" and (self.command == "POST" or "?" in self.path):
            self.run_statement()
        elif path == "/":
            self.answer(200, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
        else:
            self.answer(404, NOT_FOUND.format(path=path).encode("utf-8", "replace"), {"Content-Type": "text/plain; charset=UTF-8"})

    do_HEAD = do_POST = do_GET

    def run_statement(self) -> None:
        headers = {}
        try:
            request = Request(self)
            headers = {
                "X-ClickHouse-Server-Display-Name": self.server.engine.display_name,
                "X-ClickHouse-Query-Id": _one_line(request.query_id) or str(uuid.uuid4()),
            }
            self.authenticate(request)
            body, more = self.execute(request)
            headers.update(more)
            if request.settings.get("enable_http_compression") == "1" and "gzip" in self.headers.get("Accept-Encoding", ""):
                body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
            self.answer(200, body, headers)
        except ConnectionError:
            raise
        except Exception as error:
            self.answer_error(error, headers)

    def authenticate(self, request: Request) -> None:
        user, password = request.credentials(self.headers)
        if (user, password) != (self.server.user, self.server.password):
            raise not_authenticated(
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
            )

    def execute(self, request: Request) -> tuple:
        engine = self.server.engine
        parsed = statement.read(request.sql, engine.server_uuid)
        output_format = request.format or "TabSeparated"
        result = engine.run(
            parsed, output_format, request.settings, request.parameters, request.database, self.command != "POST"
        )
        headers = {
            "X-ClickHouse-Timezone": engine.timezone,
            "X-ClickHouse-Summary": json.dumps(
                {
                    "read_rows": str(result.read_rows),
                    "read_bytes": "0",
                    "written_rows": str(result.written_rows),
                    "written_bytes": str(result.written_bytes),
                    "total_rows_to_read": "0",
                    "result_rows": "0",
                    "result_bytes": str(len(result.body)),
                    "elapsed_ns": str(result.elapsed_ns),
                },
                separators=(",", ":"),
            ),
            "Content-Type": "text/plain; charset=UTF-8",
        }
        if result.body or parsed.verb in READING_VERBS:
            used = parsed.output_format or output_format
            headers["X-ClickHouse-Format"] = _one_line(used)
            headers["Content-Type"] = statement.CONTENT_TYPES.get(used, "text/plain; charset=UTF-8")
        return result.body, headers

    def answer_error(self, error: Exception, headers: dict) -> None:
        # Insertions wrap the engine's text in words of the Python layer, and some
        # errors cross a client inside the engine, which repeats their frame.
        text = re.sub(r"\AStreaming insert \w+ failed: ", "", str(error)).strip()
        while frame := REPEATED_FRAME.match(text):
            text = frame["inner"]
        found = re.match(r"Code: (\d+)\.", text)
        if not found:
            text = f"Code: 1001. DB::Exception: std::exception. The front failed: {type(error).__name__}: {text} (STD_EXCEPTION)"
        code = int(found.group(1)) if found else 1001
        if not text.endswith("(official build))"):
            text = re.sub(r" \(version [\w.]+\)\Z", "", text)
            text += f" (version {self.server.engine.version} (official build))"
        status = STATUS_OF_CODE.get(code, 500)
        headers = {**headers, "X-ClickHouse-Exception-Code": str(code), "Content-Type": "text/plain; charset=UTF-8"}
        self.answer(413 if isinstance(error, BodyTooLarge) else status, text.encode("utf-8", "replace") + b"\n", headers)

    def answer(self, status: int, body: bytes, headers: dict) -> None:
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        else:
            self.send_header("Connection", "Keep-Alive")
            self.send_header("Keep-Alive", f"timeout={KEEP_ALIVE_SECONDS}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format, *args):
        pass  # statements can hold secrets


def _one_line(text: Optional[str]) -> str:
    return "".join(c for c in text or "" if " " <= c <= "~")
