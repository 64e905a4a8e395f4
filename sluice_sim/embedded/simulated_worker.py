"""What runs on an instance or task: receive, work, delete, report, until told to drain.

Owns the simulated consumer. On a virtual clock a long poll would never return, so it looks whether anything
waits and receives only then. It takes a batch at a time and works it off with its concurrency; a finished
batch is deleted in one call.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sluice_sim.clock import VirtualClock

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

POLL_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How a fleet's workers do their work; a message's body says how many seconds it takes."""

    queue_url: str
    has_messages: Callable[[], bool]
    """Whether a receive would find anything: what ends a long poll."""
    concurrency: int
    batch: int
    """Messages taken at a time, 1 to 10."""
    on_processed: Callable[[str, float, float], None]
    """Told each message's id, how many seconds it took, and how many it had waited from sending to start."""


class SimulatedWorker:
    """Keeps `crew.Consumer`."""

    alive = True
    """Nothing ends it unbidden."""

    def __init__(self, clock: VirtualClock, sqs: SQSClient, config: WorkerConfig) -> None:
        self._clock, self._sqs, self._config = clock, sqs, config
        self._in_flight = 0
        self._when_drained: Callable[[], None] | None = None
        self._polling = clock.every(POLL_S, self._poll, first=clock.now)

    def drain(self, when_drained: Callable[[], None]) -> None:
        """Take nothing new, finish what runs, then say so."""
        self._clock.cancel(self._polling)
        self._when_drained = when_drained
        self._finish_drain_if_idle()

    def _poll(self) -> None:
        """Once idle, take the next batch and work it off: as many at a time as the concurrency."""
        if self._in_flight or self._when_drained is not None or not self._config.has_messages():
            return
        answer = self._sqs.receive_message(
            QueueUrl=self._config.queue_url,
            MaxNumberOfMessages=self._config.batch,
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            return
        self._in_flight = len(messages)
        durations = [float(json.loads(message["Body"])["duration_s"]) for message in messages]
        rounds = math.ceil(len(messages) / self._config.concurrency)
        round_s = sum(durations) / len(durations)
        starts = [
            self._clock.now + index // self._config.concurrency * round_s for index in range(len(messages))
        ]
        self._clock.at(self._clock.now + round_s * rounds, partial(self._finish, messages, durations, starts))

    def _finish(
        self, messages: Sequence[MessageTypeDef], durations: Sequence[float], starts: Sequence[float]
    ) -> None:
        self._sqs.delete_message_batch(
            QueueUrl=self._config.queue_url,
            Entries=[
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                for index, message in enumerate(messages)
            ],
        )
        for message, duration_s, start in zip(messages, durations, starts, strict=True):
            waited_s = start - float(message["Attributes"]["SentTimestamp"]) / 1000
            self._config.on_processed(message["MessageId"], duration_s, waited_s)
        self._in_flight = 0
        self._finish_drain_if_idle()
        self._poll()

    def _finish_drain_if_idle(self) -> None:
        if self._when_drained is not None and not self._in_flight:
            self._when_drained()
