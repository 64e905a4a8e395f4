"""SQS over HTTP for benchmarks: any queue, each request answered after the same time; a separate process.

It has just enough of the JSON protocol for a consumer, and counts the requests. It keeps no messages: a full
queue never runs out and delivers nothing twice, an empty one makes long polls wait, and every delete
succeeds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from benchmarks import serving  # noqa: E402
from benchmarks.serving import Answer, Request  # noqa: E402

BODY = '{"work": "nothing", "id": "@ID@"}'
ID = "@ID@"
"""The place of the message's id in a body."""


@dataclass(slots=True, kw_only=True)
class Counts(serving.Counts):
    """Counts of requests, and of messages delivered and deleted."""

    delivered: int = 0
    deleted: int = 0


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

    def answer(self, request: Request) -> Answer:
        """The answer; a long poll of an empty queue waits its time."""
        operation = request.headers[b"x-amz-target"].decode().rpartition(".")[2]
        parameters = json.loads(request.body)
        self.counts.add(operation)
        answer = self._answer(operation, parameters)
        waits = answer == "{}" and operation == "ReceiveMessage"
        return Answer(body=answer.encode(), wait_s=parameters.get("WaitTimeSeconds", 0) if waits else 0)

    def record(self, path: str) -> object:
        """There is nothing but the counts."""
        raise NotImplementedError(path)

    def _answer(self, operation: str, parameters: Mapping[str, Any]) -> str:
        if operation == "ReceiveMessage":
            return "{}" if self._empty else self._deliver(parameters)
        if operation == "DeleteMessageBatch":
            self.counts.deleted += len(parameters["Entries"])
            return self._all_done(parameters)
        if operation == "DeleteMessage":
            self.counts.deleted += 1
            return "{}"
        if operation == "ChangeMessageVisibilityBatch":
            return self._all_done(parameters)
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

    def _deliver(self, parameters: Mapping[str, Any]) -> str:
        count = parameters.get("MaxNumberOfMessages", 1)
        first = self.counts.delivered
        self.counts.delivered += count
        wants_system = parameters.get("MessageSystemAttributeNames") or parameters.get("AttributeNames")
        one = self._bare
        if wants_system:
            one = self._full.replace("@SENT@", str(int(time.time() * 1000)))
        # Numbered like UUIDs, so that an id is as long as a real one.
        messages = (one.replace(ID, f"{number:036}") for number in range(first, first + count))
        return f'{{"Messages": [{", ".join(messages)}]}}'

    @staticmethod
    def _all_done(parameters: Mapping[str, Any]) -> str:
        done = ", ".join(f'{{"Id": "{entry["Id"]}"}}' for entry in parameters["Entries"])
        return f'{{"Successful": [{done}], "Failed": []}}'


class Stub:
    """A running stub, seen from another process."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.queue_url = f"{endpoint}/000000000000/benchmark"

    def counts(self) -> Counts:
        """What it counted so far; the most at once since the last reading."""
        return Counts(**serving.read_record(self.endpoint))


@contextmanager
def stub(*, latency_s: float, empty: bool = False, body: str = BODY) -> Iterator[Stub]:
    """A stub in a separate process, which ends with the context."""
    options = ["--latency-s", str(latency_s), "--body", body, *(["--empty"] if empty else [])]
    with serving.started(Path(__file__).resolve(), options) as endpoint:
        yield Stub(endpoint)


@click.command()
@click.option("--latency-s", default=0.01, show_default=True, help="Seconds from a request to its answer.")
@click.option("--body", default=BODY, help=f"Of every message; {ID} becomes its id.")
@click.option("--empty", is_flag=True, help="Deliver nothing: long polls wait their time.")
@click.option("--port", default=0, help="0 takes a free one, which is printed.")
def main(latency_s: float, body: str, empty: bool, port: int) -> None:
    """Serve until killed."""
    serving.serve(Queue(body, empty=empty), latency_s, port)


if __name__ == "__main__":
    main()
