"""What SQS counts of its producers, and moto does not: NumberOfMessagesSent.

Owns what counts: each message that SendMessage or SendMessageBatch adds to a queue, a delayed one when it is
sent. A FIFO queue's duplicate is not added, and a message that SQS itself moves to a dead-letter queue is not
sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from moto.sqs.models import Message, SQSBackend


class SentMessages:
    """Messages sent to each queue since its metric was last sampled."""

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()

    def pop_count(self, queue_name: str) -> int:
        """How many since the last sample; the count begins again."""
        return self._sent.pop(queue_name, 0)

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Count while the context lasts; a batch is sent message by message in moto."""
        send = SQSBackend.send_message

        def counted(backend: SQSBackend, queue_name: str, *more: Any, **named: Any) -> Message:
            message = send(backend, queue_name, *more, **named)
            added = backend.get_queue(queue_name)._messages  # noqa: SLF001 - the public list leaves out delayed ones
            self._sent[queue_name] += bool(added) and added[-1] is message
            return message

        with mock.patch.object(SQSBackend, "send_message", counted):
            yield
