"""A real HTTP server on loopback that speaks the OpenAI protocol, and misbehaves on demand."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Says:
    """One answer: what, how late, with which status; or a connection cut before or within the answer."""

    content: str | None = '{"word": "yes", "score": 0.5}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    refusal: str | None = None
    finish: str = "stop"
    cut: str = ""  # "before" or "within"
    raw: bytes | None = None
    error: dict[str, Any] = field(default_factory=dict)


Script = Callable[[str, int, dict[str, Any]], Says]
"""What is said to a prompt, the how-manyeth call with it (from 0), and the call's body."""


class FakeService(ThreadingHTTPServer):
    """Counts what it is asked; ``served`` are calls answered with 200 and a whole body."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.flying = self.most = 0
        self.alive = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def settle(self, within_s: float = 10.0) -> None:
        """Wait until no call is under way: a caller may read an answer's last byte before it is counted as served."""
        deadline = time.monotonic() + within_s
        while self.flying and time.monotonic() < deadline:
            time.sleep(0.005)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeService

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": []}).encode()
        self._send(200 if self.server.alive else 503, body, {})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        with server.lock:
            number = server.calls[prompt]
            server.calls[prompt] += 1
            server.bodies.append(body)
            server.headers.append({key.lower(): value for key, value in self.headers.items()})
            server.times.append(time.monotonic())
            server.flying += 1
            server.most = max(server.most, server.flying)
        try:
            self._say(server.script(prompt, number, body), prompt)
        finally:
            with server.lock:
                server.flying -= 1

    def _say(self, says: Says, prompt: str) -> None:
        if says.wait_s:
            time.sleep(says.wait_s)
        if says.cut == "before":
            self._hang_up()
            return
        if says.status != 200:
            error = {"message": f"status {says.status}", "type": "error", **says.error}
            self._send(says.status, json.dumps({"error": error}).encode(), says.headers)
            return
        message = {"role": "assistant", "content": says.content, "refusal": says.refusal}
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": 7, "total_tokens": 0}
        choice = {"index": 0, "message": message, "finish_reason": says.finish}
        data = says.raw or json.dumps({"id": "x", "choices": [choice], "usage": usage}).encode()
        if says.cut == "within":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self._hang_up()
            return
        self._send(200, data, says.headers)
        with self.server.lock:
            self.server.served[prompt] += 1

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(script: Script) -> Iterator[FakeService]:
    """The service, up while inside."""
    server = FakeService(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.settle()
        server.server_close()


def always(**fields: Any) -> Script:
    """The same answer to everything."""
    return lambda prompt, number, body: Says(**fields)


def first(*bad: Says) -> Script:
    """These answers to the first calls with a prompt, a good one after them."""
    return lambda prompt, number, body: bad[number] if number < len(bad) else Says()
