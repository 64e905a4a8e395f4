"""Small HTTP servers on this machine that stand for what answers a container or an instance."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN_HEADER = "X-aws-ec2-metadata-token"


@dataclass
class ReceivedRequest:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Agent:
    """The ECS agent: answers every request with `status` and `body`."""

    status: int = 200
    body: str = '{"protection":{"ProtectionEnabled":true}}'
    requests: list[ReceivedRequest] = field(default_factory=list)

    def answer(self, request: ReceivedRequest) -> tuple[int, str]:
        return self.status, self.body

    @property
    def states(self) -> list[dict[str, Any]]:
        """The states that were put, in order."""
        return [json.loads(request.body) for request in self.requests]


@dataclass
class Metadata:
    """The instance metadata service, version 2 only: an answer costs a token that is still good."""

    items: dict[str, str] = field(default_factory=lambda: {"instance-id": "i-0abc"})
    uses_per_token: int = 1_000_000
    """A token expires after so many."""
    broken: int = 0
    """The status of every response, if not 0."""
    requests: list[ReceivedRequest] = field(default_factory=list)
    _left: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def answer(self, request: ReceivedRequest) -> tuple[int, str]:
        if self.broken:
            return self.broken, "broken"
        if request.path == "/latest/api/token":
            if request.method != "PUT" or not request.headers.get(f"{TOKEN_HEADER}-ttl-seconds"):
                return 400, "a token is requested by PUT, with its lifetime"
            token = f"token-{next(self._numbers)}"
            self._left[token] = self.uses_per_token
            return 200, token
        token = request.headers.get(TOKEN_HEADER, "")
        if self._left.get(token, 0) < 1:
            return 401, "no token, or an expired one"
        self._left[token] -= 1
        found = self.items.get(request.path.removeprefix("/latest/meta-data/"))
        return (404, "not found") if found is None else (200, found)

    @property
    def paths(self) -> list[str]:
        """The paths that were requested, except for tokens."""
        return [request.path for request in self.requests if request.method == "GET"]


@contextmanager
def serving(endpoint: Agent | Metadata, *, port: int = 0) -> Iterator[str]:
    """Serve it, at a free port unless one is given; yields the address."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: else each waits for the acknowledgement of its head

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            headers = {
                name.title() if name.islower() else name: value for name, value in self.headers.items()
            }
            request = ReceivedRequest(self.command, self.path, headers, body)
            endpoint.requests.append(request)
            status, text = endpoint.answer(request)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = _answer  # noqa: N815 - as http.server calls them

        def log_message(self, *_: object) -> None:
            """Log nothing to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_endpoint() -> str:
    """An address at which nothing listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}"
