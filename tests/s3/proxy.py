"""A faulty way to an S3 server: a proxy on loopback that refuses, resets, fails, and cuts bodies as it is told."""

import random
import re
import socket
import struct
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit
from xml.sax.saxutils import unescape

SERVER_SECONDS = 60  # for an answer
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER
HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}  # of a connection, not of what it carries
ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>made by the proxy</Message></Error>'

Happening = Callable[[str, str], object]


class FaultyProxy:
    """Another address of an S3 server, which fails as it is told. Faults may be set at any time, from any thread.

        with FaultyProxy(environment) as proxy:
            proxy.fail(0.3)
            ...
            assert proxy.faults["fail"]

    `environment` is the server's, with the proxy's address; `requests` counts what arrived, by method; `faults` what
    was done to it: fail, reset, lose, cut_upload, cut_download; `deleted` has what multiple deletes named, as
    bucket/key.
    """

    def __init__(self, server: Mapping[str, str]) -> None:
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.deleted: list[str] = []
        self._lock = threading.Lock()
        self._shares: dict[str, tuple[float, random.Random]] = defaultdict(lambda: (0.0, random.Random(0)))
        self._counts: Counter[str] = Counter()
        self._happening: Happening | None = None
        self.conceals = False
        self._error = (503, "SlowDown")
        self._http = _Server(self, urlsplit(server["AWS_ENDPOINT_URL"]).netloc)
        self.environment = {**server, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._http.server_port}"}

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._http.server_close()
        if self._http.errors:
            raise self._http.errors[0]

    def down(self) -> None:
        """Refuse connections, and break those there are."""
        self._http.stop()

    def up(self) -> None:
        """Accept connections again, at the same address."""
        self._http.start()

    def fail(self, share: float, status: int = 503, code: str = "SlowDown", seed: int = 0) -> None:
        """Answer this share of requests with an S3 error; the server never sees them."""
        self._error = (status, code)
        self._draw_from("fail", share, seed)

    def reset(self, share: float, seed: int = 0) -> None:
        """Reset the connections of this share of requests; the server never sees them."""
        self._draw_from("reset", share, seed)

    def lose(self, share: float, seed: int = 0) -> None:
        """Reset the connections of this share of requests when the server has done what they ask for."""
        self._draw_from("lose", share, seed)

    def cut_uploads(self, count: int) -> None:
        """Give the server half of the body of the next PUTs, and reset the connections to it and to the client."""
        self._set_count("cut_upload", count)

    def cut_downloads(self, count: int) -> None:
        """Give the client half of the body of the next objects it gets, and close the connection."""
        self._set_count("cut_download", count)

    def conceal(self) -> None:
        """Deny access to objects that are missing, as S3 does to keys that may list some prefixes only."""
        self.conceals = True

    def on_request(self, happening: Happening | None) -> None:
        """Call `happening` with the method and the path (with its query) of each request before it is forwarded."""
        self._happening = happening

    def arrived(self, method: str, path: str) -> None:
        """Count a request and let happen what should."""
        with self._lock:
            self.requests[method] += 1
        if self._happening:
            self._happening(method, path)

    def deletes(self, path: str, body: bytes) -> None:
        """Note the keys that a multiple delete names in its body."""
        bucket = urlsplit(path).path.strip("/")
        with self._lock:
            self.deleted += [f"{bucket}/{unescape(key)}" for key in re.findall("<Key>(.*?)</Key>", body.decode())]

    def meets(self, fault: str) -> bool:
        """Tell whether a fault meets the request at hand: by its share, or as one of the next."""
        with self._lock:
            share, rng = self._shares[fault]
            met = self._counts[fault] > 0 or rng.random() < share
            self._counts[fault] -= self._counts[fault] > 0
            if met:
                self.faults[fault] += 1
            return met

    @property
    def error(self) -> tuple[int, bytes]:
        """The status and body of a failure."""
        status, code = self._error
        return status, ERROR.format(code).encode()

    def _draw_from(self, fault: str, share: float, seed: int) -> None:
        with self._lock:
            self._shares[fault] = share, random.Random(seed)

    def _set_count(self, fault: str, count: int) -> None:
        with self._lock:
            self._counts[fault] = count


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them

    def __init__(self, proxy: FaultyProxy, behind: str) -> None:
        self.proxy, self.behind = proxy, behind
        self.errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._accepting: threading.Thread | None = None
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            address = found.getsockname()
        # a port that was asked for by its number is kept while nobody listens
        super().__init__(address, _Handler)
        self.socket.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        if self._accepting is None:
            self.socket.listen(128)
            self._accepting = threading.Thread(target=self._accept)
            self._accepting.start()

    def stop(self) -> None:
        if self._accepting is None:
            return
        self.socket.shutdown(socket.SHUT_RDWR)  # ends listening, and accept() with an error
        self._accepting.join()
        self._accepting = None
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # gone already
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                    connection.shutdown(socket.SHUT_RDWR)  # wakes its thread, which closes it

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self.get_request()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            self.process_request(connection, address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
            super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):  # clients may leave at any time
            self.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    """One client's connection. BaseHTTPRequestHandler answers `Expect: 100-continue`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        proxy, length = self.server.proxy, int(self.headers.get("Content-Length", 0))
        if "Transfer-Encoding" in self.headers:
            raise NotImplementedError(f"{self.command} {self.path}: a body of unknown length")
        proxy.arrived(self.command, self.path)
        if proxy.meets("reset"):
            self._reset()
        elif self.command == "PUT" and length > 1 and proxy.meets("cut_upload"):
            connection = self._send(self.rfile.read(length // 2))
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.close()
            self._reset()
        elif len(body := self.rfile.read(length)) < length:
            self.close_connection = True  # the client is gone
        elif proxy.meets("fail"):
            status, content = proxy.error
            self._answer(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))], content)
        else:
            self._forward(body)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _forward(self, body: bytes) -> None:
        proxy = self.server.proxy
        if self.command == "POST":
            proxy.deletes(self.path, body)
        connection = self._send(body)
        try:
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            raise RuntimeError(f"{self.command} {self.path}: the server itself failed: {error}") from error
        finally:
            connection.close()
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
        if response.getheader("Content-Length") is None:
            headers.append(("Content-Length", str(len(content))))
        if proxy.conceals and response.status == 404 and self._names_object():
            content = ERROR.format("AccessDenied").encode()
            self._answer(403, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))], content)
        elif proxy.meets("lose"):
            self._reset()
        elif self._gets_object() and response.status < 300 and content and proxy.meets("cut_download"):
            self._answer(response.status, headers, content[: len(content) // 2])
            self.close_connection = True
        else:
            self._answer(response.status, headers, content)

    def _names_object(self) -> bool:
        _, key = f"{urlsplit(self.path).path.lstrip('/')}/".split("/", 1)
        return bool(key.strip("/"))

    def _gets_object(self) -> bool:
        return self.command == "GET" and self._names_object()

    def _send(self, body: bytes) -> HTTPConnection:
        """Send the request's line and headers as they came (they are signed), and this body, whole or not."""
        connection = HTTPConnection(self.server.behind, timeout=SERVER_SECONDS)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP:
                connection.putheader(name, value)
        connection.endheaders(body)
        return connection

    def _answer(self, status: int, headers: Iterable[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.connection.close()
        self.close_connection = True
