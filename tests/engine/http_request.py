"""Reading one HTTP request: its body, its parameters, and what each is for."""

import base64
import binascii
import re
import zlib
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from statement import Refused

MAX_BODY_BYTES = 256 * 1024 * 1024
MAX_HEAD_LINE_BYTES = 64 * 1024

# Parameters that are neither settings nor ours to act on.
IGNORED = {"buffer_size", "wait_end_of_query", "stacktrace", "client_protocol_version", "quota_key", "close_session"}
NOT_SERVED = {
    "session_id": "sessions over HTTP",
    "session_timeout": "sessions over HTTP",
    "session_check": "sessions over HTTP",
    "role": "roles",
}


class Request:
    """One request for a statement, with its parameters sorted by what they are for."""

    def __init__(self, handler: BaseHTTPRequestHandler):
        headers = handler.headers
        pairs = parse_qsl(urlsplit(handler.path).query, keep_blank_values=True)
        body = Body(handler).read() if handler.command == "POST" else b""
        if headers.get_content_type() == "multipart/form-data":
            pairs += _form_fields(headers["Content-Type"], body)
            body = b""
        self.query_id = headers.get("X-ClickHouse-Query-Id", "")
        self.database = headers.get("X-ClickHouse-Database", "")
        self.format = headers.get("X-ClickHouse-Format", "")
        self.settings, self.parameters = {}, {}
        self.user = self.password = None
        query = ""
        for name, value in pairs:
            if name == "query":
                query += value
            elif name == "query_id":
                self.query_id = value
            elif name == "database":
                self.database = self.database or value
            elif name == "default_format":
                self.format = self.format or value
            elif name == "user":
                self.user = value
            elif name == "password":
                self.password = value
            elif name in ("compress", "decompress"):
                if value not in ("0", "false"):
                    raise Refused(48, "NOT_IMPLEMENTED", f"{name}=1 (ClickHouse's own compression) is not served by this test engine")
            elif name in NOT_SERVED:
                raise Refused(48, "NOT_IMPLEMENTED", f"{name}: {NOT_SERVED[name]} are not served by this test engine")
            elif name.startswith("param_"):
                self.parameters[name.removeprefix("param_")] = value
            elif name and name not in IGNORED:
                self.settings[name] = value
        encoded = query.encode("utf-8", "surrogateescape")
        self.sql = encoded + b"\n" + body if encoded and body else encoded + body

    def credentials(self, headers) -> tuple:
        """User and password, from the one place they were given in."""
        user, key = headers.get("X-ClickHouse-User", ""), headers.get("X-ClickHouse-Key", "")
        authorization = headers.get("Authorization")
        in_url = self.user is not None or self.password is not None
        if user or key:
            if authorization or in_url:
                other = "Authorization HTTP header" if authorization else "authentication via parameters"
                raise not_authenticated(
                    f"Invalid authentication: it is not allowed to use X-ClickHouse HTTP headers and {other} simultaneously."
                )
            if not user:
                raise not_authenticated("Got an empty user name from X-ClickHouse HTTP headers.")
            return _utf8(user), _utf8(key)
        if authorization:
            scheme, _, encoded = authorization.partition(" ")
            if scheme.lower() != "basic":
                raise not_authenticated(f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported.")
            try:
                decoded = base64.b64decode(encoded).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise not_authenticated("Got an empty user name from Authorization HTTP header.") from None
            user, _, key = decoded.partition(":")
            return user, key
        return self.user if self.user is not None else "default", self.password or ""


class Body:
    """The body of one request, read from its connection."""

    def __init__(self, handler: BaseHTTPRequestHandler):
        self.handler, self.headers, self.rfile = handler, handler.headers, handler.rfile

    def read(self) -> bytes:
        """The whole body, out of its chunks and its gzip; what cannot be read closes the connection."""
        closing, self.handler.close_connection = self.handler.close_connection, True
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = b"".join(self._chunks())
        elif self.headers.get("Content-Length") is None:
            raise Refused(
                381,
                "HTTP_LENGTH_REQUIRED",
                "The Transfer-Encoding is not chunked and there is no Content-Length header for POST request.",
            )
        else:
            length = _length(self.headers["Content-Length"], 10)
            body = self._exactly(_at_most(length))
        self.handler.close_connection = closing
        encoding = self.headers.get("Content-Encoding", "").strip().lower()
        if encoding == "gzip":
            return _gunzip(body)
        if encoding and encoding != "identity":
            raise Refused(48, "NOT_IMPLEMENTED", f"Unknown compression method: {encoding}.")
        return body

    def _chunks(self):
        total = 0
        while size := _length(self.rfile.readline(MAX_HEAD_LINE_BYTES).split(b";")[0].strip().decode("latin-1"), 16):
            total = _at_most(total + size)
            yield self._exactly(size)
            self.rfile.readline(MAX_HEAD_LINE_BYTES)
        while self.rfile.readline(MAX_HEAD_LINE_BYTES) not in (b"\r\n", b"\n", b""):
            pass  # trailers

    def _exactly(self, length: int) -> bytes:
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError("the request ended early")
        return body


class BodyTooLarge(Refused):
    pass


def _at_most(length: int) -> int:
    if length > MAX_BODY_BYTES:
        raise BodyTooLarge(307, "TOO_MANY_BYTES", f"The request's body is larger than {MAX_BODY_BYTES} bytes.")
    return length


def _length(text: str, base: int) -> int:
    if not re.fullmatch(r"[0-9a-fA-F]{1,16}" if base == 16 else r"[0-9]{1,18}", text):
        raise Refused(36, "BAD_ARGUMENTS", "The length of the request's body is not a number.")
    return int(text, base)


def _gunzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise Refused(354, "ZLIB_INFLATE_FAILED", f"The request's body is not gzip: {error}.") from None
    if unpacker.unconsumed_tail:
        _at_most(MAX_BODY_BYTES + 1)
    if not unpacker.eof:
        raise Refused(354, "ZLIB_INFLATE_FAILED", "The request's gzip body ends early.")
    return plain


def _form_fields(content_type: str, body: bytes) -> list:
    """Name and value of every field; files (ClickHouse's external tables) are not served."""
    head = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise Refused(36, "BAD_ARGUMENTS", "The multipart/form-data body has no parts.")
    fields = []
    for part in message.iter_parts():
        if part.get_filename() is not None:
            raise Refused(48, "NOT_IMPLEMENTED", "External tables (files in a form) are not served by this test engine")
        name = part.get_param("name", header="content-disposition")
        if name is None:
            raise Refused(36, "BAD_ARGUMENTS", "A part of the form has no name.")
        fields.append((str(name), (part.get_payload(decode=True) or b"").decode("utf-8", "surrogateescape")))
    return fields


def not_authenticated(message: str) -> Refused:
    return Refused(516, "AUTHENTICATION_FAILED", message)


def _utf8(header: str) -> str:
    # http.server reads headers as Latin-1; clients send the bytes of UTF-8.
    return header.encode("latin-1").decode("utf-8", "replace")
