"""SQS over HTTP for benchmarks: any queue, each request answered after the same time; a process of its own.

Owns just enough of the JSON protocol for a consumer, and the counting of what it was asked. Refuses to be a
queue: a full one never runs out and delivers nothing twice, an empty one makes long polls wait, and a delete
is always believed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

BODY = '{"work": "nothing", "id": "@ID@"}'
ID = "@ID@"
"""In a body, where the message's id goes."""
STATISTICS = b"GET "


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was asked so far."""

    delivered: int = 0
    deleted: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    """By operation."""
    at_once: int = 0
    """Most requests under way at any time."""
    cpu_s: float = 0.0
    """CPU seconds of the stub."""
    at_s: float = 0.0
    """When this was read, by the stub's clock."""


class Queue:
    """What every queue URL leads to."""

    def __init__(self, body: str, *, empty: bool) -> None:
        system = '"ApproximateReceiveCount": "1", "SentTimestamp": "@SENT@"'
        text = json.dumps(body)
        receipt = f"{'receipt-':->120}{ID}"  # as long as a real one
        self._bare = (
            f'{{"MessageId": "{ID}", "ReceiptHandle": "{receipt}", "MD5OfBody": "{0:032}", "Body": {text}}}'
        )
        self._full = f'{self._bare[:-1]}, "Attributes": {{{system}}}}}'
        self._empty = empty
        self.counts = Counts()

    def answer(self, operation: str, asked: Mapping[str, Any]) -> str:
        """The answer's JSON."""
        if operation == "ReceiveMessage":
            return "{}" if self._empty else self._deliver(asked)
        if operation == "DeleteMessageBatch":
            self.counts.deleted += len(asked["Entries"])
            return self._all_done(asked)
        if operation == "DeleteMessage":
            self.counts.deleted += 1
            return "{}"
        if operation == "ChangeMessageVisibilityBatch":
            return self._all_done(asked)
        if operation == "GetQueueAttributes":
            in_flight = self.counts.delivered - self.counts.deleted
            return json.dumps(
                {
                    "Attributes": {
                        "ApproximateNumberOfMessages": "0" if self._empty else "1000000",
                        "ApproximateNumberOfMessagesNotVisible": str(in_flight),
                    }
                }
            )
        return "{}"

    def _deliver(self, asked: Mapping[str, Any]) -> str:
        count = asked.get("MaxNumberOfMessages", 1)
        first = self.counts.delivered
        self.counts.delivered += count
        wants_system = asked.get("MessageSystemAttributeNames") or asked.get("AttributeNames")
        one = self._bare
        if wants_system:
            one = self._full.replace("@SENT@", str(int(time.time() * 1000)))
        # Numbered like UUIDs, so that an id is as long as a real one.
        messages = (one.replace(ID, f"{number:036}") for number in range(first, first + count))
        return f'{{"Messages": [{", ".join(messages)}]}}'

    @staticmethod
    def _all_done(asked: Mapping[str, Any]) -> str:
        done = ", ".join(f'{{"Id": "{entry["Id"]}"}}' for entry in asked["Entries"])
        return f'{{"Successful": [{done}], "Failed": []}}'


class Connection(asyncio.Protocol):
    """One kept connection; a request is answered `latency_s` after its last byte came."""

    under_way = 0

    def __init__(self, queue: Queue, latency_s: float) -> None:
        self._queue, self._latency_s = queue, latency_s
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._received += data
        while True:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            if head.startswith(STATISTICS):
                self._received = rest
                self._write(self._statistics())
                continue
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
            }
            length = int(headers.get(b"content-length", 0))
            if len(rest) < length:
                return
            self._received = rest[length:]
            self._asked(headers[b"x-amz-target"].decode().rpartition(".")[2], json.loads(rest[:length]))

    def _asked(self, operation: str, asked: Mapping[str, Any]) -> None:
        counts = self._queue.counts
        counts.requests[operation] = counts.requests.get(operation, 0) + 1
        Connection.under_way += 1
        counts.at_once = max(counts.at_once, Connection.under_way)
        answer = self._queue.answer(operation, asked)
        wait_s = self._latency_s
        if answer == "{}" and operation == "ReceiveMessage":
            wait_s += asked.get("WaitTimeSeconds", 0)
        self._loop.call_later(wait_s, self._answered, answer)

    def _answered(self, answer: str) -> None:
        Connection.under_way -= 1
        self._write(answer)

    def _write(self, answer: str) -> None:
        body = answer.encode()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
            b"x-amzn-RequestId: 00000000-0000-0000-0000-000000000000\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    def _statistics(self) -> str:
        counts = self._queue.counts
        counts.cpu_s, counts.at_s = time.process_time(), time.monotonic()
        said = json.dumps(asdict(counts))
        counts.at_once = Connection.under_way
        return said


class Stub:
    """A running stub, seen from another process."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.queue_url = f"{self.endpoint}/000000000000/benchmark"

    def counts(self) -> Counts:
        """What it counted so far; the most at once since the last time it was asked."""
        with urllib.request.urlopen(self.endpoint, timeout=10) as answer:  # noqa: S310 - our own process
            return Counts(**json.load(answer))


@contextmanager
def stub(*, latency_s: float, empty: bool = False, body: str = BODY) -> Iterator[Stub]:
    """A stub in a process of its own, which ends with the context."""
    options = ["--latency-s", str(latency_s), "--body", body, *(["--empty"] if empty else [])]
    command = [sys.executable, str(Path(__file__).resolve()), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            assert process.stdout is not None
            yield Stub(int(process.stdout.readline()))
        finally:
            process.kill()


@click.command()
@click.option("--latency-s", default=0.01, show_default=True, help="Seconds from a request to its answer.")
@click.option("--body", default=BODY, help=f"Of every message; {ID} becomes its id.")
@click.option("--empty", is_flag=True, help="Deliver nothing: long polls wait their time.")
@click.option("--port", default=0, help="0 takes a free one, which is printed.")
def main(latency_s: float, body: str, empty: bool, port: int) -> None:
    """Serve until killed."""
    asyncio.run(_serve(Queue(body, empty=empty), latency_s, port))


async def _serve(queue: Queue, latency_s: float, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(queue, latency_s), "127.0.0.1", port
    )
    click.echo(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    main()
