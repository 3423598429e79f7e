"""Tests of the HTTP front, on real engines.

    .cache/engine/bin/python -m unittest discover tests/engine
"""

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from urllib.parse import quote, urlencode

import statement

HERE = Path(__file__).parent
START_LIMIT_SECONDS = 20
WAIT_LIMIT_SECONDS = 20


class Server:
    """One server process, on a folder that outlives it."""

    def __init__(self, folder: Path, *more: str, port: int = 0):
        command = [sys.executable, HERE / "server.py", "--path", folder / "server", "--disk-local", folder / "backups"]
        command += ["--parent-pipe", "--port", str(port), *more]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        timer = threading.Timer(START_LIMIT_SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line.startswith("READY http://127.0.0.1:"):
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server said {line!r}")
        self.port = int(line.rsplit(":", 1)[1])

    def request(self, method="POST", path="/", body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_LIMIT_SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def sql(self, text, **parameters):
        """Sends a statement that must succeed; its answer in TabSeparated."""
        status, _, body = self.request(path="/?" + urlencode(parameters), body=text.encode())
        if status != 200:
            raise AssertionError(f"{text}: {body.decode()}")
        return body.decode()

    def wait_for(self, operation: str) -> str:
        limit = time.monotonic() + WAIT_LIMIT_SECONDS
        while time.monotonic() < limit:
            status = self.sql(f"SELECT status FROM system.backups WHERE id = '{operation}'").strip()
            if status not in ("CREATING_BACKUP", "RESTORING"):
                return status
            time.sleep(0.02)
        raise AssertionError(f"{operation} did not end")

    def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.wait()

    def wait(self):
        self.process.stdin.close()
        self.process.wait(WAIT_LIMIT_SECONDS)
        self.process.stdout.close()


class Front(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server(Path(cls.folder.name))

    @classmethod
    def tearDownClass(cls):
        cls.server.end()
        cls.folder.cleanup()

    def refused(self, code, status, body="", path="/", method="POST", headers=None):
        got, answer, text = self.server.request(method, path, body if method == "POST" else None, headers)
        self.assertEqual((str(code), status), (answer["X-ClickHouse-Exception-Code"], got), text)
        self.assertRegex(text.decode(), rf"(?s)\ACode: {code}\. DB::Exception: .*\([A-Z_]+\) \(version [\d.]+ \(official build\)\)\n\Z")
        return text.decode()

    def test_statement_comes_from_body_and_query(self):
        for path, body in [("/", "SELECT 1 + 1"), ("/?query=SELECT%201%20%2B%201", ""), ("/?query=SELECT%201", "+ 1")]:
            status, _, answer = self.server.request(path=path, body=body)
            self.assertEqual((200, b"2\n"), (status, answer))
        self.assertEqual((200, b"2\n"), self.server.request("GET", "/?query=SELECT%202")[::2])

    def test_headers_of_an_answer(self):
        status, headers, body = self.server.request(
            path="/?default_format=JSONEachRow&query_id=my-id", body="SELECT number FROM numbers(3)"
        )
        self.assertEqual((200, b'{"number":0}\n{"number":1}\n{"number":2}\n'), (status, body))
        self.assertEqual("my-id", headers["X-ClickHouse-Query-Id"])
        self.assertEqual("JSONEachRow", headers["X-ClickHouse-Format"])
        self.assertEqual("application/x-ndjson; charset=UTF-8", headers["Content-Type"])
        self.assertEqual("3", json.loads(headers["X-ClickHouse-Summary"])["read_rows"])
        self.assertTrue(headers["X-ClickHouse-Timezone"])
        self.assertTrue(headers["X-ClickHouse-Server-Display-Name"])
        headers = self.server.request(body="SELECT 1 FORMAT TabSeparatedWithNames")[1]
        self.assertEqual("TabSeparatedWithNames", headers["X-ClickHouse-Format"])

    def test_checks_without_a_statement(self):
        self.assertEqual((200, b"Ok.\n"), self.server.request("GET", "/ping")[::2])
        self.assertEqual((200, b"Ok.\n"), self.server.request("GET", "/replicas_status")[::2])
        self.assertEqual((200, b"Ok.\n"), self.server.request("GET", "/")[::2])
        status, _, body = self.server.request("GET", "/nope")
        self.assertEqual(404, status)
        self.assertIn(b"There is no handle /nope", body)

    def test_status_follows_the_error_code(self):
        self.refused(62, 400, "SELEC 1")
        self.refused(62, 400, "")
        self.refused(60, 404, "SELECT * FROM nosuch")
        self.refused(81, 404, "SELECT * FROM nosuch.nosuch")
        self.refused(81, 404, "SELECT 1", "/?database=nosuch")
        self.refused(47, 404, "SELECT nosuch")
        self.refused(46, 404, "SELECT nosuch()")
        self.refused(115, 404, "SELECT 1", "/?nosuch=1")
        self.refused(115, 404, "SELECT 1", "/?a%3D1%2Cmax_threads=1")
        self.refused(36, 400, "BACKUP DATABASE default TO Disk('nosuch', 'x')")
        self.refused(395, 500, "SELECT throwIf(1)")
        self.refused(48, 501, "SELECT 1", "/?decompress=1")
        self.refused(48, 501, "SELECT 1", "/?session_id=x")
        self.refused(358, 500, "SELECT 1 INTO OUTFILE 'x'")

    def test_one_statement_a_request(self):
        self.assertIn("Multi-statements", self.refused(62, 400, "SELECT 1; SELECT 2"))
        self.assertEqual("a;b\n", self.server.sql("SELECT 'a;b' /* ; */ ; -- the end; of it"))
        self.refused(62, 400, "1")  # the engine alone would read this as SELECT 1

    def test_get_cannot_write(self):
        self.refused(164, 500, path="/?query=" + quote("CREATE TABLE g (x Int8) ENGINE = Memory"), method="GET")
        self.refused(164, 500, path="/?readonly=0&query=" + quote("DROP DATABASE default"), method="GET")
        self.assertEqual("3\n", self.server.request("GET", "/?max_threads=3&query=" + quote("SELECT getSetting('max_threads')"))[2].decode())

    def test_parameters_in_url_and_form(self):
        sql, value = "SELECT {x:String}, {y:Array(UInt8)}", "it's\\ta \\\\ `№"
        self.assertEqual("it\\'s\\ta \\\\ `№\t[1,2]\n", self.server.sql(sql, param_x=value, param_y="[1,2]"))
        parts = {"query": sql, "param_x": value, "param_y": "[1,2]"}
        form = "".join(f'--B\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in parts.items()) + "--B--\r\n"
        status, _, body = self.server.request(
            path="/?default_format=JSONCompactEachRow", body=form.encode(), headers={"Content-Type": "multipart/form-data; boundary=B"}
        )
        self.assertEqual((200, ["it's\ta \\ `№", [1, 2]]), (status, json.loads(body)))
        self.refused(36, 400, "not a form", headers={"Content-Type": "multipart/form-data; boundary=B"})
        self.refused(456, 500, sql)

    def test_settings_do_not_leak(self):
        for _ in range(3):
            self.assertEqual("1\n", self.server.sql("SELECT getSetting('max_threads') = 1", max_threads="1"))
            self.assertEqual("0\n", self.server.sql("SELECT getSetting('max_threads') = 1"))
        self.server.sql("SET max_threads = 1")
        self.assertEqual("0\n", self.server.sql("SELECT getSetting('max_threads') = 1"))
        self.assertEqual("system\n", self.server.sql("SELECT currentDatabase()", database="system"))
        self.assertEqual("default\n", self.server.sql("SELECT currentDatabase()"))

    def test_slow_statement_holds_up_nobody(self):
        slow = threading.Thread(target=self.server.sql, args=("SELECT sleep(2)",))
        slow.start()
        started = time.monotonic()
        self.server.sql("SELECT 1")
        self.assertLess(time.monotonic() - started, 1)
        self.assertTrue(slow.is_alive())
        slow.join()

    def test_insert_of_data(self):
        self.server.sql("CREATE TABLE data (s String) ENGINE = MergeTree ORDER BY s")
        rows = '{"s":"a;b"}\n\n\n{"s":"INSERT"}\n;\n'.rstrip(";\n")
        self.server.sql("INSERT INTO data FORMAT JSONEachRow\n" + rows)
        self.server.sql("INSERT INTO data VALUES ('x;y'), ('z')")
        path = "/?query=" + quote("INSERT INTO data(s) FORMAT RowBinary")
        status, answer, _ = self.server.request(path=path, body=iter([b"\x03\x00", b"\xff;", b"\x01\n"]))  # sent in chunks
        self.assertEqual((200, "2"), (status, json.loads(answer["X-ClickHouse-Summary"])["written_rows"]))
        self.assertEqual("00FF3B\n0A\n494E53455254\n613B62\n783B79\n7A\n", self.server.sql("SELECT hex(s) FROM data ORDER BY s"))
        self.refused(33, 500, b"\x09", path)

    def test_gzip_both_ways(self):
        status, headers, body = self.server.request(
            path="/?enable_http_compression=1",
            body=gzip.compress(b"SELECT 'packed'"),
            headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip"},
        )
        self.assertEqual((200, "gzip", b"packed\n"), (status, headers["Content-Encoding"], gzip.decompress(body)))
        self.assertEqual(b"1\n", self.server.request(body="SELECT 1", headers={"Accept-Encoding": "gzip"})[2])
        self.refused(354, 500, b"not gzip", headers={"Content-Encoding": "gzip"})
        self.refused(48, 501, b"x", headers={"Content-Encoding": "zstd"})

    def test_server_uuid(self):
        own = self.server.sql("SELECT serverUUID()").strip()
        self.assertRegex(own, r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
        self.assertNotIn(own, "00000000-0000-0000-0000-000000000000")
        self.assertEqual(
            f"{own}\tserverUUID()\tUUID\n", self.server.sql("SELECT toString(serverUUID( )) AS u, 'serverUUID()', toTypeName(serverUUID())")
        )
        self.assertEqual('{"serverUUID()":"%s"}\n' % own, self.server.sql("SELECT serverUUID()", default_format="JSONEachRow"))
        self.assertEqual("5\n", self.server.sql("SELECT `serverUUID()` FROM (SELECT 5 AS `serverUUID()`) -- serverUUID()"))

    def test_backup_and_restore(self):
        for sql in ("CREATE DATABASE shop", "CREATE TABLE shop.t (x UInt32) ENGINE = MergeTree ORDER BY x"):
            self.server.sql(sql)
        self.server.sql("INSERT INTO shop.t SELECT number FROM numbers(1000)")
        answer = self.server.sql(
            "BACKUP DATABASE shop TO Disk('s3_backup', 'one') SETTINGS id = 'a:b:1' ASYNC", default_format="JSONEachRow"
        )
        self.assertEqual({"id": "a:b:1", "status": "CREATING_BACKUP"}, json.loads(answer))
        self.assertEqual("BACKUP_CREATED", self.server.wait_for("a:b:1"))
        self.assertTrue((Path(self.folder.name) / "backups/one/.backup").is_file())
        self.refused(36, 400, "BACKUP DATABASE shop TO Disk('s3_backup', 'two') SETTINGS id = 'a:b:1' ASYNC")
        self.server.sql("RESTORE DATABASE shop AS again FROM Disk('s3_backup', 'one') SETTINGS id = 'r' ASYNC")
        self.assertEqual("RESTORED", self.server.wait_for("r"))
        self.assertEqual("1000\t499500\n", self.server.sql("SELECT count(), sum(x) FROM again.t"))

    def test_garbage_kills_nothing(self):
        garbage = [
            b"\x00\xff\x16\x03\x01\r\n\r\n",
            b"GET\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 900000000000\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\nSELECT 1",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST / HTTP/1.1\r\n\r\nSELECT 1",
            b"POST /?param_%FF=%00&query=%FF HTTP/1.1\r\nContent-Length: 0\r\nX-ClickHouse-Query-Id: \xff\r\n\r\n",
            b"POST / HTTP/1.1\r\nAuthorization: Basic !!\r\nContent-Length: 8\r\n\r\nSELECT 1",
            b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
            b"BREW / HTTP/1.1\r\n\r\n",
            b"GET /nope HTTP/1.1\r\nContent-Length: 36\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        ]
        for request in garbage:
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                try:
                    while part := connection.recv(65536):
                        answer += part
                except ConnectionResetError:
                    pass
            self.assertNotIn(b" 200 ", answer.split(b"\r\n")[0], request[:60])
        with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 15\r\n\r\nSELECT sleep(1)")
        self.assertEqual("1\n", self.server.sql("SELECT 1"))
        self.assertIsNone(self.server.process.poll())

    def test_errors_keep_the_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        statuses = []
        for sql in ("SELECT 1", "SELEC 1", "SELECT 2"):
            connection.request("POST", "/", sql)
            answer = connection.getresponse()
            answer.read()
            statuses.append((answer.status, answer.will_close))
        connection.close()
        self.assertEqual([(200, False), (400, False), (200, False)], statuses)


class Users(unittest.TestCase):
    def test_every_way_to_say_who_asks(self):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder), "--user", "backup", "--password", "pä:ss")
            basic = "Basic YmFja3VwOnDDpDpzcw=="  # backup:pä:ss
            key = "pä:ss".encode().decode("latin-1")
            header = {"X-ClickHouse-User": "backup", "X-ClickHouse-Key": key}
            right = [({"Authorization": basic}, ""), (header, ""), ({}, "?user=backup&password=p%C3%A4%3Ass")]
            wrong = [
                ({}, ""),
                ({"Authorization": "Basic YmFja3VwOng="}, ""),
                ({"Authorization": "Bearer x"}, ""),
                ({"X-ClickHouse-User": "backup"}, ""),
                ({"X-ClickHouse-Key": key}, ""),
                ({**header, "Authorization": basic}, ""),
                (header, "?user=backup"),
                ({}, "?user=backup&password=x"),
            ]
            for headers, query in right:
                self.assertEqual((200, b"1\n"), server.request(path="/" + query, body="SELECT 1", headers=headers)[::2])
            for headers, query in wrong:
                status, answer, body = server.request(path="/" + query, body="SELECT 1", headers=headers)
                self.assertEqual((403, "516"), (status, answer["X-ClickHouse-Exception-Code"]), (headers, query))
                self.assertTrue(body.startswith(b"Code: 516. DB::Exception: ") and b"(AUTHENTICATION_FAILED)" in body)
                self.assertNotIn("pä:ss".encode(), body)
            self.assertEqual(200, server.request("GET", "/ping")[0])
            server.end()


class Life(unittest.TestCase):
    def test_killed_and_started_again(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            server = Server(folder)
            server.sql("CREATE TABLE kept (x UInt32) ENGINE = MergeTree ORDER BY x")
            server.sql("INSERT INTO kept SELECT number FROM numbers(10)")
            server.sql("BACKUP TABLE kept TO Disk('s3_backup', 'one') SETTINGS id = 'b' ASYNC")
            server.wait_for("b")
            uuid, port = server.sql("SELECT serverUUID()"), server.port
            server.end(signal.SIGKILL)

            again = Server(folder, port=port)
            self.assertEqual("10\n", again.sql("SELECT count() FROM kept"))
            self.assertEqual("0\n", again.sql("SELECT count() FROM system.backups"))
            self.assertEqual(uuid, again.sql("SELECT serverUUID()"))
            self.assertLess(int(again.sql("SELECT uptime()")), 10)
            again.sql("SELECT count() FROM kept")
            started = time.monotonic()
            again.end(signal.SIGTERM)
            self.assertEqual(0, again.process.returncode)
            self.assertLess(time.monotonic() - started, 5)

            given = "6e1a1c5e-9d0f-4a3b-8f57-111111111111"
            third = Server(folder, "--server-uuid", given)
            self.assertEqual(given + "\n", third.sql("SELECT serverUUID()"))
            self.assertEqual("10\n", third.sql("SELECT count() FROM kept"))
            third.wait()  # closes its standard input, as a parent that died does
            self.assertEqual(0, third.process.returncode)

    def test_slow_backup_can_be_cancelled(self):
        with tempfile.TemporaryDirectory() as name:
            server = Server(Path(name), "--slow-backups")
            server.sql("CREATE TABLE t (x UInt32) ENGINE = MergeTree ORDER BY x PARTITION BY x")
            server.sql("INSERT INTO t SELECT number FROM numbers(8)")
            server.sql("BACKUP TABLE t TO Disk('s3_backup', 'one') SETTINGS id = 'b' ASYNC")
            self.assertEqual("CREATING_BACKUP\n", server.sql("SELECT status FROM system.backups"))
            server.sql("KILL QUERY WHERE query_id IN (SELECT query_id FROM system.backups WHERE id = 'b') ASYNC")
            self.assertEqual("BACKUP_CANCELLED", server.wait_for("b"))
            self.assertFalse((Path(name) / "backups/one").exists())
            server.end()


class Reading(unittest.TestCase):
    def read(self, sql):
        return statement.read(sql.encode(), "u")

    def test_server_uuid_only_where_it_is_a_call(self):
        call = "(toUUID('u') AS `serverUUID()`)"
        self.assertEqual(f"SELECT {call}, 'it''s \\' serverUUID()'".encode(), self.read("SELECT serverUUID(), 'it''s \\' serverUUID()'").text)
        for same in ("SELECT `serverUUID()`", 'SELECT "serverUUID()"', "SELECT 1 -- serverUUID()", "SELECT $a$serverUUID()$a$", "SELECT myserverUUID()"):
            self.assertEqual(same.encode(), self.read(same).text)

    def test_data_begins_after_the_format(self):
        found = self.read("INSERT INTO t (a, b) SETTINGS x = 1 FORMAT TSV\n1;\t2\n")
        self.assertEqual((b"INSERT INTO t (a, b) SETTINGS x = 1 ", "TSV", b"1;\t2\n"), (found.text, found.insert_format, found.insert_data))

    def test_format_clause(self):
        self.assertEqual("JSON", self.read("SELECT format('{}', 'FORMAT x') FORMAT JSON SETTINGS a = 1").output_format)
        self.assertIsNone(self.read("SELECT 'FORMAT JSON'").output_format)


if __name__ == "__main__":
    unittest.main()
