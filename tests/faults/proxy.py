"""A proxy in front of an S3 server that injects faults into its responses."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["none", "busy", "cut", "slow"]
# method, path and number of a request -> what becomes of it
Plan = Callable[[str, str, int], Fault]
SLOW_S = 0.3
BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class FaultyS3:
    """`endpoint` answers for the server at `upstream`.

    busy: 503, nothing is done. cut: the connection ends in the middle of the answer's body, or before any answer where
    it has none; what was asked for is done. slow: the answer waits SLOW_S.
    """

    def __init__(self, upstream: str, plan: Plan) -> None:
        self.plan, self.requests, self.spoilt = plan, 0, 0
        self._lock = threading.Lock()
        address = urlsplit(upstream).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                proxy.serve(self, address)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, handler: BaseHTTPRequestHandler, address: str) -> None:
        body = _body(handler)
        with self._lock:
            self.requests += 1
            fault = self.plan(handler.command, handler.path, self.requests)
            self.spoilt += fault != "none"
        if fault == "busy":
            _answer(handler, 503, {"Content-Type": "application/xml"}, BUSY)
            return
        if fault == "slow":
            threading.Event().wait(SLOW_S)
        upstream = http.client.HTTPConnection(address)
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in ("transfer-encoding", "connection")}
        upstream.request(handler.command, handler.path, body, headers)
        found = upstream.getresponse()
        content = found.read()
        if fault == "cut":
            handler.close_connection = True
            if len(content) > 1:
                handler.send_response(found.status)
                handler.send_header("Content-Length", str(len(content)))
                handler.end_headers()
                handler.wfile.write(content[: len(content) // 2])
            return
        _answer(handler, found.status, dict(found.getheaders()), content)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Expect", "").lower() == "100-continue":
        handler.send_response_only(100)
        handler.end_headers()
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    parts = []
    while size := int(handler.rfile.readline(), 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)


def _answer(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
    handler.send_response_only(status)
    length = headers.get("Content-Length") if handler.command == "HEAD" else str(len(content))
    dropped = ("content-length", "transfer-encoding", "connection")
    for name, value in headers.items():
        if name.lower() not in dropped:
            handler.send_header(name, value)
    handler.send_header("Content-Length", length or "0")
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)
