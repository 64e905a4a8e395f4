"""A simulated worker: receives, processes, deletes and reports messages until it is drained.

A long poll would never return on a virtual clock, so the worker checks for visible messages first and
receives only if there are any. It receives one batch at a time, processes it with its concurrency, and
deletes it in one call.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sluice_sim.clock import VirtualClock
from sluice_worker.core.model import Outcome

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

POLL_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Settings of the simulated workers of a fleet.

    A message's body says how many seconds it takes, and how it ends unless it succeeds (`outcome`).
    """

    queue_url: str
    has_messages: Callable[[], bool]
    """Whether a receive would return messages; replaces the long poll."""
    concurrency: int
    batch: int
    """Messages per receive, 1 to 10."""
    on_ended: Callable[[str, Outcome, float, float], None]
    """Called for each message: id, outcome, seconds it took, seconds it waited from sending to start."""
    receives: Callable[[], bool] = lambda: True
    """False while its color is drained: it receives nothing new, and stays."""
    first_poll_s: float = 0.0
    """Seconds until its first poll."""


class SimulatedWorker:
    """Implements `worker.Worker` on the virtual clock."""

    alive = True
    """A simulated worker never exits by itself."""

    def __init__(self, clock: VirtualClock, sqs: SQSClient, config: WorkerConfig) -> None:
        self._clock, self._sqs, self._config = clock, sqs, config
        self._in_flight = 0
        self._when_drained: Callable[[], None] | None = None
        self._polling = clock.every(POLL_S, self._poll, first=clock.now + config.first_poll_s)

    @property
    def protected(self) -> bool:
        """It protects its instance from scale-in while it works, as Sluice's worker does."""
        return self._in_flight > 0

    def drain(self, when_drained: Callable[[], None]) -> None:
        """Receive nothing new, finish the messages in flight, then call `when_drained`."""
        self._clock.cancel(self._polling)
        self._when_drained = when_drained
        self._finish_drain_if_idle()

    def _poll(self) -> None:
        """If idle, receive a batch and schedule its end.

        The messages run in rounds of `concurrency`; every round takes the batch's mean duration.
        """
        if self._in_flight or self._when_drained is not None or not self._config.receives():
            return
        if not self._config.has_messages():
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
        bodies = [json.loads(message["Body"]) for message in messages]
        durations = [float(body["duration_s"]) for body in bodies]
        rounds = math.ceil(len(messages) / self._config.concurrency)
        round_s = sum(durations) / len(durations)
        starts = [
            self._clock.now + index // self._config.concurrency * round_s for index in range(len(messages))
        ]
        outcomes = [Outcome(body.get("outcome", Outcome.SUCCESS)) for body in bodies]
        self._clock.at(
            self._clock.now + round_s * rounds, partial(self._finish, messages, outcomes, durations, starts)
        )

    def _finish(
        self,
        messages: Sequence[MessageTypeDef],
        outcomes: Sequence[Outcome],
        durations: Sequence[float],
        starts: Sequence[float],
    ) -> None:
        """Delete what succeeded; SQS shows the others again once their visibility timeout is over."""
        succeeded: list[Any] = [
            {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
            for index, message in enumerate(messages)
            if outcomes[index] is Outcome.SUCCESS
        ]
        if succeeded:
            self._sqs.delete_message_batch(QueueUrl=self._config.queue_url, Entries=succeeded)
        for message, outcome, duration_s, start in zip(messages, outcomes, durations, starts, strict=True):
            waited_s = start - float(message["Attributes"]["SentTimestamp"]) / 1000
            self._config.on_ended(message["MessageId"], outcome, duration_s, waited_s)
        self._in_flight = 0
        self._finish_drain_if_idle()
        self._poll()

    def _finish_drain_if_idle(self) -> None:
        if self._when_drained is not None and not self._in_flight:
            self._when_drained()
