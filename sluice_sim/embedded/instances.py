"""What runs on an instance: receive, work, delete, until told to drain.

Owns the simulated consumer. It short-polls (on a virtual clock a long poll would never return) and asks
for no more messages than it can start at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sluice_sim.clock import VirtualClock

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

POLL_S = 5


class Instance:
    """One consumer; a message's body says how many seconds it takes."""

    def __init__(
        self,
        clock: VirtualClock,
        sqs: SQSClient,
        queue_url: str,
        *,
        concurrency: int,
        on_processed: Callable[[str], None],
    ) -> None:
        self._clock, self._sqs, self._queue_url = clock, sqs, queue_url
        self._concurrency, self._on_processed = concurrency, on_processed
        self._busy = 0
        self._when_drained: Callable[[], None] | None = None
        self._polling = clock.every(POLL_S, self._poll, first=clock.now)

    def drain(self, when_drained: Callable[[], None]) -> None:
        """Take nothing new, finish what runs, then say so."""
        self._clock.cancel(self._polling)
        if self._busy:
            self._when_drained = when_drained
        else:
            when_drained()

    def _poll(self) -> None:
        free = self._concurrency - self._busy
        if free <= 0:
            return
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=min(free, 10), WaitTimeSeconds=0
        )
        for message in answer.get("Messages", []):
            self._busy += 1
            duration_s = float(json.loads(message["Body"])["duration_s"])
            self._clock.at(self._clock.now + duration_s, partial(self._finish, message))

    def _finish(self, message: MessageTypeDef) -> None:
        self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        self._on_processed(message["MessageId"])
        self._busy -= 1
        if self._when_drained and not self._busy:
            self._when_drained()
        elif self._when_drained is None:
            self._poll()
