"""The account that the workers use: a server in a separate process, its queues, its faults.

Owns the server process and the test's own requests to it, which no fault affects.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.worker_chaos.faults import CONTROL, SETUP_KEY_ID, Plan

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-west-1"
BATCH = 10


def process_environment(**more: str) -> dict[str, str]:
    """The environment variables of a worker process; they reach no real account."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICE_"))},
        "PYTHONPATH": f"{ROOT / 'layers/sluice'}:{ROOT}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "WORKER",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }


@dataclass(frozen=True, slots=True)
class Depths:
    """The exact counts of a queue."""

    visible: int
    in_flight: int

    @property
    def empty(self) -> bool:
        """Whether it holds no message."""
        return not (self.visible or self.in_flight)


class Cloud:
    """A running server."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._sqs, self._ssm = (
            boto3.client(
                service,
                endpoint_url=endpoint,
                region_name=REGION,
                aws_access_key_id=SETUP_KEY_ID,
                aws_secret_access_key="secret",
                config=Config(max_pool_connections=4),
            )
            for service in ("sqs", "ssm")
        )

    def create(self, name: str, *, dead_letters: str | None = None, max_receipts: int = 0) -> str:
        """Create an empty queue and return its URL."""
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        if dead_letters is not None:
            answer = self._sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])
            policy = {
                "deadLetterTargetArn": answer["Attributes"]["QueueArn"],
                "maxReceiveCount": max_receipts,
            }
            attributes["RedrivePolicy"] = json.dumps(policy)
        return str(self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def send(self, url: str, instructions: Sequence[Mapping[str, Any]]) -> None:
        """Send them in order, in batches of ten."""
        for first in range(0, len(instructions), BATCH):
            entries = [
                _entry(url, place, instruction)
                for place, instruction in enumerate(instructions[first : first + BATCH])
            ]
            answer = self._sqs.send_message_batch(QueueUrl=url, Entries=entries)
            assert not answer.get("Failed"), answer

    def put_parameter(self, name: str, value: str) -> None:
        """Set an SSM parameter."""
        self._ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def depths(self, url: str) -> Depths:
        """The queue's counts now."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return Depths(*(int(found[name]) for name in names))

    def contents(self, url: str) -> list[dict[str, Any]]:
        """Receive every message of a queue."""
        taken: list[dict[str, Any]] = []
        while found := self._sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=3600,
            MessageAttributeNames=["All"],
        ).get("Messages"):
            taken.extend(found)
        return taken

    def plan(self, plan: Plan) -> None:
        """Inject these faults from now on, and reset the counts."""
        self._control("PUT", json.dumps(asdict(plan)).encode())

    def done(self) -> dict[str, Any]:
        """Count the workers' requests by operation, and the faults by operation and kind."""
        counts: dict[str, Any] = json.loads(self._control("GET", None))
        return counts

    def _control(self, method: str, body: bytes | None) -> bytes:
        request = urllib.request.Request(f"{self.endpoint}{CONTROL}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Start an empty account on a free port; it ends with the context, or with this process."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.worker_chaos.server"],
        cwd=ROOT,
        env=process_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            yield Cloud(f"http://127.0.0.1:{port}")
        finally:
            server.stdin.close()


def _entry(url: str, place: int, instruction: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": str(place), "MessageBody": json.dumps(instruction)}
    if url.endswith(".fifo"):
        entry["MessageGroupId"] = instruction["group"]
        entry["MessageDeduplicationId"] = f"{instruction['group']}-{instruction['place']}"
    return entry
