"""An HTTP server for the stubs of AWS: it answers each request after the same time, and counts them.

Each stub runs in a separate process and builds the answers.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import click


@dataclass(slots=True, kw_only=True)
class Counts:
    """The requests so far."""

    requests: dict[str, int] = field(default_factory=dict)
    """By operation."""
    at_once: int = 0
    """Most requests under way at any time."""
    cpu_s: float = 0.0
    """CPU seconds of the stub."""
    at_s: float = 0.0
    """When this was read, by the stub's clock."""

    def add(self, operation: str) -> None:
        """Count one request."""
        self.requests[operation] = self.requests.get(operation, 0) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came."""

    path: str
    headers: Mapping[bytes, bytes]
    """By name in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back."""

    body: bytes
    content_type: bytes = b"application/x-amz-json-1.0"
    status: int = 200
    wait_s: float = 0.0
    """What the service itself makes the caller wait, beyond the latency."""


class Service(Protocol):
    """The service behind the connections."""

    counts: Any
    """`Counts`, or more."""

    def answer(self, request: Request) -> Answer:
        """Answer a request, and count it."""
        ...

    def record(self, path: str) -> object:
        """The response to a GET of a path other than /, which only the benchmark reads; not part of AWS."""
        ...


class Connection(asyncio.Protocol):
    """One kept connection; a request is answered `latency_s` after its last byte came."""

    under_way = 0

    def __init__(self, service: Service, latency_s: float) -> None:
        self._service, self._latency_s = service, latency_s
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport for the answers."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._received += data
        while True:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            first, *lines = head.split(b"\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
            }
            length = int(headers.get(b"content-length", 0))
            if len(rest) < length:
                return
            self._received = rest[length:]
            method, path, _ = first.decode().split(" ", 2)
            if method == "GET":
                self._write(Answer(body=json.dumps(self._record(path)).encode()))
            else:
                self._answer_to(Request(path=path, headers=headers, body=rest[:length]))

    def _answer_to(self, request: Request) -> None:
        came_at = self._loop.time()
        Connection.under_way += 1
        counts = self._service.counts
        counts.at_once = max(counts.at_once, Connection.under_way)
        answer = self._service.answer(request)
        self._loop.call_at(came_at + self._latency_s + answer.wait_s, self._answered, answer)

    def _answered(self, answer: Answer) -> None:
        Connection.under_way -= 1
        self._write(answer)

    def _write(self, answer: Answer) -> None:
        self._transport.write(
            b"HTTP/1.1 %d -\r\nContent-Type: %b\r\n"
            b"x-amzn-RequestId: 00000000-0000-0000-0000-000000000000\r\n"
            b"Content-Length: %d\r\n\r\n%b"
            % (answer.status, answer.content_type, len(answer.body), answer.body)
        )

    def _record(self, path: str) -> object:
        if path != "/":
            return self._service.record(path)
        counts = self._service.counts
        counts.cpu_s, counts.at_s = time.process_time(), time.monotonic()
        counted = asdict(counts)
        counts.at_once = Connection.under_way
        return counted


def serve(service: Service, latency_s: float, port: int) -> None:
    """Serve until killed; port 0 stands for any free one, which is printed."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(service, latency_s), "127.0.0.1", port
        )
        click.echo(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


@contextmanager
def started(script: Path, options: Sequence[str]) -> Iterator[str]:
    """The endpoint of a stub in a separate process, which ends with the context."""
    command = [sys.executable, str(script), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def read_record(endpoint: str, path: str = "/") -> Any:
    """Read what a stub has recorded: its counts, or what its service keeps at `path`."""
    with urllib.request.urlopen(endpoint + path, timeout=60) as answer:  # noqa: S310 - our own process
        return json.load(answer)
